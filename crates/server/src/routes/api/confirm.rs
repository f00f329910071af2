use std::time::Duration;

use axum::http::StatusCode;
use store::User;

use super::check_password;
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::error::ApiError;

/// How long a sign-in counts for somebody without a password.
const FRESH: Duration = Duration::from_mins(10);

/// The caller's account, once they have shown anew that it is they: by the password, if they have one, or by having
/// signed in just now.
pub(super) async fn confirm(
    app: &App,
    caller: Caller,
    password: Option<Password>,
    peer: Peer,
) -> Result<User, ApiError> {
    let user = caller.account(app).await?;
    if user.password_hash.is_some() {
        let missing =
            || ApiError::new(StatusCode::UNAUTHORIZED, "wrong_password", "the password is needed for this");
        check_password(app, &user, password.ok_or_else(missing)?, peer).await?;
        return Ok(user);
    }
    let sessions = app.store.sessions(user.id).await?;
    let since_ms = app.clock.unix_ms() - i64::try_from(FRESH.as_millis()).unwrap_or(i64::MAX);
    if sessions.iter().any(|session| session.id == caller.session && session.created_ms > since_ms) {
        return Ok(user);
    }
    let message = format!("sign in again first: it must be less than {} minutes ago", FRESH.as_secs() / 60);
    Err(ApiError::new(StatusCode::FORBIDDEN, "sign_in_again", message))
}
