use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use store::{Hit, Search, Words};
use utoipa::{IntoParams, ToSchema};

use super::words::MessageRole;
use crate::accounts::Caller;
use crate::app::App;
use crate::error::{ApiError, shortened};

const QUERY_CHARS_MAX: usize = 200;
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    q: Option<String>,
    limit: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SearchPage)]
pub(crate) struct Page {
    results: Vec<HitView>,
    /// Messages that were looked at.
    scanned: u64,
    /// Whether there would be more results.
    more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SearchHit)]
struct HitView {
    conversation_id: String,
    title: String,
    message_id: String,
    role: MessageRole,
    created_ms: i64,
    snippet: String,
    marks: Vec<(u32, u32)>,
}

/// The caller's messages in which every word occurs, the newest first.
///
/// The loop is left when the client goes away: the server then drops it, and its place is free when the part at hand has
/// been looked at.
#[utoipa::path(
    get,
    path = "/api/search",
    operation_id = "search",
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
        let message = format!("the query takes one q and one limit: {}", error.body_text());
        ApiError::invalid("q", message)
    })?;
    let words = words(asked.q.as_deref().unwrap_or_default())?;
    let limit = limit(asked.limit.as_deref())?;
    let mut held = app.searches.take(caller.user)?;
    let (mut hits, mut scanned, mut place) = (Vec::new(), 0, None);
    loop {
        let (store, search) = (Arc::clone(&app.store), Search { words: words.clone(), place });
        let looking = async move { Ok((store.search(caller.user, search).await?, held)) };
        let page;
        (page, held) = app.detached(looking).await?;
        hits.extend(page.hits);
        scanned += page.scanned;
        place = page.next;
        if place.is_none() || hits.len() > limit {
            break;
        }
    }
    drop(held);
    let more = hits.len() > limit;
    hits.truncate(limit);
    Ok(Json(Page { results: hits.into_iter().map(Into::into).collect(), scanned, more }))
}

fn words(query: &str) -> Result<Words, ApiError> {
    let given = query.chars().count();
    let words = if given > QUERY_CHARS_MAX { None } else { Words::new(query) };
    words.ok_or_else(|| {
        let message =
            format!("q must have 1 to {QUERY_CHARS_MAX} characters that are no spaces, it has {given}");
        ApiError::invalid("q", message)
    })
}

fn limit(given: Option<&str>) -> Result<usize, ApiError> {
    let Some(text) = given else { return Ok(LIMIT_DEFAULT) };
    text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
        let message =
            format!("limit must be a whole number between 1 and {LIMIT_MAX}, got {:?}", shortened(text));
        ApiError::invalid("limit", message)
    })
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        Self {
            conversation_id: hit.conversation_id.to_string(),
            title: hit.title,
            message_id: hit.message_id.to_string(),
            role: hit.role.into(),
            created_ms: hit.created_ms,
            snippet: hit.snippet.text,
            marks: hit.snippet.marks,
        }
    }
}
