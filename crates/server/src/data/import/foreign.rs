//! What the exports of DeepSeek and ChatGPT have in common: a list of conversations, each a tree of nodes under
//! `mapping`. Fields that are not named here may be anything and take no memory; those that are must be what they are
//! said to be.
//!
//! ```json
//! [{"id": "…", "title": "…", "mapping": {"root": {"parent": null, "message": null}, "1": {"parent": "root", …}}}]
//! ```

use std::fmt;

use chrono::DateTime;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::NODES_MAX;

#[derive(Debug, Deserialize)]
pub(super) struct ForeignConversation {
    pub(super) id: Option<String>,
    pub(super) conversation_id: Option<String>,
    pub(super) title: Option<String>,
    pub(super) create_time: Option<Time>,
    pub(super) update_time: Option<Time>,
    /// DeepSeek's name for the time of creation; nobody else has it.
    pub(super) inserted_at: Option<Time>,
    pub(super) updated_at: Option<Time>,
    pub(super) mapping: Option<Mapping>,
    pub(super) current_node: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) parent: Option<String>,
    pub(super) message: Option<ForeignMessage>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ForeignMessage {
    pub(super) author: Option<Author>,
    pub(super) role: Option<String>,
    /// Whom it is for: `all`, or a tool.
    pub(super) recipient: Option<String>,
    pub(super) content: Option<Content>,
    pub(super) fragments: Option<Fragments>,
    pub(super) reasoning_content: Option<String>,
    pub(super) create_time: Option<Time>,
    pub(super) inserted_at: Option<Time>,
    pub(super) model: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) files: Option<Count>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Author {
    pub(super) role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) model_slug: Option<String>,
    pub(super) is_visually_hidden_from_conversation: Option<bool>,
}

/// Implements `Deserialize` by a visitor with a default value that others build on.
macro_rules! visited {
    ($name:ident, $expecting:literal, $($method:item)+) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visiting;

                impl<'de> Visitor<'de> for Visiting {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    $($method)+
                }

                deserializer.deserialize_any(Visiting)
            }
        }
    };
}

/// Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) i64);

visited! {
    Time, "a time: seconds since 1970, or as RFC 3339 writes it",

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Time, E> {
        let milliseconds = (seconds * 1000.0).round();
        // Whoever keeps it keeps it within what is a time.
        Ok(Time(milliseconds as i64))
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Time, E> {
        Ok(Time(seconds.saturating_mul(1000)))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Time, E> {
        Ok(Time(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Time, E> {
        let time = DateTime::parse_from_rfc3339(text);
        time.map(|time| Time(time.timestamp_millis())).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// The nodes, in the order of the file.
#[derive(Debug)]
pub(super) struct Mapping(pub(super) Vec<(String, Node)>);

visited! {
    Mapping, "an object of nodes",

    fn visit_map<A: MapAccess<'de>>(self, mut nodes: A) -> Result<Mapping, A::Error> {
        let mut mapping = Vec::new();
        while let Some(node) = nodes.next_entry()? {
            if mapping.len() == NODES_MAX {
                return Err(A::Error::custom(format_args!("a conversation may have at most {NODES_MAX} nodes")));
            }
            mapping.push(node);
        }
        Ok(Mapping(mapping))
    }
}

/// How long a list is.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count(pub(super) usize);

visited! {
    Count, "a list",

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Count(count))
    }
}

/// The content of a message: a text, or ChatGPT's object.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// `text` if it is a text.
    pub(super) kind: String,
    pub(super) parts: Parts,
    pub(super) thoughts: Thoughts,
}

/// ChatGPT's form of it.
#[derive(Debug, Deserialize)]
struct ContentObject {
    content_type: Option<String>,
    parts: Option<Parts>,
    thoughts: Option<Thoughts>,
}

visited! {
    Content, "a text, or an object with parts",

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Content, E> {
        let parts = Parts { text: text.to_owned(), others: 0 };
        Ok(Content { kind: "text".to_owned(), parts, thoughts: Thoughts::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Content, A::Error> {
        let object = ContentObject::deserialize(serde::de::value::MapAccessDeserializer::new(fields))?;
        Ok(Content {
            kind: object.content_type.unwrap_or_default(),
            parts: object.parts.unwrap_or_default(),
            thoughts: object.thoughts.unwrap_or_default(),
        })
    }
}

/// Texts of a list, one under the other, and how many things in it are none.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) text: String,
    pub(super) others: usize,
}

visited! {
    Parts, "a list of parts",

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parts, A::Error> {
        let mut parts = Parts::default();
        while let Some(part) = list.next_element::<Part>()? {
            match part {
                Part::Text(text) => append(&mut parts.text, &text, "\n"),
                Part::Other => parts.others += 1,
            }
        }
        Ok(parts)
    }
}

/// A text, or an object with one, or something else.
#[derive(Debug)]
enum Part {
    Text(String),
    Other,
}

/// What was said is written in a part of this kind.
const TRANSCRIPT: &str = "audio_transcription";

visited! {
    Part, "a part",

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Part, E> {
        Ok(Part::Text(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Part, E> {
        Ok(Part::Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Part, A::Error> {
        let (mut kind, mut text) = (None, None);
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "content_type" => kind = Some(fields.next_value::<Loose>()?.0),
                "text" => text = Some(fields.next_value::<Loose>()?.0),
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        match text {
            Some(text) if kind.as_deref() == Some(TRANSCRIPT) => Ok(Part::Text(text)),
            _ => Ok(Part::Other),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Part, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Part::Other)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Part, E> {
        Ok(Part::Other)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Part, E> {
        Ok(Part::Other)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Part, E> {
        Ok(Part::Other)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Part, E> {
        Ok(Part::Other)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Part, E> {
        Ok(Part::Other)
    }
}

/// A text; empty if it is something else.
#[derive(Debug, Default)]
struct Loose(String);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Part::deserialize(deserializer)? {
            Part::Text(text) => Ok(Self(text)),
            Part::Other => Ok(Self::default()),
        }
    }
}

/// ChatGPT's thoughts, one under the other.
#[derive(Debug, Default)]
pub(super) struct Thoughts(pub(super) String);

#[derive(Debug, Deserialize)]
struct Thought {
    #[serde(default)]
    summary: Loose,
    #[serde(default)]
    content: Loose,
}

visited! {
    Thoughts, "a list of thoughts",

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Thoughts, A::Error> {
        let mut thoughts = Thoughts::default();
        while let Some(thought) = list.next_element::<Thought>()? {
            for text in [thought.summary.0, thought.content.0] {
                append(&mut thoughts.0, &text, "\n\n");
            }
        }
        Ok(thoughts)
    }
}

/// What DeepSeek makes a message of.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// What the user asked; none in an answer.
    pub(super) request: Option<String>,
    pub(super) thinking: String,
    pub(super) response: String,
    /// Searches and whatever else there is.
    pub(super) others: usize,
}

#[derive(Debug, Deserialize)]
struct Fragment {
    #[serde(rename = "type", default)]
    kind: Loose,
    #[serde(default)]
    content: Loose,
}

visited! {
    Fragments, "a list of fragments",

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Fragments, A::Error> {
        let mut fragments = Fragments::default();
        while let Some(fragment) = list.next_element::<Fragment>()? {
            let text = &fragment.content.0;
            match fragment.kind.0.as_str() {
                "REQUEST" => append(fragments.request.get_or_insert_default(), text, "\n\n"),
                "THINK" => append(&mut fragments.thinking, text, "\n\n"),
                "RESPONSE" => append(&mut fragments.response, text, "\n\n"),
                _ => fragments.others += 1,
            }
        }
        Ok(fragments)
    }
}

/// Adds a text, if it is one, with something between it and what is there.
pub(super) fn append(text: &mut String, more: &str, between: &str) {
    if more.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push_str(between);
    }
    text.push_str(more);
}
