use axum::Json;
use axum::extract::State;

use super::super::usage_query::{UsageQuery, UsageSums, asked, sums};
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// What requests took, by day or hour and model.
#[utoipa::path(
    get,
    path = "/api/admin/usage/sums",
    operation_id = "admin_usage_sums",
    tag = "admin",
    params(super::super::usage_query::AskedUsage),
    responses((status = 200, body = UsageSums)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    query: UsageQuery,
) -> Result<Json<UsageSums>, ApiError> {
    let asked = asked(query)?;
    Ok(Json(sums(&app, asked.sums(&app, asked.anybody()?)?).await?))
}
