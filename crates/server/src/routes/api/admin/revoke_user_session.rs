use axum::extract::State;
use axum::http::StatusCode;

use super::super::end_sessions;
use super::OfSession;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// Signs one of a user's devices out.
#[utoipa::path(
    delete,
    path = "/api/admin/users/{id}/sessions/{session}",
    operation_id = "admin_revoke_user_session",
    tag = "admin",
    params(("id" = String, Path), ("session" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    OfSession(id, session): OfSession,
) -> Result<StatusCode, ApiError> {
    operator.may_look_after(&app.store.user(id).await?)?;
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.revoke_session(id, session).await?;
        end_sessions(&worker, &[session]);
        worker.audit_by(&operator, "session_revoked", Some(id)).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
