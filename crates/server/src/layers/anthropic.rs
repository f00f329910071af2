//! Errors in the form of Anthropic's API, whoever makes them: an endpoint, a layer before it, or nobody at all.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use wire::anthropic::{ErrorKind, ErrorReply};

use crate::error::{ApiError, Said};

/// Whether a request is one of Anthropic's API: by its path, or, where the path is OpenAI's too, by the field that all of
/// its clients send.
pub(crate) fn asks_anthropic(path: &str, headers: &HeaderMap) -> bool {
    const OWN: [&str; 2] = ["/anthropic/", "/v1/messages"];
    OWN.iter().any(|own| path.starts_with(own))
        || (path.starts_with("/v1/models") && speaks_anthropic(headers))
}

/// Whether a client says which version of Anthropic's API it speaks.
pub(crate) fn speaks_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key("anthropic-version")
}

pub(super) fn is_asked(request: &Request) -> bool {
    asks_anthropic(request.uri().path(), request.headers())
}

/// Puts an error into Anthropic's form, and the name of the request where its clients look for it.
pub(super) fn dress(response: &mut Response, request: &str) {
    if let Ok(value) = HeaderValue::from_str(request) {
        response.headers_mut().insert("request-id", value);
    }
    let Some(Said(message)) = response.extensions_mut().remove::<Said>() else { return };
    let status = response.status().as_u16();
    let kind = ErrorKind::of_status(status);
    let reply = ErrorReply::new(kind, message, Some(request.to_owned()));
    *response.status_mut() = StatusCode::from_u16(kind.status(status)).unwrap_or(response.status());
    *response.body_mut() = Body::from(serde_json::to_vec(&reply).unwrap_or_default());
    let headers = response.headers_mut();
    for field in [header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        headers.remove(field);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// The body of an error within a response that has begun; the response's head has named the request.
pub(crate) fn error_reply(error: &ApiError) -> ErrorReply {
    ErrorReply::new(ErrorKind::of_status(error.status().as_u16()), error.message(), None)
}

/// The same as bytes.
pub(crate) fn error_bytes(error: &ApiError) -> Vec<u8> {
    // It has no maps with keys that are not strings, the only thing that JSON can't hold.
    serde_json::to_vec(&error_reply(error)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_anthropics_paths_have_its_errors() {
        let (without, with) = (HeaderMap::new(), [("anthropic-version", "2023-06-01")]);
        let with: HeaderMap = with
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        for path in ["/anthropic/v1/messages", "/anthropic/x", "/v1/messages", "/v1/messages/count_tokens"] {
            assert!(asks_anthropic(path, &without) && asks_anthropic(path, &with), "{path}");
        }
        for path in ["/v1/models", "/v1/models/m"] {
            assert!(!asks_anthropic(path, &without) && asks_anthropic(path, &with), "{path}");
        }
        for path in ["/v1/chat/completions", "/api/models", "/", "/anthropic"] {
            assert!(!asks_anthropic(path, &without) && !asks_anthropic(path, &with), "{path}");
        }
    }
}
