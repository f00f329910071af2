//! Everything that a user has, as a zip archive that is written while it is sent: one conversation is in memory at a
//! time, whatever there is.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use base::Clock;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use store::{Archive, ConversationId, StoreError, User, UserSettings};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::format::{FORMAT, OwnConversation, VERSION};
use super::markdown::{file_name, markdown};
use super::places::Place;
use crate::app::App;
use crate::error::ApiError;

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client.
const PIECES_WAITING: usize = 4;
/// A large archive may take long, but not for ever: for each of these many bytes the client has the time in which a small
/// body must come in.
const STRETCH_BYTES: usize = 1 << 20;

/// `account.json`.
#[derive(Debug, Serialize)]
struct AccountFile {
    id: String,
    name: String,
    email: Option<String>,
    role: &'static str,
    created_ms: i64,
    retention_days: Option<u32>,
    exported_ms: i64,
}

/// The beginning of `conversations.json`, up to the conversations.
#[derive(Debug, Serialize)]
struct Head {
    format: &'static str,
    version: u64,
    exported_ms: i64,
}

/// The archive as a body. It ends when the client goes away or takes nothing for too long; if something breaks in the
/// middle, so does the connection, so that half an archive never looks like a whole one.
pub(crate) async fn export(app: &App, user: User, place: Place) -> Result<Body, ApiError> {
    let settings = app.store.user_settings(user.id).await?;
    let ids = app.store.conversation_ids(user.id).await?;
    let (pieces, received) = mpsc::channel(PIECES_WAITING);
    let runtime = Handle::current();
    let sink = Sink {
        runtime: runtime.clone(),
        pieces: pieces.clone(),
        piece: Vec::with_capacity(PIECE_BYTES),
        patience: app.settings.write_timeout,
        stretch_time: app.settings.body_timeout,
        clock: Arc::clone(&app.clock),
        stretch: Stretch::default(),
        broken: Arc::default(),
    };
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let writing = Writing { app: &app, runtime, user: &user };
        if let Err(error) = writing.write(sink, settings, &ids) {
            tracing::warn!(%error, "an export broke off");
            let broken = pieces.send(Err(io::Error::other("the export broke off")));
            // The client may be gone, or take nothing.
            let _ = writing.runtime.block_on(timeout(app.settings.write_timeout, broken));
        }
    });
    let next = |mut received: mpsc::Receiver<io::Result<Bytes>>| async move {
        received.recv().await.map(|piece| (piece, received))
    };
    Ok(Body::from_stream(stream::unfold(received, next)))
}

struct Writing<'a> {
    app: &'a App,
    runtime: Handle,
    user: &'a User,
}

type Zip = ZipWriter<StreamWriter<Sink>>;

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the archive can't be written: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("the archive can't be written: {0}")]
    Io(#[from] io::Error),
    #[error("a conversation can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Writing<'_> {
    fn write(&self, sink: Sink, settings: UserSettings, ids: &[ConversationId]) -> Result<(), ExportError> {
        let broken = Arc::clone(&sink.broken);
        let mut zip = ZipWriter::new_stream(sink);
        let written = self.write_files(&mut zip, settings, ids);
        // The writer completes the archive when it is dropped: after an error it must not look like a whole one.
        let is_gone = written.is_err() && broken.swap(true, Ordering::Relaxed);
        match written {
            Ok(()) => Ok(zip.finish()?.into_inner().finish()?),
            // Nobody is left to be told.
            Err(_) if is_gone => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write_files(
        &self,
        mut zip: &mut Zip,
        settings: UserSettings,
        ids: &[ConversationId],
    ) -> Result<(), ExportError> {
        let exported_ms = self.app.clock.unix_ms();
        zip.start_file("account.json", options(exported_ms))?;
        serde_json::to_writer_pretty(&mut zip, &account_file(self.user, settings, exported_ms))?;

        // How large it becomes is not known.
        zip.start_file("conversations.json", options(exported_ms).large_file(true))?;
        let head = serde_json::to_string(&Head { format: FORMAT, version: VERSION, exported_ms })?;
        write!(zip, "{},\"conversations\":[", head.trim_end_matches('}'))?;
        let mut between = "\n";
        self.for_each(zip, ids, |zip, archive| {
            zip.write_all(between.as_bytes())?;
            between = ",\n";
            Ok(serde_json::to_writer(zip, &OwnConversation::from(archive))?)
        })?;
        zip.write_all(b"\n]}\n")?;

        self.for_each(zip, ids, |zip, archive| {
            let changed_ms = archive.conversation.updated_ms;
            zip.start_file(file_name(&archive.conversation), options(changed_ms))?;
            Ok(zip.write_all(markdown(&archive).as_bytes())?)
        })
    }

    /// Reads one conversation after another, until the client is gone. Those that were deleted meanwhile are passed over.
    fn for_each(
        &self,
        zip: &mut Zip,
        ids: &[ConversationId],
        mut each: impl FnMut(&mut Zip, Archive) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        for &id in ids {
            match self.runtime.block_on(self.app.store.archive(self.user.id, id)) {
                Ok(archive) => each(zip, archive)?,
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn account_file(user: &User, settings: UserSettings, exported_ms: i64) -> AccountFile {
    AccountFile {
        id: user.id.to_string(),
        name: user.name.clone(),
        email: user.email.clone(),
        role: user.role.as_str(),
        created_ms: user.created_ms,
        retention_days: settings.retention_days,
        exported_ms,
    }
}

/// Of a file that was last changed at this time, as far as zip can say: since 1980 and to two seconds.
fn options(changed_ms: i64) -> SimpleFileOptions {
    use chrono::{Datelike as _, Timelike as _};
    let changed = chrono::DateTime::from_timestamp_millis(changed_ms).unwrap_or_default();
    let changed = DateTime::from_date_and_time(
        u16::try_from(changed.year()).unwrap_or(0),
        changed.month() as u8,
        changed.day() as u8,
        changed.hour() as u8,
        changed.minute() as u8,
        changed.second() as u8,
    );
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(changed.unwrap_or_default())
        .unix_permissions(0o600)
}

/// Where the archive goes: to the client, in pieces.
struct Sink {
    runtime: Handle,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    /// How long the client may take for a piece.
    patience: Duration,
    /// How long it may take for [`STRETCH_BYTES`].
    stretch_time: Duration,
    clock: Arc<dyn Clock>,
    stretch: Stretch,
    /// Whether what comes is thrown away: there is nobody who takes it, or it would be half an archive.
    broken: Arc<AtomicBool>,
}

/// What was sent of a stretch.
#[derive(Default)]
struct Stretch {
    bytes: usize,
    /// How long the client was waited for.
    waited: Duration,
}

impl Sink {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let bytes = piece.len();
        let patience = self.patience.min(self.stretch_time.saturating_sub(self.stretch.waited));
        let began = self.clock.monotonic();
        let taken = self.runtime.block_on(async {
            let sending = timeout(patience, self.pieces.send(Ok(piece.into())));
            matches!(sending.await, Ok(Ok(())))
        });
        if taken {
            self.stretch.bytes += bytes;
            self.stretch.waited += self.clock.monotonic().saturating_sub(began);
            if self.stretch.bytes >= STRETCH_BYTES {
                self.stretch = Stretch::default();
            }
            return Ok(());
        }
        self.broken.store(true, Ordering::Relaxed);
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client takes nothing more"))
    }

    /// Sends what is left.
    fn finish(mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base::SystemClock;

    use super::*;

    /// Sends two mebibytes to a client that takes a piece now and then.
    async fn send_to(pause: Duration, stretch_time: Duration) -> io::Result<()> {
        let (pieces, mut received) = mpsc::channel(PIECES_WAITING);
        let sink = Sink {
            runtime: Handle::current(),
            pieces,
            piece: Vec::new(),
            patience: Duration::from_secs(600),
            stretch_time,
            clock: Arc::new(SystemClock::new()),
            stretch: Stretch::default(),
            broken: Arc::default(),
        };
        let sending = tokio::task::spawn_blocking(move || {
            let mut sink = sink;
            sink.write_all(&vec![0; 2 * STRETCH_BYTES])?;
            sink.finish()
        });
        while received.recv().await.is_some() {
            tokio::time::sleep(pause).await;
        }
        sending.await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_takes_a_piece_now_and_then_is_given_up() {
        let (pause, short) = (Duration::from_millis(20), Duration::from_millis(60));
        // Each piece is taken long before the patience ends.
        let error = send_to(pause, short).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        send_to(pause, Duration::from_secs(600)).await.unwrap();
    }
}
