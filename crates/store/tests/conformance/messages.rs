//! Messages and the tree that they are in.

use std::time::Duration;

use store::{
    Message, MessageId, NewAnswer, Outcome, ParentChoice, Progress, Role, Status, StoreError, Timing, Usage,
};

use crate::support::{Fixture, ROOMY};

pub(crate) async fn a_turn_is_two_messages_and_a_title(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    fixture.clock.advance(Duration::from_millis(50));
    let turn = fixture.turn(&conversation, ParentChoice::Newest, "krill").await;
    assert_eq!((turn.user.role, turn.user.status), (Role::User, Status::Complete));
    assert_eq!((turn.user.parent_id, turn.user.content.as_str()), (None, "krill"));
    assert_eq!((turn.assistant.role, turn.assistant.status), (Role::Assistant, Status::Generating));
    assert_eq!((turn.assistant.parent_id, turn.assistant.content.as_str()), (Some(turn.user.id), ""));
    assert_eq!(turn.assistant.model.as_deref(), Some("second"));
    assert_eq!(
        fixture.store.messages(fixture.owner, conversation.id).await.unwrap(),
        [turn.user.clone(), turn.assistant.clone()]
    );

    let touched = fixture.store.conversation(fixture.owner, conversation.id).await.unwrap();
    assert_eq!((touched.title.as_str(), touched.model.as_str()), ("about krill", "second"));
    assert_eq!(touched.updated_ms, 50);
    fixture.finish(turn.assistant.id, "yes").await;
    fixture.turn(&conversation, ParentChoice::Newest, "squid").await;
    assert_eq!(
        fixture.store.conversation(fixture.owner, conversation.id).await.unwrap().title,
        "about krill"
    );
}

pub(crate) async fn parents_are_checked(fixture: &Fixture) {
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

pub(crate) async fn branches_are_paths(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let first = fixture.finished_turn(&conversation, ParentChoice::Root, "a").await;
    let left = fixture.finished_turn(&conversation, ParentChoice::Message(first.assistant.id), "b").await;
    let right = fixture.finished_turn(&conversation, ParentChoice::Message(first.assistant.id), "c").await;
    let other_root = fixture.finished_turn(&conversation, ParentChoice::Root, "d").await;
    let ids = |messages: Vec<Message>| messages.iter().map(|message| message.id).collect::<Vec<_>>();
    for (turn, above) in [(&left, Some(&first)), (&right, Some(&first)), (&other_root, None)] {
        let mut expected = above.map_or(Vec::new(), |above| vec![above.user.id, above.assistant.id]);
        expected.extend([turn.user.id, turn.assistant.id]);
        let branch = fixture.store.branch(fixture.owner, conversation.id, turn.assistant.id).await.unwrap();
        assert_eq!(ids(branch), expected);
    }
    assert_eq!(fixture.store.messages(fixture.owner, conversation.id).await.unwrap().len(), 8);
}

pub(crate) async fn another_answer_is_a_sibling(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "a").await;
    let beside = |id| NewAnswer {
        conversation_id: conversation.id,
        beside: id,
        model: "third".to_owned(),
        limits: ROOMY,
    };
    let early = fixture.store.add_answer(fixture.owner, beside(turn.assistant.id)).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))));
    let question = fixture.store.add_answer(fixture.owner, beside(turn.user.id)).await;
    assert!(matches!(question, Err(StoreError::Conflict(_))));
    fixture.finish(turn.assistant.id, "first").await;
    let sibling = fixture.store.add_answer(fixture.owner, beside(turn.assistant.id)).await.unwrap();
    assert_eq!(sibling.parent_id, Some(turn.user.id));
    assert_eq!((sibling.status, sibling.model.as_deref()), (Status::Generating, Some("third")));
    assert_eq!(fixture.store.message(fixture.owner, conversation.id, sibling.id).await.unwrap(), sibling);
    assert_eq!(fixture.store.conversation(fixture.owner, conversation.id).await.unwrap().model, "third");
}

pub(crate) async fn progress_and_end_of_an_answer(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "a").await;
    let id = turn.assistant.id;
    let text = Progress {
        owner: fixture.owner,
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
    assert_eq!(fixture.store.message(fixture.owner, conversation.id, id).await.unwrap(), expected);

    fixture.clock.advance(Duration::from_millis(90));
    let text = Progress { content: "so far so good".to_owned(), ..text };
    let outcome = Outcome {
        text: text.clone(),
        status: Status::Failed,
        error: Some("the model broke".to_owned()),
        usage: Some(Usage { prompt_tokens: 3, completion_tokens: 5, reasoning_tokens: 2 }),
        timing: Some(Timing { queued_ms: 1, ttft_ms: Some(2), total_ms: 30 }),
        metered: None,
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
    assert_eq!(fixture.store.message(fixture.owner, conversation.id, id).await.unwrap(), expected);
    assert_eq!(fixture.store.conversation(fixture.owner, conversation.id).await.unwrap().updated_ms, 90);

    // What has ended stays as it is.
    assert!(matches!(fixture.store.finish(outcome).await, Err(StoreError::NotFound { .. })));
    let late = Progress { content: "too late".to_owned(), ..text };
    fixture.store.save_progress(vec![late]).await.unwrap();
    assert_eq!(fixture.store.message(fixture.owner, conversation.id, id).await.unwrap(), expected);
}

pub(crate) async fn what_was_cut_goes_on_in_its_place(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    let resume = |id| fixture.store.resume_answer(fixture.owner, conversation.id, id);
    let complete = fixture.finished_turn(&conversation, ParentChoice::Root, "a").await;
    for id in [complete.user.id, complete.assistant.id] {
        assert!(matches!(resume(id).await, Err(StoreError::Conflict(_))));
    }
    assert!(matches!(resume(MessageId::from([7; 16])).await, Err(StoreError::NotFound { .. })));
    for status in [Status::Interrupted, Status::Stopped, Status::Length, Status::Failed] {
        let id = fixture.turn(&conversation, ParentChoice::Root, "b").await.assistant.id;
        assert!(matches!(resume(id).await, Err(StoreError::Conflict(_))), "still being written");
        let outcome = Outcome {
            status,
            error: (status == Status::Failed).then(|| "no memory".to_owned()),
            usage: Some(Usage { prompt_tokens: 3, completion_tokens: 5, reasoning_tokens: 2 }),
            ..fixture.outcome(id, "half of")
        };
        let cut = fixture.store.finish(outcome).await.unwrap();
        fixture.clock.advance(Duration::from_millis(10));
        let resumed = resume(id).await.unwrap();
        assert_eq!(resumed, Message { status: Status::Generating, error: None, ..cut });
        assert_eq!(fixture.store.message(fixture.owner, conversation.id, id).await.unwrap(), resumed);
        assert!(matches!(resume(id).await, Err(StoreError::Conflict(_))), "it goes on already");
        let whole = fixture.finish(id, "half of it and the rest").await;
        assert_eq!((whole.status, whole.content.as_str()), (Status::Complete, "half of it and the rest"));
    }
    let cut = fixture.turn(&conversation, ParentChoice::Root, "c").await.assistant;
    let outcome = Outcome { status: Status::Stopped, ..fixture.outcome(cut.id, "half") };
    fixture.store.finish(outcome).await.unwrap();
    fixture.turn(&conversation, ParentChoice::Message(cut.id), "d").await;
    assert!(matches!(resume(cut.id).await, Err(StoreError::Conflict(_))), "it was replied to");
}

pub(crate) async fn any_text_comes_back_to_the_byte(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    for text in
        ["", "\0middle\0", "'; DROP TABLE messages; --", "抹香鲸 🐋 \u{202e}", "\r\n\t", &"x".repeat(300_000)]
    {
        let turn = fixture.turn(&conversation, ParentChoice::Root, text).await;
        fixture.finish(turn.assistant.id, text).await;
        let user = fixture.store.message(fixture.owner, conversation.id, turn.user.id).await.unwrap();
        let assistant =
            fixture.store.message(fixture.owner, conversation.id, turn.assistant.id).await.unwrap();
        assert!(user.content == text && assistant.content == text, "{text:.40?}");
    }
}

pub(crate) async fn another_conversation_s_messages_are_not_found(fixture: &Fixture) {
    let mine = fixture.conversation().await;
    let theirs = fixture.conversation().await;
    let turn = fixture.finished_turn(&theirs, ParentChoice::Root, "theirs").await;
    let id = turn.assistant.id;
    let missing = |error: StoreError| matches!(error, StoreError::NotFound { what: "message" });
    assert!(missing(fixture.store.message(fixture.owner, mine.id, id).await.unwrap_err()));
    assert!(missing(fixture.store.branch(fixture.owner, mine.id, id).await.unwrap_err()));
    assert!(missing(fixture.try_turn(&mine, ParentChoice::Message(id), "x", ROOMY).await.unwrap_err()));
    let beside = NewAnswer { conversation_id: mine.id, beside: id, model: "m".to_owned(), limits: ROOMY };
    assert!(missing(fixture.store.add_answer(fixture.owner, beside).await.unwrap_err()));
}
