use axum::Json;
use axum::extract::State;

use super::usage_query::{UsagePageView, UsageQuery, asked};
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

/// A page of what the caller's requests took, the newest first.
#[utoipa::path(
    get,
    path = "/api/usage",
    operation_id = "usage",
    tag = "chat",
    params(super::usage_query::AskedUsage),
    responses((status = 200, body = UsagePageView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    query: UsageQuery,
) -> Result<Json<UsagePageView>, ApiError> {
    let asked = asked(query)?;
    let page = app.store.usage(asked.page(&app, asked.own(caller.user)?)?).await?;
    Ok(Json(UsagePageView::new(&app, page)))
}
