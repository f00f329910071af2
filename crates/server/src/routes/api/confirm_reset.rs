use axum::extract::State;
use axum::http::StatusCode;
use defence::Class;
use serde::Deserialize;
use store::StoreError;
use utoipa::ToSchema;

use super::end_sessions;
use super::reset::Reset;
use super::verify::{invalid, no_ticket};
use crate::accounts::{Chosen, Password, Peer, Standing, fingerprint};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ConfirmResetAsked)]
pub(crate) struct Asked {
    ticket: String,
    password: Password,
}

/// Another password, by the link of a letter. All devices are signed out.
#[utoipa::path(
    post,
    path = "/api/reset/confirm",
    operation_id = "confirm_reset",
    tag = "account",
    request_body = Asked,
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    standing: Standing,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<StatusCode, ApiError> {
    let used = || invalid("this link was used already, or the account has changed since");
    let reset: Reset = app.open_ticket("reset", &asked.ticket).map_err(no_ticket)?;
    let id = reset.user.parse().map_err(|_| used())?;
    let user = match app.store.user(id).await {
        Ok(user) => user,
        Err(StoreError::NotFound { .. }) => return Err(used()),
        Err(error) => return Err(error.into()),
    };
    if reset.of_hash != fingerprint(user.password_hash.as_deref()) {
        return Err(used());
    }
    let chosen = Chosen { password: asked.password, param: "password", name: user.name };
    let hash = app.accounts.hasher.hash(chosen, app.random_bytes(), standing.at_least(Class::Guest)).await?;
    // The store compares once more: two who use the link at once don't both succeed.
    let worker = App::clone(&app);
    app.detached(async move {
        let reset = worker.store.reset_password(id, reset.email, user.password_hash, hash).await;
        let ended = reset.map_err(|error| match error {
            StoreError::NotFound { .. } | StoreError::Conflict(_) => used(),
            error => error.into(),
        })?;
        end_sessions(&worker, &ended);
        worker.audit("password_reset", Some(id), peer).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
