use axum::extract::State;
use axum::http::StatusCode;

use super::key::{OfKey, end_key};
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::error::ApiError;

/// A key is good no more.
#[utoipa::path(
    delete,
    path = "/api/keys/{id}",
    operation_id = "revoke_key",
    tag = "chat",
    params(("id" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    OfKey(id): OfKey,
) -> Result<StatusCode, ApiError> {
    let worker = App::clone(&app);
    app.detached(async move {
        end_key(&worker, caller.user, id).await?;
        worker.audit("key_revoked", Some(caller.user), peer).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
