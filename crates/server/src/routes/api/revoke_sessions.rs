use axum::extract::State;
use axum::http::StatusCode;

use super::end_sessions;
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::error::ApiError;

/// Signs all of the caller's devices out but this one.
#[utoipa::path(
    delete,
    path = "/api/sessions",
    operation_id = "revoke_sessions",
    tag = "account",
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
) -> Result<StatusCode, ApiError> {
    let worker = App::clone(&app);
    app.detached(async move {
        let ended = worker.store.revoke_sessions(caller.user, Some(caller.session)).await?;
        end_sessions(&worker, &ended);
        worker.audit("sessions_revoked", Some(caller.user), peer).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
