use axum::extract::State;
use axum::http::StatusCode;

use super::super::key::end_key;
use super::OfUserKey;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// One of a user's keys is good no more.
#[utoipa::path(
    delete,
    path = "/api/admin/users/{id}/keys/{key}",
    operation_id = "admin_revoke_user_key",
    tag = "admin",
    params(("id" = String, Path), ("key" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    OfUserKey(user, key): OfUserKey,
) -> Result<StatusCode, ApiError> {
    operator.may_look_after(&app.store.user(user).await?)?;
    let worker = App::clone(&app);
    app.detached(async move {
        end_key(&worker, user, key).await?;
        worker.audit_by(&operator, "key_revoked", Some(user)).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
