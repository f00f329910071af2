use axum::Json;
use axum::extract::State;

use super::OfUser;
use super::views::UserCardView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// One user.
#[utoipa::path(
    get,
    path = "/api/admin/users/{id}",
    operation_id = "admin_user",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = UserCardView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    OfUser(id): OfUser,
) -> Result<Json<UserCardView>, ApiError> {
    Ok(Json(app.store.user_card(id).await?.into()))
}
