use axum::extract::State;
use axum::response::Response;

use super::usage_query::{UsageQuery, asked};
use crate::accounts::Caller;
use crate::app::App;
use crate::data::usage_csv;
use crate::error::ApiError;

/// What the caller's requests took, one row each, as a file for spreadsheets.
#[utoipa::path(
    get,
    path = "/api/usage.csv",
    operation_id = "usage_csv",
    tag = "chat",
    params(super::usage_query::AskedUsage),
    responses((status = 200, body = String, content_type = "text/csv")),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    query: UsageQuery,
) -> Result<Response, ApiError> {
    let asked = asked(query)?;
    Ok(usage_csv(&app, asked.all(&app, asked.own(caller.user)?)?))
}
