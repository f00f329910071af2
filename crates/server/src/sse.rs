//! Server-sent events.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;

/// Comment for a stream that has nothing to say yet.
pub(crate) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// What a stream sends next.
pub(crate) trait Source: Send + 'static {
    /// `None` when there is nothing more. Dropped when the client goes away.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// An event without a name.
pub(crate) fn data(value: &impl Serialize) -> Bytes {
    let mut text = b"data: ".to_vec();
    write_json(&mut text, value);
    text.into()
}

/// An event without a name whose data is this word, which is no JSON.
pub(crate) fn done(word: &'static str) -> Bytes {
    format!("data: {word}\n\n").into()
}

/// An event with a name.
pub(crate) fn event(name: &'static str, value: &impl Serialize) -> Bytes {
    let mut text = format!("event: {name}\ndata: ").into_bytes();
    write_json(&mut text, value);
    text.into()
}

fn write_json(text: &mut Vec<u8>, value: &impl Serialize) {
    let start = text.len();
    // Our types have no maps with keys that are not strings, the only thing that JSON can't hold.
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
    text.extend_from_slice(b"\n\n");
}

/// What a source has, as a body takes it.
pub(crate) fn pieces(source: impl Source) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    unfold(source, |mut source| async {
        let bytes = source.next().await?;
        Some((Ok(bytes), source))
    })
}

/// A response that sends what the source has, as soon as it has it.
pub(crate) fn respond(source: impl Source) -> Response {
    let mut response = Response::new(Body::from_stream(pieces(source)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For proxies that would collect events before they pass them on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
