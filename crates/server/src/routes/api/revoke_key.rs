//! `DELETE /api/keys/{id}`: a key is good no more.

use axum::extract::State;
use axum::http::StatusCode;

use super::key::{OfKey, end_key};
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    OfKey(id): OfKey,
) -> Result<StatusCode, ApiError> {
    let worker = App::clone(&app);
    app.detached(async move {
        end_key(&worker, caller.user, id).await?;
        worker.audit("key_revoked", Some(caller.user), peer).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
