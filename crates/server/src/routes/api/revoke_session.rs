use axum::extract::{Path, State};
use axum::http::StatusCode;
use store::SessionId;

use super::end_sessions;
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::error::ApiError;

/// Signs one of the caller's devices out.
#[utoipa::path(
    delete,
    path = "/api/sessions/{id}",
    operation_id = "revoke_session",
    tag = "account",
    params(("id" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: SessionId = id.parse().map_err(|_| ApiError::not_found("there is no such session"))?;
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.revoke_session(caller.user, id).await?;
        end_sessions(&worker, &[id]);
        worker.audit("session_revoked", Some(caller.user), peer).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
