//! A backup takes the place of a database: checked before anything is moved, and whole or not at all.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base::{Rng, SystemClock};
use sqlx::{ConnectOptions as _, Connection as _};
use store::{
    Contents, ConversationStore as _, MasterKeys, NewConversation, NewUser, PageRequest, Restore,
    SqliteStore, StoreError, StoreHealth as _, UserId, UserRole, UserStore as _, VaultStore as _,
};
use tempfile::TempDir;

/// A home with a database of some conversations, its key, and a backup of when there were fewer.
struct Home {
    folder: TempDir,
    owner: UserId,
}

const BEFORE: usize = 3;
const AFTER: usize = 5;

impl Home {
    /// The backup has [`BEFORE`] conversations and the database [`AFTER`].
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("chats.db")).await.unwrap();
        let first = NewUser {
            name: "Ahab".to_owned(),
            email: None,
            role: UserRole::Admin,
            password_hash: None,
            first: true,
        };
        let owner = store.add_user(first).await.unwrap().id;
        let home = Self { folder, owner };
        home.add(&store, BEFORE).await;
        let mut backup = store.backup().await.unwrap();
        std::io::copy(&mut backup.file, &mut File::create(home.backup()).unwrap()).unwrap();
        home.add(&store, AFTER - BEFORE).await;
        store.close().await.unwrap();
        home
    }

    async fn add(&self, store: &SqliteStore, conversations: usize) {
        for _ in 0..conversations {
            store.add_conversation(self.owner, NewConversation::default(), 1000).await.unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("chats.db")
    }

    fn backup(&self) -> PathBuf {
        self.path("backup.db")
    }

    fn keys(&self) -> MasterKeys {
        MasterKeys::in_file(self.path("master.key"))
    }

    async fn prepare(&self, backup: &Path) -> Result<Restore, StoreError> {
        Restore::prepare(&self.database(), backup, &self.keys()).await
    }

    /// Opens a database with the home's key and counts.
    async fn conversations(&self, database: &Path) -> usize {
        let clock = Arc::new(SystemClock::new());
        let opened = SqliteStore::open(database, self.keys(), clock, Rng::from_os().unwrap()).await;
        let store = opened.unwrap();
        store.check_integrity().await.unwrap();
        let page = store.conversations(self.owner, PageRequest { limit: 1000, before: None }).await.unwrap();
        store.close().await.unwrap();
        page.conversations.len()
    }

    /// Every file with what is in it, but for the lock.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.is_file() && !path.ends_with("chats.db.lock"));
        files
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
            .collect()
    }

    /// The backup must be refused as expected, and nothing be changed by that.
    async fn check_refused(&self, backup: &Path, expected: &str) {
        let before = self.files();
        let error = self.prepare(backup).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        assert!(self.files() == before, "something was changed: {error}");
    }
}

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    let keys = MasterKeys::in_file(path.with_file_name("master.key"));
    SqliteStore::open(path, keys, Arc::new(SystemClock::new()), Rng::from_os().unwrap()).await
}

/// Changes a file as another program would.
async fn change(path: &Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(false);
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_backup_takes_the_place_and_the_database_of_before_stays_beside() {
    let home = Home::new().await;
    let backup = fs::read(home.backup()).unwrap();
    let restore = home.prepare(&home.backup()).await.unwrap();
    let Contents { users, conversations, messages, updated_ms } = *restore.contents();
    assert_eq!((users, conversations as usize, messages, updated_ms.is_some()), (1, BEFORE, 0, true));
    assert!(matches!(open(&home.database()).await, Err(StoreError::InUse { .. })), "nobody comes between");
    let aside = restore.carry_out("20261124-182506").await.unwrap().unwrap();
    assert_eq!(aside.file_name().unwrap(), "chats.db.before-20261124-182506");
    assert!(fs::read(home.backup()).unwrap() == backup, "the backup is only read");
    assert_eq!(home.conversations(&home.database()).await, BEFORE);
    assert_eq!(home.conversations(&aside).await, AFTER);
    for path in [&home.database(), &aside] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // And back.
    let restore = home.prepare(&aside).await.unwrap();
    restore.carry_out("20261124-182507").await.unwrap();
    assert_eq!(home.conversations(&home.database()).await, AFTER);
    assert_eq!(home.conversations(&aside).await, AFTER, "it was copied, not moved");
}

#[tokio::test]
async fn one_that_is_not_carried_out_changes_nothing() {
    let home = Home::new().await;
    let before = home.files();
    drop(home.prepare(&home.backup()).await.unwrap());
    assert!(home.files() == before);
    assert_eq!(home.conversations(&home.database()).await, AFTER);
}

#[tokio::test]
async fn what_has_the_name_of_the_database_of_before_already_stays() {
    let home = Home::new().await;
    for (number, expected) in
        ["chats.db.before-x", "chats.db.before-x-2", "chats.db.before-x-3"].iter().enumerate()
    {
        let aside = home.prepare(&home.backup()).await.unwrap().carry_out("x").await.unwrap().unwrap();
        assert_eq!(aside, home.path(expected));
        let was = if number == 0 { AFTER } else { BEFORE };
        assert_eq!(home.conversations(&aside).await, was);
    }
    assert_eq!(home.conversations(&home.path("chats.db.before-x")).await, AFTER);
}

#[tokio::test]
async fn where_nothing_was_it_is_simply_put() {
    let home = Home::new().await;
    let new = tempfile::tempdir().unwrap();
    let database = new.path().join("made/by/us/chats.db");
    let restore = Restore::prepare(&database, &home.backup(), &home.keys()).await.unwrap();
    assert_eq!(restore.carry_out("x").await.unwrap(), None);
    assert_eq!(home.conversations(&database).await, BEFORE);
}

#[tokio::test]
async fn a_log_that_a_dead_server_left_goes_with_its_own_database() {
    let home = Home::new().await;
    let store = open(&home.database()).await.unwrap();
    home.add(&store, 4).await;
    // As if it had been killed: what is in the log only must be in what is set aside.
    let (database, log) = (home.path("killed.db"), home.path("killed.db-wal"));
    fs::copy(home.database(), &database).unwrap();
    fs::copy(home.path("chats.db-wal"), &log).unwrap();
    assert!(fs::metadata(&log).unwrap().len() > 0);
    store.close().await.unwrap();
    let restore = Restore::prepare(&database, &home.backup(), &home.keys()).await.unwrap();
    let aside = restore.carry_out("x").await.unwrap().unwrap();
    assert!(!log.exists());
    assert_eq!(home.conversations(&database).await, BEFORE);
    assert_eq!(home.conversations(&aside).await, AFTER + 4);
}

#[tokio::test]
async fn a_damaged_database_makes_room_with_all_that_is_left_of_it() {
    let home = Home::new().await;
    let rubbish = vec![7; 10_000];
    fs::write(home.database(), &rubbish).unwrap();
    fs::write(home.path("chats.db-wal"), "half a log").unwrap();
    let restore = home.prepare(&home.backup()).await.unwrap();
    let aside = restore.carry_out("x").await.unwrap().unwrap();
    assert_eq!(home.conversations(&home.database()).await, BEFORE);
    assert!(fs::read(aside).unwrap() == rubbish);
    assert_eq!(fs::read(home.path("chats.db.before-x-wal")).unwrap(), b"half a log");
}

#[tokio::test]
async fn without_the_right_key_nothing_is_restored() {
    let home = Home::new().await;
    let key = home.path("master.key");
    let good = fs::read(&key).unwrap();
    fs::write(&key, format!("1:{}=\n", "A".repeat(43))).unwrap();
    home.check_refused(&home.backup(), "is not the one that this database was written with").await;
    fs::write(&key, format!("2:{}=\n", "A".repeat(43))).unwrap();
    home.check_refused(&home.backup(), "(generation 1)").await;
    fs::write(&key, "scribble").unwrap();
    home.check_refused(&home.backup(), "can't be used").await;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    home.check_refused(&home.backup(), "0644").await;
    fs::remove_file(&key).unwrap();
    home.check_refused(&home.backup(), "is missing").await;
    assert!(!key.exists());
    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    home.prepare(&home.backup()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_backup_is_refused() {
    let home = Home::new().await;
    home.check_refused(&home.database(), "it is the database itself").await;
    home.check_refused(home.folder.path(), "it is not a file").await;
    home.check_refused(&home.path("nowhere.db"), "No such file").await;

    let whole = fs::read(home.backup()).unwrap();
    let bad = home.path("bad.db");
    fs::write(&bad, "this is not a database, but it is longer than a header".repeat(20)).unwrap();
    home.check_refused(&bad, "it is no whole database").await;
    fs::write(&bad, "").unwrap();
    home.check_refused(&bad, "another program's").await;
    fs::write(&bad, &whole[..whole.len() / 2]).unwrap();
    home.check_refused(&bad, "can't be restored").await;
    let mut scribbled = whole.clone();
    let middle = scribbled.len() / 2;
    scribbled[middle..middle + 4096].fill(0x5a);
    fs::write(&bad, &scribbled).unwrap();
    home.check_refused(&bad, "can't be restored").await;

    for (statement, expected) in [
        ("DELETE FROM users", "a row belongs to one that is not there"),
        ("DROP TABLE _sqlx_migrations", "another program's"),
        ("DELETE FROM _sqlx_migrations", "nothing was ever written"),
        ("INSERT INTO _sqlx_migrations VALUES (9999, 'the future', 0, TRUE, x'00', 0)", "step 9999"),
        ("UPDATE _sqlx_migrations SET checksum = x'00'", "not done as this program does it"),
        ("UPDATE _sqlx_migrations SET success = FALSE", "not done as this program does it"),
        ("DROP TABLE audit", "it lacks the"),
        (
            "CREATE TRIGGER theft AFTER INSERT ON users BEGIN DELETE FROM sessions; END",
            "it has a trigger \"theft\"",
        ),
    ] {
        fs::write(&bad, &whole).unwrap();
        change(&bad, statement).await;
        home.check_refused(&bad, expected).await;
    }
    fs::write(&bad, &whole).unwrap();
    fs::write(home.path("bad.db-wal"), "a log").unwrap();
    home.check_refused(&bad, "stands beside it").await;
    fs::remove_file(home.path("bad.db-wal")).unwrap();
    home.prepare(&bad).await.unwrap();
}

#[tokio::test]
async fn while_a_server_runs_nothing_is_restored() {
    let home = Home::new().await;
    let store = open(&home.database()).await.unwrap();
    let error = home.prepare(&home.backup()).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    store.close().await.unwrap();
    drop(store);
    assert_eq!(home.conversations(&home.database()).await, AFTER);
}

/// Set for the child of the test below: the home in which it restores.
const VICTIM: &str = "CACHALOT_STORE_TEST_RESTORING";

const ROUNDS: u64 = 24;

/// The parent starts this same test as a child that restores one backup after the other as fast as it can, kills it at
/// a moment that nobody chose, and looks whether what is there is one of the two, whole.
#[test]
fn a_killed_restoration_leaves_the_one_or_the_other() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        victim(Path::new(&folder));
    }
    let home = fresh();
    let mut rng = Rng::from_seed(11);
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_killed_restoration_leaves_the_one_or_the_other", "--exact", "--nocapture"])
            .env(VICTIM, home.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("restored once")), "it begins");
        std::thread::sleep(Duration::from_micros(rng.next_u64() % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        look(&home);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn fresh() -> Home {
    let home = Home::new().await;
    fs::copy(home.database(), home.path("other.db")).unwrap();
    home
}

#[tokio::main(flavor = "current_thread")]
async fn look(home: &Home) {
    let found = home.conversations(&home.database()).await;
    assert!(found == BEFORE || found == AFTER || found == AFTER + 1, "{found}");
    for name in home.files().into_keys() {
        assert!(!name.contains("restoring") && !name.contains("aside"), "{name} is left");
        if name.contains("before-") && home.path(&name).extension().is_none_or(|kind| kind != "lock") {
            let found = home.conversations(&home.path(&name)).await;
            assert!(found == BEFORE || found == AFTER || found == AFTER + 1, "{found} in {name}");
            fs::remove_file(home.path(&name)).unwrap();
        }
    }
}

/// Sometimes the database of before has a log, as a killed server leaves it.
#[tokio::main(flavor = "current_thread")]
async fn victim(folder: &Path) -> ! {
    let database = folder.join("chats.db");
    let keys = MasterKeys::in_file(folder.join("master.key"));
    let name = std::process::id();
    for round in 0_u64.. {
        let backup = folder.join(["backup.db", "other.db"][round as usize % 2]);
        let restore = Restore::prepare(&database, &backup, &keys).await.unwrap();
        restore.carry_out(&format!("{name}-{round}")).await.unwrap();
        let mut out = std::io::stdout().lock();
        out.write_all(b"\nrestored once\n").unwrap();
        out.flush().unwrap();
        drop(out);
        let store = open(&database).await.unwrap();
        let owner = store.user_by_login("Ahab".to_owned()).await.unwrap().unwrap().id;
        let page = store.conversations(owner, PageRequest { limit: 1000, before: None }).await.unwrap();
        if page.conversations.len() == AFTER {
            store.add_conversation(owner, NewConversation::default(), 1000).await.unwrap();
        }
        // Dropped and not closed: its log stays.
        drop(store);
        while matches!(open(&database).await, Err(StoreError::InUse { .. })) {}
    }
    unreachable!("it goes on until it is killed")
}
