//! An import: the file is read twice, first to see that it is whole, then to add what is in it.

use std::fs::File;
use std::io::BufReader;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::{
    Archive, ArchiveOutcome, Conversation, ConversationId, Message, MessageId, NewArchive, StoreError, UserId,
};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::budget::Bounds;
use super::error::ImportError;
use super::read::read;
use super::{Draft, DraftMessage, Format};
use crate::app::App;
use crate::data::places::Place;
use crate::error::{ApiError, shortened};
use crate::settings::Settings;

/// Times by which a file may be larger than what was sent: texts pack to a tenth.
const UNPACKS_TO: u64 = 16;
/// Bytes of JSON of a conversation, beyond two for each byte of text: what services note beside it.
const JSON_OVERHEAD_BYTES: u64 = 16 << 20;
/// Entries of an archive, beyond one for each conversation that a user may have.
const ENTRIES_MORE: u64 = 10_000;
/// Things that are said to be skipped; the rest is counted.
const SKIPPED_MAX: usize = 100;
/// Characters of the name of a model.
const MODEL_CHARS_MAX: usize = 200;

/// What was imported, for the user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Imported {
    format: &'static str,
    /// Conversations that were added.
    conversations: u64,
    /// Messages in them.
    messages: u64,
    /// Conversations that had been imported before, or were never away.
    already_there: u64,
    /// The first of what was left out.
    skipped: Vec<Skipped>,
    /// All of what was left out, counted.
    skipped_total: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Skipped {
    title: String,
    why: String,
}

impl Imported {
    fn skip(&mut self, title: &str, why: String) {
        self.skipped_total += 1;
        if self.skipped.len() < SKIPPED_MAX {
            self.skipped.push(Skipped { title: shortened(title).to_owned(), why });
        }
    }
}

/// Imports a file for a user, and gives the place and the turn back.
pub(crate) async fn import(
    app: &App,
    owner: UserId,
    file: File,
    place: (Place, OwnedSemaphorePermit),
) -> Result<Imported, ApiError> {
    let retention_days = app.store.user_settings(owner).await?.retention_days;
    let days = [retention_days, app.settings.retention_days_max].into_iter().flatten().min();
    let now_ms = app.clock.unix_ms();
    let importing = Importing {
        app: App::clone(app),
        runtime: Handle::current(),
        owner,
        now_ms,
        expired_before_ms: days.map(|days| now_ms - i64::from(days) * 86_400_000),
        days: days.unwrap_or_default(),
        imported: Imported {
            format: "",
            conversations: 0,
            messages: 0,
            already_there: 0,
            skipped: Vec::new(),
            skipped_total: 0,
        },
    };
    app.blocking(move || {
        let _place = place;
        importing.run(&file)
    })
    .await?
}

fn bounds(settings: &Settings) -> Bounds {
    Bounds {
        unpacked_bytes_max: (settings.import_bytes_max as u64).saturating_mul(UNPACKS_TO),
        // A character of three bytes is six where JSON is written in ASCII.
        conversation_bytes_max: settings
            .conversation
            .bytes_max
            .saturating_mul(2)
            .saturating_add(JSON_OVERHEAD_BYTES),
        entries_max: usize::try_from(settings.conversations_max.saturating_add(ENTRIES_MORE))
            .unwrap_or(usize::MAX),
    }
}

/// Whether the server waits for nothing more. What was added stays, and the next import goes on after it.
fn check_cut(app: &App) -> Result<(), ImportError> {
    if *app.cut.borrow() { Err(ImportError::Stopped(shutting_down())) } else { Ok(()) }
}

/// For a file that the server has no time for any more.
pub(crate) fn shutting_down() -> ApiError {
    ApiError::busy("shutting_down", "the server is shutting down; import the file again")
}

struct Importing {
    app: App,
    runtime: Handle,
    owner: UserId,
    now_ms: i64,
    /// Conversations last changed before would be deleted at once.
    expired_before_ms: Option<i64>,
    days: u32,
    imported: Imported,
}

impl Importing {
    fn run(mut self, file: &File) -> Result<Imported, ApiError> {
        let bounds = bounds(&self.app.settings);
        let source = || BufReader::new(file);
        let app = App::clone(&self.app);
        let go_on = || check_cut(&app);
        let format = read(source(), &bounds, &go_on, &mut |_, _| go_on())?;
        self.imported.format = format.as_str();
        read(source(), &bounds, &go_on, &mut |format, draft| {
            go_on()?;
            self.add(format, draft).map_err(ImportError::Stopped)
        })?;
        Ok(self.imported)
    }

    fn add(&mut self, format: Format, draft: Draft) -> Result<(), ApiError> {
        let title = draft.title.clone();
        for note in &draft.notes {
            self.imported.skip(&title, note.clone());
        }
        if let Some(why) = self.refusal(format, &draft) {
            self.imported.skip(&title, why);
            return Ok(());
        }
        if format == Format::Own && self.is_there(&draft.id)? {
            self.imported.already_there += 1;
            return Ok(());
        }
        let new = NewArchive {
            archive: self.archive(format, draft),
            conversations_max: self.app.settings.conversations_max,
            limits: self.app.settings.conversation,
        };
        let messages = new.archive.messages.len() as u64;
        match self.runtime.block_on(self.app.store.add_archive(self.owner, new)) {
            Ok(ArchiveOutcome::Added) => {
                self.imported.conversations += 1;
                self.imported.messages += messages;
            }
            Ok(ArchiveOutcome::AlreadyThere) => self.imported.already_there += 1,
            Err(error @ StoreError::Full { .. }) => self.imported.skip(&title, error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Why a conversation is not for this server, although nothing is wrong with it.
    fn refusal(&self, format: Format, draft: &Draft) -> Option<String> {
        let settings = &self.app.settings;
        if draft.messages.is_empty() && format != Format::Own {
            return Some("there is nothing in it that can be kept".to_owned());
        }
        let system = draft.system.as_ref().map_or(0, String::len);
        if system > settings.system_bytes_max {
            let allowed = settings.system_bytes_max;
            return Some(format!("its instructions have {system} bytes, {allowed} are allowed"));
        }
        if self.expired_before_ms.is_some_and(|before_ms| self.time(draft.updated_ms) < before_ms) {
            return Some(format!(
                "it is older than the {} days after which conversations are deleted",
                self.days
            ));
        }
        None
    }

    /// Whether the owner has the conversation that was exported. Another's with this id is not looked at.
    fn is_there(&self, id: &str) -> Result<bool, ApiError> {
        let Ok(id) = id.parse() else { return Ok(false) };
        match self.runtime.block_on(self.app.store.conversation(self.owner, id)) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Ids are made from the owner's and the file's: the same file gives the same ids, and another's never meet them.
    fn archive(&self, format: Format, draft: Draft) -> Archive {
        let base = Sha256::new_with_prefix("cachalot import\0")
            .chain_update(<[u8; 16]>::from(self.owner))
            .chain_update(format.as_str())
            .chain_update("\0")
            .chain_update(draft.id);
        let id = ConversationId::from(uuid(base.clone()));
        let message_id =
            |place: usize| MessageId::from(uuid(base.clone().chain_update((place as u64).to_be_bytes())));
        let ids: Vec<MessageId> = (0..draft.messages.len()).map(message_id).collect();
        let messages = draft.messages.into_iter().enumerate();
        let messages = messages.map(|(place, message)| self.message(id, &ids, place, message)).collect();
        let conversation = Conversation {
            id,
            title: draft.title.chars().take(self.app.settings.title_chars_max).collect(),
            model: draft.model.map_or_else(|| self.app.hub.default_model().to_owned(), cut_model),
            system: draft.system,
            created_ms: self.time(draft.created_ms),
            updated_ms: self.time(draft.updated_ms),
        };
        Archive { conversation, messages }
    }

    fn message(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
        place: usize,
        message: DraftMessage,
    ) -> Message {
        Message {
            id: ids[place],
            conversation_id,
            parent_id: message.parent.map(|parent| ids[parent]),
            role: message.role,
            status: message.status,
            content: message.content,
            reasoning: message.reasoning,
            reasoning_ms: message.reasoning_ms,
            error: message.error,
            model: message.model.map(cut_model),
            created_ms: self.time(message.created_ms),
            usage: message.usage,
            timing: message.timing,
        }
    }

    /// A time that has been: one to come would keep a conversation first in its list, and for ever.
    fn time(&self, unix_ms: i64) -> i64 {
        unix_ms.clamp(0, self.now_ms.max(0))
    }
}

fn cut_model(name: String) -> String {
    match name.char_indices().nth(MODEL_CHARS_MAX) {
        None => name,
        Some((end, _)) => name[..end].to_owned(),
    }
}

/// In the form of UUID version 8 (RFC 9562).
fn uuid(hash: Sha256) -> [u8; 16] {
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
