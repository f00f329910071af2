use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use defence::{Class, Proof};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{NewUser, StoreError, User, UserRole};
use utoipa::ToSchema;

use super::challenges::ChallengeShape;
use super::sign_in_response;
use super::views::Mailed;
use crate::accounts::{Chosen, Password, Peer, Standing, check_email, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::gate::{HeldPlace, Pass, Shown, Turned, Waits};
use crate::letters::{Language, Letters, Subject, check_address};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SignUpAsked)]
pub(crate) struct Asked {
    name: String,
    email: Option<String>,
    password: Password,
    /// The solution of a challenge, in Base64.
    challenge: Option<String>,
    /// A place in the waiting list.
    place: Option<String>,
    /// An invitation.
    invitation: Option<String>,
}

impl Asked {
    fn shown(&self) -> Shown<'_> {
        Shown {
            challenge: self.challenge.as_deref(),
            place: self.place.as_deref(),
            invitation: self.invitation.as_deref(),
        }
    }
}

/// A new account, signed in at once; or, where letters are sent, a letter with a link that makes it.
///
/// While many ask, a challenge comes first (428, with one in the body), or a place in the waiting list (202 with
/// `waiting`), as the level of the registration gate says.
#[utoipa::path(
    post,
    path = "/api/sign-up",
    operation_id = "sign_up",
    tag = "account",
    params(("x-cachalot-challenge" = Option<String>, Header, description = "The body's `challenge` again: while very many \
        come, who shows it here is let in before the body is read.")),
    request_body = Asked,
    responses(
        (status = 201, body = super::session::SessionView),
        (status = 202, body = Accepted),
        (status = 428, body = Challenged),
        (status = 503, body = wire::ErrorBody),
    ),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    standing: Standing,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, Turned> {
    check_open(&app)?;
    // What is cheap to refuse is refused before anything is hashed.
    let name = check_name(&asked.name)?;
    if let Some(letters) = &app.letters {
        return by_letter(&app, letters, (peer, standing), Language::of(&headers), Asked { name, ..asked })
            .await;
    }
    if check_email(asked.email.as_deref())?.is_some() {
        // Nothing would show that it is theirs, and whose it is could be found out by trying.
        app.letters()?;
    }
    // Before a challenge is used up, or worked at: a name is what is most often taken.
    check_name_is_free(&app, &name).await?;
    // Whether it is weak takes as long to find out as ten of these: not before there is an account for it.
    asked.password.check_form("password")?;
    let pass = app.check_shown(&asked.shown(), peer).await?;
    app.accounts.take_network(peer, app.clock.monotonic())?;
    // From here to the end: an account that was taken from the budget is made even if whoever asked for it goes away.
    let worker = App::clone(&app);
    let made = app.detached(async move {
        Ok(match worker.take_account(&pass, peer).await {
            Ok(()) => Ok(make(&worker, &pass, name, asked.password, standing).await?),
            Err(turned) => Err(turned),
        })
    });
    let user = made.await??;
    app.welcome(user.id).await;
    app.audit("sign_up", Some(user.id), peer).await;
    let signed_in = sign_in_response(&app, user, peer, &headers).await?;
    Ok((StatusCode::CREATED, signed_in).into_response())
}

async fn make(
    app: &App,
    pass: &Pass,
    name: String,
    password: Password,
    standing: Standing,
) -> Result<User, ApiError> {
    let made: Result<User, ApiError> = async {
        let chosen = Chosen { password, param: "password", name: name.clone() };
        let password_hash =
            Some(app.accounts.hasher.hash(chosen, app.random_bytes(), turn(standing, pass)).await?);
        let new = NewUser { name, email: None, role: UserRole::User, password_hash, first: false };
        Ok(app.store.add_user(new).await?)
    }
    .await;
    if made.is_err() {
        app.give_back_account(pass).await;
    }
    made
}

/// In whose turn the password is hashed: who has shown something for it comes before strangers.
fn turn(standing: Standing, pass: &Pass) -> Standing {
    let Proof { challenge, invitation, place, .. } = pass.proof;
    if challenge || invitation || place.is_some() { standing.at_least(Class::Guest) } else { standing }
}

/// Names are no secret.
pub(super) async fn check_name_is_free(app: &App, name: &str) -> Result<(), ApiError> {
    match app.store.user_by_login(name.to_owned()).await? {
        None => Ok(()),
        Some(_) => Err(StoreError::Taken { what: "name" }.into()),
    }
}

/// What a sign-up answers that made no account yet.
#[derive(Serialize, ToSchema)]
#[schema(as = SignUpAccepted)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the document says")]
pub(super) enum Accepted {
    Mailed(Mailed),
    Waits(Waits),
}

/// A challenge, where one comes first.
#[derive(Serialize, ToSchema)]
#[schema(as = SignUpChallenged)]
pub(super) struct Challenged {
    error: wire::ErrorDetail,
    #[schema(value_type = ChallengeShape)]
    challenge: Value,
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
    /// The place in the waiting list that was shown. It is theirs wherever they read the letter.
    #[serde(default)]
    pub(super) place: Option<HeldPlace>,
    /// The ticket of an invitation.
    #[serde(default)]
    pub(super) invitation: Option<String>,
}

/// The answer and the work are the same whether the address is known or not; only who reads its letters can tell.
async fn by_letter(
    app: &App,
    letters: &Letters,
    (peer, standing): (Peer, Standing),
    language: Language,
    asked: Asked,
) -> Result<Response, Turned> {
    app.check_address_given(asked.email.as_deref())?;
    let to = check_address(asked.email.as_deref())?;
    check_name_is_free(app, &asked.name).await?;
    let pass = app.check_shown(&asked.shown(), peer).await?;
    app.check_letter(&pass, peer)?;
    let turn = turn(standing, &pass);
    let chosen = || Chosen { password: asked.password.clone(), param: "password", name: asked.name.clone() };
    // Before one of the letters is used up that an address may get.
    app.accounts.hasher.check(chosen(), turn).await?;
    app.accounts.letter(to.as_ref(), peer, app.clock.monotonic())?;
    let place = letters.place()?;
    let password_hash = app.accounts.hasher.hash(chosen(), app.random_bytes(), turn).await?;
    let email = to.to_string();
    let known = app.store.user_by_login(email.clone()).await?.is_some();
    let waiting = Waiting {
        name: asked.name,
        email,
        password_hash,
        sent_ms: app.clock.unix_ms(),
        place: pass.proof.place.and_then(|place| app.held_place(place)),
        invitation: asked.invitation.filter(|_| pass.invitation.is_some()),
    };
    let ticket = app.ticket("sign up", &waiting, super::verify::LIFETIME)?;
    let subject =
        if known { Subject::KnownAlready } else { Subject::SignUp { link: letters.link("verify", &ticket) } };
    app.post(place, to, language, subject);
    Ok((StatusCode::ACCEPTED, Json(Mailed::YES)).into_response())
}
