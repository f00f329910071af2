//! A plain server to compare with: axum as it comes, with the endpoints that the drill asks, and no defence of its own.
//!
//! Passwords are hashed at Cachalot's cost. Its model is a clock: every stream gets a token each 8 ms, however many
//! there are, which costs next to nothing. Whatever becomes of its users in a drill is therefore due to connections,
//! hashes and requests alone, and a real model would do worse.

#![expect(clippy::unwrap_used, reason = "an example that can't go on ends")]
#![expect(clippy::result_large_err, reason = "what is refused is answered as it is")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, PasswordHash};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base::Rng;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};

const TOKEN_EVERY: Duration = Duration::from_millis(8);
/// As long as Cachalot's document of its API, for those who read slowly.
const DOCUMENT_BYTES: usize = 200_000;

type App = Arc<Shared>;

struct Shared {
    rng: Mutex<Rng>,
    setup: String,
    /// Hash and role by name.
    users: Mutex<HashMap<String, (String, bool)>>,
    /// Names by cookie or key.
    passes: Mutex<HashMap<String, String>>,
}

impl Shared {
    fn number(&self) -> u64 {
        self.rng.lock().unwrap().next_u64()
    }

    fn caller(&self, headers: &HeaderMap) -> Result<String, Response> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let cookie = text(header::COOKIE).and_then(|cookie| cookie.strip_prefix("session="));
        let key = text(header::AUTHORIZATION).and_then(|field| field.strip_prefix("Bearer "));
        let pass = cookie.or(key).unwrap_or_default();
        let found = self.passes.lock().unwrap().get(pass).cloned();
        found.ok_or_else(|| refusal(StatusCode::UNAUTHORIZED, "not_signed_in"))
    }

    fn admin(&self, headers: &HeaderMap) -> Result<(), Response> {
        let name = self.caller(headers)?;
        let is_admin = self.users.lock().unwrap().get(&name).is_some_and(|(_, admin)| *admin);
        if is_admin { Ok(()) } else { Err(refusal(StatusCode::FORBIDDEN, "not_admin")) }
    }

    fn pass(&self, name: &str) -> String {
        let pass = format!("{:016x}{:016x}", self.number(), self.number());
        self.passes.lock().unwrap().insert(pass.clone(), name.to_owned());
        pass
    }

    fn signed_in(&self, status: StatusCode, name: &str) -> Response {
        let cookie = format!("session={}; Path=/; HttpOnly", self.pass(name));
        (status, [(header::SET_COOKIE, cookie)], Json(json!({"user": {"name": name}}))).into_response()
    }

    async fn add(self: &App, asked: &Value, admin: bool) -> Result<String, Response> {
        let name = asked["name"].as_str().unwrap_or_default().to_owned();
        let password = asked["password"].as_str().unwrap_or_default().to_owned();
        let salt = [self.number().to_le_bytes(), self.number().to_le_bytes()].concat();
        let work = move || {
            Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).unwrap().to_string()
        };
        let hash = tokio::task::spawn_blocking(work).await.unwrap();
        let mut users = self.users.lock().unwrap();
        if name.is_empty() || users.contains_key(&name) {
            return Err(refusal(StatusCode::CONFLICT, "name_taken"));
        }
        users.insert(name.clone(), (hash, admin));
        Ok(name)
    }
}

fn refusal(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": code}}))).into_response()
}

async fn setup(State(app): State<App>, Json(asked): Json<Value>) -> Result<Response, Response> {
    if asked["token"] != app.setup.as_str() {
        return Err(refusal(StatusCode::FORBIDDEN, "wrong_setup_token"));
    }
    let name = app.add(&asked, true).await?;
    Ok(app.signed_in(StatusCode::CREATED, &name))
}

async fn sign_up(State(app): State<App>, Json(asked): Json<Value>) -> Result<Response, Response> {
    let name = app.add(&asked, false).await?;
    Ok(app.signed_in(StatusCode::CREATED, &name))
}

async fn login(State(app): State<App>, Json(asked): Json<Value>) -> Result<Response, Response> {
    let name = asked["login"].as_str().unwrap_or_default().to_owned();
    let password = asked["password"].as_str().unwrap_or_default().to_owned();
    let known = app.users.lock().unwrap().get(&name).map(|(hash, _)| hash.clone());
    let work = move || match known {
        Some(hash) => {
            let hash = PasswordHash::new(&hash).unwrap();
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        }
        // The same work for nobody.
        None => {
            let _ = Argon2::default().hash_password_with_salt(password.as_bytes(), &[7; 16]);
            false
        }
    };
    if tokio::task::spawn_blocking(work).await.unwrap() {
        Ok(app.signed_in(StatusCode::OK, &name))
    } else {
        Err(refusal(StatusCode::UNAUTHORIZED, "wrong_login"))
    }
}

async fn session(State(app): State<App>, headers: HeaderMap) -> Json<Value> {
    Json(json!({"user": app.caller(&headers).ok()}))
}

async fn add_user(
    State(app): State<App>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Result<Response, Response> {
    app.admin(&headers)?;
    let name = app.add(&asked, false).await?;
    Ok((StatusCode::CREATED, Json(json!({"user": {"id": name, "name": name}}))).into_response())
}

async fn users(
    State(app): State<App>,
    headers: HeaderMap,
    Query(asked): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Response> {
    app.admin(&headers)?;
    let part = asked.get("q").cloned().unwrap_or_default();
    let all = app.users.lock().unwrap();
    let found: Vec<_> =
        all.keys().filter(|name| name.contains(&part)).map(|name| json!({"id": name})).collect();
    Ok(Json(json!({"total": found.len(), "users": found})))
}

async fn delete_user(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Response> {
    app.admin(&headers)?;
    app.users.lock().unwrap().remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

async fn add_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    app.admin(&headers)?;
    Ok((StatusCode::CREATED, Json(json!({"secret": app.pass(&id)}))).into_response())
}

async fn models(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, Response> {
    app.caller(&headers)?;
    Ok(Json(json!({"data": [{"id": "clock"}]})))
}

/// Events of an answer with so many tokens.
fn tokens(
    count: u64,
    token: impl Fn() -> Event + Send,
    ending: Vec<Event>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold((0, token, ending), move |(number, token, mut ending)| async move {
        if number < count {
            tokio::time::sleep(TOKEN_EVERY).await;
            return Some((Ok(token()), (number + 1, token, ending)));
        }
        let last = (!ending.is_empty()).then(|| ending.remove(0))?;
        Some((Ok(last), (number, token, ending)))
    })
}

async fn chat(
    State(app): State<App>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Result<Response, Response> {
    app.caller(&headers)?;
    let event = |value: Value| Event::default().data(value.to_string());
    let token = move || event(json!({"choices": [{"delta": {"content": "tick "}, "finish_reason": null}]}));
    let ending = vec![
        event(json!({"choices": [{"delta": {}, "finish_reason": "length"}]})),
        Event::default().data("[DONE]"),
    ];
    Ok(Sse::new(tokens(asked["max_tokens"].as_u64().unwrap_or(100), token, ending)).into_response())
}

async fn add_conversation(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    app.caller(&headers)?;
    Ok((StatusCode::CREATED, Json(json!({"id": app.number().to_string()}))).into_response())
}

async fn add_message(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    app.caller(&headers)?;
    let id = app.number().to_string();
    Ok((StatusCode::CREATED, Json(json!({"assistant": {"id": id, "content": ""}}))).into_response())
}

async fn follow(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    app.caller(&headers)?;
    let token = || Event::default().event("delta").data(r#"{"part":"content","text":"tick "}"#);
    let done = Event::default().event("done").data(r#"{"content":"tick","status":"complete"}"#);
    Ok(Sse::new(tokens(24, token, vec![done])).into_response())
}

async fn document() -> String {
    "x".repeat(DOCUMENT_BYTES)
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", get(async || "plain"))
        .route("/healthz", get(async || "ok"))
        .route("/openapi.json", get(document))
        .route("/api/setup", post(setup))
        .route("/api/sign-up", post(sign_up))
        .route("/api/login", post(login))
        .route("/api/session", get(session))
        .route("/api/models", get(models))
        .route("/api/admin/users", get(users).post(add_user))
        .route("/api/admin/users/{id}", delete(delete_user))
        .route("/api/admin/users/{id}/keys", post(add_key))
        .route("/api/conversations", post(add_conversation))
        .route("/api/conversations/{id}/messages", post(add_message))
        .route("/api/conversations/{id}/messages/{message}/stream", get(follow))
        .route("/api/conversations/{id}/messages/{message}/stop", post(async || Json(json!({}))))
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .with_state(app)
}

#[tokio::main]
async fn main() {
    let mut rng = Rng::from_os().unwrap();
    let setup = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    let app = Shared {
        rng: Mutex::new(rng),
        setup: setup.clone(),
        users: Mutex::default(),
        passes: Mutex::default(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("Setting tokens: one each {} ms for every stream", TOKEN_EVERY.as_millis());
    println!("It listens on {}", listener.local_addr().unwrap());
    println!("/setup#{setup}");
    axum::serve(listener, router(Arc::new(app))).await.unwrap();
}
