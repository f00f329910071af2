//! The rotation of master keys. Backups are a matter of files: see `tests/vault.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use store::{ParentChoice, StoreError, UserPageRequest};

use crate::support::{Fixture, new_user};

async fn generations(fixture: &Fixture) -> Vec<u32> {
    let page = fixture.store.users(UserPageRequest { limit: 1000, after: None }).await.unwrap();
    page.users.into_iter().map(|user| user.key_generation).collect()
}

pub(crate) async fn a_rotation_wraps_everything_under_a_new_generation(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    fixture.finished_turn(&conversation, ParentChoice::Root, "before").await;
    // More than are wrapped at once.
    for number in 0..120 {
        fixture.user(&format!("sailor {number}")).await;
    }
    for generation in 2..5 {
        let rotation = fixture.store.rotate_keys().await.unwrap();
        assert_eq!((rotation.generation, rotation.rewrapped), (generation, 121));
        assert_eq!(rotation.removable, []);
        assert_eq!(generations(fixture).await, vec![generation; 121]);
        let messages = fixture.store.messages(fixture.owner, conversation.id).await.unwrap();
        assert_eq!(messages[0].content, "before");
    }
    let later = fixture.user("Pip").await;
    assert_eq!(later.key_generation, 4);
}

pub(crate) async fn people_come_and_chats_go_on_while_keys_are_rotated(fixture: &Fixture) {
    let rotated = AtomicBool::new(false);
    let rotating = async {
        for _ in 0..8 {
            fixture.store.rotate_keys().await.unwrap();
        }
        rotated.store(true, Ordering::Relaxed);
    };
    let busy = |number: usize| {
        let rotated = &rotated;
        async move {
            let mut round = 0;
            while !rotated.load(Ordering::Relaxed) {
                let new = new_user(&format!("sailor {number} {round}"));
                let owner = fixture.store.add_user(new).await.unwrap().id;
                let theirs = Fixture { store: fixture.store.clone(), clock: fixture.clock.clone(), owner };
                let conversation = theirs.conversation().await;
                theirs.finished_turn(&conversation, ParentChoice::Root, "while it was rotated").await;
                let messages = theirs.store.messages(owner, conversation.id).await.unwrap();
                assert_eq!(messages[0].content, "while it was rotated");
                round += 1;
            }
        }
    };
    join(rotating, join_all((0..4).map(busy))).await;
    let generations = generations(fixture).await;
    assert!(generations.len() > 4 && generations.iter().all(|&generation| generation == 9));
}

pub(crate) async fn one_rotation_at_a_time(fixture: &Fixture) {
    let both = join(fixture.store.rotate_keys(), fixture.store.rotate_keys()).await;
    assert_eq!(both.0.unwrap().generation, 2);
    assert!(matches!(both.1, Err(StoreError::Running { what: "rotation of keys" })), "{:?}", both.1);
    assert_eq!(fixture.store.rotate_keys().await.unwrap().generation, 3);
}
