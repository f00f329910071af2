//! Many at once, calls that are dropped, and the end.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use futures_util::future::join_all;
use store::{AuditEntry, Lane, NewConversation, ParentChoice, Place, Progress, Role, Status, in_place};

use crate::support::{Fixture, ROOMY};

pub(crate) async fn a_dropped_call_is_done_whole_or_not_at_all(fixture: &Fixture) {
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
    let messages = fixture.store.messages(fixture.owner, conversation.id).await.unwrap();
    let questions: Vec<_> = messages.iter().filter(|message| message.role == Role::User).collect();
    assert_eq!(messages.len(), 2 * questions.len());
    for question in questions {
        assert_eq!(messages.iter().filter(|message| message.parent_id == Some(question.id)).count(), 1);
    }
    fixture.turn(&conversation, ParentChoice::Root, "whole").await;
}

pub(crate) async fn many_writers_at_once_meet_no_error(fixture: &Fixture) {
    let writer = |number: usize| async move {
        let conversation = fixture.conversation().await;
        for round in 0..4 {
            let turn = fixture.turn(&conversation, ParentChoice::Newest, &format!("{number}/{round}")).await;
            let id = turn.assistant.id;
            for content in ["a", "ab", "abc"] {
                let text = Progress {
                    owner: fixture.owner,
                    id,
                    content: content.to_owned(),
                    reasoning: None,
                    reasoning_ms: None,
                };
                fixture.store.save_progress(vec![text]).await.unwrap();
                fixture.store.branch(fixture.owner, conversation.id, id).await.unwrap();
            }
            fixture.finish(id, "abcd").await;
        }
        let messages = fixture.store.messages(fixture.owner, conversation.id).await.unwrap();
        assert_eq!(messages.len(), 8);
        assert!(messages.iter().all(|message| message.status == Status::Complete));
    };
    join_all((0..64).map(writer)).await;
}

pub(crate) async fn a_user_s_write_does_not_wait_for_all_of_the_strangers(fixture: &Fixture) {
    const STRANGERS: usize = 400;
    let before = fixture.store.writes_by_lane();
    let done = AtomicUsize::new(0);
    let stranger = |lane| {
        let entry = AuditEntry {
            at_ms: 1,
            user_id: None,
            by: None,
            event: "login_failed".to_owned(),
            address: "192.0.2.7".to_owned(),
            note: None,
        };
        in_place(Place { lane, caller: 5 }, async {
            fixture.store.audit(entry).await.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        })
    };
    let strangers = join_all((0..STRANGERS).map(|number| stranger(Lane::ALL[number % 4])));
    // They all wait when it comes.
    let user = async {
        let conversation = fixture.conversation().await;
        let done = done.load(Ordering::Relaxed);
        assert!(done <= 12, "{done} of {STRANGERS} were before it");
        fixture.store.delete_conversation(fixture.owner, conversation.id).await.unwrap();
    };
    tokio::join!(strangers, user);
    let after = fixture.store.writes_by_lane();
    let each = STRANGERS as u64 / 4;
    let made: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(made, [each, each, each, each + 2], "everybody's was done");
}

pub(crate) async fn closed_is_closed(fixture: &Fixture) {
    fixture.store.close().await.unwrap();
    assert!(fixture.store.ping().await.is_err());
    assert!(fixture.store.add_conversation(fixture.owner, NewConversation::default(), 10).await.is_err());
}
