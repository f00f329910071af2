use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use store::{NewUser, SignUpLink, StoreError, UserRole};
use utoipa::ToSchema;

use super::session::SessionView;
use super::sign_in_response;
use super::sign_up::{Waiting, check_name_is_free, check_open};
use crate::accounts::{Caller, NoTicket, Peer, fingerprint};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::gate::{Turned, Waits};

/// How long a letter's link is good.
pub(super) const LIFETIME: Duration = Duration::from_hours(24);

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VerifyAsked)]
pub(crate) struct Asked {
    ticket: String,
    /// A place in the waiting list, where a link of before made no account yet.
    place: Option<String>,
}

/// An address that waits to be a user's.
#[derive(Serialize, Deserialize)]
pub(super) struct NewAddress {
    pub(super) user: String,
    /// A fingerprint of their password's hash: who sets another takes back what was asked for before, perhaps by
    /// somebody else.
    pub(super) of_hash: String,
    /// What they had when they asked: after a change the link is good for nothing.
    pub(super) old: Option<String>,
    pub(super) new: String,
}

/// Somebody has read a letter: the account that it was about is made, or its address changes.
#[utoipa::path(
    post,
    path = "/api/verify",
    operation_id = "verify",
    tag = "account",
    request_body = Asked,
    responses(
        (status = 200, body = SessionView),
        (status = 201, body = SessionView),
        (status = 202, body = Waits),
    ),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, Turned> {
    match app.open_ticket::<Waiting>("sign up", &asked.ticket) {
        Ok(waiting) => make_account(&app, peer, &headers, waiting, asked.place).await,
        Err(NoTicket::Expired) => Err(no_ticket(NoTicket::Expired).into()),
        Err(NoTicket::Invalid) => {
            let address = app.open_ticket::<NewAddress>("new address", &asked.ticket).map_err(no_ticket)?;
            change_address(&app, peer, address).await?;
            let user = match caller {
                Ok(caller) => caller.account_if_any(&app).await?,
                Err(_) => None,
            };
            Ok(Json(SessionView::of(&app, user, &headers)).into_response())
        }
    }
}

/// Why a link does nothing. The status is 400 here, as nobody is asked to show who they are: the 401 `ticket_expired` of
/// ceremonies ([`crate::accounts::ticket_expired`]) says that a sign-in, or a confirmation, is to be begun again.
pub(super) fn no_ticket(reason: NoTicket) -> ApiError {
    match reason {
        NoTicket::Expired => {
            ApiError::new(StatusCode::BAD_REQUEST, "ticket_expired", "this link is too old; ask for another")
        }
        NoTicket::Invalid => invalid("this is not a link of a letter of this server"),
    }
}

pub(super) fn invalid(message: &'static str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "ticket_invalid", message)
}

async fn make_account(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    waiting: Waiting,
    place: Option<String>,
) -> Result<Response, Turned> {
    check_open(app)?;
    // Before the name: it was this account that took it.
    if app.store.user_by_login(waiting.email.clone()).await?.is_some() {
        return Err(invalid(
            "this link was used already, or the address has an account by other means: sign in",
        )
        .into());
    }
    let Waiting { name, email, password_hash, sent_ms, place: known, invitation } = waiting;
    check_name_is_free(app, &name).await?;
    let shown = place.and_then(|ticket| app.open_place(&ticket, peer));
    let place = shown.or_else(|| known.map(|held| app.take_place(held, peer)));
    let pass = app.pass_of_letter(place, invitation.as_deref()).await?;
    let address = app.accounts.fingerprint("sign up", &email.to_lowercase());
    let link = SignUpLink { address, sent_ms, lifetime: LIFETIME };
    let new = NewUser {
        name,
        email: Some(email),
        role: UserRole::User,
        password_hash: Some(password_hash),
        first: false,
    };
    let worker = App::clone(app);
    let made = app.detached(async move {
        if let Err(turned) = worker.take_account(&pass, peer).await {
            return Ok(Err(turned));
        }
        let added = worker.store.add_user_by_link(new, link).await;
        if added.is_err() {
            worker.give_back_account(&pass).await;
        }
        match added {
            // Also after the account that it made is deleted.
            Err(StoreError::Conflict(_)) => Err(invalid("this link was used already; ask for another")),
            added => Ok(Ok(added?)),
        }
    });
    let user = made.await??;
    app.welcome(user.id).await;
    app.audit("sign_up", Some(user.id), peer).await;
    let signed_in = sign_in_response(app, user, peer, headers).await?;
    Ok((StatusCode::CREATED, signed_in).into_response())
}

async fn change_address(app: &App, peer: Peer, address: NewAddress) -> Result<(), ApiError> {
    let used = || invalid("this link was used already, or the account has changed since");
    let id = address.user.parse().map_err(|_| used())?;
    let user = match app.store.user(id).await {
        Ok(user) if fingerprint(user.password_hash.as_deref()) == address.of_hash => user,
        Ok(_) | Err(StoreError::NotFound { .. }) => return Err(used()),
        Err(error) => return Err(error.into()),
    };
    match app.store.change_email(id, address.old, user.password_hash, address.new).await {
        Ok(user) => {
            app.audit("email_changed", Some(user.id), peer).await;
            Ok(())
        }
        Err(StoreError::NotFound { .. } | StoreError::Conflict(_)) => Err(used()),
        Err(error) => Err(error.into()),
    }
}
