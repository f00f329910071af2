use axum::Json;
use axum::extract::State;

use super::key::{AskedKey, KeyView, OfKey, change_key};
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

/// Another name, expiry or scope.
#[utoipa::path(
    patch,
    path = "/api/keys/{id}",
    operation_id = "change_key",
    tag = "chat",
    params(("id" = String, Path)),
    request_body = AskedKey,
    responses((status = 200, body = KeyView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    OfKey(id): OfKey,
    body::Json(asked, _room): body::Json<AskedKey>,
) -> Result<Json<KeyView>, ApiError> {
    let user = caller.account(&app).await?.id;
    let worker = App::clone(&app);
    app.detached(async move {
        let changed = change_key(&worker, user, id, asked).await?;
        worker.audit("key_changed", Some(user), peer).await;
        Ok(Json(changed))
    })
    .await
}
