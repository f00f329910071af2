use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::anthropic;
use crate::app::App;
use crate::error::{ApiError, Note};

/// The class of whoever asked, left in the extensions of a response by who finds it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallerClass(pub(crate) &'static str);

/// Names the request, counts it, logs it and turns a panic into an error. The log has the route's pattern, not the
/// path; never a query, a header or a body.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let name = app.random_name();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    let span = tracing::info_span!("request", name, method, route);

    let asks_anthropic = anthropic::is_asked(&request);
    let began = app.clock.monotonic();
    let in_flight = app.metrics.request_began();
    let answered = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    drop(in_flight);
    // The panic's text may hold what the client sent, so it goes nowhere.
    let mut response =
        answered.unwrap_or_else(|_| ApiError::internal("the handler panicked").into_response());
    if asks_anthropic {
        anthropic::dress(&mut response, &name);
    }
    let after = app.clock.monotonic().saturating_sub(began);

    let status = response.status();
    app.metrics.request_answered(method, route, status.as_u16(), after);
    let milliseconds = after.as_millis();
    let class = response.extensions().get::<CallerClass>().map_or("other", |class| class.0);
    let _entered = span.enter();
    if let Some(Note(error)) = response.extensions_mut().remove::<Note>() {
        tracing::error!(status = status.as_u16(), class, milliseconds, error, "failed");
    } else {
        tracing::debug!(status = status.as_u16(), class, milliseconds, "answered");
    }
    if let Ok(value) = HeaderValue::from_str(&name) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// A method is free text; a label must not be.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
