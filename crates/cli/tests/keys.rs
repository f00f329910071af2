//! `cachalot key`, `balance` and `usage` as an operator runs them, while the server runs and while it doesn't.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use base::{Rng, SystemClock};
use serde_json::{Value, json};
use store::{MasterKeys, SqliteStore, StoreHealth as _};
use tempfile::TempDir;

const PASSWORD: &str = "krill at four hundred fathoms";

/// The program with a home of its own.
struct Cachalot {
    home: TempDir,
}

impl Cachalot {
    /// With a database that no server has.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let keys = MasterKeys::in_file(home.path().join("master.key"));
            let (path, clock) = (home.path().join("cachalot.db"), Arc::new(SystemClock::new()));
            SqliteStore::open(&path, keys, clock, Rng::from_os().unwrap())
                .await
                .unwrap()
                .close()
                .await
                .unwrap();
        });
        let prices =
            "[[price]]\nhit = \"0.14\"\nmiss = \"0.55\"\noutput = \"2.19\"\n[credit]\nsign_up = \"0.5\"\n";
        std::fs::write(home.path().join("cachalot.toml"), prices).unwrap();
        Self { home }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachalot"));
        command.args(arguments).env("CACHALOT_HOME", self.home.path()).env_remove("CACHALOT_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        // A program that refuses its arguments doesn't read.
        let _ = writeln!(child.stdin.take().unwrap(), "{PASSWORD}");
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], expected: &str) {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{arguments:?}: {error}");
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }
}

/// A server on a port of its own, which ends when this is dropped.
struct Up {
    child: Child,
    address: SocketAddr,
}

impl Up {
    fn start(cachalot: &Cachalot) -> Self {
        let model = std::env::var_os("CACHALOT_TEST_MODEL").map(PathBuf::from);
        let model = model.expect("CACHALOT_TEST_MODEL must name the test model's file: run `make test`");
        let arguments = ["up", "--listen", "127.0.0.1:0", "--model", model.to_str().unwrap()];
        let mut child = cachalot.command(&arguments).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().trim_end_matches('/').rsplit_once("http://").expect("an address").1;
        Self { address: address.parse().unwrap(), child }
    }

    /// Sends a request with a key; gives the status and the body.
    fn send(&self, head: &str, key: &str, body: &Value) -> (u16, String) {
        let (host, body) = (self.address, body.to_string());
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that `cachalot key` and `balance` do for a user Pip. Gives a key that is good.
fn look_after(cachalot: &Cachalot) -> String {
    cachalot.refuses(&["key", "add", "nobody", "x"], "there is no user \"nobody\"");
    let options = ["--models", "a,b", "--days", "7", "--spend-max", "1.50", "--requests-per-day", "9"];
    let made = cachalot.says(&[&["key", "add", "pip", "one"], &options[..]].concat());
    assert!(made.starts_with("sk-cachalot-") && made.lines().count() == 1, "{made}");
    let secret = cachalot.json(&["key", "add", "pip", "two"])["secret"].as_str().unwrap().to_owned();
    cachalot.refuses(&["key", "add", "pip", "three", "--spend-max", "-1"], "spend_max must be an amount");
    cachalot.refuses(&["key", "add", "pip", "three", "--addresses", "here"], "addresses must be");
    let keys = cachalot.json(&["key", "list", "pip"])["keys"].clone();
    assert_eq!((&keys[0]["name"], &keys[0]["models"]), (&json!("one"), &json!(["a", "b"])), "{keys}");
    assert!(keys[0]["expires_ms"].as_i64().unwrap() > keys[0]["created_ms"].as_i64().unwrap());
    let listed = cachalot.says(&["key", "list", "pip"]);
    assert!(listed.contains("0.00 of 1.50") && !listed.contains(&secret), "{listed}");
    let changed = ["key", "change", "pip", "one", "--rename", "uno", "--models", "none", "--days", "none"];
    assert!(cachalot.says(&changed).contains("uno"));
    let keys = cachalot.json(&["key", "list", "pip"])["keys"].clone();
    assert_eq!(
        (&keys[0]["models"], &keys[0]["expires_ms"], &keys[0]["spend_max"]),
        (&Value::Null, &Value::Null, &json!("1.50"))
    );
    assert_eq!(cachalot.says(&["key", "revoke", "pip", "uno"]), "the key uno of Pip is good no more\n");
    cachalot.refuses(&["key", "revoke", "pip", "uno"], "Pip has no key \"uno\"");

    let has = |balance: &str| format!("Pip has {balance} USD\n");
    assert_eq!(cachalot.says(&["balance", "top-up", "pip", "10", "--note", "paid"]), has("10.50"));
    assert_eq!(cachalot.says(&["balance", "grant", "pip", "0.25"]), has("10.75"));
    assert_eq!(cachalot.says(&["balance", "take", "pip", "5"]), has("10.00"));
    assert_eq!(cachalot.says(&["balance", "take", "pip", "9.99", "--paid"]), has("0.01"));
    cachalot.refuses(&["balance", "grant", "pip", "much"], "amount must be an amount");
    let shown = cachalot.says(&["balance", "show", "pip"]);
    assert!(shown.starts_with("available  0.01 USD\n") && shown.contains("paid"), "{shown}");
    assert_eq!(cachalot.json(&["balance", "show", "pip"])["topped_up"], "0.01");
    secret
}

#[test]
fn without_a_server() {
    let cachalot = Cachalot::new();
    cachalot.says(&["user", "add", "Ahab"]);
    cachalot.says(&["user", "add", "Pip"]);
    look_after(&cachalot);
    assert_eq!(cachalot.says(&["usage"]).lines().count(), 1, "only the heads");
    assert_eq!(cachalot.json(&["usage", "--user", "pip", "--by", "model"])["sums"], json!([]));
    assert!(cachalot.says(&["usage", "--csv"]).starts_with("time,user,key,"));
}

#[test]
fn keys_made_before_the_server_runs_and_while_it_does_are_good_and_metered() {
    let cachalot = Cachalot::new();
    cachalot.says(&["user", "add", "Ahab"]);
    cachalot.says(&["user", "add", "Pip"]);
    let before = cachalot.json(&["key", "add", "ahab", "early"])["secret"].as_str().unwrap().to_owned();
    let up = Up::start(&cachalot);
    let secret = look_after(&cachalot);
    assert_eq!(up.send("GET /user/balance", &before, &json!({})).0, 200);
    let (status, balance) = up.send("GET /user/balance", &secret, &json!({}));
    assert!(status == 200 && balance.contains("\"total_balance\":\"0.01\""), "{balance}");
    let (_, models) = up.send("GET /v1/models", &secret, &json!({}));
    let models: Value = serde_json::from_str(&models).unwrap();
    let asked = json!({
        "model": models["data"][0]["id"], "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}],
    });
    let (status, answer) = up.send("POST /v1/chat/completions", &secret, &asked);
    assert_eq!(status, 200, "{answer}");
    let used = serde_json::from_str::<Value>(&answer).unwrap()["usage"].clone();
    let sums = cachalot.json(&["usage", "--user", "pip"])["sums"].clone();
    assert_eq!(
        (&sums[0]["requests"], &sums[0]["output_tokens"]),
        (&json!(1), &used["completion_tokens"]),
        "{sums}"
    );
    assert!(cachalot.says(&["usage", "--by", "model"]).contains(asked["model"].as_str().unwrap()));
    assert_eq!(cachalot.says(&["usage", "--csv", "--user", "pip"]).lines().count(), 2);
    assert_eq!(cachalot.says(&["usage", "--csv", "--user", "ahab"]).lines().count(), 1);
    assert_eq!(cachalot.says(&["key", "revoke", "pip", "two"]), "the key two of Pip is good no more\n");
    assert_eq!(up.send("GET /user/balance", &secret, &json!({})).0, 401);
}
