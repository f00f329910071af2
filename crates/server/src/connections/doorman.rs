//! Who asks, told from the first bytes of a connection while they are still in the kernel: when so many come that the
//! server could do nothing else, users are let in by their signatures, and most strangers are told to come back, before
//! there is a task, a parser or a buffer for them.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use defence::{Class, Prefix};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::Value;

use crate::accounts::{Arrival, Peer, Standing, Who};
use crate::app::State;
use crate::bulwark::{Errand, Toll, too_many, waits_for_model};

/// Of a request's head. Who sends more is looked at when all of it has come.
const HEAD_BYTES: usize = 4096;
const FIELDS_MAX: usize = 64;
/// Part of a head that is shorter than this has not been cut by the network.
const PART_BYTES_MAX: usize = 512;
/// How HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2";
/// After so long a stranger may come back, as long as a flood has at least.
const RETRY: Duration = Duration::from_secs(5);

/// What is seen of a connection.
#[derive(Debug)]
pub(super) enum Seen {
    /// Nothing yet, or no whole head.
    Nothing,
    /// A user, or whoever has the machine.
    Known(Standing),
    /// Somebody with an errand; and what lets them in all the same, where something does.
    Stranger(Standing, Errand, Option<Toll>),
}

/// Looks at what has come of a connection, and leaves it there.
pub(super) fn look(app: &State, stream: impl AsFd, address: SocketAddr) -> Seen {
    let mut head = [0; HEAD_BYTES];
    let read = recv(stream, &mut head[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    let read = read.map_or(0, |(read, _)| read);
    judge(app, &head[..read], address)
}

fn judge(app: &State, head: &[u8], address: SocketAddr) -> Seen {
    let stranger =
        Standing { class: Class::Unknown, who: Who::Network(Prefix::narrow(address.ip().to_canonical())) };
    if head.starts_with(PREFACE) {
        return Seen::Stranger(stranger, Errand::Http2, None);
    }
    let Some(Head { method, path, headers }) = parse(head) else {
        // The first segment of a network takes more than this, so that whoever sends less and no whole head does it on
        // purpose.
        let is_part = (1..PART_BYTES_MAX).contains(&head.len());
        return if is_part { Seen::Stranger(stranger, Errand::Visit, None) } else { Seen::Nothing };
    };
    let arrival = Arrival { address, tls: false, is_relayed: false };
    let peer = Peer::new(arrival, app.settings.proxy.as_ref(), &headers);
    let standing = Standing::of(app, peer, &headers);
    let (Standing { class, who }, now) = (standing, app.clock.monotonic());
    let as_guest = Standing { class: Class::Guest, who };
    match who {
        Who::Machine => Seen::Known(standing),
        // What would only be refused once more comes in as what is beyond measure does.
        Who::User(_) if waits_for_model(method, path) && app.bulwark.patience.is_lost_on(who, now) => {
            Seen::Stranger(as_guest, Errand::Excess, None)
        }
        Who::User(user) if app.bulwark.strangers.is_usual(user, class, now) => Seen::Known(standing),
        // More than a person makes: not in the strangers' way, nor in the other users'. A program may.
        Who::User(_) if class >= Class::Established => Seen::Stranger(as_guest, Errand::of(path), None),
        Who::User(_) => Seen::Stranger(as_guest, Errand::Excess, None),
        Who::Network(_) => Seen::Stranger(standing, Errand::of(path), Toll::of(method, path, &headers, peer)),
    }
}

/// A whole head of HTTP/1.
struct Head<'a> {
    method: &'a str,
    /// Without its query.
    path: &'a str,
    headers: HeaderMap,
}

fn parse(head: &[u8]) -> Option<Head<'_>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(head).is_ok_and(|status| status.is_complete()) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let path = request.path?;
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    Some(Head { method: request.method?, path, headers })
}

/// Tells a stranger to come back, and is done with the connection.
pub(super) fn turn_away(stream: impl AsFd) {
    say(stream, |head| busy(wants_page(head)));
}

/// Gives a stranger a challenge to come back with, and is done with the connection.
pub(super) fn challenge(stream: impl AsFd, body: &Value) {
    say(stream, |_| answer("428 Precondition Required", "application/json", "", &body.to_string()));
}

/// What they sent is read before, as a connection that is closed with something unread is reset, and the answer lost with
/// it.
fn say(stream: impl AsFd, answer: impl FnOnce(&[u8]) -> String) {
    let mut rest = [0; HEAD_BYTES];
    let read = recv(&stream, &mut rest[..], RecvFlags::DONTWAIT).map_or(0, |(read, _)| read);
    // To whom it can't be written has gone.
    let _ = send(&stream, answer(&rest[..read]).as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Whether a browser shows what is answered.
fn wants_page(head: &[u8]) -> bool {
    head.starts_with(b"GET ") && head.windows(9).any(|bytes| bytes == b"text/html")
}

fn busy(is_page: bool) -> String {
    const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
                        <meta http-equiv=refresh content=5><title>Busy</title>\
                        <p>Very many people are here at once. This page tries again by itself in a few seconds.";
    let (kind, body) = if is_page {
        ("text/html; charset=utf-8", PAGE.to_owned())
    } else {
        let error = serde_json::to_string(&too_many(RETRY).body());
        // It is made of texts.
        ("application/json", error.unwrap_or_default())
    };
    answer("503 Service Unavailable", kind, &format!("retry-after: {}\r\n", RETRY.as_secs()), &body)
}

fn answer(status: &str, kind: &str, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{fields}cache-control: no-store\r\n\
         connection: close\r\n\r\n{body}",
        body.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_head_is_read_and_nothing_else() {
        let head =
            b"POST /api/login?x=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n{}";
        let Head { method, path, headers } = parse(head).unwrap();
        assert_eq!((method, path), ("POST", "/api/login"));
        assert_eq!(headers.get_all("cookie").iter().count(), 2);
        assert!(parse(&head[..40]).is_none(), "not all of it");
        assert!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_none());
        assert!(parse(b"").is_none());
        assert!(parse(b"GET / HTTP/1.1\r\nCookie: \xff\r\n\r\n").is_some());
        assert!(parse(b"\x16\x03\x01\x02\x00").is_none());
    }

    #[test]
    fn who_is_turned_away_is_told_in_their_way() {
        assert!(wants_page(b"GET / HTTP/1.1\r\nAccept: text/html,*/*\r\n\r\n"));
        assert!(!wants_page(b"POST / HTTP/1.1\r\nAccept: text/html,*/*\r\n\r\n"));
        for (is_page, begins) in [(true, "<!doctype html>"), (false, "{\"error\":")] {
            let answer = busy(is_page);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
            assert!(body.starts_with(begins), "{body}");
        }
        let (_, body) =
            busy(false).split_once("\r\n\r\n").map(|(head, body)| (head.len(), body.to_owned())).unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], "overloaded");
    }
}
