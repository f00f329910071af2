use axum::Json;
use axum::extract::State;

use super::usage_query::{UsageQuery, UsageSums, asked, sums};
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

/// What the caller's requests took, by day or hour and model.
#[utoipa::path(
    get,
    path = "/api/usage/sums",
    operation_id = "usage_sums",
    tag = "chat",
    params(super::usage_query::AskedUsage),
    responses((status = 200, body = UsageSums)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    query: UsageQuery,
) -> Result<Json<UsageSums>, ApiError> {
    let asked = asked(query)?;
    Ok(Json(sums(&app, asked.sums(&app, asked.own(caller.user)?)?).await?))
}
