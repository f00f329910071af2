use axum::extract::State;
use axum::response::Response;

use super::super::usage_query::{UsageQuery, asked};
use crate::accounts::Operator;
use crate::app::App;
use crate::data::usage_csv;
use crate::error::ApiError;

/// What requests took, one row each, as a file for spreadsheets.
#[utoipa::path(
    get,
    path = "/api/admin/usage.csv",
    operation_id = "admin_usage_csv",
    tag = "admin",
    params(super::super::usage_query::AskedUsage),
    responses((status = 200, body = String, content_type = "text/csv")),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    query: UsageQuery,
) -> Result<Response, ApiError> {
    let asked = asked(query)?;
    Ok(usage_csv(&app, asked.all(&app, asked.anybody()?)?))
}
