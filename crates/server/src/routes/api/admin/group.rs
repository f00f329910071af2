use axum::Json;
use axum::extract::State;

use super::OfGroup;
use super::views::GroupView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// One group.
#[utoipa::path(
    get,
    path = "/api/admin/groups/{id}",
    operation_id = "admin_group",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = GroupView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    OfGroup(id): OfGroup,
) -> Result<Json<GroupView>, ApiError> {
    Ok(Json(app.store.group(id).await?.into()))
}
