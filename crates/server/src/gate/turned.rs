use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use defence::Challenge;
use defence::registration::{NoPlace, PlaceId, Standing};
use serde::Serialize;
use serde_json::Value;
use store::StoreError;
use utoipa::ToSchema;

use super::Action;
use crate::error::ApiError;

/// Why somebody who asks for an account has none yet.
#[derive(Debug)]
pub(crate) enum Turned {
    /// A challenge comes first; `failed` if they have shown one that is not good.
    Challenge { failed: bool, action: Action, challenge: Box<Challenge> },
    /// They have a place in the waiting list.
    Waiting(WaitingView),
    /// There is not even a place.
    NoPlace { reason: NoPlace, retry_after: Duration },
    /// Something else is wrong.
    Error(ApiError),
}

/// Where a place in the waiting list stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Waiting)]
pub(crate) struct WaitingView {
    /// To be kept by the page: nothing else is known of who waits.
    place: String,
    /// About how many come first.
    ahead: usize,
    /// Whether to sign up again now, with the place.
    called_up: bool,
    /// For how long it is called up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    until_seconds: Option<u64>,
    /// About how long it takes until it is; null while nobody is called up.
    about_seconds: Option<u64>,
    /// When to ask again.
    ask_again_seconds: u64,
    /// The same without the ticket, for those whose way here is a redirection.
    #[serde(skip)]
    id: PlaceId,
}

impl WaitingView {
    pub(super) fn new(
        (id, place): (PlaceId, String),
        standing: Standing,
        about: Option<Duration>,
        ask_again: Duration,
        now: Duration,
    ) -> Self {
        let (ahead, until) = match standing {
            Standing::Waiting { ahead } => (ahead, None),
            Standing::CalledUp { until } => (0, Some(until.saturating_sub(now).as_secs())),
            Standing::Gone => (0, None),
        };
        Self {
            place,
            ahead,
            called_up: until.is_some(),
            until_seconds: until,
            about_seconds: about.map(|about| about.as_secs()),
            ask_again_seconds: ask_again.as_secs().max(1),
            id,
        }
    }

    pub(crate) fn id(&self) -> PlaceId {
        self.id
    }
}

/// What says that somebody waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Waits {
    pub(crate) waiting: WaitingView,
}

impl From<ApiError> for Turned {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl From<StoreError> for Turned {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        match self {
            Self::Error(error) => error.into_response(),
            Self::Waiting(waiting) => (StatusCode::ACCEPTED, Json(Waits { waiting })).into_response(),
            Self::Challenge { failed, action, challenge } => {
                let body = challenge_body(failed, action, &challenge);
                (StatusCode::PRECONDITION_REQUIRED, Json(body)).into_response()
            }
            Self::NoPlace { reason, retry_after } => {
                let message =
                    format!("new accounts have to wait, and there is no place to wait in: {reason}");
                let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_place", message);
                let mut response = error.into_response();
                let seconds = HeaderValue::from(retry_after.as_secs().max(1));
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                response
            }
        }
    }
}

/// What comes with 428, for who has to solve a challenge first; again, if what was shown is no answer to one.
pub(crate) fn challenge_body(failed: bool, action: Action, challenge: &Challenge) -> Value {
    let (code, message) = if failed {
        ("challenge_failed", "this answer to the challenge is wrong, too old or was used; here is another")
    } else {
        let message = match action {
            Action::SignUp => "new accounts take a challenge first: solve the one that comes with this",
            Action::SignIn => "too many passwords are tried: solve the challenge that comes with this first",
        };
        ("challenge_required", message)
    };
    let error = ApiError::new(StatusCode::PRECONDITION_REQUIRED, code, message);
    // Both have a JSON.
    let mut body = serde_json::to_value(error.body()).unwrap_or_default();
    body["challenge"] = serde_json::to_value(challenge).unwrap_or(Value::Null);
    body
}
