//! One endpoint, one file.

mod api;
mod healthz;
mod metrics;
mod readyz;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};

use crate::app::App;
use crate::error::ApiError;
use crate::layers;

pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .merge(compressed(app))
        .route("/v1/chat/completions", post(v1::chat_completions::handle))
        .route("/v1/models", get(v1::models::handle))
        .route("/healthz", get(healthz::handle))
        .route("/readyz", get(readyz::handle))
        .route("/metrics", get(metrics::handle))
        .method_not_allowed_fallback(not_allowed)
        // Bodies have limits of their own: see `body`.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(layers::guard))
        .layer(from_fn(layers::headers))
        .layer(from_fn_with_state(Arc::clone(app), layers::observe))
        .with_state(Arc::clone(app))
}

/// The web app and its API, whose texts can be long. Streams are passed on as they come.
fn compressed(_app: &App) -> Router<App> {
    let worth_it = SizeAbove::new(1024)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("font/"))
        .and(NotForContentType::const_new("image/png"));
    let conversation = get(api::conversation::handle)
        .patch(api::change_conversation::handle)
        .delete(api::delete_conversation::handle);
    Router::new()
        .route("/api/models", get(api::models::handle))
        .route("/api/conversations", get(api::conversations::handle).post(api::add_conversation::handle))
        .route("/api/conversations/{id}", conversation)
        .route("/api/conversations/{id}/messages", post(api::add_message::handle))
        .route("/api/conversations/{id}/messages/{message}/regenerate", post(api::regenerate::handle))
        .route("/api/conversations/{id}/messages/{message}/stop", post(api::stop::handle))
        .route("/api/conversations/{id}/messages/{message}/stream", get(api::stream::handle))
        .fallback(page)
        .layer(CompressionLayer::new().gzip(true).compress_when(worth_it))
}

async fn page(State(app): State<App>, request: Request) -> Response {
    app.web.respond(request.method(), request.uri().path(), request.headers())
}

/// The router adds the `Allow` field.
async fn not_allowed() -> ApiError {
    let message = "this endpoint does not take this method; the field Allow says which it takes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
