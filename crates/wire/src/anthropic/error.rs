use serde::{Deserialize, Serialize};

/// The body of every error: `{"type": "error", "error": {...}, "request_id": ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicErrorReply)]
pub struct ErrorReply {
    /// Always `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened.
    pub error: ErrorDetail,
    /// The request, as the field `request-id` of the response names it.
    pub request_id: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicErrorDetail)]
pub struct ErrorDetail {
    /// For programs.
    #[serde(rename = "type")]
    pub kind: ErrorKind,
    /// For people: what was allowed and what was given.
    pub message: String,
}

impl ErrorReply {
    /// An error.
    pub fn new(kind: ErrorKind, message: impl Into<String>, request_id: Option<String>) -> Self {
        let error = ErrorDetail { kind, message: message.into() };
        Self { kind: "error".to_owned(), error, request_id }
    }
}

/// What kind of error it is; each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicErrorKind)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 400: the request is wrong.
    InvalidRequestError,
    /// 401: no key, or one that isn't good.
    AuthenticationError,
    /// 402: the balance is used up.
    BillingError,
    /// 403: the caller may not do this.
    PermissionError,
    /// 404: there is no such thing.
    NotFoundError,
    /// 408: the request did not come in in time.
    TimeoutError,
    /// 409: something else is going on with it.
    ConflictError,
    /// 413: the body is too large.
    RequestTooLarge,
    /// 429: too many requests.
    RateLimitError,
    /// 500: our fault.
    ApiError,
    /// 529: too much to do; try again.
    OverloadedError,
}

impl ErrorKind {
    /// The kind that says what an HTTP status of this server's other endpoints says. DeepSeek's 422 (a field's value is
    /// not allowed) is among what Anthropic answers with 400, its 503 (busy) is 529.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::AuthenticationError,
            402 => Self::BillingError,
            403 => Self::PermissionError,
            404 => Self::NotFoundError,
            408 => Self::TimeoutError,
            409 => Self::ConflictError,
            413 => Self::RequestTooLarge,
            429 => Self::RateLimitError,
            503 | 529 => Self::OverloadedError,
            500.. => Self::ApiError,
            _ => Self::InvalidRequestError,
        }
    }

    /// The HTTP status to answer with in the place of another.
    pub fn status(self, other: u16) -> u16 {
        match self {
            Self::InvalidRequestError if other == 422 => 400,
            Self::OverloadedError => 529,
            _ => other,
        }
    }
}
