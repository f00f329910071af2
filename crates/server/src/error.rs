//! Errors of endpoints: what the client sees, and what only the log records.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dialogue::{DialogueError, HubError};
use store::StoreError;
use wire::{ErrorBody, RequestError, RequestErrorKind};

/// A refusal or a failure. `message` is for the client; `note` is for the log and never leaves the machine. Neither
/// ever holds more of a prompt than the client sent in the field at fault.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    note: Option<String>,
    retry_after_s: Option<u32>,
}

/// What was given, for a message: its first 100 characters.
pub(crate) fn shortened(given: &str) -> &str {
    given.char_indices().nth(100).map_or(given, |(end, _)| &given[..end])
}

/// Left in the extensions of a response for the log.
#[derive(Debug, Clone)]
pub(crate) struct Note(pub(crate) String);

/// What the client is told, left in the extensions of a response for an API whose errors have another form.
#[derive(Debug, Clone)]
pub(crate) struct Said(pub(crate) String);

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, note: None, retry_after_s: None }
    }

    /// 422: a field is outside what is allowed.
    pub(crate) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_parameter", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 422 that is not about the form of a field.
    pub(crate) fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 401: the endpoint belongs to those who are signed in.
    pub(crate) fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_signed_in", "sign in first")
    }

    /// 429 with the time after which to come back.
    pub(crate) fn too_many(code: &'static str, message: impl Into<String>, retry_after_s: u64) -> Self {
        let retry_after_s = Some(u32::try_from(retry_after_s).unwrap_or(u32::MAX));
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }

    /// 503 with a hint when to come back.
    pub(crate) fn busy(code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after_s: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// With the time after which to come back.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)), ..self }
    }

    /// 500; the client learns nothing but that it is our fault.
    pub(crate) fn internal(note: impl Into<String>) -> Self {
        let message = "something went wrong in the server; its log has more";
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message);
        Self { note: Some(note.into()), ..error }
    }

    pub(crate) fn with_param(self, param: &'static str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    /// The same where the field at fault has another name.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        if self.param.as_deref() == Some(from) {
            self.param = Some(to.to_owned());
        }
        self
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// With more for the log.
    pub(crate) fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What only the log may have.
    pub(crate) fn into_note(self) -> Option<String> {
        self.note
    }

    /// The body: the form of OpenAI's and DeepSeek's APIs, for all of ours.
    pub(crate) fn body(&self) -> ErrorBody {
        let kind = match self.status {
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable_error",
            status if status.is_server_error() => "server_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::PAYMENT_REQUIRED => "insufficient_balance",
            _ => "invalid_request_error",
        };
        let body = ErrorBody::new(kind, self.code, &self.message);
        match &self.param {
            Some(param) => body.at(param),
            None => body,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // A body that was refused may still be on its way; the connection can't be used for another request.
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Said(self.message));
        if let Some(note) = self.note {
            response.extensions_mut().insert(Note(note));
        }
        response
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let (status, code) = match error.kind {
            RequestErrorKind::Format => (StatusCode::BAD_REQUEST, "invalid_format"),
            RequestErrorKind::Value => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_parameter"),
            RequestErrorKind::Unsupported => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported"),
        };
        Self { param: error.param, ..Self::new(status, code, error.message) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::not_found(format!("there is no such {what}")),
            StoreError::Conflict(why) => Self::new(StatusCode::CONFLICT, "conflict", why),
            StoreError::Running { what } => {
                let code = if what == "backup" { "backup_running" } else { "rotation_running" };
                Self::new(StatusCode::CONFLICT, code, error.to_string())
            }
            StoreError::Full { .. } => Self::new(StatusCode::CONFLICT, "full", error.to_string()),
            StoreError::Taken { what } => {
                let code = if what == "email address" { "email_taken" } else { "name_taken" };
                Self::new(StatusCode::CONFLICT, code, error.to_string())
            }
            StoreError::Busy(_) => {
                let busy = Self::busy("database_busy", "the database is busy; try again");
                Self { note: Some(error.to_string()), ..busy }
            }
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        let message = error.to_string();
        match error {
            HubError::NotFound { .. } | HubError::NotInstalled { .. } => {
                Self::new(StatusCode::NOT_FOUND, "model_not_found", message).with_param("model")
            }
            HubError::Busy { .. } => Self::busy("models_busy", message),
            HubError::ShuttingDown => Self::busy("shutting_down", message),
            HubError::Load { .. } => {
                let failed = Self::new(StatusCode::SERVICE_UNAVAILABLE, "model_failed", message.clone());
                Self { note: Some(message), ..failed }
            }
        }
    }
}

impl From<DialogueError> for ApiError {
    fn from(error: DialogueError) -> Self {
        let message = error.to_string();
        match error {
            DialogueError::InvalidParam { name, .. } => Self::invalid(name, message),
            DialogueError::TooLong { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "context_length_exceeded", message).with_param("messages")
            }
            DialogueError::Template(_) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_messages", message).with_param("messages")
            }
            DialogueError::QueueFull { .. } => Self::busy("queue_full", message),
            DialogueError::ShuttingDown => Self::busy("shutting_down", message),
            DialogueError::NoTemplate { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "not_a_chat_model", message).with_param("model")
            }
            DialogueError::Tokenizer(_) | DialogueError::Engine(_) => Self::internal(message),
        }
    }
}

/// An answer that waited at a model, and whose place went to somebody who comes first.
pub(crate) fn displaced() -> ApiError {
    let message = "the model is busy, and others come first while it is; try again later";
    ApiError::busy("queue_full", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: impl Into<ApiError>, status: u16, code: &str, client_sees: &str, log_has: Option<&str>) {
        let error = error.into();
        let body = serde_json::to_string(&error.body()).unwrap();
        assert_eq!(error.status.as_u16(), status, "{body}");
        assert_eq!(error.body().error.code.as_deref(), Some(code));
        assert!(body.contains(client_sees), "{body} should say {client_sees:?}");
        match log_has {
            None => assert!(error.note.is_none(), "{:?}", error.note),
            Some(text) => {
                assert!(error.note.as_deref().is_some_and(|note| note.contains(text)), "{:?}", error.note);
                assert!(!body.contains(text), "{body} gives away {text:?}");
            }
        }
    }

    #[test]
    fn clients_see_what_they_can_act_on_and_the_log_has_the_rest() {
        check(StoreError::NotFound { what: "message" }, 404, "not_found", "no such message", None);
        check(StoreError::Conflict("still writing"), 409, "conflict", "still writing", None);
        let full = StoreError::Full { what: "messages", allowed: 5, given: 6 };
        check(full, 409, "full", "5 allowed, 6", None);
        check(StoreError::Running { what: "backup" }, 409, "backup_running", "a backup", None);
        let damaged = StoreError::Damaged { column: "messages.id", value: "x".to_owned() };
        check(damaged, 500, "internal_error", "its log has more", Some("messages.id"));
        check(StoreError::Busy("disk I/O".into()), 503, "database_busy", "try again", Some("disk I/O"));
        let missing = HubError::NotFound { name: "m".to_owned(), installed: vec!["n".to_owned()] };
        check(missing, 404, "model_not_found", "installed are: n", None);
        let long = DialogueError::TooLong { prompt_tokens: 9, tokens_max: Some(1), context: 8 };
        check(long, 400, "context_length_exceeded", "holds 8", None);
        check(DialogueError::QueueFull { held: 3, allowed: 3 }, 503, "queue_full", "at most 3", None);
        check(DialogueError::ShuttingDown, 503, "shutting_down", "shutting down", None);
    }
}
