//! What one user owns is not there for another.

use store::{
    Conversation, ConversationChange, ConversationId, MessageId, NewAnswer, NewConversation, NewTurn,
    PageRequest, ParentChoice, Progress, Status, StoreError, UserId,
};

use crate::support::{Fixture, ROOMY};

/// What every method says to `caller` about a conversation and a message, as far as it can fail.
async fn answers(
    fixture: &Fixture,
    caller: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Vec<(&'static str, StoreError)> {
    let store = &fixture.store;
    let change = ConversationChange { title: Some("mine".to_owned()), ..ConversationChange::default() };
    let turn = |parent| NewTurn {
        conversation_id: conversation,
        parent,
        content: "mine".to_owned(),
        model: "m".to_owned(),
        title_if_none: "mine".to_owned(),
        limits: ROOMY,
    };
    let answer =
        NewAnswer { conversation_id: conversation, beside: message, model: "m".to_owned(), limits: ROOMY };
    let outcome = store::Outcome {
        text: Progress { owner: caller, ..fixture.outcome(message, "mine").text },
        ..fixture.outcome(message, "mine")
    };
    vec![
        ("conversation", store.conversation(caller, conversation).await.unwrap_err()),
        ("change", store.change_conversation(caller, conversation, change).await.unwrap_err()),
        ("delete", store.delete_conversation(caller, conversation).await.unwrap_err()),
        ("archive", store.archive(caller, conversation).await.unwrap_err()),
        ("messages", store.messages(caller, conversation).await.unwrap_err()),
        ("message", store.message(caller, conversation, message).await.unwrap_err()),
        ("branch", store.branch(caller, conversation, message).await.unwrap_err()),
        ("turn", store.add_turn(caller, turn(ParentChoice::Root)).await.unwrap_err()),
        ("newest", store.add_turn(caller, turn(ParentChoice::Newest)).await.unwrap_err()),
        ("under", store.add_turn(caller, turn(ParentChoice::Message(message))).await.unwrap_err()),
        ("answer", store.add_answer(caller, answer).await.unwrap_err()),
        ("resume", store.resume_answer(caller, conversation, message).await.unwrap_err()),
        ("finish", store.finish(outcome).await.unwrap_err()),
    ]
}

pub(crate) async fn another_owner_s_rows_are_not_found(fixture: &Fixture) {
    let store = &fixture.store;
    let conversation = fixture.conversation().await;
    let done = fixture.finished_turn(&conversation, ParentChoice::Root, "secret").await.assistant;
    let writing = fixture.turn(&conversation, ParentChoice::Newest, "secret").await.assistant;
    let conversation = store.conversation(fixture.owner, conversation.id).await.unwrap();
    let before = store.messages(fixture.owner, conversation.id).await.unwrap();

    // A user with rows of their own, one without, and one who is not there at all.
    let pip = fixture.user("Pip").await.id;
    store.add_conversation(pip, NewConversation::default(), 10).await.unwrap();
    let flask = fixture.user("Flask").await.id;
    for caller in [pip, flask, UserId::from([9; 16])] {
        for message in [done.id, writing.id] {
            let theirs = answers(fixture, caller, conversation.id, message).await;
            let nothing =
                answers(fixture, caller, ConversationId::from([7; 16]), MessageId::from([7; 16])).await;
            for ((what, theirs), (_, nothing)) in theirs.iter().zip(&nothing) {
                assert!(matches!(theirs, StoreError::NotFound { .. }), "{what}: {theirs}");
                assert_eq!(theirs.to_string(), nothing.to_string(), "{what}");
            }
            let text = Progress { owner: caller, ..fixture.outcome(message, "mine").text };
            store.save_progress(vec![text]).await.unwrap();
        }
    }
    assert_eq!(store.conversation(fixture.owner, conversation.id).await.unwrap(), conversation);
    assert_eq!(store.messages(fixture.owner, conversation.id).await.unwrap(), before);
}

pub(crate) async fn a_stranger_s_conversations_are_as_if_there_were_none(fixture: &Fixture) {
    let mine = fixture.conversation().await;
    let pip = fixture.user("Pip").await.id;
    let theirs = fixture.store.add_conversation(pip, NewConversation::default(), 10).await.unwrap();
    let list = async |owner, before| {
        let page = fixture.store.conversations(owner, PageRequest { limit: 1, before }).await.unwrap();
        (page.conversations, page.next)
    };
    assert_eq!(list(fixture.owner, None).await, (vec![mine.clone()], None));
    assert_eq!(list(pip, None).await, (vec![theirs], None));
    assert_eq!(list(UserId::from([9; 16]), None).await, (Vec::<Conversation>::new(), None));

    // A place in another's list is a place in one's own.
    let second = fixture.conversation().await;
    let (first_page, next) = list(fixture.owner, None).await;
    assert_eq!(first_page, [second]);
    assert_eq!(list(pip, next).await.0.len(), 1);
    assert_eq!(list(fixture.owner, next).await, (vec![mine], None));
}

pub(crate) async fn capacity_is_each_owner_s_own(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    for owner in [fixture.owner, pip] {
        for _ in 0..2 {
            fixture.store.add_conversation(owner, NewConversation::default(), 2).await.unwrap();
        }
        let full = fixture.store.add_conversation(owner, NewConversation::default(), 2).await;
        assert!(matches!(full, Err(StoreError::Full { what: "conversations", allowed: 2, given: 3 })));
    }
}

pub(crate) async fn progress_of_many_owners_is_saved_together(fixture: &Fixture) {
    let mut others = Vec::new();
    for name in ["Pip", "Flask"] {
        let owner = fixture.user(name).await.id;
        others.push(Fixture { store: fixture.store.clone(), clock: fixture.clock.clone(), owner });
    }
    let mut written = Vec::new();
    for fixture in [fixture, &others[0], &others[1]] {
        let conversation = fixture.conversation().await;
        let id = fixture.turn(&conversation, ParentChoice::Root, "a").await.assistant.id;
        written.push((conversation.id, fixture.outcome(id, &format!("of {}", fixture.owner)).text));
    }
    fixture.store.save_progress(written.iter().map(|(_, text)| text.clone()).collect()).await.unwrap();
    for (conversation, text) in written {
        let message = fixture.store.message(text.owner, conversation, text.id).await.unwrap();
        assert_eq!((message.content, message.status), (text.content, Status::Generating));
    }
}
