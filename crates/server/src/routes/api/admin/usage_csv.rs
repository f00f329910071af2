//! `GET /api/admin/usage.csv?user&key&since&until`: what requests took, one row each, as a file for spreadsheets.

use axum::extract::State;
use axum::response::Response;

use super::super::usage_query::{UsageQuery, asked};
use crate::accounts::Operator;
use crate::app::App;
use crate::data::usage_csv;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    query: UsageQuery,
) -> Result<Response, ApiError> {
    let asked = asked(query)?;
    Ok(usage_csv(&app, asked.all(&app, asked.anybody()?)?))
}
