//! A flood of strangers and of new accounts, and the users who are served through it.

use std::time::Duration;

use defence::Class;
use defence::challenge::solve;
use futures_util::future::join_all;
use serde_json::{Value, json};
use server::{CapsByClass, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gate::{NAME, Stranger, change, read_challenge};
use crate::support::{Client, PASSWORD, Reply, Setup, Site, Streaming, eventually, within};

const CHAT: &str = "/v1/chat/completions";

/// Behind a proxy, and as a public server is: whoever asks by its name is nobody of this machine.
async fn served(more: impl FnOnce(&mut Settings)) -> Site {
    let setup = Setup::with(|settings| {
        change(settings);
        // What else the machine does while it tests is no load of the server's.
        settings.defence.delay_max = Duration::from_mins(1);
        more(settings);
    });
    Site::gated(setup).await
}

/// Somebody who signs up now.
async fn somebody<'a>(site: &'a Site, name: &str, address: &str) -> Stranger<'a> {
    let stranger = Stranger::at(site, address);
    let reply = stranger.sign_up(name, &json!({})).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    stranger.signed_in(&reply)
}

/// Time goes by, until whoever has an account is trusted.
fn much_later(site: &Site) {
    site.clock.advance(Duration::from_hours(2));
}

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "How deep do they dive?"}]})
}

impl Stranger<'_> {
    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "*/*", &Value::Null).await
    }

    /// Asks for a stream of an answer, and returns when its head is there.
    async fn open(&self, body: &Value) -> Streaming {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let headers = [
            ("host", NAME),
            ("x-forwarded-for", self.address.as_str()),
            ("content-type", "application/json"),
            ("cookie", self.cookie.as_deref().unwrap_or_default()),
        ];
        let body = serde_json::to_vec(&body).unwrap();
        Client::new(self.site.address).open("POST", CHAT, &headers, body).await
    }

    /// Sends the head of a request, whose body is waited for.
    async fn hold(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.site.address).await.unwrap();
        let head = format!(
            "POST /api/login HTTP/1.1\r\nhost: {NAME}\r\nx-forwarded-for: {}\r\ncontent-type: application/json\r\n\
             content-length: 100\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn log_in(&self, name: &str, password: &str, challenge: Option<&str>) -> Reply {
        let mut body = json!({"login": name, "password": password});
        if let Some(challenge) = challenge {
            body["challenge"] = json!(challenge);
        }
        self.post("/api/login", &body).await
    }
}

/// What the metrics say of one line.
async fn metric(site: &Site, name: &str) -> f64 {
    let text = site.control.get("/metrics").await;
    assert_eq!(text.status, 200, "{}", text.text());
    let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    line.unwrap_or(0.0)
}

#[tokio::test]
async fn strangers_in_great_number_leave_room_for_users() {
    let site = served(|settings| settings.defence.requests_max = 32).await;
    let ishmael = somebody(&site, "ishmael", "198.51.100.1").await;
    much_later(&site);
    // What strangers may have of the 17 that are let in at first.
    let hold = async |number| Stranger::of_many(&site, number).hold().await;
    let held = join_all((0..8).map(hold)).await;
    let in_flight = "cachalot_requests_in_flight{class=\"unknown\"}";
    eventually("they are let in", async || metric(&site, in_flight).await >= 8.0).await;

    let next = Stranger::of_many(&site, 8);
    let shed = next.get("/api/session").await;
    shed.is_error(503, "overloaded");
    assert!((1..=90).contains(&shed.header("retry-after").parse::<u64>().unwrap()), "{:?}", shed.headers);
    assert!(shed.text().contains("allowed for this class: 8"), "{}", shed.text());
    // In the form of the API that was asked, before a body is read.
    let of_anthropic =
        [("host", NAME), ("x-forwarded-for", &next.address), ("anthropic-version", "2023-06-01")];
    let shed = Client::new(site.address).request("GET", "/v1/models", &of_anthropic, Vec::new()).await;
    assert_eq!((shed.json()["type"].as_str(), shed.status > 500), (Some("error"), true), "{}", shed.text());

    // Users don't notice, nor does whoever looks whether the server lives.
    for _ in 0..5 {
        assert_eq!(ishmael.get("/api/models").await.status, 200);
    }
    assert_eq!(next.get("/healthz").await.status, 200);
    assert!(
        metric(&site, "cachalot_requests_shed_total{class=\"unknown\",reason=\"overload\"}").await >= 2.0
    );
    drop(held);
    eventually("there is room again", async || next.get("/api/session").await.status == 200).await;
}

#[tokio::test]
async fn strangers_who_flood_one_errand_are_in_nobody_s_way_who_has_another() {
    let site = served(|settings| settings.defence.strangers_per_second = 10).await;
    let ishmael = somebody(&site, "ishmael", "198.51.100.1").await;
    let visit = async |number| Stranger::of_many(&site, number).get("/api/session").await.status;
    let statuses = join_all((0..20).map(visit)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    let refused = Stranger::of_many(&site, 20).get("/api/session").await;
    refused.is_error(503, "overloaded");
    assert_eq!((refused.header("connection"), refused.header("retry-after")), ("close", "1"));
    // Who comes to sign in, who has signed in, and whoever looks whether the server lives.
    Stranger::of_many(&site, 21)
        .log_in("ishmael", "wrong, but long", None)
        .await
        .is_error(401, "wrong_login");
    for _ in 0..20 {
        assert_eq!(ishmael.get("/api/session").await.status, 200);
    }
    assert_eq!(Stranger::of_many(&site, 22).get("/healthz").await.status, 200);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(visit(23).await, 200);
}

/// So many of `count` tries of a password are answered with 401, which is after it was looked at.
async fn looked_at(site: &Site, count: u32) -> usize {
    let guess = async |number| {
        let reply = Stranger::of_many(site, number).log_in("ahab", "wrong, but long", None).await;
        assert!([401, 428].contains(&reply.status), "{}", reply.text());
        reply.status == 401
    };
    join_all((0..count).map(guess)).await.into_iter().filter(|is_looked_at| *is_looked_at).count()
}

#[tokio::test]
async fn who_solves_a_challenge_comes_in_where_too_many_sign_in() {
    let site = served(|settings| {
        settings.defence.strangers_per_second = 10;
        // Nothing but how many come is the reason.
        settings.defence.logins = false;
    })
    .await;
    somebody(&site, "ishmael", "198.51.100.1").await;
    site.clock.advance(Duration::from_secs(10));
    assert_eq!(looked_at(&site, 30).await, 10);

    let stranger = Stranger::at(&site, "203.0.113.1");
    let refused = stranger.log_in("ishmael", PASSWORD, None).await;
    refused.is_error(428, "challenge_required");
    assert_eq!(refused.header("connection"), "close");
    let answer = solve(&read_challenge(&refused)).unwrap();
    let elsewhere = Stranger::at(&site, "198.18.0.1").log_in("ishmael", PASSWORD, Some(&answer)).await;
    elsewhere.is_error(428, "challenge_failed");
    assert_eq!(stranger.log_in("ishmael", PASSWORD, Some(&answer)).await.status, 200);
    // One answer is no way in for a flood.
    stranger.log_in("ishmael", PASSWORD, Some(&answer)).await.is_error(428, "challenge_failed");

    // Who has no account yet may come for one in their turn.
    site.clock.advance(Duration::from_secs(1));
    let names: Vec<_> = (0..12).map(|number| format!("newcomer {number}")).collect();
    let newcomers: Vec<_> = (0..12).map(|number| Stranger::of_many(&site, 100 + number)).collect();
    let nothing = json!({});
    let asked = newcomers.iter().zip(&names).map(|(newcomer, name)| newcomer.sign_up(name, &nothing));
    let replies = join_all(asked).await;
    let challenged: Vec<_> = (0..12).filter(|at| replies[*at].status == 428).collect();
    assert_eq!(challenged.len(), 2, "all others have an account, or an answer about one");
    for at in challenged {
        let answer = solve(&read_challenge(&replies[at])).unwrap();
        let made = newcomers[at].sign_up(&names[at], &json!({"challenge": answer})).await;
        assert_ne!(made.status, 428, "{}", made.text());
        assert_ne!(made.json()["error"]["code"], "overloaded", "{}", made.text());
    }
}

const JSON: [(&str, &str); 2] = [("host", NAME), ("content-type", "application/json")];

/// Behind no proxy, so that first bytes say who comes; with the cookie of somebody who has an account.
async fn served_plainly(strangers_per_second: u32) -> (Site, String) {
    served_plainly_with(strangers_per_second, |_| {}).await
}

async fn served_plainly_with(strangers_per_second: u32, more: impl FnOnce(&mut Settings)) -> (Site, String) {
    let site = served(|settings| {
        settings.proxy = None;
        settings.public_url = Some(format!("http://{NAME}/").parse().unwrap());
        settings.defence.strangers_per_second = strangers_per_second;
        more(settings);
    })
    .await;
    let account = serde_json::to_vec(&json!({"name": "ishmael", "password": PASSWORD})).unwrap();
    let made = Client::new(site.address).request("POST", "/api/sign-up", &JSON, account).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (cookie, _) = made.header("set-cookie").split_once(';').unwrap();
    let cookie = cookie.to_owned();
    (site, cookie)
}

/// A visit, with more fields.
fn visit_head(fields: &str) -> String {
    format!("GET /api/session HTTP/1.1\r\nhost: {NAME}\r\n{fields}connection: close\r\n\r\n")
}

#[tokio::test]
async fn users_come_in_by_their_first_bytes_while_very_many_come() {
    let (site, cookie) = served_plainly(250).await;
    let client = Client::new(site.address);
    // Time stands still, so that these are all in one second.
    let visit = async || {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(visit_head("").as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    };
    let mut kept = Vec::new();
    for _ in 0..62 {
        kept.push(visit().await);
    }
    let (served, refused): (Vec<_>, Vec<_>) = kept.iter().partition(|text| text.starts_with("HTTP/1.1 200"));
    assert_eq!((served.len(), refused.len()), (51, 11), "the 39 of before, and a quarter of a fifth of 250");
    assert!(refused[0].contains("503") && refused[0].contains("\"overloaded\""), "{}", refused[0]);

    let page = client.request("GET", "/", &[("host", NAME), ("accept", "text/html")], Vec::new()).await;
    assert_eq!((page.status, page.header("retry-after"), page.header("connection")), (503, "5", "close"));
    assert!(page.text().contains("tries again by itself"), "{}", page.text());
    let guess = json!({"login": "ishmael", "password": "wrong, but long"});
    let guess = client.request("POST", "/api/login", &JSON, serde_json::to_vec(&guess).unwrap()).await;
    guess.is_error(401, "wrong_login");
    // Of many who sign in, most are given a challenge by their first bytes, and who solves it is let in by these.
    let login = json!({"login": "ishmael", "password": PASSWORD});
    let log_in = async |answer: &str| {
        let mut headers = JSON.to_vec();
        headers.extend((!answer.is_empty()).then_some(("x-cachalot-challenge", answer)));
        client.request("POST", "/api/login", &headers, serde_json::to_vec(&login).unwrap()).await
    };
    let mut replies = Vec::new();
    for _ in 0..40 {
        replies.push(log_in("").await);
    }
    let (refused, let_in): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 428);
    assert!(refused.len() >= 15 && !let_in.is_empty(), "{} and {}", refused.len(), let_in.len());
    assert_eq!((refused[0].header("connection"), refused[0].header("cache-control")), ("close", "no-store"));
    let answer = solve(&read_challenge(refused[0])).unwrap();
    assert_eq!(log_in(&answer).await.status, 200);
    log_in("bm90IG9uZQ==").await.is_error(428, "challenge_failed");
    for _ in 0..5 {
        let own =
            client.request("GET", "/api/session", &[("host", NAME), ("cookie", &cookie)], Vec::new()).await;
        assert_eq!(own.status, 200, "{}", own.text());
    }
    // A forged one is a stranger's.
    let forged = format!("{cookie}x");
    let own = client.request("GET", "/api/session", &[("host", NAME), ("cookie", &forged)], Vec::new()).await;
    assert_eq!(own.status, 503);

    // One that says nothing yet is not judged until it does.
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let head = visit_head(&format!("cookie: {cookie}\r\n"));
    silent.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    silent.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let refused =
        metric(&site, "cachalot_requests_shed_total{class=\"unknown\",reason=\"request_rate\"}").await;
    assert!(refused >= 3.0, "{refused}");
    // So many are told why, and the others are as many too many.
    let mut told = 0;
    for _ in 0..30 {
        told += usize::from(visit().await.contains("\"overloaded\""));
    }
    assert_eq!(told, 25 - 11 - 2);
}

/// So many answers at once for users of this class.
fn at_once(settings: &mut Settings, class: Class, in_flight: u32) {
    let CapsByClass(caps) = &mut settings.defence.caps;
    caps[class.index()].in_flight = Some(in_flight);
}

#[tokio::test]
async fn who_is_refused_by_a_model_again_and_again_is_refused_before_anything_is_done() {
    let site = served(|settings| at_once(settings, Class::Established, 1)).await;
    let ishmael = somebody(&site, "ishmael", "198.51.100.1").await;
    let ahab = somebody(&site, "ahab", "198.51.100.2").await;
    much_later(&site);
    site.models.gate.allow(1);
    let first = ishmael.open(&question("endless")).await;
    assert_eq!(first.status, 200);
    // As often as one is that gets no answer, and once for the one that there is.
    for _ in 0..10 {
        ishmael.post(CHAT, &question("plain")).await.is_error(429, "too_many_requests_at_once");
    }
    let refused = ishmael.post(CHAT, &question("plain")).await;
    refused.is_error(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), "5");
    assert!(refused.text().contains("10 of your requests were refused"), "{}", refused.text());
    assert!(
        metric(&site, "cachalot_requests_shed_total{class=\"established\",reason=\"patience\"}").await >= 1.0
    );
    // Nobody else is, nor what else they ask.
    assert_eq!(ishmael.get("/api/models").await.status, 200);
    let waits = ahab.open(&question("endless")).await;
    assert_eq!(waits.status, 200);
    site.clock.advance(Duration::from_secs(5));
    ishmael.post(CHAT, &question("plain")).await.is_error(429, "too_many_requests_at_once");
    drop((first, waits));
    site.models.gate.open();
}

#[tokio::test]
async fn who_is_refused_again_and_again_comes_last_by_their_first_bytes_while_very_many_come() {
    let (site, cookie) = served_plainly_with(10, |settings| at_once(settings, Class::New, 0)).await;
    let client = Client::new(site.address);
    let mut headers = JSON.to_vec();
    headers.push(("cookie", &cookie));
    let ask = async || {
        let question = serde_json::to_vec(&question("plain")).unwrap();
        client.request("POST", CHAT, &headers, question).await
    };
    for _ in 0..9 {
        ask().await.is_error(429, "too_many_requests_at_once");
    }
    for _ in 0..40 {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(visit_head("").as_bytes()).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    ask().await.is_error(429, "too_many_requests");
    let turned_away = ask().await;
    turned_away.is_error(503, "overloaded");
    assert_eq!(turned_away.header("connection"), "close");
    let own = client.request("GET", "/api/session", &[("host", NAME), ("cookie", &cookie)], Vec::new()).await;
    assert_eq!(own.status, 200, "{}", own.text());
}

#[tokio::test]
async fn users_are_taken_out_of_the_queue_before_strangers_are() {
    // All of them are let in: it is about the order.
    let (site, cookie) = served_plainly(100_000).await;
    // From here on the server does nothing until this task waits, on the one thread that there is.
    let ask = |head: String| {
        let mut stream = std::net::TcpStream::connect(site.address).unwrap();
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let strangers: Vec<_> = (0..90).map(|_| ask(visit_head(""))).collect();
    // What is answered without a question to the database, whose thread may wait for a core on a busy machine.
    let user = visit_head(&format!("cookie: {cookie}\r\n")).replace("/api/session", "/status");
    let user = ask(user);
    let is_answered = |stream: &std::net::TcpStream| stream.peek(&mut [0]).is_ok_and(|read| read > 0);
    let mut before = 0;
    let all_answered = async {
        while !is_answered(&user) {
            before = strangers.iter().filter(|stream| is_answered(stream)).count();
            tokio::task::yield_now().await;
        }
        while !strangers.iter().all(is_answered) {
            tokio::task::yield_now().await;
        }
    };
    within("all are answered", all_answered).await;
    assert!(before < 63, "{before} strangers were answered before the user who came after 90");
}

#[tokio::test]
async fn who_returns_comes_in_while_passwords_are_stuffed() {
    let site = served(|_| {}).await;
    let names: Vec<_> = (0..10).map(|number| format!("returning {number}")).collect();
    let mut devices = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let address = format!("198.51.100.{number}");
        let stranger = Stranger::at(&site, &address);
        let made = stranger.sign_up(name, &json!({})).await;
        let cookies: Vec<_> =
            made.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
        let device = cookies.iter().find(|cookie| cookie.contains("-device=")).expect("it is remembered");
        assert!(device.contains("HttpOnly; SameSite=Lax; Secure"), "{device}");
        devices.push(device.split_once(';').unwrap().0.to_owned());
        site.clock.advance(Duration::from_secs(30));
    }
    // From everywhere, for those who are there and those who are not.
    let mut hashed = 0;
    for number in 0..300 {
        let name =
            if number % 2 == 0 { names[number as usize % 10].clone() } else { format!("nobody {number}") };
        let guess = Stranger::of_many(&site, number).log_in(&name, "leaked, but long", None).await;
        assert!([401, 428].contains(&guess.status), "{}", guess.text());
        hashed += usize::from(guess.status == 401);
        // A hundred a second: fewer than strangers are let in to sign in.
        site.clock.advance(Duration::from_millis(10));
    }
    assert!(hashed < 150, "{hashed} of 300 were hashed");

    for (number, name) in names.iter().enumerate() {
        // From where they never were.
        let elsewhere = Stranger::at(&site, &format!("203.0.113.{number}"));
        let asked = elsewhere.log_in(name, PASSWORD, None).await;
        asked.is_error(428, "challenge_required");
        let answer = solve(&read_challenge(&asked)).unwrap();
        let came_in = elsewhere.log_in(name, PASSWORD, Some(&answer)).await;
        assert_eq!(came_in.status, 200, "{}", came_in.text());
        // Once only, and for nothing else.
        elsewhere.log_in(name, PASSWORD, Some(&answer)).await.is_error(428, "challenge_failed");
        let other = Stranger::at(&site, &format!("203.0.113.{}", 100 + number)).challenge().await;
        elsewhere
            .log_in(name, PASSWORD, Some(&solve(&other).unwrap()))
            .await
            .is_error(428, "challenge_failed");
    }
    // A device that is known is asked nothing, wherever it is, and is known for its user alone.
    let mut known = Stranger::at(&site, "203.0.113.200");
    known.cookie = Some(devices[3].clone());
    assert_eq!(known.log_in(&names[3], PASSWORD, None).await.status, 200);
    known.log_in(&names[4], PASSWORD, None).await.is_error(428, "challenge_required");
    // Its own failures are its own.
    for _ in 0..20 {
        known.log_in(&names[3], "wrong, but long", None).await.is_error(401, "wrong_login");
    }
    let refused = known.log_in(&names[3], PASSWORD, None).await;
    refused.is_error(429, "too_many_attempts");
    assert!((1..=400).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
}

#[tokio::test]
async fn new_accounts_have_less_until_they_are_trusted() {
    let site = served(|settings| {
        let CapsByClass([unknown, guest, mut new, established]) = settings.defence.caps;
        (new.in_flight, new.context_tokens, new.output_tokens) = (Some(1), Some(200), Some(5));
        settings.defence.caps = CapsByClass([unknown, guest, new, established]);
    })
    .await;
    let newcomer = somebody(&site, "newcomer", "198.51.100.1").await;
    // Less than was asked for is said.
    let cut = newcomer.post(CHAT, &question("plain")).await;
    assert_eq!(cut.status, 200, "{}", cut.text());
    assert_eq!(cut.header("x-cachalot-reduced"), "output_tokens=5");
    assert_eq!(cut.json()["choices"][0]["finish_reason"], "length");
    assert_eq!(cut.json()["usage"]["completion_tokens"], 5);
    let mut stream = newcomer.open(&question("plain")).await;
    assert_eq!(stream.headers["x-cachalot-reduced"], "output_tokens=5");
    stream.rest().await;
    let mut fits = question("plain");
    fits["max_tokens"] = json!(3);
    assert_eq!(newcomer.post(CHAT, &fits).await.header("x-cachalot-reduced"), "");
    // What is too long is refused with what was allowed and what was given.
    let long = json!({"model": "plain", "messages": [{"role": "user", "content": "a".repeat(300)}]});
    let refused = newcomer.post(CHAT, &long).await;
    refused.is_error(400, "context_length_exceeded");
    assert!(refused.text().contains("allowed: 199"), "{}", refused.text());
    // One at a time, in conversations too.
    site.models.gate.allow(1);
    let first = newcomer.open(&question("endless")).await;
    assert_eq!(first.status, 200);
    let refused = newcomer.post(CHAT, &question("plain")).await;
    refused.is_error(429, "too_many_requests_at_once");
    assert!(refused.text().contains("2 requests are under way; allowed: 1"), "{}", refused.text());
    let made = newcomer.post("/api/conversations", &json!({"model": "plain"})).await.json();
    let messages = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    let refused = newcomer.post(&messages, &json!({"content": "And now?"})).await;
    refused.is_error(429, "too_many_requests_at_once");
    // The work of who goes away ends, and counts no more.
    drop(first);
    site.models.gate.open();
    let goes = async || newcomer.post(CHAT, &fits).await.status == 200;
    eventually("it is over", goes).await;

    much_later(&site);
    let whole = newcomer.post(CHAT, &question("plain")).await;
    assert_eq!((whole.status, whole.header("x-cachalot-reduced")), (200, ""));
    assert_eq!(whole.json()["choices"][0]["message"]["content"], "Hello, whale! 🐋");
    assert_eq!(newcomer.post(CHAT, &long).await.status, 200);
}

#[tokio::test]
async fn new_accounts_leave_places_at_a_model_to_users() {
    let site = served(|_| {}).await;
    let ishmael = somebody(&site, "ishmael", "198.51.100.1").await;
    much_later(&site);
    let first = somebody(&site, "first one", "198.51.100.2").await;
    let second = somebody(&site, "second one", "198.51.100.3").await;
    // One answer at a time, and one more may wait: that place is kept.
    site.models.gate.allow(1);
    let held = first.open(&question("endless")).await;
    assert_eq!(held.status, 200);
    let refused = second.post(CHAT, &question("endless")).await;
    refused.is_error(503, "queue_full");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    let waits = ishmael.open(&question("endless")).await;
    assert_eq!(waits.status, 200);
    drop((held, waits));
    site.models.gate.open();
}

#[tokio::test]
async fn answers_get_shorter_under_load_and_say_so() {
    let site = served(|_| {}).await;
    let users =
        [somebody(&site, "ishmael", "198.51.100.1").await, somebody(&site, "queequeg", "198.51.100.2").await];
    much_later(&site);
    let newcomer = somebody(&site, "newcomer", "198.51.100.3").await;
    let calm = newcomer.post(CHAT, &question("thinker")).await;
    assert_eq!((calm.status, calm.header("x-cachalot-reduced")), (200, ""));
    // As many wait as run.
    site.models.gate.allow(1);
    let held = [users[0].open(&question("endless")).await, users[1].open(&question("endless")).await];
    assert!(held.iter().all(|held| held.status == 200));
    let dims = async || {
        site.clock.advance(Duration::from_millis(500));
        metric(&site, "cachalot_brownout_level").await >= 2.0
    };
    eventually("it gets dim", dims).await;

    let dim = newcomer.post(CHAT, &question("thinker")).await;
    assert_eq!(
        (dim.status, dim.header("x-cachalot-reduced")),
        (200, "thinking_tokens=1024"),
        "{}",
        dim.text()
    );
    assert_eq!(dim.json()["choices"][0]["message"]["content"], "Two km.");
    // Whoever was here before thinks as long as ever.
    let bright = users[0].post(CHAT, &question("thinker")).await;
    assert_eq!((bright.status, bright.header("x-cachalot-reduced")), (200, ""));
    // In the web app the stream says it.
    let made = newcomer.post("/api/conversations", &json!({"model": "thinker"})).await.json();
    let messages = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    let turn = newcomer.post(&messages, &json!({"content": "How deep?"})).await;
    assert_eq!(turn.status, 201, "{}", turn.text());
    let id = turn.json()["assistant"]["id"].as_str().unwrap().to_owned();
    let cookie = newcomer.cookie.clone().unwrap();
    let headers = [("host", NAME), ("x-forwarded-for", "198.51.100.3"), ("cookie", cookie.as_str())];
    let stream = format!("{messages}/{id}/stream");
    let events = Client::new(site.address).open("GET", &stream, &headers, Vec::new()).await.rest().await;
    // Whoever comes when all is over gets all at once.
    if let Some(reduced) = events.iter().find(|event| event.name == "reduced") {
        assert_eq!(reduced.json(), json!({"thinking_tokens": 1024}));
    } else {
        assert_eq!(events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["snapshot", "done"]);
    }
    drop(held);
    site.models.gate.open();
    let lights = async || {
        site.clock.advance(Duration::from_secs(5));
        metric(&site, "cachalot_brownout_level").await < 1.0
    };
    eventually("it is light again", lights).await;
}

#[tokio::test]
async fn a_defence_that_is_off_holds_nobody_up() {
    let site = served(|settings| {
        settings.defence.request_slots = false;
        settings.defence.requests_max = 16;
        settings.defence.logins = false;
    })
    .await;
    let mut held = Vec::new();
    for number in 0..40 {
        held.push(Stranger::of_many(&site, number).hold().await);
    }
    assert_eq!(Stranger::of_many(&site, 99).get("/api/session").await.status, 200);
    for _ in 0..30 {
        let guess = Stranger::of_many(&site, 7).log_in("captain", "wrong, but long", None).await;
        guess.is_error(401, "wrong_login");
    }
    for mut held in held {
        held.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = held.read_to_end(&mut rest).await;
    }
}

/// Whatever strangers have the database write comes in their lane, and what users do in the first.
#[tokio::test]
async fn writes_come_in_the_lane_of_whoever_asks() {
    for is_on in [true, false] {
        let site = served(|settings| settings.defence.write_lanes = is_on).await;
        let since = async |before: [u64; 4]| {
            let after = site.store.writes_by_lane();
            std::array::from_fn::<_, 4, _>(|lane| after[lane] - before[lane])
        };
        let start = site.store.writes_by_lane();
        let pip = somebody(&site, "Pip", "203.0.113.7").await;
        // The account itself; then they have shown whose they are.
        assert_eq!(since(start).await, if is_on { [1, 0, 2, 0] } else { [0, 0, 0, 3] });
        let start = site.store.writes_by_lane();
        let wrong = Stranger::at(&site, "198.51.100.7").log_in("pip", "a wrong guess indeed", None).await;
        assert_eq!(wrong.status, 401);
        assert_eq!(since(start).await, if is_on { [1, 0, 0, 0] } else { [0, 0, 0, 1] });
        let start = site.store.writes_by_lane();
        let begin = async || pip.post("/api/conversations", &json!({})).await.status;
        assert_eq!(begin().await, 201);
        assert_eq!(since(start).await, if is_on { [0, 0, 1, 0] } else { [0, 0, 0, 1] });
        much_later(&site);
        site.step(2).await;
        let start = site.store.writes_by_lane();
        assert_eq!(begin().await, 201);
        // And what the program does by itself after so long.
        let [fourth, third, second, first] = since(start).await;
        assert_eq!(([fourth, third, second], first >= 1), ([0; 3], true), "{first}");
        let of_strangers = "cachalot_database_writes_total{class=\"unknown\"}";
        let known = if is_on { site.store.writes_by_lane()[0] as f64 } else { 0.0 };
        let told = async || (metric(&site, of_strangers).await - known).abs() < 0.5;
        eventually("writes are counted", told).await;
    }
}
