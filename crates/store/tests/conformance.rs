//! One suite over the traits, run against every store.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use base::{ManualClock, Rng};
use store::{
    Conversation, ConversationChange, Limits, Message, MessageId, NewAnswer, NewConversation, NewTurn,
    Outcome, PageRequest, ParentChoice, Progress, Role, SqliteStore, Status, Store, StoreError, Timing, Turn,
    Usage,
};

const ROOMY: Limits = Limits { messages_max: 10_000, bytes_max: 1 << 30 };

/// A fresh store and the clock that it was given.
struct Fixture {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl Fixture {
    async fn conversation(&self) -> Conversation {
        self.store.add_conversation(NewConversation { model: "first".to_owned() }, 1000).await.unwrap()
    }

    async fn turn(&self, conversation: &Conversation, parent: ParentChoice, content: &str) -> Turn {
        self.try_turn(conversation, parent, content, ROOMY).await.unwrap()
    }

    async fn try_turn(
        &self,
        conversation: &Conversation,
        parent: ParentChoice,
        content: &str,
        limits: Limits,
    ) -> Result<Turn, StoreError> {
        let turn = NewTurn {
            conversation_id: conversation.id,
            parent,
            content: content.to_owned(),
            model: "second".to_owned(),
            title_if_none: format!("about {content}"),
            limits,
        };
        self.store.add_turn(turn).await
    }

    async fn finish(&self, id: MessageId, content: &str) -> Message {
        self.store.finish(outcome(id, content)).await.unwrap()
    }

    async fn finished_turn(&self, conversation: &Conversation, parent: ParentChoice, content: &str) -> Turn {
        let mut turn = self.turn(conversation, parent, content).await;
        turn.assistant = self.finish(turn.assistant.id, "an answer").await;
        turn
    }
}

fn outcome(id: MessageId, content: &str) -> Outcome {
    Outcome {
        text: Progress { id, content: content.to_owned(), reasoning: None, reasoning_ms: None },
        status: Status::Complete,
        error: None,
        usage: None,
        timing: None,
    }
}

/// Everything that a store must do. Each part gets a store of its own.
async fn suite<F: Future<Output = Fixture>>(fresh: impl Fn() -> F) {
    conversations_come_back_as_they_were_put(&fresh().await).await;
    changes_touch_only_what_they_name(&fresh().await).await;
    the_list_is_paged_and_the_last_written_comes_first(&fresh().await).await;
    a_turn_is_two_messages_and_a_title(&fresh().await).await;
    parents_are_checked(&fresh().await).await;
    branches_are_paths(&fresh().await).await;
    another_answer_is_a_sibling(&fresh().await).await;
    progress_and_end_of_an_answer(&fresh().await).await;
    any_text_comes_back_to_the_byte(&fresh().await).await;
    capacities_hold(&fresh().await).await;
    deletion_takes_the_whole_tree(&fresh().await).await;
    another_conversation_s_messages_are_not_found(&fresh().await).await;
    a_dropped_call_is_done_whole_or_not_at_all(&fresh().await).await;
    many_writers_at_once_meet_no_error(&fresh().await).await;
    closed_is_closed(&fresh().await).await;
}

async fn conversations_come_back_as_they_were_put(fixture: &Fixture) {
    fixture.clock.advance(Duration::from_millis(1234));
    let made = fixture.conversation().await;
    assert_eq!(made.title, "");
    assert_eq!(made.model, "first");
    assert_eq!(made.system, None);
    assert_eq!((made.created_ms, made.updated_ms), (1234, 1234));
    assert_eq!(fixture.store.conversation(made.id).await.unwrap(), made);
    fixture.store.ping().await.unwrap();
}

async fn changes_touch_only_what_they_name(fixture: &Fixture) {
    let made = fixture.conversation().await;
    fixture.clock.advance(Duration::from_secs(1));
    let titled = ConversationChange { title: Some("Depth".to_owned()), ..ConversationChange::default() };
    let changed = fixture.store.change_conversation(made.id, titled).await.unwrap();
    assert_eq!(changed, Conversation { title: "Depth".to_owned(), ..made.clone() });

    let instructed = ConversationChange { system: Some(Some("Be brief.".to_owned())), ..Default::default() };
    let changed = fixture.store.change_conversation(made.id, instructed).await.unwrap();
    assert_eq!(changed.system.as_deref(), Some("Be brief."));
    assert_eq!(changed.title, "Depth");

    let cleared =
        ConversationChange { system: Some(None), model: Some("m".to_owned()), ..Default::default() };
    let changed = fixture.store.change_conversation(made.id, cleared).await.unwrap();
    assert_eq!((changed.system.as_deref(), changed.model.as_str()), (None, "m"));
    assert_eq!(fixture.store.conversation(made.id).await.unwrap(), changed);
}

async fn the_list_is_paged_and_the_last_written_comes_first(fixture: &Fixture) {
    let mut made = Vec::new();
    for index in 0..7 {
        // Pairs share a millisecond.
        if index % 2 == 0 {
            fixture.clock.advance(Duration::from_millis(1));
        }
        made.push(fixture.conversation().await.id);
    }
    fixture.clock.advance(Duration::from_millis(1));
    let oldest = fixture.store.conversation(made[0]).await.unwrap();
    fixture.turn(&oldest, ParentChoice::Root, "again").await;

    let mut expected: Vec<_> = made[1..].iter().rev().copied().collect();
    expected.insert(0, made[0]);
    for limit in [1, 2, 3, 7, 100] {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = fixture.store.conversations(PageRequest { limit, before }).await.unwrap();
            assert!(page.conversations.len() <= limit as usize);
            seen.extend(page.conversations.iter().map(|conversation| conversation.id));
            // The text form is what a client sends back.
            before = page.next.map(|cursor| cursor.to_string().parse().unwrap());
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
}

async fn a_turn_is_two_messages_and_a_title(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    fixture.clock.advance(Duration::from_millis(50));
    let turn = fixture.turn(&conversation, ParentChoice::Newest, "krill").await;
    assert_eq!((turn.user.role, turn.user.status), (Role::User, Status::Complete));
    assert_eq!((turn.user.parent_id, turn.user.content.as_str()), (None, "krill"));
    assert_eq!((turn.assistant.role, turn.assistant.status), (Role::Assistant, Status::Generating));
    assert_eq!((turn.assistant.parent_id, turn.assistant.content.as_str()), (Some(turn.user.id), ""));
    assert_eq!(turn.assistant.model.as_deref(), Some("second"));
    assert_eq!(
        fixture.store.messages(conversation.id).await.unwrap(),
        [turn.user.clone(), turn.assistant.clone()]
    );

    let touched = fixture.store.conversation(conversation.id).await.unwrap();
    assert_eq!((touched.title.as_str(), touched.model.as_str()), ("about krill", "second"));
    assert_eq!(touched.updated_ms, 50);
    fixture.finish(turn.assistant.id, "yes").await;
    fixture.turn(&conversation, ParentChoice::Newest, "squid").await;
    assert_eq!(fixture.store.conversation(conversation.id).await.unwrap().title, "about krill");
}

async fn parents_are_checked(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "one").await;
    let under = |id| fixture.try_turn(&conversation, ParentChoice::Message(id), "two", ROOMY);
    assert!(matches!(under(turn.assistant.id).await, Err(StoreError::Conflict(_))), "still generating");
    assert!(matches!(under(turn.user.id).await, Err(StoreError::Conflict(_))), "a question, not an answer");
    assert!(matches!(under(MessageId::from([7; 16])).await, Err(StoreError::NotFound { what: "message" })));
    let newest = fixture.try_turn(&conversation, ParentChoice::Newest, "two", ROOMY).await;
    assert!(matches!(newest, Err(StoreError::Conflict(_))));
    fixture.finish(turn.assistant.id, "done").await;
    assert_eq!(under(turn.assistant.id).await.unwrap().user.parent_id, Some(turn.assistant.id));
}

async fn branches_are_paths(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let first = fixture.finished_turn(&conversation, ParentChoice::Root, "a").await;
    let left = fixture.finished_turn(&conversation, ParentChoice::Message(first.assistant.id), "b").await;
    let right = fixture.finished_turn(&conversation, ParentChoice::Message(first.assistant.id), "c").await;
    let other_root = fixture.finished_turn(&conversation, ParentChoice::Root, "d").await;
    let ids = |messages: Vec<Message>| messages.iter().map(|message| message.id).collect::<Vec<_>>();
    for (turn, above) in [(&left, Some(&first)), (&right, Some(&first)), (&other_root, None)] {
        let mut expected = above.map_or(Vec::new(), |above| vec![above.user.id, above.assistant.id]);
        expected.extend([turn.user.id, turn.assistant.id]);
        let branch = fixture.store.branch(conversation.id, turn.assistant.id).await.unwrap();
        assert_eq!(ids(branch), expected);
    }
    assert_eq!(fixture.store.messages(conversation.id).await.unwrap().len(), 8);
}

async fn another_answer_is_a_sibling(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "a").await;
    let beside = |id| NewAnswer {
        conversation_id: conversation.id,
        beside: id,
        model: "third".to_owned(),
        limits: ROOMY,
    };
    let early = fixture.store.add_answer(beside(turn.assistant.id)).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))));
    let question = fixture.store.add_answer(beside(turn.user.id)).await;
    assert!(matches!(question, Err(StoreError::Conflict(_))));
    fixture.finish(turn.assistant.id, "first").await;
    let sibling = fixture.store.add_answer(beside(turn.assistant.id)).await.unwrap();
    assert_eq!(sibling.parent_id, Some(turn.user.id));
    assert_eq!((sibling.status, sibling.model.as_deref()), (Status::Generating, Some("third")));
    assert_eq!(fixture.store.message(conversation.id, sibling.id).await.unwrap(), sibling);
    assert_eq!(fixture.store.conversation(conversation.id).await.unwrap().model, "third");
}

async fn progress_and_end_of_an_answer(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "a").await;
    let id = turn.assistant.id;
    let text = Progress {
        id,
        content: "so far".to_owned(),
        reasoning: Some("hm".to_owned()),
        reasoning_ms: Some(12),
    };
    let gone = Progress { id: MessageId::from([7; 16]), ..text.clone() };
    fixture.store.save_progress(vec![gone, text.clone()]).await.unwrap();
    let expected = Message {
        content: "so far".to_owned(),
        reasoning: Some("hm".to_owned()),
        reasoning_ms: Some(12),
        ..turn.assistant
    };
    assert_eq!(fixture.store.message(conversation.id, id).await.unwrap(), expected);

    fixture.clock.advance(Duration::from_millis(90));
    let text = Progress { content: "so far so good".to_owned(), ..text };
    let outcome = Outcome {
        text: text.clone(),
        status: Status::Failed,
        error: Some("the model broke".to_owned()),
        usage: Some(Usage { prompt_tokens: 3, completion_tokens: 5, reasoning_tokens: 2 }),
        timing: Some(Timing { queued_ms: 1, ttft_ms: Some(2), total_ms: 30 }),
    };
    let finished = fixture.store.finish(outcome.clone()).await.unwrap();
    let expected = Message {
        content: "so far so good".to_owned(),
        status: Status::Failed,
        error: outcome.error.clone(),
        usage: outcome.usage,
        timing: outcome.timing,
        ..expected
    };
    assert_eq!(finished, expected);
    assert_eq!(fixture.store.message(conversation.id, id).await.unwrap(), expected);
    assert_eq!(fixture.store.conversation(conversation.id).await.unwrap().updated_ms, 90);

    // What has ended stays as it is.
    assert!(matches!(fixture.store.finish(outcome).await, Err(StoreError::NotFound { .. })));
    let late = Progress { content: "too late".to_owned(), ..text };
    fixture.store.save_progress(vec![late]).await.unwrap();
    assert_eq!(fixture.store.message(conversation.id, id).await.unwrap(), expected);
}

async fn any_text_comes_back_to_the_byte(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    for text in
        ["", "\0middle\0", "'; DROP TABLE messages; --", "抹香鲸 🐋 \u{202e}", "\r\n\t", &"x".repeat(300_000)]
    {
        let turn = fixture.turn(&conversation, ParentChoice::Root, text).await;
        fixture.finish(turn.assistant.id, text).await;
        let user = fixture.store.message(conversation.id, turn.user.id).await.unwrap();
        let assistant = fixture.store.message(conversation.id, turn.assistant.id).await.unwrap();
        assert!(user.content == text && assistant.content == text, "{text:.40?}");
    }
}

async fn capacities_hold(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let limits = Limits { messages_max: 4, bytes_max: 10 };
    let root = ParentChoice::Root;
    let add = async |content: &str| fixture.try_turn(&conversation, root, content, limits).await;
    let full = |result: Result<Turn, StoreError>| match result {
        Err(StoreError::Full { allowed, given, .. }) => (allowed, given),
        other => panic!("{other:?}"),
    };
    assert_eq!(full(add("12345678901").await), (10, 11));
    let turn = add("1234567890").await.unwrap();
    assert_eq!(full(add("é").await), (10, 12));
    add("").await.unwrap();
    assert_eq!(full(add("").await), (4, 6));
    fixture.finish(turn.assistant.id, "").await;
    let beside = NewAnswer {
        conversation_id: conversation.id,
        beside: turn.assistant.id,
        model: "m".to_owned(),
        limits,
    };
    assert!(matches!(
        fixture.store.add_answer(beside).await,
        Err(StoreError::Full { allowed: 4, given: 5, .. })
    ));

    let second = fixture.store.add_conversation(NewConversation::default(), 2).await;
    assert!(second.is_ok());
    let third = fixture.store.add_conversation(NewConversation::default(), 2).await;
    assert!(matches!(third, Err(StoreError::Full { what: "conversations", allowed: 2, given: 3 })));
}

async fn deletion_takes_the_whole_tree(fixture: &Fixture) {
    let kept = fixture.conversation().await;
    fixture.finished_turn(&kept, ParentChoice::Root, "kept").await;
    let conversation = fixture.conversation().await;
    // Deeper than databases follow chains of cascades.
    for _ in 0..600 {
        fixture.finished_turn(&conversation, ParentChoice::Newest, "deeper").await;
    }
    let writing = fixture.turn(&conversation, ParentChoice::Newest, "deepest").await.assistant.id;
    fixture.store.delete_conversation(conversation.id).await.unwrap();
    let gone = |error: StoreError| matches!(error, StoreError::NotFound { what: "conversation" });
    assert!(gone(fixture.store.conversation(conversation.id).await.unwrap_err()));
    assert!(gone(fixture.store.messages(conversation.id).await.unwrap_err()));
    assert!(gone(fixture.store.delete_conversation(conversation.id).await.unwrap_err()));
    assert!(gone(
        fixture.store.change_conversation(conversation.id, ConversationChange::default()).await.unwrap_err()
    ));
    assert!(gone(fixture.try_turn(&conversation, ParentChoice::Root, "x", ROOMY).await.unwrap_err()));
    // The answer that was being written ends nowhere, and makes no noise.
    assert!(matches!(fixture.store.finish(outcome(writing, "x")).await, Err(StoreError::NotFound { .. })));
    assert_eq!(fixture.store.messages(kept.id).await.unwrap().len(), 2);
}

async fn another_conversation_s_messages_are_not_found(fixture: &Fixture) {
    let mine = fixture.conversation().await;
    let theirs = fixture.conversation().await;
    let turn = fixture.finished_turn(&theirs, ParentChoice::Root, "theirs").await;
    let id = turn.assistant.id;
    let missing = |error: StoreError| matches!(error, StoreError::NotFound { what: "message" });
    assert!(missing(fixture.store.message(mine.id, id).await.unwrap_err()));
    assert!(missing(fixture.store.branch(mine.id, id).await.unwrap_err()));
    assert!(missing(fixture.try_turn(&mine, ParentChoice::Message(id), "x", ROOMY).await.unwrap_err()));
    let beside = NewAnswer { conversation_id: mine.id, beside: id, model: "m".to_owned(), limits: ROOMY };
    assert!(missing(fixture.store.add_answer(beside).await.unwrap_err()));
}

async fn a_dropped_call_is_done_whole_or_not_at_all(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    // Each call is dropped after a different number of steps; the store stays usable and never holds half a turn.
    for polls in 0..40 {
        let mut call = pin!(fixture.try_turn(&conversation, ParentChoice::Root, "dropped", ROOMY));
        for _ in 0..polls {
            if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let messages = fixture.store.messages(conversation.id).await.unwrap();
    let questions: Vec<_> = messages.iter().filter(|message| message.role == Role::User).collect();
    assert_eq!(messages.len(), 2 * questions.len());
    for question in questions {
        assert_eq!(messages.iter().filter(|message| message.parent_id == Some(question.id)).count(), 1);
    }
    fixture.turn(&conversation, ParentChoice::Root, "whole").await;
}

async fn many_writers_at_once_meet_no_error(fixture: &Fixture) {
    let writer = |number: usize| async move {
        let conversation = fixture.conversation().await;
        for round in 0..4 {
            let turn = fixture.turn(&conversation, ParentChoice::Newest, &format!("{number}/{round}")).await;
            let id = turn.assistant.id;
            for content in ["a", "ab", "abc"] {
                let text = Progress { id, content: content.to_owned(), reasoning: None, reasoning_ms: None };
                fixture.store.save_progress(vec![text]).await.unwrap();
                fixture.store.branch(conversation.id, id).await.unwrap();
            }
            fixture.finish(id, "abcd").await;
        }
        let messages = fixture.store.messages(conversation.id).await.unwrap();
        assert_eq!(messages.len(), 8);
        assert!(messages.iter().all(|message| message.status == Status::Complete));
    };
    futures_util::future::join_all((0..64).map(writer)).await;
}

async fn closed_is_closed(fixture: &Fixture) {
    fixture.store.close().await.unwrap();
    assert!(fixture.store.ping().await.is_err());
    assert!(fixture.store.add_conversation(NewConversation::default(), 10).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    suite(|| {
        count.set(count.get() + 1);
        open_file(folder.path(), count.get())
    })
    .await;
}

async fn open_file(folder: &Path, number: usize) -> Fixture {
    let clock = Arc::new(ManualClock::new());
    let path = folder.join(format!("{number}.db"));
    let store = SqliteStore::open(&path, clock.clone(), Rng::from_seed(3)).await.unwrap();
    Fixture { store: Arc::new(store), clock }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_memory() {
    suite(async || {
        let clock = Arc::new(ManualClock::new());
        let store = SqliteStore::in_memory(clock.clone(), Rng::from_seed(3)).await.unwrap();
        Fixture { store: Arc::new(store), clock }
    })
    .await;
}
