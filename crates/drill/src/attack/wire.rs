//! HTTP/1.1 as attackers speak it: bytes that were prepared, and as little reading as there can be.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tally::Outcome;
use crate::http;
use crate::target::Target;

/// How long attackers wait for an answer.
pub(super) const ATTACKERS_WAIT: Duration = Duration::from_secs(5);
/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A request after which the connection ends.
pub(super) fn request(target: &Target, method: &str, path: &str, fields: &str, body: &str) -> Vec<u8> {
    let host = &target.host;
    let length = body.len();
    let content = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/json\r\nContent-Length: {length}\r\n")
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}{content}\r\n{body}")
        .into_bytes()
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) outcome: Outcome,
    pub(super) text: Vec<u8>,
}

impl Reply {
    /// The body, where it has a length: what comes in chunks is no answer that attackers read.
    pub(super) fn body(&self) -> serde_json::Value {
        let start = self.text.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        serde_json::from_slice(&self.text[start..]).unwrap_or_default()
    }

    /// The session that was given.
    pub(super) fn cookie(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.text);
        let field = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("set-cookie").then_some(value)
        })?;
        field.split(';').next().map(|cookie| cookie.trim().to_owned())
    }
}

/// Sends bytes over a connection of their own and reads until it ends.
pub(super) async fn exchange(target: &Target, source: Ipv4Addr, bytes: &[u8]) -> Reply {
    let mut text = Vec::new();
    let work = async {
        let mut stream = connect(target, source).await?;
        stream.write_all(bytes).await.map_err(|_| Outcome::Cut)?;
        read_all(&mut stream, &mut text).await.map_err(|_| Outcome::Cut)
    };
    let outcome = match timeout(ATTACKERS_WAIT, work).await {
        Ok(Err(outcome)) if text.is_empty() => outcome,
        Err(_) if text.is_empty() => Outcome::Silent,
        _ => statuses(&text).first().map_or(Outcome::Cut, |status| Outcome::Status(*status)),
    };
    Reply { outcome, text }
}

/// A connection, or what it means that there is none.
pub(super) async fn connect(target: &Target, source: Ipv4Addr) -> Result<TcpStream, Outcome> {
    http::connect(target, source).await.map_err(|error| outcome_of(&error))
}

/// What an error of connecting means. Any that the server has no part in is the drill's own want.
pub(super) fn outcome_of(error: &io::Error) -> Outcome {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut};
    match error.kind() {
        ConnectionRefused | ConnectionReset | ConnectionAborted => Outcome::Cut,
        TimedOut => Outcome::Silent,
        _ => Outcome::Unable,
    }
}

async fn read_all(stream: &mut TcpStream, text: &mut Vec<u8>) -> io::Result<()> {
    while text.len() < ANSWER_BYTES_MAX {
        if stream.read_buf(text).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// The statuses of the answers in a stream. A body that looks like one is none of ours.
pub(super) fn statuses(text: &[u8]) -> Vec<u16> {
    const START: &[u8] = b"HTTP/1.1 ";
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].windows(START.len()).position(|window| window == START) {
        at += next + START.len();
        let digits = text.get(at..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        found.extend(digits.and_then(|digits| digits.parse::<u16>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Admin;

    #[test]
    fn answers_are_counted_where_they_begin() {
        let text =
            b"HTTP/1.1 200 OK\r\n\r\nxHTTP/1.1 429 Too Many\r\nset-cookie: a=b; Path=/\r\n\r\n{\"c\": 1}";
        assert_eq!(statuses(text), [200, 429]);
        assert!(statuses(b"HTTP/1.1 ").is_empty());
        let reply = Reply {
            outcome: Outcome::Cut,
            text: b"HTTP/1.1 201 x\r\nSet-Cookie: a=b; Path=/\r\n\r\n{\"c\":1}".to_vec(),
        };
        assert_eq!((reply.cookie().as_deref(), reply.body()["c"].as_u64()), (Some("a=b"), Some(1)));
    }

    #[test]
    fn requests_are_whole() {
        let target = Target::of_url("http://127.0.0.1:1", Admin::Setup(String::new())).unwrap().called("x");
        let sent = String::from_utf8(request(&target, "POST", "/p", "A: b\r\n", "{}")).unwrap();
        assert!(
            sent.starts_with("POST /p HTTP/1.1\r\nHost: x\r\n") && sent.contains("\r\nA: b\r\n"),
            "{sent}"
        );
        assert!(sent.ends_with("Content-Length: 2\r\n\r\n{}"), "{sent}");
    }
}
