//! From a file to conversations, one at a time.

use std::fmt;
use std::io::{self, Cursor, Read, Seek};

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::budget::{Bounds, Budget, Spending};
use super::error::ImportError;
use super::foreign::ForeignConversation;
use super::{Draft, Format, archive, chatgpt, deepseek, own};
use crate::data::format::{FORMAT, OwnConversation, VERSION};
use crate::error::shortened;

/// Takes each conversation of a file, and whose form it has.
pub(super) type Take<'a> = dyn FnMut(Format, Draft) -> Result<(), ImportError> + 'a;

/// Asked now and then: an error where whoever asked for the file waits no longer.
pub(super) type GoOn<'a> = dyn Fn() -> Result<(), ImportError> + 'a;

const ZIP: &[u8] = b"PK";
/// What some programs put before UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file from its beginning to its end; whose form it has. What was taken before an error is as good as the
/// rest: whoever takes must be ready to forget it.
pub(super) fn read<R: Read + Seek>(
    mut source: R,
    bounds: &Bounds,
    go_on: &GoOn<'_>,
    take: &mut Take<'_>,
) -> Result<Format, ImportError> {
    let budget = Budget::new(bounds);
    let mut reading = Reading { budget: &budget, take, format: None, number: 0, failed: None };
    source.rewind().map_err(ImportError::Io)?;
    let head = head(&mut source).map_err(ImportError::Io)?;
    source.rewind().map_err(ImportError::Io)?;
    if head.starts_with(ZIP) {
        archive::read(source, bounds, go_on, &mut |file| reading.json(file))?;
    } else {
        reading.json(&mut source)?;
    }
    reading
        .format
        .ok_or_else(|| ImportError::Unsupported("there are no conversations in the file".to_owned()))
}

fn head(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(MARK.len());
    source.take(MARK.len() as u64).read_to_end(&mut head)?;
    Ok(head)
}

struct Reading<'a, 'b> {
    budget: &'a Budget,
    take: &'a mut Take<'b>,
    /// Whose form it has, as soon as that is known.
    format: Option<Format>,
    /// Conversations so far.
    number: usize,
    /// Why it ended early, where that is not the JSON's fault.
    failed: Option<ImportError>,
}

impl Reading<'_, '_> {
    fn json(&mut self, source: &mut dyn Read) -> Result<(), ImportError> {
        self.budget.begin_conversation();
        let head = head(source).map_err(|error| self.reason(serde_json::Error::io(error)))?;
        let start = if head == MARK { &[][..] } else { &head };
        let source = Spending::new(Cursor::new(start.to_vec()).chain(source), self.budget);
        let mut deserializer = serde_json::Deserializer::from_reader(source);
        let read = deserializer.deserialize_any(&mut *self).and_then(|()| deserializer.end());
        read.map_err(|error| self.reason(error))
    }

    /// Why reading ended.
    fn reason(&mut self, error: serde_json::Error) -> ImportError {
        if let Some(failed) = self.failed.take().or_else(|| self.budget.exceeded()) {
            return failed;
        }
        if error.is_io() {
            let error = io::Error::from(error);
            if archive::is_ours(&error) {
                return ImportError::Io(error);
            }
            return ImportError::Malformed(format!("it is damaged ({error})"));
        }
        let text = error.to_string();
        ImportError::Malformed(format!("it is not the JSON of an export ({})", shortened(&text)))
    }

    /// Ends reading with this.
    fn fail<E: serde::de::Error>(&mut self, error: ImportError) -> E {
        self.failed = Some(error);
        E::custom("reading ended")
    }

    fn take<E: serde::de::Error>(
        &mut self,
        format: Format,
        title: &str,
        draft: Result<Draft, String>,
    ) -> Result<(), E> {
        self.number += 1;
        if *self.format.get_or_insert(format) != format {
            let message = "the file mixes conversations of several services".to_owned();
            return Err(self.fail(ImportError::Unsupported(message)));
        }
        let taken = match draft {
            Ok(draft) => (self.take)(format, draft),
            Err(why) => {
                Err(ImportError::Broken { number: self.number, title: shortened(title).to_owned(), why })
            }
        };
        taken.map_err(|error| self.fail(error))
    }

    fn take_foreign<E: serde::de::Error>(&mut self, conversation: ForeignConversation) -> Result<(), E> {
        let title = conversation.title.clone().unwrap_or_default();
        let bytes_max = self.budget.conversation_bytes_max();
        if conversation.inserted_at.is_some() {
            self.take(Format::DeepSeek, &title, deepseek::draft(conversation, bytes_max))
        } else {
            self.take(Format::ChatGpt, &title, chatgpt::draft(conversation, bytes_max))
        }
    }
}

/// The file as a whole: a list of another service's conversations, or an object of ours.
impl<'de> Visitor<'de> for &mut Reading<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of conversations, or an export of Cachalot")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.budget.begin_conversation();
        while let Some(conversation) = list.next_element::<ForeignConversation>()? {
            self.take_foreign(conversation)?;
            self.budget.begin_conversation();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let (mut format, mut version, mut any) = (None, None, false);
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "format" => format = Some(fields.next_value::<String>()?),
                "version" => version = Some(fields.next_value::<u64>()?),
                "conversations" if format.as_deref() != Some(FORMAT) || version != Some(VERSION) => break,
                "conversations" => {
                    any = true;
                    fields.next_value_seed(OwnList(&mut *self))?;
                }
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        if any {
            // Also of an export without conversations.
            self.format = Some(Format::Own);
            return Ok(());
        }
        let given = shortened(format.as_deref().unwrap_or("none")).to_owned();
        let version = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        let message = format!(
            "an export of Cachalot begins with the format {FORMAT:?} and the version {VERSION}, then come its \
             conversations; this file has the format {given:?} and the version {version}"
        );
        Err(self.fail(ImportError::Unsupported(message)))
    }
}

/// `conversations` of our own form.
struct OwnList<'r, 'a, 'b>(&'r mut Reading<'a, 'b>);

impl<'de> DeserializeSeed<'de> for OwnList<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OwnList<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let reading = self.0;
        reading.budget.begin_conversation();
        while let Some(conversation) = list.next_element::<OwnConversation>()? {
            let title = conversation.title.clone();
            reading.take::<A::Error>(Format::Own, &title, own::draft(conversation))?;
            reading.budget.begin_conversation();
        }
        Ok(())
    }
}
