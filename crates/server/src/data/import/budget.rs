//! How much a file may unpack to: as a whole, and for each conversation, which is what is in memory at a time.

use std::cell::Cell;
use std::io::{self, BufReader, Read};

use super::error::ImportError;

/// What a file may make of itself.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "each says what there is at most of")]
pub(super) struct Bounds {
    /// Bytes of JSON in all.
    pub(super) unpacked_bytes_max: u64,
    /// Bytes of JSON of one conversation.
    pub(super) conversation_bytes_max: u64,
    /// Entries of an archive.
    pub(super) entries_max: usize,
}

/// What is left of the bounds.
#[derive(Debug)]
pub(super) struct Budget {
    bounds: Bounds,
    left: Cell<u64>,
    left_of_conversation: Cell<u64>,
}

impl Budget {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            bounds: *bounds,
            left: Cell::new(bounds.unpacked_bytes_max),
            left_of_conversation: Cell::new(bounds.conversation_bytes_max),
        }
    }

    pub(super) fn conversation_bytes_max(&self) -> u64 {
        self.bounds.conversation_bytes_max
    }

    /// From here on it is another conversation.
    pub(super) fn begin_conversation(&self) {
        self.left_of_conversation.set(self.bounds.conversation_bytes_max);
    }

    /// What was too much, if something was.
    pub(super) fn exceeded(&self) -> Option<ImportError> {
        let (what, allowed) = if self.left.get() == 0 {
            ("unpacks to", self.bounds.unpacked_bytes_max)
        } else if self.left_of_conversation.get() == 0 {
            ("has a conversation of", self.bounds.conversation_bytes_max)
        } else {
            return None;
        };
        Some(ImportError::TooLarge(format!("the file {what} more than the {allowed} bytes that are allowed")))
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        for left in [&self.left, &self.left_of_conversation] {
            left.set(left.get().saturating_sub(bytes as u64));
        }
        if self.left.get() == 0 || self.left_of_conversation.get() == 0 {
            return Err(io::Error::other("more bytes than are allowed"));
        }
        Ok(())
    }
}

/// A reader that spends the budget, byte by byte as they are taken.
pub(super) struct Spending<'a, R> {
    source: BufReader<R>,
    budget: &'a Budget,
}

impl<'a, R: Read> Spending<'a, R> {
    pub(super) fn new(source: R, budget: &'a Budget) -> Self {
        Self { source: BufReader::with_capacity(64 << 10, source), budget }
    }
}

impl<R: Read> Read for Spending<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(buffer)?;
        if bytes > 0 {
            self.budget.spend(bytes)?;
        }
        Ok(bytes)
    }
}
