use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::key::KeyView;
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    keys: Vec<KeyView>,
    /// How many one may have.
    keys_max: u64,
}

/// The caller's keys, expired ones included.
#[utoipa::path(
    get,
    path = "/api/keys",
    operation_id = "keys",
    tag = "chat",
    responses((status = 200, body = Keys)),
)]
pub(crate) async fn handle(State(app): State<App>, caller: Caller) -> Result<Json<Keys>, ApiError> {
    let user = caller.account(&app).await?;
    let keys = app.store.keys(user.id).await?;
    let keys = keys.into_iter().map(KeyView::from).collect();
    Ok(Json(Keys { keys, keys_max: app.settings.keys_max }))
}
