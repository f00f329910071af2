//! Attacks that come at a rate.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::Rng;
use serde_json::{Value, json};

use super::army::{Field, Rate, pace};
use super::tally::Outcome;
use super::wire::{self, Reply, exchange, request, statuses};
use crate::address;
use crate::challenge::Challenge;
use crate::http::{CHALLENGE, Connection, Pass};
use crate::kind::Kind;

/// Requests of one connection in a flood.
const PIPELINED: u64 = 8;
/// Challenges that an attacker solves for one account.
const CHALLENGES_MAX: u32 = 3;
/// Words of an expensive prompt: more than most models hold, so that as many tokens are read as may be.
const EXPENSIVE_WORDS: usize = 1200;
const EXPENSIVE_TOKENS: u32 = 512;

/// Requests of pages and of the API, eight to a connection, from everywhere.
pub(super) async fn http(field: &Arc<Field>, per_second: f64) {
    const PATHS: [&str; 6] = ["/", "/api/session", "/v1/models", "/api/models", "/healthz", "/c/"];
    let mut rng = field.rng(Kind::HttpFlood);
    let target = &field.orders.target;
    pace(field, Kind::HttpFlood, Rate::Steady(per_second), PIPELINED, || {
        let from = address::of_attacker(&mut rng, field.orders.addresses);
        let mut bytes = Vec::new();
        for number in 1..=PIPELINED {
            let path = format!("{}?{:x}", PATHS[rng.below(PATHS.len())], rng.next_u64());
            let mut one = request(target, "GET", &path, "", "");
            if number < PIPELINED {
                one = String::from_utf8_lossy(&one).replace("Connection: close\r\n", "").into_bytes();
            }
            bytes.extend(one);
        }
        let field = Arc::clone(field);
        async move {
            let tally = field.tallies.of(Kind::HttpFlood);
            let Reply { outcome, text } = exchange(&field.orders.target, from, &bytes).await;
            let answered = statuses(&text);
            for status in &answered {
                tally.end(Outcome::Status(*status));
            }
            // Those that were not answered ended with the connection.
            let rest = if answered.is_empty() { outcome } else { Outcome::Cut };
            for _ in answered.len()..PIPELINED as usize {
                tally.end(rest);
            }
        }
    })
    .await;
}

/// Sign-ups from everywhere, each with a name and a password that are beyond reproach.
pub(super) async fn sign_ups(field: &Arc<Field>, kind: Kind, rate: Rate) {
    let mut rng = field.rng(kind);
    pace(field, kind, rate, 1, || {
        let (from, who) = (address::of_attacker(&mut rng, field.orders.addresses), rng.fork());
        let field = Arc::clone(field);
        async move { drop(sign_up(&field, kind, from, who).await) }
    })
    .await;
}

/// One account, with as many challenges as it takes; the session if it was made.
pub(super) async fn sign_up(field: &Arc<Field>, kind: Kind, from: Ipv4Addr, mut rng: Rng) -> Option<String> {
    let name = format!("{}-mob-{:x}", field.orders.prefix, rng.next_u64());
    let mut body =
        json!({"name": name, "password": format!("{:016x}{:08x}", rng.next_u64(), rng.next_u64() >> 32)});
    let (target, tally) = (&field.orders.target, field.tallies.of(kind));
    for round in 0..=CHALLENGES_MAX {
        let shown = body["challenge"].as_str().map(|solution| format!("{CHALLENGE}: {solution}\r\n"));
        let bytes = request(target, "POST", "/api/sign-up", &shown.unwrap_or_default(), &body.to_string());
        let reply = exchange(target, from, &bytes).await;
        tally.end(reply.outcome);
        if reply.outcome == Outcome::Status(201) {
            let cookie = reply.cookie()?;
            field.mob.keep(cookie.clone());
            return Some(cookie);
        }
        let challenge = Challenge::find(&reply.body())?;
        if round == CHALLENGES_MAX {
            return None;
        }
        body["challenge"] = Value::String(solve(field, challenge).await?);
        tally.solved.fetch_add(1, Ordering::Relaxed);
        tally.begin(1);
    }
    None
}

/// Solves on the attackers' threads, with all of their cores.
async fn solve(field: &Arc<Field>, challenge: Challenge) -> Option<String> {
    let field = Arc::clone(field);
    let threads = field.orders.cores.len();
    tokio::task::spawn_blocking(move || challenge.solve(threads, &field.stopped)).await.ok()?
}

/// Wrong passwords, half of them for names that exist.
pub(super) async fn logins(field: &Arc<Field>, per_second: f64) {
    let mut rng = field.rng(Kind::CredentialStuffing);
    let (target, names) = (&field.orders.target, &field.orders.known_names);
    pace(field, Kind::CredentialStuffing, Rate::Steady(per_second), 1, || {
        let from = address::of_attacker(&mut rng, field.orders.addresses);
        let name = if names.is_empty() || rng.below(2) == 0 {
            format!("{:x}", rng.next_u64())
        } else {
            names[rng.below(names.len())].clone()
        };
        let body = json!({"login": name, "password": format!("leaked {:x}", rng.next_u64())});
        let bytes = request(target, "POST", "/api/login", "", &body.to_string());
        let field = Arc::clone(field);
        async move {
            let reply = exchange(&field.orders.target, from, &bytes).await;
            field.tallies.of(Kind::CredentialStuffing).end(reply.outcome);
        }
    })
    .await;
}

/// Prompts as long as can be, from accounts made in the attack.
pub(super) async fn expensive_prompts(field: &Arc<Field>, per_second: f64) {
    let kind = Kind::ExpensivePrompts;
    let mut rng = field.rng(kind);
    pace(field, kind, Rate::Steady(per_second), 1, || {
        let (from, mut own) = (address::of_attacker(&mut rng, field.orders.addresses), rng.fork());
        let field = Arc::clone(field);
        async move {
            let session = match field.mob.session(own.next_u64()) {
                Some(session) => Some(session),
                None => sign_up(&field, kind, from, own.fork()).await,
            };
            // Without an account there is nothing to ask with.
            let Some(session) = session else { return };
            let body = expensive(&field, &mut own);
            chat(&field, kind, from, Pass::Cookie(session), body).await;
        }
    })
    .await;
}

/// The same from accounts of before, which have done nothing until now.
pub(super) async fn sleepers(field: &Arc<Field>, per_second: f64) {
    let mut rng = field.rng(Kind::Sleepers);
    let keys = &field.orders.sleeper_keys;
    if keys.is_empty() {
        return;
    }
    pace(field, Kind::Sleepers, Rate::Steady(per_second), 1, || {
        let (from, mut own) = (address::of_attacker(&mut rng, field.orders.addresses), rng.fork());
        let key = keys[rng.below(keys.len())].clone();
        let field = Arc::clone(field);
        async move {
            let body = expensive(&field, &mut own);
            chat(&field, Kind::Sleepers, from, Pass::Key(key), body).await;
        }
    })
    .await;
}

fn expensive(field: &Field, rng: &mut Rng) -> Value {
    let words: Vec<String> = (0..EXPENSIVE_WORDS).map(|_| format!("{:x}", rng.below(4096))).collect();
    json!({
        "model": field.orders.model,
        "messages": [{"role": "user", "content": words.join(" ")}],
        "max_tokens": EXPENSIVE_TOKENS,
        "stream": true,
    })
}

/// Asks, and takes the answer as it comes until the attack ends.
async fn chat(field: &Field, kind: Kind, from: Ipv4Addr, pass: Pass, body: Value) {
    let tally = field.tallies.of(kind);
    let mut connection = match Connection::open(&field.orders.target, from).await {
        Ok(connection) => connection,
        Err(crate::http::Trouble::Unreachable(error)) => return tally.end(wire::outcome_of(&error)),
        Err(_) => return tally.end(Outcome::Cut),
    };
    match connection.stream("POST", "/v1/chat/completions", &pass, Some(&body)).await {
        Ok(Ok(mut events)) => {
            tally.end(Outcome::Status(200));
            while let Ok(Some(_)) = events.next().await {}
        }
        Ok(Err(refusal)) => tally.end(Outcome::Status(refusal.status)),
        Err(_) => tally.end(Outcome::Cut),
    }
}
