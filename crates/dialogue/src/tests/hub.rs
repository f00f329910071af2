use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{CONTEXT, Fixture, Gate, Script};
use crate::{ChatRequest, Dialogue, Hub, HubConfig, HubError, Message, ModelListing, ModelSource, Thinking};

/// Three models, a fourth that isn't installed, one that can't be loaded and one that makes the loader panic.
#[derive(Clone, Default)]
struct Source {
    loads: Arc<AtomicUsize>,
    /// Each loading passes it.
    loading: Gate,
    /// Each step of a model passes it.
    steps: Gate,
}

impl Source {
    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

impl ModelSource for Source {
    fn list(&self) -> Vec<ModelListing> {
        let listing = |name: &str| ModelListing {
            name: name.to_owned(),
            title: name.to_uppercase(),
            bytes: 1,
            parameters: 1,
            context: 0,
            thinking: Thinking::None,
            installed: name != "absent",
        };
        ["a", "b", "c", "absent", "broken", "panics"].map(listing).to_vec()
    }

    fn load(&self, name: &str) -> Result<Dialogue, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.loading.pass();
        match name {
            "broken" => Err("the file is cut short".to_owned()),
            "panics" => panic!("a model that makes the loader panic"),
            name => {
                let thinking = (name == "c").then_some(Thinking::Switchable);
                let fixture = Fixture { thinking, ..Fixture::default() };
                Ok(fixture.dialogue(name, Script::endless(&self.steps)))
            }
        }
    }
}

fn hub(loaded_max: usize) -> (Hub, Source) {
    let source = Source::default();
    let config = HubConfig { default_model: "a".to_owned(), loaded_max };
    (Hub::new(Box::new(source.clone()), config), source)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn loaded(hub: &Hub) -> Vec<String> {
    hub.list().into_iter().filter(|listing| listing.loaded).map(|listing| listing.model.name).collect()
}

#[test]
fn models_are_loaded_on_first_use() {
    let (hub, source) = hub(2);
    assert_eq!(hub.default_model(), "a");
    assert!(loaded(&hub).is_empty());
    let first = wait(hub.get("a")).unwrap();
    let second = wait(hub.get("a")).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((first.name(), source.loads(), loaded(&hub)), ("a", 1, vec!["a".to_owned()]));
}

#[test]
fn a_loaded_model_says_more_of_itself_than_its_source() {
    let (hub, _) = hub(2);
    let facts = || {
        let listing = hub.list().into_iter().find(|listing| listing.model.name == "c").unwrap();
        (listing.loaded, listing.model.thinking, listing.model.context)
    };
    assert_eq!(facts(), (false, Thinking::None, 0));
    wait(hub.get("c")).unwrap();
    assert_eq!(facts(), (true, Thinking::Switchable, CONTEXT));
}

#[test]
fn callers_at_the_same_time_share_one_loading() {
    let (hub, source) = hub(2);
    source.loading.allow(0);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let hub = hub.clone();
            std::thread::spawn(move || wait(hub.get("b")).unwrap())
        })
        .collect();
    // Another that goes away while it waits does the others no harm.
    wait(async {
        tokio::select! {
            biased;
            _ = hub.get("b") => panic!("the loading is held"),
            () = std::future::ready(()) => {}
        }
    });
    source.loading.allow(usize::MAX);
    let dialogues: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(dialogues.iter().all(|dialogue| Arc::ptr_eq(dialogue, &dialogues[0])));
    assert_eq!(source.loads(), 1);
}

#[test]
fn a_caller_that_goes_away_leaves_the_loading_running() {
    let (hub, source) = hub(2);
    source.loading.allow(0);
    wait(async {
        tokio::select! {
            biased;
            _ = hub.get("c") => panic!("the loading is held"),
            () = std::future::ready(()) => {}
        }
    });
    source.loading.allow(usize::MAX);
    wait(hub.get("c")).unwrap();
    assert_eq!(source.loads(), 1);
}

#[test]
fn the_idle_model_used_longest_ago_is_unloaded() {
    let (hub, source) = hub(2);
    let old = Arc::downgrade(&wait(hub.get("a")).unwrap());
    wait(hub.get("b")).unwrap();
    wait(hub.get("a")).unwrap();
    wait(hub.get("c")).unwrap();
    assert_eq!(loaded(&hub), ["a", "c"]);
    assert!(old.upgrade().is_some());
    wait(hub.get("b")).unwrap();
    assert_eq!((loaded(&hub), source.loads()), (vec!["b".to_owned(), "c".to_owned()], 4));
    assert!(old.upgrade().is_none(), "an unloaded model must leave the memory");
}

#[test]
fn models_in_use_are_not_unloaded() {
    let (hub, source) = hub(1);
    let held = wait(hub.get("a")).unwrap();
    assert_eq!(wait(hub.get("b")).unwrap_err(), HubError::Busy { loaded: 1, loaded_max: 1 });
    // An answer that is being generated counts as use, though nobody holds the model.
    let request = ChatRequest { messages: vec![Message::user("Hi")], ..ChatRequest::default() };
    source.steps.allow(0);
    let mut answer = held.start(held.check(&request).unwrap()).unwrap();
    drop(held);
    assert_eq!(wait(hub.get("b")).unwrap_err(), HubError::Busy { loaded: 1, loaded_max: 1 });
    source.steps.allow(usize::MAX);
    while answer.blocking_next().is_some() {}
    wait(hub.get("b")).unwrap();
    assert_eq!(loaded(&hub), ["b"]);
}

#[test]
fn what_can_not_be_loaded_says_why_and_can_be_tried_again() {
    let (hub, source) = hub(1);
    let installed = ["a", "b", "c", "broken", "panics"].map(str::to_owned).to_vec();
    assert_eq!(wait(hub.get("x")).unwrap_err(), HubError::NotFound { name: "x".to_owned(), installed });
    assert_eq!(wait(hub.get("absent")).unwrap_err(), HubError::NotInstalled { name: "absent".to_owned() });
    let reason = "the file is cut short".to_owned();
    let broken = HubError::Load { name: "broken".to_owned(), reason };
    assert_eq!(wait(hub.get("broken")).unwrap_err(), broken);
    assert_eq!(wait(hub.get("broken")).unwrap_err(), broken);
    assert_eq!(source.loads(), 2);
    let panicked = wait(hub.get("panics")).unwrap_err();
    assert!(matches!(panicked, HubError::Load { .. }), "{panicked:?}");
    // The places of those that failed are free.
    wait(hub.get("a")).unwrap();
}

#[test]
fn after_shutdown_there_are_no_models() {
    let (hub, _) = hub(2);
    let dialogue = wait(hub.get("a")).unwrap();
    hub.shutdown(Duration::ZERO);
    hub.wait_stopped();
    assert_eq!(wait(hub.get("a")).unwrap_err(), HubError::ShuttingDown);
    assert_eq!(wait(hub.get("b")).unwrap_err(), HubError::ShuttingDown);
    let request = ChatRequest { messages: vec![Message::user("Hi")], ..ChatRequest::default() };
    assert!(dialogue.start(dialogue.check(&request).unwrap()).is_err());
}
