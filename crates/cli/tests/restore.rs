//! `cachalot restore` and the master key in the environment, as a person at a terminal or a script meets them.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use base::{Rng, SystemClock};
use store::{MasterKeys, NewUser, SqliteStore, StoreHealth as _, UserRole, UserStore as _, VaultStore as _};
use tempfile::TempDir;

const COOKIE_KEY: &str = "dGhlIGJ5dGVzIG9mIGEgd2hhbGUgYW5kIG9mIGtyaWw=";
const VARIABLE: &str = "CACHALOT_MASTER_KEY";

/// A home whose database has the users Ahab and Starbuck, and beside it a backup of when Ahab was alone.
struct Home(TempDir);

impl Home {
    #[tokio::main(flavor = "current_thread")]
    async fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let store = home.open().await;
        add(&store, "Ahab", true).await;
        let mut backup = store.backup().await.unwrap();
        std::io::copy(&mut backup.file, &mut fs::File::create(home.backup()).unwrap()).unwrap();
        add(&store, "Starbuck", false).await;
        store.close().await.unwrap();
        // What signs the cookies and API keys of now.
        fs::write(home.path("cookie.key"), COOKIE_KEY).unwrap();
        fs::set_permissions(home.path("cookie.key"), fs::Permissions::from_mode(0o600)).unwrap();
        home
    }

    async fn open(&self) -> SqliteStore {
        let keys = MasterKeys::in_file(self.path("master.key"));
        let clock = Arc::new(SystemClock::new());
        SqliteStore::open(&self.path("cachalot.db"), keys, clock, Rng::from_os().unwrap()).await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn backup(&self) -> PathBuf {
        self.path("backup.db")
    }

    fn run(&self, arguments: &[&str], key: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachalot"));
        command.args(arguments).env("CACHALOT_HOME", self.0.path()).stdin(Stdio::null()).env_remove(VARIABLE);
        if let Some(key) = key {
            command.env(VARIABLE, key);
        }
        command.output().unwrap()
    }

    fn restore(&self, more: &[&str]) -> Output {
        let backup = self.backup();
        self.run(&[&["restore", backup.to_str().unwrap()], more].concat(), None)
    }

    /// Every file with what is in it, but for the lock.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| !path.ends_with("cachalot.db.lock"));
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn users(&self, key: Option<&str>) -> String {
        let listed = self.run(&["user", "list"], key);
        assert!(listed.status.success(), "{}", text(&listed.stderr));
        text(&listed.stdout).to_owned()
    }
}

async fn add(store: &SqliteStore, name: &str, first: bool) {
    let role = if first { UserRole::Admin } else { UserRole::User };
    let new = NewUser { name: name.to_owned(), email: None, role, password_hash: None, first };
    store.add_user(new).await.unwrap();
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check_refused(home: &Home, before: &BTreeMap<PathBuf, Vec<u8>>, output: &Output, expected: &[&str]) {
    let error = text(&output.stderr);
    assert!(!output.status.success());
    for expected in expected {
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
    }
    assert!(home.files() == *before, "something was changed: {error}");
}

#[test]
fn a_backup_is_restored_when_one_says_yes() {
    let home = Home::new();
    let before = home.files();
    check_refused(&home, &before, &home.restore(&[]), &["nothing was changed", "--yes"]);

    let restored = home.restore(&["--yes"]);
    let said = text(&restored.stdout);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(said.contains("1 user, 0 conversations") && said.contains("sign in again"), "{said}");
    assert!(!home.path("cookie.key").exists(), "sessions that were ended since stay ended");
    let users = home.users(None);
    assert!(users.contains("Ahab") && !users.contains("Starbuck"), "{users}");
    let aside = fs::read_dir(home.0.path()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| path.to_str().unwrap().contains(".db.before-")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(said.contains(aside[0].to_str().unwrap()), "{said}");

    // And back.
    let restored = home.run(&["restore", aside[0].to_str().unwrap(), "--yes"], None);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(home.users(None).contains("Starbuck"));
}

#[test]
fn without_the_right_key_or_backup_nothing_is_restored() {
    let home = Home::new();
    let key = home.path("master.key");
    let good = fs::read_to_string(&key).unwrap();
    let refused = |home: &Home, expected: &[&str]| {
        let before = home.files();
        check_refused(home, &before, &home.restore(&["--yes"]), expected);
    };
    fs::write(&key, format!("1:{}=\n", "A".repeat(43))).unwrap();
    refused(&home, &["nothing was changed", "needs the master key that the server had", "generation 1"]);
    fs::remove_file(&key).unwrap();
    refused(&home, &["nothing was changed", "is missing"]);

    // Given from the environment, it is good.
    let given = good.trim();
    let backup = home.backup();
    let restore = ["restore", backup.to_str().unwrap(), "--yes"];
    let restored = home.run(&restore, Some(given));
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(!home.users(Some(given)).contains("Starbuck"));
    for (wrong, expected) in [
        ("", "it holds no key"),
        ("1:secret", "entry 1"),
        (&format!("2:{}=", "A".repeat(43)), "$CACHALOT_MASTER_KEY is not the one"),
    ] {
        let before = home.files();
        let output = home.run(&restore, Some(wrong));
        check_refused(&home, &before, &output, &["nothing was changed", expected]);
        assert!(!text(&output.stderr).contains("secret"));
        assert!(!home.run(&["user", "list"], Some(wrong)).status.success());
    }
    // One that is newer may stand before it.
    let both = format!("2:{}=,{given}", "A".repeat(43));
    assert!(home.users(Some(&both)).contains("Ahab"));

    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(home.backup(), "no backup at all").unwrap();
    refused(&home, &["nothing was changed", "it is no whole database"]);
}

#[test]
fn while_the_server_has_the_database_it_is_asked_to_stop_first() {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(home.open());
    let output = home.restore(&["--yes"]);
    let error = text(&output.stderr);
    assert!(!output.status.success() && error.contains("stop the server first"), "{error}");
    runtime.block_on(store.close()).unwrap();
    drop(store);
    assert!(home.users(None).contains("Starbuck"));
}
