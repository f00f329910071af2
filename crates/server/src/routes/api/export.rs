use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::data::{export, export_name};
use crate::error::ApiError;

/// Everything that the caller has, as a zip archive.
#[utoipa::path(
    get,
    path = "/api/account/export",
    operation_id = "export",
    tag = "account",
    responses((status = 200, body = Vec<u8>, content_type = "application/zip")),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
) -> Result<impl IntoResponse, ApiError> {
    let user = caller.account(&app).await?;
    let place = app.exports.take(user.id)?;
    app.audit("data_exported", Some(user.id), peer).await;
    let body = export(&app, user, place).await?;
    let disposition = format!("attachment; filename=\"{}\"", export_name(app.clock.unix_ms()));
    let headers =
        [(header::CONTENT_TYPE, "application/zip".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, body))
}
