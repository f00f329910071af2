use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use store::{Cursor, PageRequest};
use utoipa::{IntoParams, ToSchema};

use super::page_limit;
use super::views::ConversationView;
use crate::accounts::Caller;
use crate::app::App;
use crate::error::{ApiError, shortened};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    limit: Option<String>,
    before: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConversationPage)]
pub(crate) struct Page {
    conversations: Vec<ConversationView>,
    next: Option<String>,
}

/// A page of the list, the last changed first.
#[utoipa::path(
    get,
    path = "/api/conversations",
    operation_id = "conversations",
    tag = "chat",
    params(Asked),
    responses((status = 200, body = Page)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    let Query(asked) = asked.map_err(|error| {
        let message = format!("the query takes one limit and one before: {}", error.body_text());
        ApiError::invalid("limit", message)
    })?;
    let limit = page_limit(&app, asked.limit.as_deref())?;
    let before =
        asked.before.as_deref().filter(|before| !before.is_empty()).map(str::parse::<Cursor>).transpose();
    let before = before.map_err(|_| {
        let given = shortened(asked.before.as_deref().unwrap_or_default());
        ApiError::invalid("before", format!("before must be the `next` of an earlier page, got {given:?}"))
    })?;
    let page = app.store.conversations(caller.user, PageRequest { limit, before }).await?;
    Ok(Json(Page {
        conversations: page.conversations.into_iter().map(Into::into).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}
