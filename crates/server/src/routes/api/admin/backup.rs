use std::io::{self, Read as _};

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base::UtcTime;
use bytes::Bytes;
use futures_util::stream;
use store::Backup;
use tokio::task::spawn_blocking;

use super::vault_error;
use crate::accounts::Admin;
use crate::app::App;
use crate::error::ApiError;

const MEDIA_TYPE: &str = "application/vnd.sqlite3";
/// Read from the disk at once.
const PIECE_BYTES: usize = 256 << 10;

/// A copy of the whole database as it is at this moment, while others go on. Texts in it are
/// sealed; the master key, which is needed to open it, is not in it.
#[utoipa::path(
    get,
    path = "/api/admin/backup",
    operation_id = "admin_backup",
    tag = "admin",
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.sqlite3")),
)]
pub(crate) async fn handle(State(app): State<App>, Admin(operator): Admin) -> Result<Response, ApiError> {
    let backup = app.store.backup().await.map_err(vault_error)?;
    app.audit_by(&operator, "backup", None).await;
    let UtcTime { year, month, day, .. } = UtcTime::from_unix_ms(app.clock.unix_ms());
    let name = format!("attachment; filename=\"cachalot-{year:04}-{month:02}-{day:02}.db\"");
    let fields = [
        (header::CONTENT_TYPE, MEDIA_TYPE.to_owned()),
        (header::CONTENT_DISPOSITION, name),
        // So that a copy that broke off is not taken for a whole one.
        (header::CONTENT_LENGTH, backup.bytes.to_string()),
    ];
    Ok((fields, body(backup)).into_response())
}

/// What a backup would be, without making one: how long it would be is not known.
pub(crate) async fn head(_: Admin) -> impl IntoResponse {
    [(header::CONTENT_TYPE, MEDIA_TYPE)]
}

/// The file goes with the body, sent or not.
fn body(backup: Backup) -> Body {
    let pieces = stream::try_unfold(backup, async |mut backup| {
        let reading = spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let length = backup.file.read(&mut piece)?;
            piece.truncate(length);
            Ok::<_, io::Error>((Bytes::from(piece), backup))
        });
        let (piece, backup) = reading.await.map_err(io::Error::other)??;
        Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, backup)))
    });
    Body::from_stream(pieces)
}
