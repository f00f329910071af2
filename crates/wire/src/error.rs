use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every error: `{"error": {...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What happened.
    pub error: ErrorDetail,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// For people: what was allowed and what was given.
    pub message: String,
    /// Family of the error: `invalid_request_error`, `server_error`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The field at fault, such as `messages[2].content`.
    pub param: Option<String>,
    /// For programs.
    pub code: Option<String>,
}

impl ErrorBody {
    /// An error at no field in particular.
    pub fn new(kind: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        let error =
            ErrorDetail { message: message.into(), kind: kind.into(), param: None, code: Some(code.into()) };
        Self { error }
    }

    /// The same error at a field.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.error.param = Some(param.into());
        self
    }
}

/// How a request is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestErrorKind {
    /// It isn't JSON, or a field is missing or has another type. HTTP 400.
    Format,
    /// A field has the right type and a value that isn't allowed. HTTP 422.
    Value,
    /// A field asks for something that isn't supported. HTTP 422.
    Unsupported,
}

/// Why a request could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// How it is wrong.
    pub kind: RequestErrorKind,
    /// The field at fault, such as `messages[2].content`; none if it is the whole.
    pub param: Option<String>,
    /// For people: what was allowed and what was given.
    pub message: String,
}

impl RequestError {
    pub(crate) fn format(param: &str, allowed: &str, given: &str) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        let message = format!("{} must be {allowed}, got {given}", param.as_deref().unwrap_or("the request"));
        Self { kind: RequestErrorKind::Format, param, message }
    }

    pub(crate) fn missing(param: &str) -> Self {
        let message = format!("{param} is missing");
        Self { kind: RequestErrorKind::Format, param: Some(param.to_owned()), message }
    }

    pub(crate) fn value(param: &str, allowed: &str, given: &str) -> Self {
        let message = format!("{param} must be {allowed}, got {given}");
        Self { kind: RequestErrorKind::Value, param: Some(param.to_owned()), message }
    }

    pub(crate) fn unsupported(param: &str, what: &str) -> Self {
        let message = format!("{param}: {what}");
        Self { kind: RequestErrorKind::Unsupported, param: Some(param.to_owned()), message }
    }

    /// The HTTP status that DeepSeek's API answers with.
    pub fn status(&self) -> u16 {
        match self.kind {
            RequestErrorKind::Format => 400,
            RequestErrorKind::Value | RequestErrorKind::Unsupported => 422,
        }
    }

    /// The body to answer with.
    pub fn body(&self) -> ErrorBody {
        let code = match self.kind {
            RequestErrorKind::Format => "invalid_format",
            RequestErrorKind::Value => "invalid_value",
            RequestErrorKind::Unsupported => "unsupported",
        };
        let mut body = ErrorBody::new("invalid_request_error", code, &self.message);
        body.error.param.clone_from(&self.param);
        body
    }
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}
