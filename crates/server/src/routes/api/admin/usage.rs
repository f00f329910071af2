use axum::Json;
use axum::extract::State;

use super::super::usage_query::{UsagePageView, UsageQuery, asked};
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// A page of what requests took, the newest first.
#[utoipa::path(
    get,
    path = "/api/admin/usage",
    operation_id = "admin_usage",
    tag = "admin",
    params(super::super::usage_query::AskedUsage),
    responses((status = 200, body = UsagePageView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    query: UsageQuery,
) -> Result<Json<UsagePageView>, ApiError> {
    let asked = asked(query)?;
    let page = app.store.usage(asked.page(&app, asked.anybody()?)?).await?;
    Ok(Json(UsagePageView::new(&app, page)))
}
