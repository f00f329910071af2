//! What holds for every file that is read, whatever is in it: for the tests, and for the fuzz target.

use std::io::Cursor;

use store::{Role, Status};

use super::budget::Bounds;
use super::error::ImportError;
use super::read;

/// Small, so that what goes beyond them is found soon.
const BOUNDS: Bounds =
    Bounds { unpacked_bytes_max: 1 << 20, conversation_bytes_max: 1 << 18, entries_max: 10 };

/// The conversations of a file, if it is one; they are whole in any case.
///
/// # Panics
/// When they are not.
pub(super) fn check(file: &[u8]) -> Result<usize, ImportError> {
    let (mut conversations, mut bytes) = (0, 0);
    let read = read::read(Cursor::new(file), &BOUNDS, &|| Ok(()), &mut |_, draft| {
        let mut roles: Vec<Role> = Vec::new();
        for message in &draft.messages {
            let above = message.parent.map(|parent| roles[parent]);
            let expected = if above == Some(Role::User) { Role::Assistant } else { Role::User };
            assert_eq!(message.role, expected, "questions and answers take turns");
            assert_ne!(message.status, Status::Generating);
            roles.push(message.role);
            bytes += (message.content.len() + message.reasoning.as_ref().map_or(0, String::len)) as u64;
        }
        conversations += 1;
        Ok(())
    });
    assert!(bytes <= BOUNDS.unpacked_bytes_max, "{bytes} bytes of text");
    read.map(|_| conversations)
}

/// Reads any bytes as a file to import, within small bounds, and adds nothing: how many conversations are in it, or why
/// it is refused. For the fuzz target.
///
/// # Errors
/// What the user would be told.
///
/// # Panics
/// When what was read is not whole.
#[cfg(feature = "fuzzing")]
pub fn read_whole(file: &[u8]) -> Result<usize, String> {
    check(file).map_err(|error| error.to_string())
}
