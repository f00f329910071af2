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
use axum::routing::{MethodRouter, delete, get, post};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};

use crate::accounts::authenticate;
use crate::app::App;
use crate::error::ApiError;
use crate::layers;

pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .merge(compressed())
        .route("/v1/chat/completions", post(v1::chat_completions::handle))
        .route("/v1/models", get(v1::models::handle))
        .route("/healthz", get(healthz::handle))
        .route("/readyz", get(readyz::handle))
        .route("/metrics", get(metrics::handle))
        .method_not_allowed_fallback(not_allowed)
        // Bodies have limits of their own: see `body`.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(app), authenticate))
        .layer(from_fn(layers::guard))
        .layer(from_fn(layers::headers))
        .layer(from_fn_with_state(Arc::clone(app), layers::observe))
        .with_state(Arc::clone(app))
}

/// Whom an endpoint of the web app answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody: it is how one comes in.
    Anybody,
    /// Those who are signed in, about what is theirs.
    User,
    /// Operators and administrators.
    Operator,
    /// Administrators.
    Admin,
}

/// The web app's API, all of it: what is not here is not routed.
fn api() -> Vec<(&'static str, Audience, MethodRouter<App>)> {
    use Audience::{Admin, Anybody, User};
    let conversations = get(api::conversations::handle).post(api::add_conversation::handle);
    let conversation = get(api::conversation::handle)
        .patch(api::change_conversation::handle)
        .delete(api::delete_conversation::handle);
    let sessions = get(api::sessions::handle).delete(api::revoke_sessions::handle);
    vec![
        ("/api/session", Anybody, get(api::session::handle)),
        ("/api/setup", Anybody, post(api::setup::handle)),
        ("/api/sign-up", Anybody, post(api::sign_up::handle)),
        ("/api/login", Anybody, post(api::login::handle)),
        ("/api/logout", Anybody, post(api::logout::handle)),
        ("/api/sessions", User, sessions),
        ("/api/sessions/{id}", User, delete(api::revoke_session::handle)),
        ("/api/account/password", User, post(api::change_password::handle)),
        ("/api/account/delete", User, post(api::delete_account::handle)),
        ("/api/models", User, get(api::models::handle)),
        ("/api/conversations", User, conversations),
        ("/api/conversations/{id}", User, conversation),
        ("/api/conversations/{id}/messages", User, post(api::add_message::handle)),
        ("/api/conversations/{id}/messages/{message}/regenerate", User, post(api::regenerate::handle)),
        ("/api/conversations/{id}/messages/{message}/stop", User, post(api::stop::handle)),
        ("/api/conversations/{id}/messages/{message}/stream", User, get(api::stream::handle)),
        ("/api/admin/backup", Admin, get(api::backup::handle)),
        ("/api/admin/rotate-key", Admin, post(api::rotate_key::handle)),
    ]
}

/// The paths of the web app's API and whom they answer, for tests that go through all of them.
pub fn api_paths() -> Vec<(&'static str, Audience)> {
    api().into_iter().map(|(path, audience, _)| (path, audience)).collect()
}

/// The web app and its API, whose texts can be long. Streams are passed on as they come.
fn compressed() -> Router<App> {
    let worth_it = SizeAbove::new(1024)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("font/"))
        // What is sealed does not get smaller.
        .and(NotForContentType::const_new("application/vnd.sqlite3"))
        .and(NotForContentType::const_new("image/png"));
    let routed =
        api().into_iter().fold(Router::new(), |router, (path, _, methods)| router.route(path, methods));
    routed.fallback(page).layer(CompressionLayer::new().gzip(true).compress_when(worth_it))
}

async fn page(State(app): State<App>, request: Request) -> Response {
    app.web.respond(request.method(), request.uri().path(), request.headers())
}

/// The router adds the `Allow` field.
async fn not_allowed() -> ApiError {
    let message = "this endpoint does not take this method; the field Allow says which it takes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
