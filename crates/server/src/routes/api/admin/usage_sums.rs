//! `GET /api/admin/usage/sums?user&key&since&until&by&zone`: what requests took, by day or hour and model.

use axum::Json;
use axum::extract::State;

use super::super::usage_query::{UsageQuery, UsageSums, asked, sums};
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    query: UsageQuery,
) -> Result<Json<UsageSums>, ApiError> {
    let asked = asked(query)?;
    Ok(Json(sums(&app, asked.sums(&app, asked.anybody()?)?).await?))
}
