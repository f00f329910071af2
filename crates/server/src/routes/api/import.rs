use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};

use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::data::{Imported, import, shutting_down, spool};
use crate::error::ApiError;

/// A file with conversations, from an export of this program's, DeepSeek's or ChatGPT's.
#[utoipa::path(
    post,
    path = "/api/account/import",
    operation_id = "import",
    tag = "account",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Imported)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    request: Request,
) -> Result<Json<Imported>, ApiError> {
    let user = caller.account(&app).await?;
    let place = app.imports.take(user.id)?;
    let file = spool(&app, request).await?;
    // Who sends slowly keeps nobody from being read.
    let turn = tokio::select! {
        turn = Arc::clone(&app.reading).acquire_owned() => turn,
        () = app.cut_off() => return Err(shutting_down()),
    };
    let turn = turn.map_err(|_| ApiError::internal("the turns of imports are closed"))?;
    let worker = App::clone(&app);
    let importing = async move {
        let imported = import(&worker, user.id, file, (place, turn)).await?;
        worker.audit("data_imported", Some(user.id), peer).await;
        Ok(imported)
    };
    Ok(Json(app.detached(importing).await?))
}
