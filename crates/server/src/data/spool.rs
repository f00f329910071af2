//! A body that is too large for memory, in a file that nobody else can open.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::app::App;
use crate::body::{STRETCH_BYTES, broken, too_slow};
use crate::error::ApiError;

/// Pieces of a body that wait for the disk.
const PIECES_WAITING: usize = 8;

/// What a file may be sent as. None of it is what a form can send, so that no other page can send one unasked.
const KINDS: [&str; 5] = [
    "application/octet-stream",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-zip",
    "application/json",
];

/// Writes the body to a file without a name, which is gone when it is closed, and gives it from its beginning.
pub(crate) async fn spool(app: &App, request: Request) -> Result<File, ApiError> {
    check_kind(request.headers())?;
    let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES_WAITING);
    let folder = app.settings.scratch_folder.clone();
    let writing = app.blocking(move || -> io::Result<File> {
        let mut file = folder.map_or_else(tempfile::tempfile, tempfile::tempfile_in)?;
        while let Some(piece) = waiting.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.rewind()?;
        Ok(file)
    });
    let (received, written) = tokio::join!(receive(app, request, pieces), writing);
    // Whoever sent too much hears of that, not of a disk that it filled.
    received?;
    written?.map_err(|error| ApiError::internal(format!("a body could not be put on disk: {error}")))
}

fn check_kind(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if KINDS.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let message = "send the file as it is, with content-type: application/octet-stream";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
}

fn too_large(app: &App, given: usize) -> ApiError {
    let allowed = app.settings.import_bytes_max;
    let message = format!("the file may have at most {allowed} bytes, this one has {given}");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// Passes the body on as it comes. When this returns, nothing more comes.
async fn receive(app: &App, request: Request, pieces: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    let allowed = app.settings.import_bytes_max;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced: usize = announced.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    let mut body = request.into_body();
    let mut received = 0;
    loop {
        let stretch = async {
            let began = received;
            while received - began < STRETCH_BYTES {
                let Some(frame) = body.frame().await else { return Ok::<bool, ApiError>(true) };
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                received += data.len();
                // What is too large is read on for a while and thrown away, for a client that is still sending when the
                // connection closes may never see the answer that says why.
                let is_too_large = received.max(announced) > allowed;
                if is_too_large && received > allowed.saturating_mul(2) {
                    return Ok(true);
                }
                if !is_too_large && pieces.send(data).await.is_err() {
                    // The disk is full; who waits for the file says so.
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let slow = |_| {
            let seconds = app.settings.body_timeout.as_secs();
            too_slow(format!("each {STRETCH_BYTES} bytes of the file must come in within {seconds} s"))
        };
        if timeout(app.settings.body_timeout, stretch).await.map_err(slow)?? {
            break;
        }
    }
    let given = received.max(announced);
    if given > allowed { Err(too_large(app, given)) } else { Ok(()) }
}
