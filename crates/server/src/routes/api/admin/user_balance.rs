use axum::Json;
use axum::extract::State;

use super::super::balance::{BalanceView, of_user};
use super::OfUser;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// What a user has to spend, and what they got and lost.
#[utoipa::path(
    get,
    path = "/api/admin/users/{id}/balance",
    operation_id = "admin_user_balance",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = BalanceView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    OfUser(id): OfUser,
) -> Result<Json<BalanceView>, ApiError> {
    Ok(Json(of_user(&app, id).await?))
}
