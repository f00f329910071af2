//! Backups of a database in a file, and what a process that is killed in the middle of anything leaves.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Rng, SystemClock};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use store::{
    Backup, ConversationId, ConversationStore as _, Limits, MasterKeys, MessageId, MessageStore as _,
    NewConversation, NewTurn, NewUser, Outcome, ParentChoice, Progress, SqliteStore, Status, StoreError,
    StoreHealth as _, UserId, UserRole, UserStore as _, VaultStore as _,
};

const LIMITS: Limits = Limits { messages_max: 1_000_000, bytes_max: 1 << 40 };

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    let keys = MasterKeys::in_file(path.with_file_name("master.key"));
    SqliteStore::open(path, keys, Arc::new(SystemClock::new()), Rng::from_os().unwrap()).await
}

async fn owner(store: &SqliteStore) -> UserId {
    if let Some(user) = store.user_by_login("Ahab".to_owned()).await.unwrap() {
        return user.id;
    }
    store.add_user(new_user("Ahab", true)).await.unwrap().id
}

fn new_user(name: &str, first: bool) -> NewUser {
    let role = if first { UserRole::Admin } else { UserRole::User };
    NewUser { name: name.to_owned(), email: None, role, password_hash: None, first }
}

fn question(conversation_id: ConversationId, content: &str) -> NewTurn {
    NewTurn {
        conversation_id,
        parent: ParentChoice::Root,
        content: content.to_owned(),
        model: "m".to_owned(),
        title_if_none: "a title".to_owned(),
        limits: LIMITS,
    }
}

fn text(owner: UserId, id: MessageId, content: &str) -> Progress {
    Progress { owner, id, content: content.to_owned(), reasoning: None, reasoning_ms: None }
}

fn outcome(text: Progress) -> Outcome {
    Outcome { text, status: Status::Complete, error: None, usage: None, timing: None, metered: None }
}

/// Puts a backup and the master key into a folder of their own.
fn put(mut backup: Backup, master_key: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let copied = std::io::copy(&mut backup.file, &mut File::create(&path).unwrap()).unwrap();
    assert_eq!(copied, backup.bytes);
    fs::copy(master_key, folder.path().join("master.key")).unwrap();
    (folder, path)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let store = Arc::new(open(&path).await.unwrap());
    let owner = owner(&store).await;
    let conversation = store.add_conversation(owner, NewConversation::default(), u64::MAX).await.unwrap().id;
    let writing = store.add_turn(owner, question(conversation, "long")).await.unwrap().assistant.id;
    store.save_progress(vec![text(owner, writing, "so far")]).await.unwrap();

    let acknowledged: Arc<Mutex<Vec<(ConversationId, MessageId)>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |number: usize| {
        let (store, acknowledged, stop) = (Arc::clone(&store), Arc::clone(&acknowledged), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                let new = NewConversation::default();
                let conversation = store.add_conversation(owner, new, u64::MAX).await.unwrap().id;
                let content = format!("{number} {round} {}", "deep ".repeat(2000));
                let turn = store.add_turn(owner, question(conversation, &content)).await.unwrap();
                let answer = text(owner, turn.assistant.id, "an answer");
                store.finish(outcome(answer)).await.unwrap();
                acknowledged.lock().unwrap().push((conversation, turn.assistant.id));
                round += 1;
            }
        })
    };
    let writers: Vec<_> = (0..3).map(writer).collect();
    let mut sizes = Vec::new();
    for backups in 1..5 {
        while acknowledged.lock().unwrap().len() < backups * 25 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = acknowledged.lock().unwrap().clone();
        let backup = store.backup().await.unwrap();
        assert_eq!(backup.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(names(folder.path()).iter().all(|name| !name.contains("backup")));
        sizes.push(before.len());
        check(backup, &path.with_file_name("master.key"), owner, (conversation, writing), &before).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let answer = store.finish(outcome(text(owner, writing, "so far and to the end"))).await.unwrap();
    assert_eq!(answer.status, Status::Complete, "it was written on while it was copied");
}

async fn check(
    backup: Backup,
    key: &Path,
    owner: UserId,
    (conversation, writing): (ConversationId, MessageId),
    before: &[(ConversationId, MessageId)],
) {
    let (_folder, path) = put(backup, key);
    let copy = open(&path).await.unwrap();
    copy.check_integrity().await.unwrap();
    for &(conversation, answer) in before {
        let answer = copy.message(owner, conversation, answer).await.unwrap();
        assert_eq!((answer.status, answer.content.as_str()), (Status::Complete, "an answer"));
    }
    let answer = copy.message(owner, conversation, writing).await.unwrap();
    assert_eq!((answer.status, answer.content.as_str()), (Status::Interrupted, "so far"));
    // It is a database as any other.
    copy.add_conversation(owner, NewConversation::default(), u64::MAX).await.unwrap();
    copy.rotate_keys().await.unwrap();
    copy.backup().await.unwrap();
}

#[tokio::test]
async fn a_backup_that_nobody_waits_for_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let store = open(&path).await.unwrap();
    owner(&store).await;
    let names_before = names(folder.path());
    // Polled once, which begins it, and dropped.
    let mut backup = store.backup();
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(backup.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    drop(backup);
    // The next begins when the one that is left to itself has ended.
    loop {
        match store.backup().await {
            Err(StoreError::Running { what }) => assert_eq!(what, "backup"),
            made => break drop(made.unwrap()),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(names(folder.path()), names_before);
    store.close().await.unwrap();
    assert!(store.backup().await.is_err(), "closed is closed");
}

#[tokio::test]
async fn a_backup_that_can_not_be_written_says_why_and_chats_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let store = open(&path).await.unwrap();
    let owner = owner(&store).await;
    // Nothing can be written where a folder is in the way, not even by root.
    let in_the_way = folder.path().join("chats.db.draft-of-backup");
    fs::create_dir(&in_the_way).unwrap();
    let error = store.backup().await.unwrap_err();
    assert!(matches!(&error, StoreError::File { path, .. } if *path == in_the_way), "{error}");
    store.add_conversation(owner, NewConversation::default(), 10).await.unwrap();
    fs::remove_dir(&in_the_way).unwrap();
    store.backup().await.unwrap();
}

#[tokio::test]
async fn what_a_killed_backup_leaves_is_removed_by_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    owner(&open(&path).await.unwrap()).await;
    let leftovers = [
        "chats.db.draft-of-backup",
        "chats.db.draft-of-backup-journal",
        "chats.db.draft-of-restoration",
        "chats.db.draft-of-restoration-wal",
    ];
    let others = [
        "chats.db.backup",
        "chats.db.backup.mine",
        "chats.db.before-20260101-000000",
        "cachalot-2026-01-01.db",
    ];
    for name in leftovers.into_iter().chain(others) {
        fs::write(folder.path().join(name), "something").unwrap();
    }
    // The name that a restoration gave the database before it died.
    fs::hard_link(&path, folder.path().join("chats.db.before-20260102-000000")).unwrap();
    let store = open(&path).await.unwrap();
    let names = names(folder.path());
    for name in leftovers {
        assert!(!names.contains(name), "{name}");
    }
    for name in others {
        assert!(names.contains(name), "{name} is somebody's");
    }
    assert!(!names.contains("chats.db.before-20260102-000000"));
    owner(&store).await;
}

/// Set for the child of the test below: the database that it works on.
const VICTIM: &str = "CACHALOT_STORE_TEST_VICTIM";

const ROUNDS: u64 = 24;

/// The parent starts this same test as a child that writes, adds users, rotates the keys and makes backups as fast as
/// it can, kills it at a moment that nobody chose, and looks whether all that was acknowledged can be read.
#[test]
fn a_killed_rotation_or_backup_loses_nothing() {
    if let Some(path) = std::env::var_os(VICTIM) {
        victim(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let mut rng = Rng::from_seed(7);
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let after = Duration::from_micros(rng.next_u64() % 40_000);
        acknowledged.extend(kill_in_the_middle(&path, after));
        look(&path, &acknowledged);
        assert!(acknowledged.len() as u64 > round, "it comes forward");
    }
}

fn kill_in_the_middle(path: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["a_killed_rotation_or_backup_loses_nothing", "--exact", "--nocapture"])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let (said, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.split(b'\n') {
            let Ok(line) = String::from_utf8(line.unwrap()) else { continue };
            if let Some(fact) = line.strip_prefix("ack ").and_then(|fact| fact.strip_suffix(" .")) {
                said.send(fact.to_owned()).unwrap();
            }
        }
    });
    // When it has begun; then at any moment.
    let first = heard.recv().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    [first].into_iter().chain(heard).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn look(path: &Path, acknowledged: &[String]) {
    let keys = fs::read_to_string(path.with_file_name("master.key")).unwrap();
    let there: BTreeSet<u32> =
        keys.lines().map(|line| line.split_once(':').unwrap().0.parse().unwrap()).collect();
    let wrapped = generations(path).await;
    assert!(wrapped.is_subset(&there), "{wrapped:?} wrap something, and there are {there:?}");
    for name in names(path.parent().unwrap()) {
        let bytes = fs::read(path.with_file_name(&name)).unwrap();
        let plain = b"a secret of the sea";
        assert!(!bytes.windows(plain.len()).any(|window| window == plain), "in {name}");
    }

    let store = open(path).await.unwrap();
    for fact in acknowledged {
        let [user, conversation, message] = fact.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{fact:?}");
        };
        let user = user.parse().unwrap();
        let message = store.message(user, conversation.parse().unwrap(), message.parse().unwrap());
        assert_eq!(message.await.unwrap().content, "a secret of the sea");
    }
    store.check_integrity().await.unwrap();
    let keys = fs::read_to_string(path.with_file_name("master.key")).unwrap();
    assert_eq!(keys.lines().count(), 1, "it is finished");
    assert_eq!(generations(path).await.len(), 1);
    store.close().await.unwrap();
    assert_eq!(names(path.parent().unwrap()).len(), 3, "the database, its lock and the key");
}

/// Which generations wrap something.
async fn generations(path: &Path) -> BTreeSet<u32> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query("SELECT DISTINCT key_generation FROM users").fetch_all(&mut connection).await;
    connection.close().await.unwrap();
    rows.unwrap().iter().map(|row| row.get::<u32, _>(0)).collect()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn victim(path: &Path) -> ! {
    let store = open(path).await.unwrap();
    owner(&store).await;
    let write = async || {
        let mut number = store.users_count().await.unwrap();
        loop {
            let user = store.add_user(new_user(&format!("sailor {number}"), false)).await.unwrap().id;
            let new = NewConversation::default();
            let conversation = store.add_conversation(user, new, u64::MAX).await.unwrap().id;
            let turn = store.add_turn(user, question(conversation, "a secret of the sea")).await.unwrap();
            let fact = format!("ack {user} {conversation} {} .\n", turn.user.id);
            let mut out = std::io::stdout().lock();
            out.write_all(fact.as_bytes()).unwrap();
            out.flush().unwrap();
            number += 1;
        }
    };
    let keep = async || {
        loop {
            store.rotate_keys().await.unwrap();
            drop(store.backup().await.unwrap());
        }
    };
    futures_util::future::join(write(), keep()).await;
    unreachable!("both go on until they are killed")
}
