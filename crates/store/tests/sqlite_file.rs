//! What only a database in a file has: privacy, one owner, and survival.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base::{Rng, SystemClock};
use store::{
    ConversationStore as _, Limits, MasterKeys, MessageStore as _, NewConversation, NewTurn, NewUser,
    Outcome, PageRequest, ParentChoice, Progress, SqliteStore, Status, StoreError, StoreHealth as _, UserId,
    UserRole, UserStore as _,
};

const LIMITS: Limits = Limits { messages_max: 1_000_000, bytes_max: 1 << 40 };

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    let keys = MasterKeys::in_file(path.with_file_name("master.key"));
    SqliteStore::open(path, keys, Arc::new(SystemClock::new()), Rng::from_os().unwrap()).await
}

/// The only user of the store, made if there is none yet.
async fn owner(store: &SqliteStore) -> UserId {
    if let Some(user) = store.user_by_login("Ahab".to_owned()).await.unwrap() {
        return user.id;
    }
    let first = NewUser {
        name: "Ahab".to_owned(),
        email: None,
        role: UserRole::Admin,
        password_hash: None,
        first: true,
    };
    store.add_user(first).await.unwrap().id
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("made/by/us");
    let path = home.join("chats.db");
    let store = open(&path).await.unwrap();
    store.add_conversation(owner(&store).await, NewConversation::default(), 10).await.unwrap();
    assert_eq!(mode(&home), 0o700);
    let files: Vec<PathBuf> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4, "the database, its log, its lock and the master key: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_file_that_others_could_read_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    open(&path).await.unwrap().close().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let first = open(&path).await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("chats.db"), "{error}");
    drop(first);
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("file");
    std::fs::write(&blocker, "").unwrap();
    let error = open(&blocker.join("chats.db")).await.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn what_was_left_generating_is_interrupted_and_keeps_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let store = open(&path).await.unwrap();
    let owner = owner(&store).await;
    let conversation = store.add_conversation(owner, NewConversation::default(), 10).await.unwrap().id;
    let turn = store.add_turn(owner, question(conversation, "how deep?")).await.unwrap();
    let text = Progress {
        owner,
        id: turn.assistant.id,
        content: "two kilo".to_owned(),
        reasoning: Some("deep".to_owned()),
        reasoning_ms: Some(5),
    };
    store.save_progress(vec![text]).await.unwrap();
    drop(store);
    let answer = open(&path).await.unwrap().message(owner, conversation, turn.assistant.id).await.unwrap();
    assert_eq!(answer.status, Status::Interrupted);
    assert_eq!((answer.content.as_str(), answer.reasoning.as_deref()), ("two kilo", Some("deep")));
}

fn question(conversation_id: store::ConversationId, content: &str) -> NewTurn {
    NewTurn {
        conversation_id,
        parent: ParentChoice::Root,
        content: content.to_owned(),
        model: "m".to_owned(),
        title_if_none: content.to_owned(),
        limits: LIMITS,
    }
}

/// Set for the child of the test below: the database that it writes to.
const VICTIM: &str = "CACHALOT_STORE_TEST_VICTIM";

/// The parent starts this same test as a child that writes as fast as it can and says what was acknowledged, kills
/// it in the middle, and looks whether all of that is there.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(path) = std::env::var_os(VICTIM) {
        victim(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    for round in 0_u64..6 {
        let acknowledged = kill_in_the_middle(&path, 5 + 17 * round as usize);
        look(&path, &acknowledged);
    }
}

fn kill_in_the_middle(path: &Path, after_lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["what_was_acknowledged_survives_kill_9", "--exact", "--nocapture"])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The kill may cut the last line: it was then not acknowledged.
        if let Some(fact) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("ack ")) {
            acknowledged.push(fact.to_owned());
        }
        if acknowledged.len() == after_lines {
            child.kill().unwrap();
        }
        line.clear();
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= after_lines, "the child ended by itself after {acknowledged:?}");
    acknowledged
}

#[tokio::main(flavor = "current_thread")]
async fn look(path: &Path, acknowledged: &[String]) {
    let store = open(path).await.unwrap();
    let owner = owner(&store).await;
    let mut complete = 0;
    for fact in acknowledged {
        let [conversation, message, status, content] = fact.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{fact:?}");
        };
        let found =
            store.message(owner, conversation.parse().unwrap(), message.parse().unwrap()).await.unwrap();
        match status {
            "complete" => {
                assert_eq!((found.status, found.content.as_str()), (Status::Complete, content));
                complete += 1;
            }
            "progress" => assert!(found.content.len() >= content.len() && found.content.starts_with(content)),
            other => panic!("{other}"),
        }
        assert_ne!(found.status, Status::Generating);
    }
    assert!(complete > 0);
    // No conversation is there with half a turn.
    let page = store.conversations(owner, PageRequest { limit: 1000, before: None }).await.unwrap();
    for conversation in page.conversations {
        assert_eq!(store.messages(owner, conversation.id).await.unwrap().len() % 2, 0);
    }
    store.check_integrity().await.unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn victim(path: &Path) -> ! {
    let store = open(path).await.unwrap();
    let owner = owner(&store).await;
    let say = |fact: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("ack {fact}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    loop {
        let conversation =
            store.add_conversation(owner, NewConversation::default(), u64::MAX).await.unwrap().id;
        let turn = store.add_turn(owner, question(conversation, "question")).await.unwrap();
        say(format!("{conversation} {} complete question", turn.user.id));
        let id = turn.assistant.id;
        let text = |content: &str| Progress {
            owner,
            id,
            content: content.to_owned(),
            reasoning: None,
            reasoning_ms: None,
        };
        for content in ["a", "ab", "abc"] {
            store.save_progress(vec![text(content)]).await.unwrap();
            say(format!("{conversation} {id} progress {content}"));
        }
        let outcome = Outcome {
            text: text("abcd"),
            status: Status::Complete,
            error: None,
            usage: None,
            timing: None,
            metered: None,
        };
        store.finish(outcome).await.unwrap();
        say(format!("{conversation} {id} complete abcd"));
    }
}
