//! `GET /api/usage.csv?key&since&until`: what the caller's requests took, one row each, as a file for spreadsheets.

use axum::extract::State;
use axum::response::Response;

use super::usage_query::{UsageQuery, asked};
use crate::accounts::Caller;
use crate::app::App;
use crate::data::usage_csv;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    query: UsageQuery,
) -> Result<Response, ApiError> {
    let asked = asked(query)?;
    Ok(usage_csv(&app, asked.all(&app, asked.own(caller.user)?)?))
}
