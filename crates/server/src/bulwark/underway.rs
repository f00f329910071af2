//! What each user has under way: requests by what they may cost at most, and streams. A request counts until its work has
//! ended, also where nobody listens any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use defence::price::{Listening, Running};
use defence::{Caps, InFlight, TooMuch};

use crate::accounts::Who;
use crate::error::ApiError;

/// Users who may have something under way at once, some hundred bytes each.
const USERS_MAX: usize = 1 << 16;
/// After so many seconds a request may have ended.
const RETRY_S: u64 = 5;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Underway(Arc<Mutex<InFlight<Who>>>);

/// A request that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counts {
    underway: Underway,
    running: Option<Running<Who>>,
}

/// A stream that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Listens {
    underway: Underway,
    listening: Option<Listening<Who>>,
}

impl Underway {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(InFlight::new(USERS_MAX))))
    }

    fn lock(&self) -> MutexGuard<'_, InFlight<Who>> {
        // What is behind it is good wherever a panic leaves it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in that may cost so much.
    pub(super) fn begin(&self, who: Who, cost: u64, caps: &Caps) -> Result<Counts, ApiError> {
        let running = self.lock().begin(who, cost, caps)?;
        Ok(Counts { underway: self.clone(), running: Some(running) })
    }

    /// Lets somebody listen to a stream.
    pub(super) fn open(&self, who: Who, caps: &Caps) -> Result<Listens, ApiError> {
        let listening = self.lock().open(who, caps)?;
        Ok(Listens { underway: self.clone(), listening: Some(listening) })
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.underway.lock().end(running);
        }
    }
}

impl Drop for Listens {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.underway.lock().close(listening);
        }
    }
}

impl From<TooMuch> for ApiError {
    fn from(error: TooMuch) -> Self {
        let message = error.to_string();
        match error {
            TooMuch::Context { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "context_length_exceeded", message).with_param("messages")
            }
            TooMuch::InFlight { .. } => Self::too_many("too_many_requests_at_once", message, RETRY_S),
            TooMuch::Streams { .. } => Self::too_many("too_many_streams", message, RETRY_S),
            TooMuch::Cost { .. } => Self::too_many("too_costly_at_once", message, RETRY_S),
            TooMuch::Users { .. } => Self::busy("overloaded", message),
        }
    }
}
