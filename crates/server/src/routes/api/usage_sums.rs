//! `GET /api/usage/sums?key&since&until&by&zone`: what the caller's requests took, by day or hour and model.

use axum::Json;
use axum::extract::State;

use super::usage_query::{UsageQuery, UsageSums, asked, sums};
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    query: UsageQuery,
) -> Result<Json<UsageSums>, ApiError> {
    let asked = asked(query)?;
    Ok(Json(sums(&app, asked.sums(&app, asked.own(caller.user)?)?).await?))
}
