use axum::Json;
use axum::extract::State;

use super::views::GateView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// The registration gate: what everybody sees of it, what it goes by, and the level that is pinned.
#[utoipa::path(
    get,
    path = "/api/admin/gate",
    operation_id = "admin_gate",
    tag = "admin",
    responses((status = 200, body = GateView)),
)]
pub(crate) async fn handle(State(app): State<App>, _operator: Operator) -> Result<Json<GateView>, ApiError> {
    GateView::of(&app).await.map(Json)
}
