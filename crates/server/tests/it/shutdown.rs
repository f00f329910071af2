//! The end of a server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::{Rng, SystemClock};
use serde_json::{Value, json};
use store::{MasterKeys, MessageStore as _, SqliteStore, Status};
use tokio::net::TcpStream;

use crate::support::{Gate, Setup, Site, within};

fn endless() -> Value {
    json!({"model": "endless", "messages": [{"role": "user", "content": "Hi"}], "stream": true})
}

#[tokio::test]
async fn an_idle_server_ends_at_once_and_leaves_the_port() {
    let site = Site::new().await;
    assert_eq!(site.client.get("/healthz").await.status, 200);
    // An open connection on which nothing is asked does not hold the server up.
    let idle = TcpStream::connect(site.address).await.unwrap();
    let address = site.address;
    within("the server ends", site.shut_down()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn answers_in_flight_end_by_themselves_if_they_can() {
    let site = Site::new().await;
    site.models.gate.allow(1);
    let mut asked = endless();
    asked["max_tokens"] = json!(5);
    let mut stream = site.client.open_post("/v1/chat/completions", &asked).await;
    stream.named().await.unwrap();
    let (gate, address) = (site.models.gate.clone(), site.address);
    let ended = tokio::spawn(site.shut_down());
    crate::support::eventually("nobody new is let in", async || TcpStream::connect(address).await.is_err())
        .await;
    gate.open();
    let events = stream.rest().await;
    let (done, events) = events.split_last().unwrap();
    assert_eq!(done.data, "[DONE]");
    let last = events.last().unwrap().json();
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert_eq!(last["usage"]["completion_tokens"], 5);
    within("the server ends", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn answers_that_take_too_long_are_cut_with_a_proper_last_event() {
    let setup = Setup::with(|settings| settings.drain_timeout = Duration::ZERO);
    let site = setup.serve().await;
    // Two answers: one to a client of the API, one that belongs to a conversation.
    site.models.gate.allow(3);
    let mut stream = site.client.open_post("/v1/chat/completions", &endless()).await;
    stream.named().await.unwrap();
    let made = site.client.post("/api/conversations", &json!({"model": "endless"})).await.json();
    let path = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    let turn = site.client.post(&path, &json!({"content": "go on"})).await.json();
    let message = turn["assistant"]["id"].as_str().unwrap().to_owned();
    let mut page = site.client.open("GET", &format!("{path}/{message}/stream"), &[], Vec::new()).await;

    let owner = site.owner().await;
    let (gate, folder) = (site.models.gate.clone(), Arc::clone(&site.folder));
    let ended = tokio::spawn(site.shut_down());
    // The model is in the middle of a step when the deadline comes.
    let _drip = gate.drip();
    let events = stream.rest().await;
    let (done, events) = events.split_last().unwrap();
    assert_eq!(done.data, "[DONE]");
    let last = events.last().unwrap().json();
    assert_eq!(last["choices"][0]["finish_reason"], "insufficient_system_resource", "{last}");
    let last = page.rest().await.pop().unwrap();
    assert_eq!((last.name.as_str(), &last.json()["status"]), ("done", &json!("interrupted")));
    within("the server ends", ended).await.unwrap().unwrap();

    let path = folder.path().join("chats.db");
    let keys = MasterKeys::in_file(folder.path().join("master.key"));
    let store =
        SqliteStore::open(&path, keys, Arc::new(SystemClock::new()), Rng::from_seed(9)).await.unwrap();
    let conversation = made["id"].as_str().unwrap().parse().unwrap();
    let kept = store.message(owner, conversation, message.parse().unwrap()).await.unwrap();
    assert_eq!(kept.status, Status::Interrupted);
}

/// Opens a gate when dropped, so that a test that fails does not wait for a model for ever.
struct OpenAtEnd(Gate);

impl Drop for OpenAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[tokio::test]
async fn a_model_that_hangs_in_a_step_keeps_nobody_from_a_proper_last_event() {
    let setup = Setup::with(|settings| {
        settings.drain_timeout = Duration::ZERO;
        settings.cut_timeout = Duration::from_secs(1);
    });
    let site = setup.serve().await;
    let (_open, _load) = (OpenAtEnd(site.models.gate.clone()), OpenAtEnd(site.models.loading.clone()));
    site.models.gate.allow(3);
    let mut stream = site.client.open_post("/v1/chat/completions", &endless()).await;
    stream.named().await.unwrap();
    let made = site.client.post("/api/conversations", &json!({"model": "endless"})).await.json();
    let path = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    let turn = site.client.post(&path, &json!({"content": "go on"})).await.json();
    let message = turn["assistant"]["id"].as_str().unwrap().to_owned();
    let mut page = site.client.open("GET", &format!("{path}/{message}/stream"), &[], Vec::new()).await;
    // One more waits for a model that is being loaded.
    site.models.loading.allow(0);
    let (client, mut asked) = (site.client.clone(), endless());
    asked["model"] = json!("plain");
    asked["stream"] = json!(false);
    let waiting = tokio::spawn(async move { client.post("/v1/chat/completions", &asked).await });
    let loads = Arc::clone(&site.models.loads);
    crate::support::eventually("it is loaded", async || loads.load(Ordering::SeqCst) == 2).await;

    let ended = tokio::spawn(site.shut_down());
    let events = stream.rest().await;
    let (done, events) = events.split_last().unwrap();
    assert_eq!(done.data, "[DONE]");
    let last = events.last().unwrap().json();
    assert_eq!(last["choices"][0]["finish_reason"], "insufficient_system_resource", "{last}");
    let last = page.rest().await.pop().unwrap();
    assert_eq!((last.name.as_str(), &last.json()["status"]), ("done", &json!("interrupted")));
    within("the third is answered", waiting).await.unwrap().is_error(503, "shutting_down");
    within("the server ends", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_conversation_goes_on_with_the_next_server() {
    let site = Site::new().await;
    let made = site.client.post("/api/conversations", &json!({})).await.json();
    let path = format!("/api/conversations/{}", made["id"].as_str().unwrap());
    site.client.post(&format!("{path}/messages"), &json!({"content": "hello"})).await;
    let folder = Arc::clone(&site.folder);
    within("the server ends", site.shut_down()).await.unwrap();

    let site = Setup { folder: Some(folder), ..Setup::default() }.serve().await;
    let tree = site.client.get(&path).await.json();
    assert_eq!(tree["messages"].as_array().unwrap().len(), 2);
    assert_ne!(tree["messages"][1]["status"], "generating");
    let turn = site.client.post(&format!("{path}/messages"), &json!({"content": "and?"})).await;
    assert_eq!(turn.status, 201, "{}", turn.text());
}
