//! `DELETE /api/admin/groups/{id}`: its members lose what only it gave them.

use axum::extract::State;
use axum::http::StatusCode;

use super::OfGroup;
use crate::accounts::Admin;
use crate::app::App;
use crate::error::ApiError;

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
