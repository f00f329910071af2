use axum::extract::State;
use axum::http::StatusCode;

use super::OfGroup;
use crate::accounts::Admin;
use crate::app::App;
use crate::error::ApiError;

/// Its members lose what only it gave them.
#[utoipa::path(
    delete,
    path = "/api/admin/groups/{id}",
    operation_id = "admin_delete_group",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfGroup(id): OfGroup,
) -> Result<StatusCode, ApiError> {
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.delete_group(id).await?;
        worker.audit_by(&operator, "group_deleted", None).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
