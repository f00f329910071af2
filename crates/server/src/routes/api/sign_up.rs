use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use store::{NewUser, StoreError, UserRole};
use utoipa::ToSchema;

use super::sign_in_response;
use super::views::Mailed;
use crate::accounts::{Password, Peer, check_email, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::letters::{Language, Letters, Subject, check_address};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SignUpAsked)]
pub(crate) struct Asked {
    name: String,
    email: Option<String>,
    password: Password,
}

/// A new account, signed in at once; or, where letters are sent, a letter with a link that makes it.
#[utoipa::path(
    post,
    path = "/api/sign-up",
    operation_id = "sign_up",
    tag = "account",
    request_body = Asked,
    responses((status = 201, body = super::session::SessionView), (status = 202, body = Mailed)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, ApiError> {
    check_open(&app)?;
    // What is cheap to refuse is refused before anything is hashed.
    let name = check_name(&asked.name)?;
    if let Some(letters) = &app.letters {
        return by_letter(&app, letters, peer, Language::of(&headers), Asked { name, ..asked }).await;
    }
    if check_email(asked.email.as_deref())?.is_some() {
        // Nothing would show that it is theirs, and whose it is could be found out by trying.
        app.letters()?;
    }
    asked.password.check_strength("password", &name)?;
    app.accounts.take_network(peer, app.clock.monotonic())?;
    let password_hash = Some(app.accounts.hasher.hash(asked.password, app.random_bytes()).await?);
    let new = NewUser { name, email: None, role: UserRole::User, password_hash, first: false };
    let user = app.store.add_user(new).await?;
    app.welcome(user.id).await;
    app.audit("sign_up", Some(user.id), peer).await;
    let signed_in = sign_in_response(&app, user, peer, &headers).await?;
    Ok((StatusCode::CREATED, signed_in).into_response())
}

/// Whether strangers may make accounts now.
pub(super) fn check_open(app: &App) -> Result<(), ApiError> {
    if app.settings.sign_up && !app.accounts.setup.is_open() {
        return Ok(());
    }
    let message = "this server takes no new accounts; its administrator can make one";
    Err(ApiError::new(StatusCode::FORBIDDEN, "sign_up_closed", message))
}

/// An account that waits for its address to be shown to be its user's. It waits in the letter: strangers who ask for
/// many fill nothing and hold no names.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) name: String,
    pub(super) email: String,
    pub(super) password_hash: String,
    /// Unix milliseconds.
    pub(super) sent_ms: i64,
}

/// The answer and the work are the same whether the address is known or not; only who reads its letters can tell.
async fn by_letter(
    app: &App,
    letters: &Letters,
    peer: Peer,
    language: Language,
    asked: Asked,
) -> Result<Response, ApiError> {
    let to = check_address(asked.email.as_deref())?;
    asked.password.check_strength("password", &asked.name)?;
    // Names are no secret.
    if app.store.user_by_login(asked.name.clone()).await?.is_some() {
        return Err(StoreError::Taken { what: "name" }.into());
    }
    app.accounts.letter(to.as_ref(), peer, app.clock.monotonic())?;
    let place = letters.place()?;
    let password_hash = app.accounts.hasher.hash(asked.password, app.random_bytes()).await?;
    let email = to.to_string();
    let known = app.store.user_by_login(email.clone()).await?.is_some();
    let waiting = Waiting { name: asked.name, email, password_hash, sent_ms: app.clock.unix_ms() };
    let ticket = app.ticket("sign up", &waiting, super::verify::LIFETIME)?;
    let subject =
        if known { Subject::KnownAlready } else { Subject::SignUp { link: letters.link("verify", &ticket) } };
    app.post(place, to, language, subject);
    Ok((StatusCode::ACCEPTED, Json(Mailed::YES)).into_response())
}
