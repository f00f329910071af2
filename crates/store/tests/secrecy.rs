//! What users write can't be read without the master key, and nothing happens to it when that is missing.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Rng, SystemClock};
use base64::Engine as _;
use store::{
    Archive, ArchiveStore as _, Conversation, ConversationChange, ConversationId, ConversationStore as _,
    CreditKind, CreditPageRequest, KeyChange, KeyScope, KeyStore as _, Limits, MasterKeys, Message,
    MessageId, MessageStore as _, MeterStore as _, Nanos, NewAnswer, NewArchive, NewConversation, NewCredit,
    NewKey, NewOneTimeCodes, NewPasskey, NewTurn, NewUser, OneTimeCodeStore as _, Outcome, ParentChoice,
    PasskeyBackup, PasskeyStore as _, Progress, Role, Rotation, SqliteStore, Status, StoreError, UserId,
    UserRole, UserStore as _, VaultStore as _,
};

const LIMITS: Limits = Limits { messages_max: 1000, bytes_max: 1 << 30 };

/// A folder with a database and its key, and what is in it.
struct Fixture {
    folder: tempfile::TempDir,
    owner: UserId,
    conversation: ConversationId,
    message: MessageId,
}

impl Fixture {
    fn key(&self) -> PathBuf {
        self.folder.path().join("master.key")
    }

    /// All files but the key, in an order.
    fn bytes(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension != "key"));
        files.sort();
        files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    async fn open(&self) -> Result<SqliteStore, StoreError> {
        open(self.folder.path()).await
    }
}

async fn open(folder: &Path) -> Result<SqliteStore, StoreError> {
    let keys = MasterKeys::in_file(folder.join("master.key"));
    let rng = Rng::from_os().unwrap();
    SqliteStore::open(&folder.join("chats.db"), keys, Arc::new(SystemClock::new()), rng).await
}

/// Every text that a user can write or is given to keep secret, each once through every way in which it comes in.
const TEXTS: [&str; 25] = [
    "a title given by the first question",
    "a title given by hand",
    "instructions before everything",
    "a question about whales",
    "an answer so far",
    "a thought so far",
    "the whole of the answer",
    "the whole of the thought",
    "why the answer failed",
    "a text that was deleted with its conversation",
    "a secret that one-time codes come from",
    "a recovery code that was there first",
    "a recovery code that came later",
    "a name of a passkey that was given first",
    "a name of a passkey that was given later",
    "a secret that was replaced by another",
    "a title that was brought along",
    "instructions that were brought along",
    "a question that was brought along",
    "an answer that was brought along",
    "a thought that was brought along",
    "a failure that was brought along",
    "a name of a key that was given first",
    "a name of a key that was given later",
    "why somebody was given credit",
];

/// A conversation from elsewhere, in [`TEXTS`] from the seventeenth on.
fn archive() -> Archive {
    let conversation_id = ConversationId::from([8; 16]);
    let text = |number: usize| TEXTS[number].to_owned();
    let question = Message {
        id: [8; 16].into(),
        conversation_id,
        parent_id: None,
        role: Role::User,
        status: Status::Complete,
        content: text(18),
        reasoning: None,
        reasoning_ms: None,
        error: None,
        model: None,
        created_ms: 0,
        usage: None,
        timing: None,
    };
    let answer = Message {
        id: [9; 16].into(),
        parent_id: Some(question.id),
        role: Role::Assistant,
        content: text(19),
        reasoning: Some(text(20)),
        error: Some(text(21)),
        ..question.clone()
    };
    let conversation = Conversation {
        id: conversation_id,
        title: text(16),
        model: "m".to_owned(),
        system: Some(text(17)),
        created_ms: 0,
        updated_ms: 0,
    };
    Archive { conversation, messages: vec![question, answer] }
}

async fn written() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let first = NewUser {
        name: "Ahab".to_owned(),
        email: None,
        role: UserRole::Admin,
        password_hash: None,
        first: true,
    };
    let owner = store.add_user(first).await.unwrap().id;
    let add = || store.add_conversation(owner, NewConversation::default(), 10);
    let turn = |conversation_id, content: &str, title: &str| NewTurn {
        conversation_id,
        parent: ParentChoice::Root,
        content: content.to_owned(),
        model: "m".to_owned(),
        title_if_none: title.to_owned(),
        limits: LIMITS,
    };
    let gone = add().await.unwrap().id;
    store.add_turn(owner, turn(gone, TEXTS[9], TEXTS[9])).await.unwrap();
    store.delete_conversation(owner, gone).await.unwrap();

    let new = NewArchive { archive: archive(), conversations_max: 10, limits: LIMITS };
    store.add_archive(owner, new).await.unwrap();

    let conversation = add().await.unwrap().id;
    let turn = store.add_turn(owner, turn(conversation, TEXTS[3], TEXTS[0])).await.unwrap();
    let text = |id, content: &str, reasoning: &str| Progress {
        owner,
        id,
        content: content.to_owned(),
        reasoning: Some(reasoning.to_owned()),
        reasoning_ms: None,
    };
    let id = turn.assistant.id;
    store.save_progress(vec![text(id, TEXTS[4], TEXTS[5])]).await.unwrap();
    let outcome = Outcome {
        text: text(id, TEXTS[6], TEXTS[7]),
        status: Status::Failed,
        error: Some(TEXTS[8].to_owned()),
        usage: None,
        timing: None,
        metered: None,
    };
    store.finish(outcome).await.unwrap();
    let beside =
        NewAnswer { conversation_id: conversation, beside: id, model: "m".to_owned(), limits: LIMITS };
    let writing = store.add_answer(owner, beside).await.unwrap().id;
    store.save_progress(vec![text(writing, TEXTS[4], TEXTS[5])]).await.unwrap();
    let change = ConversationChange {
        title: Some(TEXTS[1].to_owned()),
        system: Some(Some(TEXTS[2].to_owned())),
        model: None,
    };
    store.change_conversation(owner, conversation, change).await.unwrap();
    write_factors(&store, owner).await;
    write_key_and_credit(&store, owner).await;
    let fixture = Fixture { folder, owner, conversation, message: id };
    assert_nothing_is_plain(&fixture, "while it is open");
    drop(store);
    fixture
}

async fn write_factors(store: &SqliteStore, owner: UserId) {
    let codes = |secret: &str| NewOneTimeCodes {
        secret: secret.to_owned().into(),
        step: 1,
        recovery_codes: vec![TEXTS[11].to_owned()],
    };
    store.set_one_time_codes(owner, codes(TEXTS[15])).await.unwrap();
    store.set_one_time_codes(owner, codes(TEXTS[10])).await.unwrap();
    store.set_recovery_codes(owner, vec![TEXTS[11].to_owned(), TEXTS[12].to_owned()]).await.unwrap();
    assert!(store.take_recovery_code(owner, TEXTS[11].to_owned()).await.unwrap());
    let passkey = NewPasskey {
        credential_id: vec![1],
        public_key: vec![2],
        sign_count: 0,
        backup: PasskeyBackup::Never,
        transports: 0,
        name: TEXTS[13].to_owned(),
    };
    let id = store.add_passkey(owner, passkey, 10).await.unwrap().id;
    store.rename_passkey(owner, id, TEXTS[14].to_owned()).await.unwrap();
}

async fn write_key_and_credit(store: &SqliteStore, owner: UserId) {
    let new = NewKey {
        id: [1; 16].into(),
        user: owner,
        name: TEXTS[22].to_owned(),
        start: "sk-cachalot-A".to_owned(),
        hash: [2; 32],
        created_ms: 0,
        expires_ms: None,
        scope: KeyScope::default(),
    };
    let id = store.add_key(new, 10).await.unwrap().id;
    let change = KeyChange { name: Some(TEXTS[23].to_owned()), ..KeyChange::default() };
    store.change_key(owner, id, change).await.unwrap();
    let credit = NewCredit {
        user: owner,
        kind: CreditKind::Grant,
        amount: Nanos(5),
        by: None,
        note: TEXTS[24].to_owned(),
        at_ms: 0,
    };
    store.add_credit(credit).await.unwrap();
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn assert_nothing_is_plain(fixture: &Fixture, when: &str) {
    let files = fixture.bytes();
    // What is not sealed is found, so what is would be.
    assert!(files.iter().any(|(_, bytes)| holds(bytes, "Ahab")));
    for (path, bytes) in files {
        for text in TEXTS {
            assert!(!holds(&bytes, text), "{text:?} in {} {when}", path.display());
        }
    }
}

async fn assert_texts_are_there(fixture: &Fixture) {
    assert_texts_are_in(&fixture.open().await.unwrap(), fixture).await;
}

async fn assert_texts_are_in(store: &SqliteStore, fixture: &Fixture) {
    let conversation = store.conversation(fixture.owner, fixture.conversation).await.unwrap();
    assert_eq!((conversation.title.as_str(), conversation.system.as_deref()), (TEXTS[1], Some(TEXTS[2])));
    let message = store.message(fixture.owner, fixture.conversation, fixture.message).await.unwrap();
    assert_eq!((message.content.as_str(), message.reasoning.as_deref()), (TEXTS[6], Some(TEXTS[7])));
    assert_eq!(message.error.as_deref(), Some(TEXTS[8]));
    let codes = store.one_time_codes(fixture.owner).await.unwrap().unwrap();
    assert_eq!((codes.secret.as_str(), codes.recovery_codes_left), (TEXTS[10], 1));
    assert_eq!(store.passkeys(fixture.owner).await.unwrap()[0].name, TEXTS[14]);
    assert_eq!(store.keys(fixture.owner).await.unwrap()[0].name, TEXTS[23]);
    let credits = CreditPageRequest { user: fixture.owner, before: None, limit: 1 };
    assert_eq!(store.credits(credits).await.unwrap().credits[0].note, TEXTS[24]);
    let brought = archive();
    assert_eq!(store.archive(fixture.owner, brought.conversation.id).await.unwrap(), brought);
}

#[tokio::test]
async fn no_text_stands_in_the_database_or_its_log() {
    let fixture = written().await;
    assert_nothing_is_plain(&fixture, "after it was dropped");
    assert_texts_are_there(&fixture).await;
    assert_nothing_is_plain(&fixture, "after it was read");
}

#[tokio::test]
async fn no_text_and_no_master_key_stands_in_a_backup() {
    let fixture = written().await;
    let store = fixture.open().await.unwrap();
    let mut backup = store.backup().await.unwrap();
    let mut bytes = Vec::new();
    backup.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, backup.bytes);
    assert!(holds(&bytes, "Ahab"), "what is not sealed is found, so what is would be");
    for text in TEXTS {
        assert!(!holds(&bytes, text), "{text:?} in the backup");
    }
    let key = fs::read_to_string(fixture.key()).unwrap();
    let key = key.trim().strip_prefix("1:").unwrap();
    assert!(!holds(&bytes, key));
    let raw = base64::engine::general_purpose::STANDARD.decode(key).unwrap();
    assert!(!bytes.windows(raw.len()).any(|window| window == raw));
    assert_nothing_is_plain(&fixture, "after a backup");
}

/// Whoever has the backup needs the key too, and without it nothing happens to the backup.
#[tokio::test]
async fn a_backup_opens_with_the_master_key_of_its_time_only() {
    let fixture = written().await;
    let store = fixture.open().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("chats.db");
    let mut backup = store.backup().await.unwrap();
    std::io::copy(&mut backup.file, &mut fs::File::create(&path).unwrap()).unwrap();
    store.rotate_keys().await.unwrap();
    let before = fs::read(&path).unwrap();
    let key = elsewhere.path().join("master.key");
    assert!(matches!(open(elsewhere.path()).await, Err(StoreError::KeyMissing { .. })));
    fs::copy(fixture.key(), &key).unwrap();
    let error = open(elsewhere.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyWrong { generation: 1, .. }), "{error}");
    assert!(fs::read(&path).unwrap() == before, "something was changed");
}

#[tokio::test]
async fn keys_from_outside_open_as_those_of_a_file_do_and_are_rotated_to_the_newest_given() {
    let fixture = written().await;
    let one = fs::read_to_string(fixture.key()).unwrap().trim().to_owned();
    fs::remove_file(fixture.key()).unwrap();
    let two = format!("2:{}=", "A".repeat(43));
    let open = async |text: &str| {
        let keys = MasterKeys::from_text("$KEY", text);
        let clock = Arc::new(SystemClock::new());
        let path = fixture.folder.path().join("chats.db");
        SqliteStore::open(&path, keys, clock, Rng::from_os().unwrap()).await
    };
    let store = open(&one).await.unwrap();
    assert_texts_are_in(&store, &fixture).await;
    assert!(matches!(store.rotate_keys().await, Err(StoreError::Conflict(_))), "there is no newer one");
    drop(store);
    let error = open(&two).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyWrong { generation: 1, .. }), "{error}");
    assert!(error.to_string().contains("$KEY"), "{error}");

    let store = open(&format!("{two},{one}")).await.unwrap();
    let rotation = store.rotate_keys().await.unwrap();
    assert_eq!(rotation, Rotation { generation: 2, rewrapped: 1, removable: vec![1] });
    let again = store.rotate_keys().await.unwrap();
    assert_eq!(again, Rotation { generation: 2, rewrapped: 0, removable: vec![1] });
    drop(store);
    assert_texts_are_in(&open(&two).await.unwrap(), &fixture).await;
    assert!(matches!(open(&one).await, Err(StoreError::KeyWrong { generation: 2, .. })));
    assert!(!fixture.key().exists(), "no file is made where keys come from outside");
}

/// The key file is made into something else; opening must fail as expected and leave every byte as it was, and with
/// the key back everything must be there.
async fn check_refused(damage: impl Fn(&Path), expected: impl Fn(&StoreError) -> bool) {
    let fixture = written().await;
    // The log is written back as the last connection closes, so that opening has nothing else to do.
    store::StoreHealth::close(&fixture.open().await.unwrap()).await.unwrap();
    let key = fs::read(fixture.key()).unwrap();
    let before = fixture.bytes();
    damage(&fixture.key());
    let damaged = fs::read(fixture.key()).ok();
    let error = fixture.open().await.unwrap_err();
    assert!(expected(&error), "{error}");
    assert!(error.to_string().contains("master.key"), "{error}");
    assert!(fixture.bytes() == before, "something was changed: {error}");
    assert_eq!(fs::read(fixture.key()).ok(), damaged, "the key's file is left alone too");

    let _ = fs::remove_file(fixture.key());
    fs::write(fixture.key(), key).unwrap();
    fs::set_permissions(fixture.key(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_texts_are_there(&fixture).await;
}

#[tokio::test]
async fn without_its_key_a_database_is_not_opened() {
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    check_refused(remove, |error| matches!(error, StoreError::KeyMissing { .. })).await;
}

#[tokio::test]
async fn with_a_wrong_key_a_database_is_not_opened() {
    let other = |generation: u32| {
        move |path: &Path| fs::write(path, format!("{generation}:{}=\n", "A".repeat(43))).unwrap()
    };
    check_refused(other(1), |error| matches!(error, StoreError::KeyWrong { generation: 1, .. })).await;
    check_refused(other(2), |error| matches!(error, StoreError::KeyWrong { generation: 1, .. })).await;
}

#[tokio::test]
async fn with_a_file_that_is_no_key_or_no_secret_a_database_is_not_opened() {
    let scribble = |path: &Path| fs::write(path, "not a key").unwrap();
    check_refused(scribble, |error| matches!(error, StoreError::KeyUnusable { .. })).await;
    let show = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    check_refused(show, |error| matches!(error, StoreError::KeyExposed { mode: 0o644, .. })).await;
}

#[tokio::test]
async fn a_database_without_users_gets_a_new_key() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).await.unwrap());
    fs::remove_file(folder.path().join("master.key")).unwrap();
    drop(open(folder.path()).await.unwrap());
    assert!(folder.path().join("master.key").exists());
}

#[tokio::test]
async fn keys_are_wrapped_anew_under_the_newest_master_and_the_old_one_opens_nothing() {
    let fixture = written().await;
    let old = fs::read_to_string(fixture.key()).unwrap();
    let store = fixture.open().await.unwrap();
    let rotation = store.rotate_keys().await.unwrap();
    assert_eq!(rotation, Rotation { generation: 2, rewrapped: 1, removable: vec![] });
    assert_eq!(store.user(fixture.owner).await.unwrap().key_generation, 2);
    assert_texts_are_in(&store, &fixture).await;
    drop(store);
    assert_texts_are_there(&fixture).await;
    assert_nothing_is_plain(&fixture, "after a rotation");
    let new = fs::read_to_string(fixture.key()).unwrap();
    assert!(new.starts_with("2:") && new.lines().count() == 1 && new != old, "{} lines", new.lines().count());
    fs::write(fixture.key(), &old).unwrap();
    assert!(matches!(fixture.open().await, Err(StoreError::KeyWrong { generation: 2, .. })));
    fs::write(fixture.key(), &new).unwrap();
    assert_texts_are_there(&fixture).await;
}
