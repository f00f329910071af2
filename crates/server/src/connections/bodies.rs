//! Bodies, as far as connections care: requests' must come fast enough, responses' are in flight until they are sent.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::lobby::Through;
use super::requests::Line;
use super::streams::Pieces;

/// The error of a body that did not come fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow {
    bytes_per_second_min: u32,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body must come in at {} bytes a second at least", self.bytes_per_second_min)
    }
}

impl std::error::Error for TooSlow {}

impl TooSlow {
    /// That error, if it is what made a body fail.
    pub(crate) fn of(error: &axum::Error) -> Option<Self> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(slow) = error.downcast_ref::<Self>() {
                return Some(*slow);
            }
            cause = error.source();
        }
        None
    }
}

/// How far a body may fall behind: a bucket of time that empties while its client is waited for, and that what comes
/// fills again. Pure.
#[derive(Debug)]
struct Pace {
    bytes_per_second_min: u32,
    grace: Duration,
    left: Duration,
}

impl Pace {
    fn new(bytes_per_second_min: u32, grace: Duration) -> Self {
        Self { bytes_per_second_min, grace, left: grace }
    }

    fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    fn came(&mut self, bytes: usize) {
        let worth = Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second_min.max(1)));
        self.left = self.left.saturating_add(worth).min(self.grace);
    }
}

/// The body of a request, which fails if it comes too slowly. Only while it is asked for its next piece: a server that
/// has no time to read is not its client's fault.
pub(super) struct Paced {
    body: Incoming,
    line: Arc<Line>,
    pace: Pace,
    /// While its client is waited for: since when, and until when at most.
    waiting: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Paced {
    pub(super) fn new(body: Incoming, line: Arc<Line>) -> Self {
        let limits = line.lobby().app.settings.connections;
        let pace = Pace::new(limits.body_bytes_per_second_min, limits.body_grace);
        Self { body, line, pace, waiting: None }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        let now = this.line.lobby().now();
        if let Poll::Ready(frame) = polled {
            if let Some((since, _)) = this.waiting.take() {
                this.pace.waited(now.saturating_sub(since));
            }
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                this.pace.came(data.len());
                this.line.claimed(data.len());
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = this.pace.left;
        let (_, deadline) = this.waiting.get_or_insert_with(|| (now, Box::pin(sleep(left))));
        ready!(deadline.as_mut().poll(context));
        let slow = TooSlow { bytes_per_second_min: this.pace.bytes_per_second_min };
        Poll::Ready(Some(Err(slow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is in flight until this is dropped.
pub(super) struct InFlight {
    line: Arc<Line>,
    /// Its place among those of a proxy.
    pub(super) through: Option<Through>,
    /// Whether the response has been sent whole.
    is_whole: bool,
}

impl InFlight {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line, through: None, is_whole: false }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.line.ended(!self.is_whole);
    }
}

/// What a stream of HTTP/2 is given at once. It takes a piece whole when there is room for a byte of it, so a large one
/// would be out of our hands while its client takes nothing.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// The body of a response, which keeps its request in flight.
pub(super) struct Sent {
    body: Body,
    /// Of the last piece, what has not been given yet.
    rest: Bytes,
    in_flight: InFlight,
    pieces: Pieces,
}

impl Sent {
    pub(super) fn new(body: Body, in_flight: InFlight, is_without_body: bool) -> Self {
        let mut sent = Self { body, rest: Bytes::new(), in_flight, pieces: Pieces::of_stream() };
        sent.in_flight.is_whole = is_without_body || sent.body.is_end_stream();
        sent
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.pieces.asked();
        let mut frame = if this.rest.is_empty() {
            ready!(Pin::new(&mut this.body).poll_frame(context))
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut this.rest))))
        };
        if this.pieces.are_counted()
            && let Some(Ok(piece)) = &mut frame
            && let Some(data) = piece.data_mut()
            && data.len() > PIECE_BYTES_MAX
        {
            this.rest = data.split_off(PIECE_BYTES_MAX);
        }
        match &frame {
            Some(Ok(_)) => {
                this.pieces.gave();
                this.in_flight.is_whole = HttpBody::is_end_stream(this);
            }
            // What breaks off here is our doing.
            Some(Err(_)) | None => this.in_flight.is_whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before anything is given.
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_body_may_fall_behind_by_the_grace() {
        let mut pace = Pace::new(1000, 10 * SECOND);
        pace.waited(4 * SECOND);
        pace.came(3000);
        assert_eq!(pace.left, 9 * SECOND);
        // What came early is no credit for later.
        pace.came(1 << 20);
        assert_eq!(pace.left, 10 * SECOND);
        for _ in 0..4 {
            pace.waited(3 * SECOND);
            pace.came(500);
        }
        assert_eq!(pace.left, SECOND / 2, "half a second gained in each three");
        pace.waited(SECOND);
        assert_eq!(pace.left, Duration::ZERO);
    }

    #[test]
    fn the_cause_is_found() {
        let slow = TooSlow { bytes_per_second_min: 7 };
        assert_eq!(TooSlow::of(&axum::Error::new(slow)), Some(slow));
        let wrapped = axum::Error::new(std::io::Error::other(axum::Error::new(slow)));
        assert_eq!(TooSlow::of(&wrapped), Some(slow));
        assert_eq!(TooSlow::of(&axum::Error::new(std::io::Error::other("x"))), None);
    }
}
