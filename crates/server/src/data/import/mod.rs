//! Bringing conversations here: from an export of ours, of DeepSeek's or of ChatGPT's, each a zip archive or the JSON in
//! it. A file is the work of a stranger: it is read one conversation at a time, with a bound on everything, and twice,
//! so that nothing is added from a file that turns out to be broken at its end. Nothing in it is ever written to a path.

mod archive;
mod budget;
mod chatgpt;
mod deepseek;
mod error;
mod foreign;
mod own;
mod read;
mod run;
mod tree;
#[cfg(any(test, feature = "fuzzing"))]
mod whole;

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use store::{Role, Status, Timing, Usage};

pub(crate) use run::{Imported, import, shutting_down};
#[cfg(feature = "fuzzing")]
pub use whole::read_whole;

/// Whose form a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Own,
    DeepSeek,
    ChatGpt,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::Own => "cachalot",
            Self::DeepSeek => "deepseek",
            Self::ChatGpt => "chatgpt",
        }
    }
}

/// A conversation as a file has it.
#[derive(Debug, PartialEq, Eq)]
struct Draft {
    /// What the file calls it.
    id: String,
    title: String,
    /// None where the model is another service's.
    model: Option<String>,
    system: Option<String>,
    created_ms: i64,
    updated_ms: i64,
    /// Questions and answers take turns, and a parent stands before its children.
    messages: Vec<DraftMessage>,
    /// What was left out of it, for the user.
    notes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct DraftMessage {
    /// The place of the parent in the list.
    parent: Option<usize>,
    role: Role,
    status: Status,
    content: String,
    reasoning: Option<String>,
    reasoning_ms: Option<u64>,
    error: Option<String>,
    model: Option<String>,
    created_ms: i64,
    usage: Option<Usage>,
    timing: Option<Timing>,
}

/// Elements of a list within a conversation, or nodes of its tree. Many more than a conversation may have messages:
/// other services' trees have nodes that are none.
const NODES_MAX: usize = 50_000;

/// A list of at most [`NODES_MAX`].
pub(super) fn bounded<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {NODES_MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == NODES_MAX {
                    return Err(serde::de::Error::invalid_length(NODES_MAX + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(Bounded(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};

    use proptest::prelude::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::budget::Bounds;
    use super::error::ImportError;
    use super::whole::check;
    use super::*;

    const FIXTURES: [&str; 3] = [
        include_str!("../../../tests/it/fixtures/chatgpt.json"),
        include_str!("../../../tests/it/fixtures/deepseek.json"),
        r#"{"format": "cachalot", "version": 1, "conversations": [{"id": "1", "title": "Whales", "model": "m",
            "system": null, "created_ms": 1, "updated_ms": 2, "messages": [
            {"id": "1", "role": "user", "status": "complete", "content": "How deep?", "created_ms": 3},
            {"id": "2", "parent_id": "1", "role": "assistant", "status": "generating", "content": "Two", "created_ms": 4}
        ]}]}"#,
    ];

    fn zipped(content: &[u8]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("conversations.json", SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn the_fixtures_are_read_plain_and_packed() {
        for (fixture, expected) in FIXTURES.into_iter().zip([3, 2, 1]) {
            assert_eq!(check(fixture.as_bytes()).unwrap(), expected);
            assert_eq!(check(&zipped(fixture.as_bytes())).unwrap(), expected);
        }
    }

    /// A file of which is counted what is read.
    struct Counted<'a>(Cursor<Vec<u8>>, &'a Cell<usize>);

    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.read(buffer)?;
            self.1.set(self.1.get() + bytes);
            Ok(bytes)
        }
    }

    impl Seek for Counted<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn the_directory_is_walked_once_however_many_files_there_are_and_no_longer_than_wanted() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for number in 0..2000 {
            zip.start_file(format!("{number}.txt"), SimpleFileOptions::default()).unwrap();
        }
        for number in 0..500 {
            let name = format!("conversations-{number:03}.json");
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(FIXTURES[2].as_bytes()).unwrap();
        }
        let file = zip.finish().unwrap().into_inner();
        let (length, bytes) = (file.len(), Cell::new(0));
        let bounds =
            Bounds { unpacked_bytes_max: 1 << 20, conversation_bytes_max: 1 << 18, entries_max: 2500 };
        let source = || Counted(Cursor::new(file.clone()), &bytes);
        let mut conversations = 0;
        let mut take = |_: Format, _: Draft| {
            conversations += 1;
            Ok(())
        };
        read::read(source(), &bounds, &|| Ok(()), &mut take).unwrap();
        assert_eq!(conversations, 500);
        assert!(bytes.get() < 5 * length, "{} bytes read of {length}", bytes.get());

        let asked = Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            let stopped = ImportError::Io(io::Error::other("enough"));
            if asked.get() == 100 { Err(stopped) } else { Ok(()) }
        };
        read::read(source(), &bounds, &go_on, &mut |_, _| Ok(())).unwrap_err();
        assert_eq!(asked.get(), 100, "and not one more");
    }

    proptest! {
        #[test]
        fn a_file_that_was_changed_is_read_or_refused(
            which in 0..FIXTURES.len(),
            is_packed: bool,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            end in any::<prop::sample::Index>(),
            is_cut: bool,
        ) {
            let fixture = FIXTURES[which].as_bytes();
            let mut file = if is_packed { zipped(fixture) } else { fixture.to_vec() };
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if is_cut {
                file.truncate(end.index(file.len()));
            }
            if let Err(error) = check(&file) {
                prop_assert!(!matches!(error, ImportError::Io(_)), "{error}");
                prop_assert!(error.to_string().len() < 1000);
            }
        }

        #[test]
        fn values_that_change_places_are_read_or_refused(
            which in 0..FIXTURES.len(),
            from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
        ) {
            // What is between two commas or brackets, put elsewhere: well-formed more often than not.
            let pieces: Vec<&str> = FIXTURES[which].split_inclusive([',', '{', '[']).collect();
            let mut moved = pieces.clone();
            moved[to.index(pieces.len())] = pieces[from.index(pieces.len())];
            let _ = check(moved.concat().as_bytes());
        }
    }
}
