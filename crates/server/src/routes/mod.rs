//! One endpoint, one file.

mod anthropic;
mod api;
mod healthz;
mod metrics;
mod oidc;
pub(crate) mod openapi;
mod readyz;
mod status;
mod user;
mod v1;
mod whole;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};

use crate::accounts::{authenticate, clients};
use crate::app::App;
use crate::bulwark::{lanes, turnstile};
use crate::error::ApiError;
use crate::layers;

pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .merge(compressed())
        .merge(of_programs(app))
        .route("/oidc/{provider}/start", get(oidc::start::handle))
        .route("/oidc/{provider}/callback", get(oidc::callback::handle))
        .route("/openapi.json", get(openapi::handle))
        .route("/healthz", get(healthz::handle))
        .route("/readyz", get(readyz::handle))
        .method_not_allowed_fallback(not_allowed)
        // Bodies have limits of their own: see `body`.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(app), authenticate))
        .layer(from_fn_with_state(Arc::clone(app), lanes))
        .layer(from_fn_with_state(Arc::clone(app), turnstile))
        .layer(from_fn_with_state(Arc::clone(app), layers::guard))
        .layer(from_fn_with_state(Arc::clone(app), layers::headers))
        .layer(from_fn_with_state(Arc::clone(app), layers::observe))
        .with_state(Arc::clone(app))
}

/// What programs ask: with a key, signed in, or from this machine.
fn of_programs(app: &App) -> Router<App> {
    let routed = programs();
    let routed =
        routed.into_iter().fold(Router::new(), |router, (_, path, method)| router.route(path, method));
    routed.route("/metrics", get(metrics::handle)).route_layer(from_fn_with_state(Arc::clone(app), clients))
}

/// The API for programs: methods and paths. DeepSeek's paths without `/v1`, and those of its beta, are the same
/// endpoints.
fn programs() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("POST", "/v1/chat/completions", post(v1::chat_completions::handle)),
        ("POST", "/chat/completions", post(v1::chat_completions::handle)),
        ("POST", "/beta/chat/completions", post(v1::chat_completions::handle)),
        ("POST", "/v1/completions", post(v1::completions::handle)),
        ("POST", "/completions", post(v1::completions::handle)),
        ("POST", "/beta/completions", post(v1::completions::handle)),
        ("GET", "/v1/models", get(v1::models::handle)),
        ("GET", "/models", get(v1::models::handle)),
        ("GET", "/beta/models", get(v1::models::handle)),
        ("GET", "/v1/models/{id}", get(v1::model::handle)),
        ("GET", "/models/{id}", get(v1::model::handle)),
        ("GET", "/beta/models/{id}", get(v1::model::handle)),
        ("POST", "/v1/responses", post(v1::responses::handle)),
        ("POST", "/responses", post(v1::responses::handle)),
        ("POST", "/v1/messages", post(anthropic::messages::handle)),
        ("POST", "/v1/messages/count_tokens", post(anthropic::count_tokens::handle)),
        ("POST", "/anthropic/v1/messages", post(anthropic::messages::handle)),
        ("POST", "/anthropic/v1/messages/count_tokens", post(anthropic::count_tokens::handle)),
        ("GET", "/anthropic/v1/models", get(anthropic::models::handle)),
        ("GET", "/anthropic/v1/models/{id}", get(anthropic::model::handle)),
        ("POST", "/tokenize", post(v1::tokenize::handle)),
        ("POST", "/detokenize", post(v1::detokenize::handle)),
        ("GET", "/tokenizer_info", get(v1::tokenizer_info::handle)),
        ("GET", "/user/balance", get(user::balance::handle)),
        ("GET", "/v1/user/balance", get(user::balance::handle)),
    ]
}

/// The methods and paths of the API for programs, for tests that go through all of them.
pub fn program_endpoints() -> Vec<(&'static str, &'static str)> {
    programs().into_iter().map(|(method, path, _)| (method, path)).collect()
}

/// What the paths of the APIs begin with. Whatever is under them is no page that a link may open.
const API_PREFIXES: &[&str] = &[
    "/api/",
    "/v1/",
    "/beta/",
    "/anthropic/",
    "/chat/completions",
    "/completions",
    "/models",
    "/responses",
    "/tokenize",
    "/detokenize",
    "/user/",
    "/metrics",
];

/// Whether a path belongs to an API and not to the web app's pages.
pub(crate) fn is_api(path: &str) -> bool {
    API_PREFIXES.iter().any(|prefix| path.starts_with(prefix))
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
    use Audience::{Anybody, User};
    let conversations = get(api::conversations::handle).post(api::add_conversation::handle);
    let conversation = get(api::conversation::handle)
        .patch(api::change_conversation::handle)
        .delete(api::delete_conversation::handle);
    let passkey = patch(api::change_passkey::handle).delete(api::delete_passkey::handle);
    let totp = post(api::add_totp::handle).delete(api::delete_totp::handle);
    let sessions = get(api::sessions::handle).delete(api::revoke_sessions::handle);
    vec![
        ("/api/session", Anybody, get(api::session::handle)),
        ("/api/setup", Anybody, post(api::setup::handle)),
        ("/api/sign-up", Anybody, post(api::sign_up::handle)),
        ("/api/challenges", Anybody, post(api::challenges::handle)),
        ("/api/places", Anybody, post(api::place::handle).delete(api::leave_place::handle)),
        ("/api/verify", Anybody, post(api::verify::handle)),
        ("/api/reset", Anybody, post(api::reset::handle)),
        ("/api/reset/confirm", Anybody, post(api::confirm_reset::handle)),
        ("/api/login", Anybody, post(api::login::handle)),
        ("/api/login/second", Anybody, post(api::login_second::handle)),
        ("/api/login/passkey/options", Anybody, post(api::login_passkey_options::handle)),
        ("/api/login/passkey", Anybody, post(api::login_passkey::handle)),
        ("/api/logout", Anybody, post(api::logout::handle)),
        ("/api/sessions", User, sessions),
        ("/api/sessions/{id}", User, delete(api::revoke_session::handle)),
        ("/api/account/password", User, post(api::change_password::handle)),
        ("/api/account/email", User, post(api::change_email::handle)),
        ("/api/account/providers/{id}", User, delete(api::remove_link::handle)),
        ("/api/account/providers/{id}/link", User, post(api::link_provider::handle)),
        ("/api/account/delete", User, post(api::delete_account::handle)),
        ("/api/account/security", User, get(api::security::handle)),
        ("/api/account/passkeys/options", User, post(api::passkey_options::handle)),
        ("/api/account/passkeys", User, post(api::add_passkey::handle)),
        ("/api/account/passkeys/{id}", User, passkey),
        ("/api/account/totp/begin", User, post(api::begin_totp::handle)),
        ("/api/account/totp", User, totp),
        ("/api/account/recovery-codes", User, post(api::renew_recovery_codes::handle)),
        ("/api/account/export", User, get(api::export::handle)),
        ("/api/account/import", User, post(api::import::handle)),
        ("/api/account/settings", User, get(api::settings::handle).patch(api::change_settings::handle)),
        ("/api/keys", User, get(api::keys::handle).post(api::add_key::handle)),
        ("/api/keys/{id}", User, patch(api::change_key::handle).delete(api::revoke_key::handle)),
        ("/api/balance", User, get(api::balance::handle)),
        ("/api/usage", User, get(api::usage::handle)),
        ("/api/usage/sums", User, get(api::usage_sums::handle)),
        ("/api/usage.csv", User, get(api::usage_csv::handle)),
        ("/api/search", User, get(api::search::handle)),
        ("/api/models", User, get(api::models::handle)),
        ("/api/conversations", User, conversations),
        ("/api/conversations/{id}", User, conversation),
        ("/api/conversations/{id}/messages", User, post(api::add_message::handle)),
        ("/api/conversations/{id}/messages/{message}/continue", User, post(api::continue_answer::handle)),
        ("/api/conversations/{id}/messages/{message}/regenerate", User, post(api::regenerate::handle)),
        ("/api/conversations/{id}/messages/{message}/stop", User, post(api::stop::handle)),
        ("/api/conversations/{id}/messages/{message}/stream", User, get(api::stream::handle)),
    ]
}

/// The paths of the web app's API and whom they answer, for tests that go through all of them. Paths of which methods
/// answer different people stand there once for each.
pub fn api_paths() -> Vec<(&'static str, Audience)> {
    let own = api().into_iter().map(|(path, audience, _)| (path, audience));
    let mut paths: Vec<_> = own
        .chain(api::admin::endpoints().into_iter().map(|(_, path, audience, _)| (path, audience)))
        .collect();
    paths.dedup();
    paths
}

/// The methods and paths of operators' and administrators' API and whom they answer, for tests that go through all of
/// them.
pub fn admin_endpoints() -> Vec<(&'static str, &'static str, Audience)> {
    api::admin::endpoints().into_iter().map(|(method, path, audience, _)| (method, path, audience)).collect()
}

/// The web app and its API, whose texts can be long. Streams are passed on as they come.
fn compressed() -> Router<App> {
    let worth_it = SizeAbove::new(1024)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("font/"))
        .and(NotForContentType::const_new("application/zip"))
        // What is sealed does not get smaller.
        .and(NotForContentType::const_new("application/vnd.sqlite3"))
        .and(NotForContentType::const_new("image/png"));
    let own = api().into_iter().map(|(path, _, methods)| (path, methods));
    let admin = api::admin::endpoints().into_iter().map(|(_, path, _, methods)| (path, methods));
    let routed = own.chain(admin).fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    let routed = routed.route("/status", get(status::handle));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_of_an_api_is_known_as_one() {
        let own = api().into_iter().map(|(path, ..)| path);
        let admin = api::admin::endpoints().into_iter().map(|(_, path, ..)| path);
        for path in own.chain(admin).chain(programs().into_iter().map(|(_, path, _)| path)) {
            assert!(is_api(path), "{path}");
        }
        assert!(!is_api("/") && !is_api("/c/1") && !is_api("/login"));
    }
}
