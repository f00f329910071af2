//! `cachalot user`, `group`, `session`, `backup` and `rotate-key` as an operator runs them, while the server runs and
//! while it doesn't.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use base::{Rng, SystemClock};
use serde_json::{Value, json};
use store::{MasterKeys, NewUser, SqliteStore, StoreHealth as _, UserRole, UserStore as _};

use common::{Cachalot, Up, text};

const PASSWORD: &str = "krill at four hundred fathoms";

impl Cachalot {
    /// Runs a command with a line on standard input.
    fn run(&self, line: &str, arguments: &[&str]) -> Output {
        self.piped(arguments, format!("{line}\n").as_bytes())
    }

    /// What a command prints.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(PASSWORD, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], expected: &str) {
        let output = self.run(PASSWORD, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error:?} does not contain {expected:?}");
        assert!(output.stdout.is_empty(), "{:?}", text(&output.stdout));
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn up(&self) -> Up {
        Up::start(self, &[])
    }
}

fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

impl Up {
    /// Sends a request as a stranger does; gives the status and the body.
    fn send(&self, head: &str, body: &Value) -> (u16, String) {
        let (host, body) = (self.address, body.to_string());
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn sign_in(&self, login: &str, password: &str) -> u16 {
        self.send("POST /api/login", &json!({"login": login, "password": password})).0
    }

    fn stop(mut self) {
        self.signal("TERM");
        let mut errors = String::new();
        self.stderr.read_to_string(&mut errors).unwrap();
        assert!(self.child.wait().unwrap().success(), "{errors}");
    }
}

/// Adds users to a database that no server has.
fn add_many(home: &Path, count: usize) {
    with_store(home, async |store| {
        for number in 0..count {
            let name = format!("sailor {number}");
            let new = NewUser { name, email: None, role: UserRole::User, password_hash: None, first: false };
            store.add_user(new).await.unwrap();
        }
    });
}

/// From the first account on: everything that `cachalot user` does.
fn look_after_users(cachalot: &Cachalot) {
    assert_eq!(cachalot.says(&["user", "list"]), "");
    assert_eq!(cachalot.says(&["user", "add", "Ahab"]), "Ahab can sign in (admin)\n");
    assert_eq!(cachalot.says(&["user", "add", "Ishmael"]), "Ishmael can sign in (user)\n");
    let made = cachalot.says(&["user", "add", "Pip", "--email", "pip@pequod.example", "--generate"]);
    let password = made.trim_end().rsplit_once("shown only now: ").expect("a password").1.to_owned();
    assert_eq!(password.len(), 23, "{made}");
    cachalot.refuses(&["user", "add", "ISHMAEL"], "taken");
    cachalot.refuses(&["user", "add", "a@b"], "@");
    let weak = cachalot.run("password", &["user", "add", "Starbuck"]);
    assert!(
        !weak.status.success() && text(&weak.stderr).contains("password is among"),
        "{}",
        text(&weak.stderr)
    );
    cachalot.refuses(&["user", "rm", "ahab"], "last administrator");
    cachalot.refuses(&["user", "rm", "nobody"], "there is no user \"nobody\"");

    assert_eq!(cachalot.says(&["user", "role", "ishmael", "admin"]), "Ishmael is admin now\n");
    assert_eq!(cachalot.says(&["user", "role", "AHAB", "user"]), "Ahab is user now\n");
    assert_eq!(cachalot.says(&["user", "disable", "ahab"]), "Ahab can sign in no more\n");
    let listed = cachalot.says(&["user", "list"]);
    let expected = [
        vec!["Ahab", "user", "-", "disabled"],
        vec!["Ishmael", "admin", "-"],
        vec!["Pip", "user", "pip@pequod.example"],
    ];
    assert_eq!(words(&listed), expected);
    let column = |line: &str, word| line.find(word).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(column(lines[0], "user"), column(lines[1], "admin"));
    assert_eq!(words(&cachalot.says(&["user", "list", "PEQUOD"])), [expected[2].clone()]);
    assert_eq!(cachalot.says(&["user", "enable", "ahab"]), "Ahab can sign in again\n");
    let set = cachalot.says(&["user", "password", "pip@pequod.example"]);
    assert!(set.starts_with("Pip has a new password and is signed out of "), "{set}");
    assert_eq!(cachalot.says(&["user", "factors", "pip"]), "Pip signs in with the password alone\n");

    let users = cachalot.json(&["user", "list"])["users"].clone();
    assert_eq!((users.as_array().unwrap().len(), &users[1]["role"]), (3, &json!("admin")));
    assert_eq!(cachalot.json(&["user", "show", "PIP"])["email"], "pip@pequod.example");
    let shown = cachalot.says(&["user", "show", "pip"]);
    assert!(shown.starts_with("name       Pip\nid         "), "{shown}");
    assert_eq!(cachalot.says(&["user", "rm", "ahab"]), "Ahab is gone, with everything of theirs\n");
    assert_eq!(cachalot.says(&["user", "list"]).lines().count(), 2);
}

/// Everything that `cachalot group` does, with a user Pip.
fn look_after_groups(cachalot: &Cachalot) {
    let made = cachalot.says(&["group", "add", "Boat crews", "--models", "a, b", "--messages-per-day", "50"]);
    assert_eq!(made, "Boat crews is a group of nobody yet\n");
    cachalot.refuses(&["group", "add", "EVERYONE"], "this group name is taken");
    assert_eq!(cachalot.says(&["group", "join", "boat crews", "pip"]), "Pip is in Boat crews\n");
    assert_eq!(cachalot.says(&["group", "join", "boat crews", "pip"]), "Pip is in Boat crews\n");
    let set = [
        "group",
        "set",
        "Boat crews",
        "--answers-at-once",
        "2",
        "--messages-per-day",
        "none",
        "--rename",
        "crews",
    ];
    let changed = cachalot.says(&set);
    assert_eq!(words(&changed)[1], ["crews", "1", "2", "-", "-", "a,", "b"]);
    let listed = cachalot.says(&["group", "list"]);
    assert_eq!(words(&listed)[0][..2], ["NAME", "MEMBERS"]);
    assert_eq!(words(&listed)[1], ["crews", "1", "2", "-", "-", "a,", "b"]);
    assert_eq!(words(&listed)[2], ["everyone", "2", "-", "-", "-", "all"]);
    let groups = cachalot.json(&["group", "list"])["groups"].clone();
    assert_eq!((&groups[0]["models"], &groups[1]["models"]), (&json!(["a", "b"]), &Value::Null));
    let shown = cachalot.says(&["user", "show", "pip"]);
    assert!(shown.contains("groups     crews\n"), "{shown}");
    assert_eq!(cachalot.says(&["group", "leave", "crews", "pip"]), "Pip is not in crews\n");
    cachalot.refuses(&["group", "leave", "everyone", "pip"], "everybody is in everyone");
    cachalot.refuses(&["group", "rm", "everyone"], "can't be deleted");
    cachalot.refuses(&["group", "join", "crew", "pip"], "there is no group \"crew\"");
    assert_eq!(cachalot.says(&["group", "rm", "crews"]), "crews is gone\n");
    assert_eq!(words(&cachalot.says(&["group", "list"])).len(), 2);
}

/// Everything that `cachalot gate` does.
fn look_after_the_gate(cachalot: &Cachalot) {
    let shown = cachalot.says(&["gate"]);
    assert!(shown.starts_with("level      open\nsince      "), "{shown}");
    assert!(shown.contains("accounts   0 in the last minute, 60 allowed\nwaiting    0\n"), "{shown}");
    let pinned = cachalot.says(&["gate", "pin", "invite_only", "--reason", "a storm"]);
    assert!(pinned.starts_with("level      invite_only, held there\n"), "{pinned}");
    assert!(pinned.contains("   open to invite_only: pinned\n"), "{pinned}");
    cachalot.refuses(&["gate", "pin", "email_first"], "needs a mail server");
    assert_eq!(cachalot.json(&["gate"])["pin"], "invite_only");
    let links = cachalot.says(&["gate", "invite", "--count", "3", "--days", "90"]);
    assert_eq!(links.lines().filter(|line| line.starts_with("/sign-up#invitation=")).count(), 3, "{links}");
    let invited = cachalot.json(&["gate", "invite"])["invitations"].clone();
    assert_eq!(invited.as_array().unwrap().len(), 1);
    let run = cachalot.json(&["gate", "run"]);
    assert_eq!((&run["pin"], &run["registration"]["level"]), (&Value::Null, &json!("invite_only")));
}

#[test]
fn people_are_looked_after_while_the_server_is_stopped() {
    let cachalot = Cachalot::new();
    cachalot.refuses(&["user", "list"], "no server has been started");
    cachalot.refuses(&["backup", "x.db"], "no server has been started");
    // The database as a server leaves it.
    std::fs::write(cachalot.home.path().join("cachalot.db"), "").unwrap();
    look_after_users(&cachalot);
    look_after_groups(&cachalot);
    // Each command is a process of its own: the pin is what is on disk.
    look_after_the_gate(&cachalot);
    assert_eq!(words(&cachalot.says(&["session", "list"])).len(), 1);
    assert!(!cachalot.home.path().join("control.sock").exists());
}

#[test]
fn people_are_looked_after_while_the_server_runs() {
    let cachalot = Cachalot::new();
    let up = cachalot.up();
    let socket = cachalot.home.path().join("control.sock");
    let facts = std::fs::metadata(&socket).unwrap();
    assert!(facts.file_type().is_socket());
    assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    // What it says counts for the server at once, which has its first administrator by it.
    assert!(up.send("GET /api/session", &json!({})).1.contains("\"setup\":true"));
    look_after_users(&cachalot);
    assert!(up.send("GET /api/session", &json!({})).1.contains("\"setup\":false"));
    assert_eq!((up.sign_in("pip", PASSWORD), up.sign_in("ahab", PASSWORD)), (200, 401));
    look_after_groups(&cachalot);

    let sessions = cachalot.json(&["session", "list"])["sessions"].clone();
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["user"]), (1, &json!("Pip")));
    let listed = cachalot.says(&["session", "list", "pip"]);
    assert_eq!(words(&listed)[1][..2], ["Pip", sessions[0]["id"].as_str().unwrap()]);
    cachalot.refuses(&["session", "revoke", "ishmael", words(&listed)[1][1]], "Ishmael has no such session");
    cachalot.refuses(&["session", "revoke", "pip", "../../../groups"], "Pip has no such session");
    let revoked = cachalot.says(&["session", "revoke", "pip", words(&listed)[1][1]]);
    assert_eq!(revoked, "Pip is signed out on that device\n");
    assert_eq!(up.sign_in("pip", PASSWORD), 200);
    assert_eq!(cachalot.says(&["session", "revoke", "pip"]), "Pip is signed out everywhere\n");
    assert_eq!(cachalot.json(&["session", "list"])["sessions"], json!([]));

    // Whoever comes over the network is not the machine.
    for head in ["GET /api/admin/users", "POST /api/admin/users", "GET /api/admin/status"] {
        assert_eq!(up.send(head, &json!({"name": "Mallory"})).0, 401, "{head}");
    }
    up.stop();
    assert!(!socket.exists());
    assert_eq!(words(&cachalot.says(&["user", "list"])).len(), 2);
}

#[test]
fn a_socket_that_a_killed_server_left_is_in_nobody_s_way() {
    let cachalot = Cachalot::new();
    drop(cachalot.up());
    let socket = cachalot.home.path().join("control.sock");
    assert!(socket.exists(), "it was killed");
    assert_eq!(cachalot.says(&["user", "add", "Ahab"]), "Ahab can sign in (admin)\n");
    let up = cachalot.up();
    assert_eq!(cachalot.says(&["user", "add", "Pip"]), "Pip can sign in (user)\n");
    assert_eq!(up.sign_in("pip", PASSWORD), 200);
    up.stop();
    assert!(!socket.exists());
}

#[test]
fn hostile_names_do_not_command_the_terminal() {
    let cachalot = Cachalot::new();
    std::fs::write(cachalot.home.path().join("cachalot.db"), "").unwrap();
    cachalot.says(&["user", "add", "Ahab"]);
    let evil = "evil\u{1b}[2J";
    let refused = cachalot.run(PASSWORD, &["user", "add", evil]);
    assert!(!refused.status.success() && !text(&refused.stderr).contains('\u{1b}'), "{refused:?}");
    let missing = cachalot.run(PASSWORD, &["user", "rm", evil]);
    assert!(text(&missing.stderr).contains("evil\\u{1b}[2J"), "{missing:?}");
    // Names of models may be anything that a file is called, but for controls; marks that turn text around are shown.
    cachalot.says(&["group", "add", "crews", "--models", "\u{202e}lived"]);
    let listed = cachalot.says(&["group", "list"]);
    assert!(listed.contains("\\u{202e}lived") && !listed.contains('\u{202e}'), "{listed}");
    // Paths and queries are made of nothing that was typed.
    for name in ["../groups", "a&login=Ahab", "%41hab", "?login=Ahab", "Ahab#", " "] {
        cachalot.refuses(&["user", "rm", name], "there is no user");
    }
    assert_eq!(cachalot.says(&["user", "list"]).lines().count(), 1);
}

#[test]
fn whoever_has_no_way_in_is_seen_and_given_one() {
    let cachalot = Cachalot::new();
    std::fs::write(cachalot.home.path().join("cachalot.db"), "").unwrap();
    cachalot.says(&["user", "add", "Ahab"]);
    add_many(cachalot.home.path(), 1);
    let listed = cachalot.says(&["user", "list"]);
    assert!(listed.lines().nth(1).unwrap().ends_with("no way in"), "{listed}");
    for order in ["show", "factors"] {
        let said = cachalot.says(&["user", order, "sailor 0"]);
        assert!(
            said.contains("no way in") && said.contains("`cachalot user password \"sailor 0\"`"),
            "{said}"
        );
    }
    assert!(cachalot.says(&["user", "show", "ahab"]).contains("signs in   the password alone\n"));
    let set = cachalot.says(&["user", "password", "sailor 0"]);
    assert_eq!(set, "sailor 0 has a new password and is signed out of 0 sessions\n");
    assert!(!cachalot.says(&["user", "list"]).contains("no way in"));
    let rotated = cachalot.says(&["rotate-key"]);
    assert!(rotated.starts_with("2 keys are wrapped"), "{rotated}");
    cachalot.says(&["user", "rm", "sailor 0"]);
    let rotated = cachalot.says(&["rotate-key"]);
    assert!(rotated.starts_with("1 key is wrapped"), "{rotated}");
}

#[test]
fn long_lists_come_whole_and_a_reader_that_goes_away_ends_them_quietly() {
    let cachalot = Cachalot::new();
    std::fs::write(cachalot.home.path().join("cachalot.db"), "").unwrap();
    cachalot.says(&["user", "add", "Ahab"]);
    add_many(cachalot.home.path(), 250);
    let listed = cachalot.says(&["user", "list"]);
    assert_eq!(listed.lines().count(), 251);
    assert_eq!(cachalot.json(&["user", "list", "sailor 1"])["users"].as_array().unwrap().len(), 111);
    let mut child = cachalot.command(&["user", "list"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_password_set_while_no_server_runs_costs_what_is_configured() {
    let cachalot = Cachalot::new();
    let home = cachalot.home.path();
    with_store(home, async |_| {});
    std::fs::write(home.join("cachalot.toml"), "[passwords]\nmemory_kib = 7168\npasses = 5\n").unwrap();
    cachalot.says(&["user", "add", "Ahab"]);
    with_store(home, async |store| {
        let user = store.user_by_login("ahab".to_owned()).await.unwrap().unwrap();
        let hash = user.password_hash.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash:.40}");
    });
    // With mistakes in it, accounts can be looked after all the same.
    std::fs::write(home.join("cachalot.toml"), "[passwords]\nmemory_kib = 1\n").unwrap();
    assert!(cachalot.says(&["user", "list"]).contains("Ahab"));
}

/// Does something with the database of a home in which no server runs.
fn with_store(home: &Path, work: impl AsyncFnOnce(&SqliteStore)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let keys = MasterKeys::in_file(home.join("master.key"));
        let (clock, rng) = (Arc::new(SystemClock::new()), Rng::from_os().unwrap());
        let store = SqliteStore::open(&home.join("cachalot.db"), keys, clock, rng).await.unwrap();
        work(&store).await;
        store.close().await.unwrap();
    });
}
