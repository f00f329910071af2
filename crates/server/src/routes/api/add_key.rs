use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::key::{AskedKey, MadeKey, add_key};
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

/// A new key, whose text this answer alone shows.
#[utoipa::path(
    post,
    path = "/api/keys",
    operation_id = "add_key",
    tag = "chat",
    request_body = AskedKey,
    responses((status = 201, body = MadeKey)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<AskedKey>,
) -> Result<(StatusCode, Json<MadeKey>), ApiError> {
    let user = caller.account(&app).await?;
    let worker = App::clone(&app);
    let made = app
        .detached(async move {
            let made = add_key(&worker, &user, asked, &headers).await?;
            worker.audit("key_added", Some(user.id), peer).await;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}
