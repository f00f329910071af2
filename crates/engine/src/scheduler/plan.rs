use std::time::Duration;

use super::SequenceId;
use crate::events::GeneratedToken;

/// One step: what the model should run. Kept between steps for its memory.
#[derive(Debug, Default)]
pub struct Plan {
    rows: Vec<PlanRow>,
    tokens: usize,
    /// Sequences that start with this step.
    pub started: Vec<Started>,
}

/// Consecutive tokens of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanRow {
    /// Whose.
    pub id: SequenceId,
    /// Position of the first token.
    pub start: usize,
    /// Position after the last token.
    pub end: usize,
    /// Whether the last token is the sequence's last, so that the next one is to be picked.
    pub wants_logits: bool,
    /// Whether the logits at every position are wanted: they say how probable the prompt is.
    pub scores: bool,
}

impl PlanRow {
    /// Rows of logits that the model gives for it.
    pub fn logits_rows(&self) -> usize {
        if self.scores { self.end - self.start } else { usize::from(self.wants_logits) }
    }

    /// Whether it is one token, after which the next is picked.
    pub(super) fn is_answer(&self) -> bool {
        self.wants_logits && self.end - self.start == 1
    }
}

/// A sequence that left the queue for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Which.
    pub id: SequenceId,
    /// Since its submission.
    pub queued: Duration,
}

/// What came of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Picked {
    /// The tokens are in the KV cache; the row wanted no logits.
    Read,
    /// The next token.
    Token(GeneratedToken),
    /// The model or the sampler could not; a text for the caller.
    Failed(String),
}

impl Plan {
    /// The rows, sequences that generate first.
    pub fn rows(&self) -> &[PlanRow] {
        &self.rows
    }

    /// Tokens in all rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Whether it reads a part of a prompt.
    pub fn has_parts(&self) -> bool {
        self.rows.iter().any(|row| row.logits_rows() == 0)
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.started.clear();
        self.tokens = 0;
    }

    pub(super) fn push(&mut self, row: PlanRow) {
        self.tokens += row.end - row.start;
        self.rows.push(row);
    }
}
