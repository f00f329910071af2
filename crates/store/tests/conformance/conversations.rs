//! Conversations as a whole.

use std::time::Duration;

use store::{
    Conversation, ConversationChange, Limits, NewAnswer, NewConversation, PageRequest, ParentChoice,
    StoreError, Turn,
};

use crate::support::{Fixture, ROOMY};

pub(crate) async fn conversations_come_back_as_they_were_put(fixture: &Fixture) {
    fixture.clock.advance(Duration::from_millis(1234));
    let made = fixture.conversation().await;
    assert_eq!(made.title, "");
    assert_eq!(made.model, "first");
    assert_eq!(made.system, None);
    assert_eq!((made.created_ms, made.updated_ms), (1234, 1234));
    assert_eq!(fixture.store.conversation(fixture.owner, made.id).await.unwrap(), made);
    fixture.store.ping().await.unwrap();
}

pub(crate) async fn changes_touch_only_what_they_name(fixture: &Fixture) {
    let made = fixture.conversation().await;
    fixture.clock.advance(Duration::from_secs(1));
    let titled = ConversationChange { title: Some("Depth".to_owned()), ..ConversationChange::default() };
    let changed = fixture.store.change_conversation(fixture.owner, made.id, titled).await.unwrap();
    assert_eq!(changed, Conversation { title: "Depth".to_owned(), ..made.clone() });

    let instructed = ConversationChange { system: Some(Some("Be brief.".to_owned())), ..Default::default() };
    let changed = fixture.store.change_conversation(fixture.owner, made.id, instructed).await.unwrap();
    assert_eq!(changed.system.as_deref(), Some("Be brief."));
    assert_eq!(changed.title, "Depth");

    let cleared =
        ConversationChange { system: Some(None), model: Some("m".to_owned()), ..Default::default() };
    let changed = fixture.store.change_conversation(fixture.owner, made.id, cleared).await.unwrap();
    assert_eq!((changed.system.as_deref(), changed.model.as_str()), (None, "m"));
    assert_eq!(fixture.store.conversation(fixture.owner, made.id).await.unwrap(), changed);
}

pub(crate) async fn the_list_is_paged_and_the_last_written_comes_first(fixture: &Fixture) {
    let mut made = Vec::new();
    for index in 0..7 {
        // Pairs share a millisecond.
        if index % 2 == 0 {
            fixture.clock.advance(Duration::from_millis(1));
        }
        made.push(fixture.conversation().await.id);
    }
    fixture.clock.advance(Duration::from_millis(1));
    let oldest = fixture.store.conversation(fixture.owner, made[0]).await.unwrap();
    fixture.turn(&oldest, ParentChoice::Root, "again").await;

    let mut expected: Vec<_> = made[1..].iter().rev().copied().collect();
    expected.insert(0, made[0]);
    for limit in [1, 2, 3, 7, 100] {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page =
                fixture.store.conversations(fixture.owner, PageRequest { limit, before }).await.unwrap();
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

pub(crate) async fn capacities_hold(fixture: &Fixture) {
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
        fixture.store.add_answer(fixture.owner, beside).await,
        Err(StoreError::Full { allowed: 4, given: 5, .. })
    ));

    let second = fixture.store.add_conversation(fixture.owner, NewConversation::default(), 2).await;
    assert!(second.is_ok());
    let third = fixture.store.add_conversation(fixture.owner, NewConversation::default(), 2).await;
    assert!(matches!(third, Err(StoreError::Full { what: "conversations", allowed: 2, given: 3 })));
}

pub(crate) async fn deletion_takes_the_whole_tree(fixture: &Fixture) {
    let kept = fixture.conversation().await;
    fixture.finished_turn(&kept, ParentChoice::Root, "kept").await;
    let conversation = fixture.conversation().await;
    // Deeper than databases follow chains of cascades.
    for _ in 0..600 {
        fixture.finished_turn(&conversation, ParentChoice::Newest, "deeper").await;
    }
    let writing = fixture.turn(&conversation, ParentChoice::Newest, "deepest").await.assistant.id;
    fixture.store.delete_conversation(fixture.owner, conversation.id).await.unwrap();
    let gone = |error: StoreError| matches!(error, StoreError::NotFound { what: "conversation" });
    assert!(gone(fixture.store.conversation(fixture.owner, conversation.id).await.unwrap_err()));
    assert!(gone(fixture.store.messages(fixture.owner, conversation.id).await.unwrap_err()));
    assert!(gone(fixture.store.delete_conversation(fixture.owner, conversation.id).await.unwrap_err()));
    assert!(gone(
        fixture
            .store
            .change_conversation(fixture.owner, conversation.id, ConversationChange::default())
            .await
            .unwrap_err()
    ));
    assert!(gone(fixture.try_turn(&conversation, ParentChoice::Root, "x", ROOMY).await.unwrap_err()));
    // The answer that was being written ends nowhere, and makes no noise.
    assert!(matches!(
        fixture.store.finish(fixture.outcome(writing, "x")).await,
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(fixture.store.messages(fixture.owner, kept.id).await.unwrap().len(), 2);
}
