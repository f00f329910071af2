use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{confirm, end_sessions};
use crate::accounts::{Caller, Chosen, Password, Peer, Standing};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangePasswordAsked)]
pub(crate) struct Asked {
    /// Of whoever has one.
    old: Option<Password>,
    new: Password,
}

/// Another password, or a first one. All other devices are signed out.
#[utoipa::path(
    post,
    path = "/api/account/password",
    operation_id = "change_password",
    tag = "account",
    request_body = Asked,
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    standing: Standing,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<StatusCode, ApiError> {
    let user = confirm(&app, caller, asked.old, peer).await?;
    let chosen = Chosen { password: asked.new, param: "new", name: user.name };
    let hash = app.accounts.hasher.hash(chosen, app.random_bytes(), standing).await?;
    let worker = App::clone(&app);
    app.detached(async move {
        // The store compares once more: of two who change it at once, one does.
        let (id, old) = (user.id, user.password_hash);
        let ended = worker.store.change_password(id, old, hash, caller.session).await?;
        end_sessions(&worker, &ended);
        worker.audit("password_changed", Some(id), peer).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
