use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use super::confirm;
use crate::accounts::{Caller, Password, Peer, no_cookie};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeleteAccountAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

/// The account is gone, with its conversations and the key that could read them.
#[utoipa::path(
    post,
    path = "/api/account/delete",
    operation_id = "delete_account",
    tag = "account",
    request_body = Asked,
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<impl IntoResponse, ApiError> {
    let user = confirm(&app, caller, asked.password, peer).await?;
    let worker = App::clone(&app);
    app.detached(async move {
        let now_ms = worker.clock.unix_ms();
        worker.store.delete_user(user.id).await?;
        // All that the store ended, one that began a moment ago included.
        worker.accounts.load(&*worker.store, now_ms, Duration::ZERO).await?;
        worker.answers.stop_all_of(user.id).await;
        worker.audit("account_deleted", Some(user.id), peer).await;
        Ok(())
    })
    .await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, no_cookie(&app))]))
}
