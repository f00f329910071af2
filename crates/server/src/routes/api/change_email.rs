use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use super::confirm;
use super::verify::{LIFETIME, NewAddress};
use super::views::Mailed;
use crate::accounts::{Caller, Password, Peer, fingerprint};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::letters::{Language, Subject, check_address};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeEmailAsked)]
pub(crate) struct Asked {
    email: String,
    password: Option<Password>,
}

/// A letter to another address, which becomes the account's when its link is used.
#[utoipa::path(
    post,
    path = "/api/account/email",
    operation_id = "change_email",
    tag = "account",
    request_body = Asked,
    responses((status = 202, body = Mailed)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<impl IntoResponse, ApiError> {
    let letters = app.letters()?;
    let to = check_address(Some(&asked.email))?;
    let user = confirm(&app, caller, asked.password, peer).await?;
    app.accounts.letter(to.as_ref(), peer, app.clock.monotonic())?;
    let (place, second) = (letters.place()?, letters.place()?);
    let language = Language::of(&headers);
    let new = to.to_string();
    let owner = app.store.user_by_login(new.clone()).await?;
    // The answer tells nothing about whose the address is; the letter to it does.
    let subject = if owner.is_some_and(|owner| owner.id != user.id) {
        Subject::AddressOfAnother
    } else {
        let address = NewAddress {
            user: user.id.to_string(),
            of_hash: fingerprint(user.password_hash.as_deref()),
            old: user.email.clone(),
            new: new.clone(),
        };
        Subject::NewAddress { link: letters.link("verify", &app.ticket("new address", &address, LIFETIME)?) }
    };
    app.post(place, to, language, subject);
    let old = user.email.filter(|old| user.email_verified_ms.is_some() && *old != new);
    // What the store has may be older than today's rules for addresses.
    if let Some(old) = old.and_then(|old| old.parse().ok()) {
        app.post(second, old, language, Subject::AddressChanges);
    }
    app.audit("email_change_asked", Some(user.id), peer).await;
    Ok((StatusCode::ACCEPTED, Json(Mailed::YES)))
}
