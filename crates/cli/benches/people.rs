//! What accounts cost those who have one, measured over the real program with the test model.
//!
//! - recognising a caller: the same request with a session's cookie and without, in turn;
//! - signing in, beside Argon2 alone at the same cost, in turn;
//! - signing in with a wrong password, of names that exist and names that don't, in turn;
//! - 64 conversations that stream at once while they are written to.
//!
//! Prints a record in Markdown; `make bench-people` keeps it in `benches/record/`.

#![expect(clippy::unwrap_used, reason = "a measurement that can't go on ends")]
#![expect(clippy::disallowed_methods, reason = "a measurement takes the machine's clock")]
#![allow(missing_docs, reason = "a program")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use serde_json::{Value, json};
use server::PasswordCost;
use ureq::Agent;

const PASSWORD: &str = "krill at four hundred fathoms";
const RECOGNISED: usize = 3000;
const LOGINS: usize = 300;
/// No more than the limits on attempts of one network let through.
const WRONG_NAMES: usize = 5;
const WRONG_PER_NAME: usize = 5;
const CHATS: usize = 64;
const WRITES_PER_CHAT: usize = 20;

struct Program {
    child: Child,
    url: String,
    agent: Agent,
    _home: tempfile::TempDir,
}

struct Answer {
    status: u16,
    body: Value,
    cookie: String,
}

impl Program {
    fn start() -> (Self, String) {
        let model = PathBuf::from(std::env::var_os("CACHALOT_TEST_MODEL").expect("CACHALOT_TEST_MODEL"));
        let home = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cachalot"))
            .args(["up", "--listen", &listen, "--model"])
            .arg(model)
            .env("CACHALOT_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let link = lines.find(|line| line.contains("/setup#")).expect("the link of the setup");
        let token = link.rsplit('#').next().unwrap().to_owned();
        let config = Agent::config_builder().http_status_as_error(false).max_idle_connections_per_host(CHATS);
        let program =
            Self { child, url: format!("http://{listen}"), agent: config.build().into(), _home: home };
        while program.get("/readyz", "").status != 200 {
            thread::sleep(Duration::from_millis(20));
        }
        (program, token)
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if !cookie.is_empty() {
            request = request.header("cookie", cookie);
        }
        read(request.call().unwrap())
    }

    fn send(&self, method: &str, path: &str, cookie: &str, body: &Value) -> Answer {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .header("cookie", cookie)
            .body(body.to_string())
            .unwrap();
        read(self.agent.run(request).unwrap())
    }

    fn login(&self, name: &str, password: &str) -> Answer {
        self.send("POST", "/api/login", "", &json!({"login": name, "password": password}))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(response: ureq::http::Response<ureq::Body>) -> Answer {
    let cookie = response.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
    let status = response.status().as_u16();
    let text = response.into_body().read_to_string().unwrap();
    Answer { status, body: serde_json::from_str(&text).unwrap_or_default(), cookie }
}

/// Times of one kind, in milliseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.0.push(began.elapsed().as_secs_f64() * 1000.0);
        done
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }

    fn row(&self, what: &str) {
        let (count, median, p99) = (self.0.len(), self.quantile(0.5), self.quantile(0.99));
        println!("| {what} | {count} | {median:.3} | {p99:.3} |");
    }
}

fn main() {
    // `cargo test --benches` asks whether it would run.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let (program, token) = Program::start();
    let asked = json!({"token": token, "name": "captain", "password": PASSWORD});
    let made = program.send("POST", "/api/setup", "", &asked);
    assert_eq!(made.status, 201, "{}", made.body);
    print_machine();
    println!("\n| | runs | median, ms | p99, ms |\n|---|---|---|---|");
    let recognised = recognise(&program, &made.cookie);
    let wrong = sign_in_wrongly(&program);
    let (beyond, cookie) = sign_in(&program);
    let chats = chat(&program, &cookie);
    println!("\n- Recognising a caller by the cookie: {recognised:+.3} ms of the median of a request.");
    println!("- Signing in: {beyond:.1} ms at the 99th percentile beyond the median of Argon2 alone.");
    println!("- A wrong password: {wrong:+.2} ms (medians) for a name that exists.");
    println!("- {chats}");
}

fn print_machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = thread::available_parallelism().unwrap();
    println!(
        "# What accounts cost\n\n{}, {cores} cores, load average at the start {}",
        name.trim_start_matches([' ', '\t', ':']),
        load.trim()
    );
    println!("\nMade by `make bench-people`. All over HTTP on loopback, the client on the same cores.");
}

fn recognise(program: &Program, cookie: &str) -> f64 {
    let (mut with, mut without) = (Times::default(), Times::default());
    for _ in 0..RECOGNISED {
        with.time(|| program.get("/healthz", cookie));
        without.time(|| program.get("/healthz", ""));
    }
    without.row("`GET /healthz` without a cookie");
    with.row("`GET /healthz` with a session's cookie");
    with.quantile(0.5) - without.quantile(0.5)
}

fn sign_in_wrongly(program: &Program) -> f64 {
    let names: Vec<_> = (0..WRONG_NAMES).map(|number| format!("sailor {number}")).collect();
    for name in &names {
        let made = program.send("POST", "/api/sign-up", "", &json!({"name": name, "password": PASSWORD}));
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let (mut known, mut unknown) = (Times::default(), Times::default());
    for number in 0..WRONG_PER_NAME {
        for name in &names {
            let wrong = known.time(|| program.login(name, "not the password at all"));
            assert_eq!(wrong.status, 401, "{}", wrong.body);
            let nobody = format!("nobody {number} {name}");
            let wrong = unknown.time(|| program.login(&nobody, "not the password at all"));
            assert_eq!(wrong.status, 401, "{}", wrong.body);
        }
    }
    known.row("`POST /api/login`, wrong password, a name that exists");
    unknown.row("`POST /api/login`, wrong password, a name that doesn't");
    known.quantile(0.5) - unknown.quantile(0.5)
}

/// And the cookie of the last session: the first have made room.
fn sign_in(program: &Program) -> (f64, String) {
    let cost = PasswordCost::default();
    let parameters = Params::new(cost.memory_kib, cost.passes, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let (mut login, mut alone) = (Times::default(), Times::default());
    let mut cookie = String::new();
    for _ in 0..LOGINS {
        let answer = login.time(|| program.login("captain", PASSWORD));
        assert_eq!(answer.status, 200, "{}", answer.body);
        cookie = answer.cookie;
        let mut hash = [0; 32];
        alone.time(|| argon2.hash_password_into(PASSWORD.as_bytes(), &[7; 16], &mut hash)).unwrap();
    }
    login.row("`POST /api/login`, right");
    alone.row("Argon2id alone");
    (login.quantile(0.99) - alone.quantile(0.5), cookie)
}

/// Conversations that stream at once, each renamed again and again meanwhile.
fn chat(program: &Program, cookie: &str) -> String {
    let paths: Vec<_> = (0..CHATS)
        .map(|_| {
            let made = program.send("POST", "/api/conversations", cookie, &json!({}));
            assert_eq!(made.status, 201, "{}", made.body);
            format!("/api/conversations/{}", made.body["id"].as_str().unwrap())
        })
        .collect();
    let barrier = Barrier::new(CHATS);
    let began = Instant::now();
    let results: Vec<(Times, usize)> = thread::scope(|scope| {
        let threads: Vec<_> =
            paths.iter().map(|path| scope.spawn(|| one_chat(program, cookie, path, &barrier))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let took = began.elapsed().as_secs_f64();
    let mut writes = Times::default();
    let mut bytes = 0;
    for (times, streamed) in results {
        writes.0.extend(times.0);
        bytes += streamed;
    }
    writes.row("`PATCH` of a conversation while 64 stream");
    let count = writes.0.len();
    format!(
        "{CHATS} chats streamed at once ({bytes} bytes of events in {took:.1} s), each written to meanwhile ({count} \
         writes); all was answered as it should, or there were no record."
    )
}

fn one_chat(program: &Program, cookie: &str, path: &str, barrier: &Barrier) -> (Times, usize) {
    barrier.wait();
    let asked = json!({"content": "Write an essay about the history of bread."});
    let turn = program.send("POST", &format!("{path}/messages"), cookie, &asked);
    assert_eq!(turn.status, 201, "{}", turn.body);
    let message = format!("{path}/messages/{}", turn.body["assistant"]["id"].as_str().unwrap());
    let stream = program
        .agent
        .get(format!("{}{message}/stream", program.url))
        .header("cookie", cookie)
        .call()
        .unwrap();
    assert_eq!(stream.status().as_u16(), 200);
    let mut times = Times::default();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = 0;
            let mut body = stream.into_body().into_reader();
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = body.read(&mut buffer) {
                bytes += count;
            }
            bytes
        });
        for number in 0..WRITES_PER_CHAT {
            let title = json!({"title": format!("Log {number}")});
            let renamed = times.time(|| program.send("PATCH", path, cookie, &title));
            assert_eq!(renamed.status, 200, "{}", renamed.body);
        }
        let stopped = program.send("POST", &format!("{message}/stop"), cookie, &json!({}));
        assert_eq!(stopped.status, 200, "{}", stopped.body);
        (times, reader.join().unwrap())
    })
}
