//! Bodies of requests: bounded in size, in time and all together.

use std::pin::pin;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::app::App;
use crate::connections::TooSlow;
use crate::error::ApiError;

/// The bytes of a JSON body, and the room that they take.
pub(crate) struct JsonBytes(pub(crate) Bytes, pub(crate) Room);

impl FromRequest<App> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let message = "the body must be JSON: send it with content-type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        read(request, app).await.map(|(bytes, room)| Self(bytes, room))
    }
}

/// A JSON body of a known shape, and the room that it takes; an empty one is as good as `{}`.
pub(crate) struct Json<T>(pub(crate) T, pub(crate) Room);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let JsonBytes(bytes, room) = JsonBytes::from_request(request, app).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let wrong = |error: serde_json::Error| {
            let message = format!("the body is not what this endpoint takes: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_format", message)
        };
        serde_json::from_slice(text).map(|value| Self(value, room)).map_err(wrong)
    }
}

/// A field of a body for which `null` says something else than absence.
#[derive(Debug, Default)]
pub(crate) enum Given<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// A body's share of the room that there is for all bodies. It grows with what has come in, not with what was
/// announced: announcing costs nothing. To be kept while what the body said is held.
pub(crate) struct Room {
    kib: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn new(kib: &Arc<Semaphore>) -> Self {
        Self { kib: Arc::clone(kib), held: None }
    }

    fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(1024).saturating_sub(held);
        let full = |_| ApiError::busy("too_many_bodies", "too many requests are being read; try again");
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.kib).try_acquire_many_owned(more).map_err(full)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            held => *held = Some(more),
        }
        Ok(())
    }
}

/// 408
pub(crate) fn too_slow(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message)
}

/// Why a body can't be read to its end.
pub(crate) fn broken(error: axum::Error) -> ApiError {
    match TooSlow::of(&error) {
        Some(slow) => too_slow(slow.to_string()),
        None => ApiError::new(StatusCode::BAD_REQUEST, "invalid_format", "the body broke off"),
    }
}

/// A large body may take long, but not for ever: each of these many bytes has the time that a small body has.
pub(crate) const STRETCH_BYTES: usize = 1 << 20;

async fn read(request: Request, app: &App) -> Result<(Bytes, Room), ApiError> {
    let limit = app.settings.body_bytes_max;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut room = Room::new(&app.bodies_kib);
    let mut body = request.into_body();
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0).min(limit).min(64 << 10));
    let mut too_large = announced.is_some_and(|announced| announced > limit);
    // What is too large is read on for a while and thrown away: a client that is still sending when the connection
    // closes may never see the answer that says why.
    let mut discarded = 0;
    let time = app.settings.body_timeout;
    let mut deadline = pin!(sleep(time));
    let mut stretches = 0;
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = deadline.as_mut() => {
                let seconds = time.as_secs();
                return Err(too_slow(format!("each {STRETCH_BYTES} bytes of the body must come in within {seconds} s")));
            }
        };
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if too_large || bytes.len() + data.len() > limit {
            too_large = true;
            bytes.clear();
            discarded += data.len();
            if discarded > limit {
                break;
            }
        } else {
            room.grow_to(bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
            if bytes.len() / STRETCH_BYTES > stretches {
                stretches = bytes.len() / STRETCH_BYTES;
                let next = deadline.deadline() + time;
                deadline.as_mut().reset(next);
            }
        }
    }
    if too_large {
        let given = announced.map_or_else(|| format!("more than {limit}"), |announced| announced.to_string());
        let message = format!("the body may have at most {limit} bytes, this one has {given}");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
    }
    Ok((bytes.freeze(), room))
}
