use axum::extract::State;
use axum::http::StatusCode;

use super::super::end_sessions;
use super::OfUser;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// Signs a user out everywhere.
#[utoipa::path(
    delete,
    path = "/api/admin/users/{id}/sessions",
    operation_id = "admin_revoke_user_sessions",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    OfUser(id): OfUser,
) -> Result<StatusCode, ApiError> {
    operator.may_look_after(&app.store.user(id).await?)?;
    let worker = App::clone(&app);
    app.detached(async move {
        let ended = worker.store.revoke_sessions(id, None).await?;
        end_sessions(&worker, &ended);
        worker.audit_by(&operator, "sessions_revoked", Some(id)).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
