use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use defence::Class;
use futures_util::FutureExt as _;
use hyper::body::{Frame, SizeHint};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::anthropic;
use crate::accounts::{Peer, Standing};
use crate::app::App;
use crate::error::{ApiError, Note};

/// The class of whoever asked (`local`, `session`, `key`), left in the extensions of a response by who finds it out.
/// Whoever is none of these, or was refused before, is `anonymous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallerClass(pub(crate) &'static str);

const REQUEST_ID: &str = "x-request-id";

/// Names the request, counts it, logs it and turns a panic into an error. Whatever is logged on the way, also while the
/// body is sent, is in a span with the name. The log has the route's pattern, not the path; never a query, a header or a
/// body.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let name = given_name(&request).unwrap_or_else(|| app.random_name());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    let span =
        tracing::info_span!("request", request_id = name, method, route, class = Empty, status = Empty);

    let asks_anthropic = anthropic::is_asked(&request);
    let is_established = Standing::noted(request.extensions()).class == Class::Established;
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

    let status = response.status().as_u16();
    let class = response.extensions().get::<CallerClass>().map_or("anonymous", |class| class.0);
    app.metrics.request_answered(method, route, class, status, after);
    if is_established {
        app.gatehouse.answered(class, status);
    }
    span.record("class", class).record("status", status);
    let milliseconds = after.as_millis();
    let entered = span.enter();
    if let Some(Note(error)) = response.extensions_mut().remove::<Note>() {
        tracing::error!(milliseconds, error, "failed");
    } else {
        tracing::debug!(milliseconds, "answered");
    }
    drop(entered);
    if let Ok(value) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.map(|body| Body::new(Within { body, span }))
}

/// What a declared proxy calls the request, so that its log and ours can be read together. From anybody else it would
/// be a stranger's text in our log.
fn given_name(request: &Request) -> Option<String> {
    if !Peer::of(request.extensions()).through_proxy() {
        return None;
    }
    let mut given = request.headers().get_all(REQUEST_ID).iter();
    let name = given.next().filter(|_| given.next().is_none())?.to_str().ok()?;
    let is_sound = (8..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_sound.then(|| name.to_owned())
}

/// A body that is made, and given up, within the span of its request.
struct Within {
    body: Body,
    span: Span,
}

impl HttpBody for Within {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        drop(std::mem::take(&mut self.body));
    }
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
