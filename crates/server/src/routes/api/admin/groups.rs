use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::views::GroupView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Groups {
    groups: Vec<GroupView>,
}

/// All groups, by name.
#[utoipa::path(
    get,
    path = "/api/admin/groups",
    operation_id = "admin_groups",
    tag = "admin",
    responses((status = 200, body = Groups)),
)]
pub(crate) async fn handle(State(app): State<App>, _operator: Operator) -> Result<Json<Groups>, ApiError> {
    let groups = app.store.groups().await?;
    Ok(Json(Groups { groups: groups.into_iter().map(Into::into).collect() }))
}
