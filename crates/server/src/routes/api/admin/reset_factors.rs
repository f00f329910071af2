use axum::extract::State;
use axum::http::StatusCode;

use super::OfUser;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// One-time codes, recovery codes and passkeys of somebody who has lost them are
/// gone; the password, or the account elsewhere, is left.
#[utoipa::path(
    delete,
    path = "/api/admin/users/{id}/factors",
    operation_id = "admin_reset_factors",
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
    operator.must_be_another(id)?;
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.clear_factors(id).await?;
        worker.audit_by(&operator, "factors_cleared", Some(id)).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
