//! A rotation that stops anywhere loses nothing, and is finished by the next opening or the next call.

use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use base::{Rng, SystemClock};
use sqlx::{ConnectOptions as _, Row as _};
use tempfile::TempDir;

use super::*;
use crate::sqlite::options;
use crate::{
    ConversationId, ConversationStore as _, Limits, MessageStore as _, NewConversation, NewTurn, NewUser,
    ParentChoice, UserId, UserRole, UserStore as _, VaultStore as _,
};

/// A database with some users, each of whom has written something.
struct Ship {
    folder: TempDir,
    crew: Vec<(UserId, ConversationId)>,
}

const TEXT: &str = "what a sailor wrote";

fn new(name: String, first: bool) -> NewUser {
    let role = if first { UserRole::Admin } else { UserRole::User };
    NewUser { name, email: None, role, password_hash: None, first }
}

impl Ship {
    async fn with(sailors: usize) -> Self {
        let mut ship = Self { folder: tempfile::tempdir().unwrap(), crew: Vec::new() };
        let store = ship.open().await;
        for number in 0..sailors {
            ship.hire(&store, number).await;
        }
        ship
    }

    async fn hire(&mut self, store: &SqliteStore, number: usize) {
        let owner = store.add_user(new(format!("sailor {number}"), number == 0)).await.unwrap().id;
        let new = NewConversation { model: "m".to_owned() };
        let conversation_id = store.add_conversation(owner, new, 10).await.unwrap().id;
        let turn = NewTurn {
            conversation_id,
            parent: ParentChoice::Root,
            content: TEXT.to_owned(),
            model: "m".to_owned(),
            title_if_none: TEXT.to_owned(),
            limits: Limits { messages_max: 10, bytes_max: 1 << 20 },
        };
        store.add_turn(owner, turn).await.unwrap();
        self.crew.push((owner, conversation_id));
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("chats.db")
    }

    /// Opens it, when what goes on in the background of one that was dropped has ended.
    async fn open(&self) -> SqliteStore {
        loop {
            let keys = MasterKeys::in_file(self.folder.path().join("master.key"));
            let rng = Rng::from_os().unwrap();
            match SqliteStore::open(&self.path(), keys, Arc::new(SystemClock::new()), rng).await {
                Err(StoreError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                opened => return opened.unwrap(),
            }
        }
    }

    /// Every text can be read with keys that are read from the database anew.
    async fn assert_all_is_there(&self, store: &SqliteStore) {
        for &(owner, conversation) in &self.crew {
            store.sealer.forget(owner);
            let found = store.conversation(owner, conversation).await.unwrap();
            assert_eq!(found.title, TEXT);
        }
    }

    fn generations_on_disk(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.folder.path().join("master.key")).unwrap();
        text.lines().map(|line| line.split_once(':').unwrap().0.parse().unwrap()).collect()
    }

    /// What is wrapped can be unwrapped by the keys on disk.
    async fn assert_no_key_is_missing(&self) {
        let there = self.generations_on_disk();
        for generation in generations_of(&self.path()).await {
            assert!(there.contains(&generation), "{generation} wraps something, and there are {there:?}");
        }
    }

    /// All are wrapped by the one key that is left.
    async fn assert_finished(&self, generation: u32) {
        assert_eq!(self.generations_on_disk(), [generation]);
        assert_eq!(generations_of(&self.path()).await, [generation]);
        assert!(!self.folder.path().join("master.key.new").exists());
    }
}

async fn generations_of(path: &Path) -> Vec<u32> {
    let mut connection = options().filename(path).connect().await.unwrap();
    let rows = sqlx::query(
        "SELECT key_generation FROM users UNION SELECT key_generation FROM first_user ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    rows.iter().map(|row| row.get::<u32, _>(0)).collect()
}

/// As many steps of a rotation as a process does that dies after them.
async fn some_steps(store: &SqliteStore, steps: usize) {
    let mut rng = store.sealer.fork_rng();
    if steps > 0 {
        let masters = store.keys.with_newer(&store.sealer.masters(), &mut rng).unwrap();
        if steps > 1 {
            store.sealer.set_masters(masters);
        }
    }
    // 250 users are three batches, and a fourth look finds none.
    for batch in 0..4 {
        if steps > 2 + batch {
            assert_eq!(rewrap_some(&store.writer, &store.sealer).await.unwrap(), [100, 100, 50, 0][batch]);
        }
    }
    if steps > 6 {
        empty_log(&store.writer).await.unwrap();
    }
    if steps > 7 {
        store.keys.without_older(&store.sealer.masters()).unwrap();
    }
}

#[tokio::test]
async fn a_rotation_that_stops_after_any_step_is_finished_by_the_next_opening() {
    let mut ship = Ship::with(250).await;
    let mut generation = 1;
    for steps in 0..9 {
        let store = ship.open().await;
        some_steps(&store, steps).await;
        if steps > 0 {
            generation += 1;
        }
        ship.assert_all_is_there(&store).await;
        drop(store);
        ship.assert_no_key_is_missing().await;
        let store = ship.open().await;
        ship.assert_finished(generation).await;
        ship.assert_all_is_there(&store).await;
    }
    let store = ship.open().await;
    ship.hire(&store, 250).await;
    drop(store);
    ship.assert_finished(generation).await;
}

#[tokio::test]
async fn a_rotation_that_stops_after_any_step_is_finished_by_the_next_call() {
    let mut ship = Ship::with(250).await;
    let mut generation = 1;
    let mut store = ship.open().await;
    for steps in 0..9 {
        some_steps(&store, steps).await;
        // Whoever comes now is wrapped by whichever is the newest; the deletion keeps the number of batches.
        ship.hire(&store, 250 + steps).await;
        let (leaver, _) = ship.crew.remove(1);
        store.delete_user(leaver).await.unwrap();
        let rotation = store.rotate_keys().await.unwrap();
        // After the last step there is nothing to finish, and the next is another one.
        generation += if steps == 8 { 2 } else { 1 };
        assert_eq!(rotation.generation, generation, "after {steps} steps");
        ship.assert_finished(generation).await;
        ship.assert_all_is_there(&store).await;
        drop(store);
        store = ship.open().await;
        ship.assert_all_is_there(&store).await;
    }
}

/// Drops a future when it has had to wait so many times.
async fn dropped_after<T>(waits: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut waited = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_rotation_that_is_dropped_at_any_await_loses_nothing() {
    let ship = Ship::with(3).await;
    for waits in 0.. {
        let store = ship.open().await;
        let rotated = dropped_after(waits, store.rotate_keys()).await;
        ship.assert_all_is_there(&store).await;
        if waits % 2 == 0 {
            drop(store);
        } else {
            // What still goes on in the background is waited for by the turn that it holds.
            let rotation = loop {
                match store.rotate_keys().await {
                    Err(StoreError::Running { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                    done => break done.unwrap(),
                }
            };
            ship.assert_finished(rotation.generation).await;
            ship.assert_all_is_there(&store).await;
            drop(store);
        }
        ship.assert_no_key_is_missing().await;
        let store = ship.open().await;
        ship.assert_finished(*ship.generations_on_disk().last().unwrap()).await;
        ship.assert_all_is_there(&store).await;
        if rotated.is_some() {
            assert!(waits > 5, "it waits for every statement: {waits}");
            return;
        }
    }
}

#[tokio::test]
async fn a_key_file_that_was_being_written_is_in_nobody_s_way() {
    let ship = Ship::with(3).await;
    let (key, draft) = (ship.folder.path().join("master.key"), ship.folder.path().join("master.key.new"));
    let whole = fs::read_to_string(&key).unwrap();
    let both = format!("2:{}=\n{whole}", "A".repeat(43));
    for length in (0..=both.len()).step_by(7) {
        fs::write(&draft, &both[..length]).unwrap();
        let store = ship.open().await;
        ship.assert_all_is_there(&store).await;
        drop(store);
        ship.assert_finished(1).await;
        assert_eq!(fs::read_to_string(&key).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_key_that_waits_for_the_first_user_is_rotated_too() {
    let ship = Ship::with(0).await;
    let store = ship.open().await;
    let id: UserId = store.ids.next();
    let (_, wrapped) = store.sealer.new_key(id).unwrap();
    sqlx::query("INSERT INTO first_user (one, id, wrapped_key, key_generation) VALUES (1, ?, ?, 1)")
        .bind(id.to_string())
        .bind(wrapped.bytes)
        .execute(&store.writer)
        .await
        .unwrap();
    let rotation = store.rotate_keys().await.unwrap();
    assert_eq!((rotation.generation, rotation.rewrapped), (2, 1));
    drop(store);
    ship.assert_finished(2).await;
    let store = ship.open().await;
    let first = store.add_user(new("Ahab".to_owned(), true)).await.unwrap();
    assert_eq!((first.id, first.key_generation), (id, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_read_while_they_are_rotated() {
    let ship = Arc::new(Ship::with(3).await);
    let store = Arc::new(ship.open().await);
    let reading = {
        let (ship, store) = (Arc::clone(&ship), Arc::clone(&store));
        tokio::spawn(async move {
            loop {
                ship.assert_all_is_there(&store).await;
            }
        })
    };
    for generation in 2..32 {
        assert_eq!(store.rotate_keys().await.unwrap().generation, generation);
    }
    assert!(!reading.is_finished(), "{:?}", reading.await);
    reading.abort();
}

#[tokio::test]
async fn what_the_old_key_opens_is_nowhere_afterwards() {
    let ship = Ship::with(3).await;
    let store = ship.open().await;
    let wrapped: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT wrapped_key FROM users").fetch_all(&store.readers).await.unwrap();
    let found = || {
        let files =
            fs::read_dir(ship.folder.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let files: Vec<_> = files.collect();
        wrapped
            .iter()
            .filter(|key| files.iter().any(|bytes| bytes.windows(key.len()).any(|window| window == **key)))
            .count()
    };
    assert_eq!(found(), 3);
    store.rotate_keys().await.unwrap();
    assert_eq!(found(), 0);
}

#[tokio::test]
async fn a_user_s_key_that_no_master_opens_stops_the_rotation_and_not_the_others() {
    let ship = Ship::with(3).await;
    let store = ship.open().await;
    let (damaged, _) = ship.crew[1];
    sqlx::query("UPDATE users SET wrapped_key = zeroblob(60) WHERE id = ?")
        .bind(damaged.to_string())
        .execute(&store.writer)
        .await
        .unwrap();
    let error = store.rotate_keys().await.unwrap_err();
    assert!(matches!(error, StoreError::KeyWrong { generation: 1, .. }), "{error}");
    drop(store);
    let store = ship.open().await;
    assert_eq!(ship.generations_on_disk(), [2, 1], "the old one still wraps something");
    let (owner, conversation) = ship.crew[0];
    assert_eq!(store.conversation(owner, conversation).await.unwrap().title, TEXT);
}

#[tokio::test]
async fn backups_and_rotations_do_not_mix() {
    let ship = Ship::with(3).await;
    let store = ship.open().await;
    let permit = store.vault.take("backup").unwrap();
    assert!(matches!(store.rotate_keys().await, Err(StoreError::Running { what: "backup" })));
    drop(permit);
    let permit = store.vault.take("rotation of keys").unwrap();
    assert!(matches!(store.backup().await, Err(StoreError::Running { what: "rotation of keys" })));
    drop(permit);
    let backup = store.backup().await.unwrap();
    assert!(matches!(store.backup().await, Err(StoreError::Running { what: "backup" })));
    // Whoever takes a backup slowly holds up nothing else.
    store.rotate_keys().await.unwrap();
    drop(backup);
    store.backup().await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_read_before_is_unwrapped_before_its_master_goes() {
    let ship = Ship::with(1).await;
    let store = ship.open().await;
    let (owner, _) = ship.crew[0];
    // Somebody has read it and comes to unwrap it late.
    let reading = store.unwrapping.read().await;
    let row = sqlx::query("SELECT wrapped_key, key_generation FROM users").fetch_one(&store.readers).await;
    let wrapped = wrapped_key(&row.unwrap()).unwrap();
    let late = async {
        while ship.generations_on_disk() != [2] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..20 {
            store.sealer.unwrap(owner, &wrapped).unwrap();
            sqlx::query("SELECT 1").execute(&store.readers).await.unwrap();
        }
        drop(reading);
    };
    let (rotation, ()) = tokio::join!(store.rotate_keys(), late);
    assert_eq!(rotation.unwrap().generation, 2);
    assert!(matches!(store.sealer.unwrap(owner, &wrapped), Err(StoreError::KeyWrong { generation: 1, .. })));

    // Nor does anybody begin while a master is being taken away.
    store.sealer.forget(owner);
    let alone = store.unwrapping.write().await;
    let others = async {
        for _ in 0..20 {
            sqlx::query("SELECT 1").execute(&store.readers).await.unwrap();
        }
    };
    tokio::select! {
        key = store.key(owner) => panic!("it did not wait: {key:?}"),
        () = others => {}
    }
    drop(alone);
    store.key(owner).await.unwrap().unwrap();
}
