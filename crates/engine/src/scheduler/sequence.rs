use std::time::Duration;

use base::TokenId;

use super::{PlanRow, Rank, Request, Served};
use crate::blocks::BlockTable;
use crate::events::{EngineUsage, FinishReason, Priority};
use crate::prefix::CacheScope;

/// A sequence from submission to its end.
#[derive(Debug)]
pub(super) struct Sequence {
    priority: Priority,
    arrival: u64,
    /// Times that it lost its blocks; raises its class.
    pub(super) preemptions: usize,
    /// Prompt, then answer. Grows by one per generated token, and survives preemption.
    pub(super) tokens: Vec<TokenId>,
    pub(super) prompt_tokens: usize,
    /// `tokens` never gets longer than this.
    length_max: usize,
    /// Whether how probable the prompt is has to be worked out.
    score_prompt: bool,
    /// Positions of the prompt for which that is done.
    scored: usize,
    /// Whether it ends when its prompt is read.
    pub(super) read_only: bool,
    pub(super) end_tokens: Vec<TokenId>,
    pub(super) scope: CacheScope,
    /// Tokens of the prompt that the prefix cache had when it started.
    pub(super) cached_tokens: usize,
    /// How many of `tokens` are in the KV cache.
    pub(super) computed: usize,
    /// Covers `tokens` while it runs, empty while it waits.
    pub(super) table: BlockTable,
    /// Steps in a row in which its prompt got no token.
    pub(super) steps_passed_over: u32,
    pub(super) submitted: Duration,
    pub(super) started: Option<Duration>,
    /// Since when it runs, if it does.
    pub(super) admitted: Duration,
    first_token: Option<Duration>,
}

impl Sequence {
    pub(super) fn new(request: Request, arrival: u64, length_max: usize, now: Duration) -> Self {
        let prompt_tokens = request.prompt.len();
        Self {
            priority: request.priority,
            arrival,
            preemptions: 0,
            tokens: request.prompt,
            prompt_tokens,
            length_max: prompt_tokens.saturating_add(request.tokens_max).min(length_max),
            score_prompt: request.score_prompt,
            scored: 0,
            read_only: request.tokens_max == 0,
            end_tokens: request.end_tokens,
            scope: request.scope,
            cached_tokens: 0,
            computed: 0,
            table: BlockTable::default(),
            steps_passed_over: 0,
            submitted: now,
            started: None,
            admitted: now,
            first_token: None,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        Rank { class: (self.priority as usize).saturating_sub(self.preemptions), arrival: self.arrival }
    }

    /// Its class, and how much its user had.
    pub(super) fn order(&self, served: &Served, now: Duration) -> (usize, u32) {
        (self.rank().class, served.level(self.scope, now))
    }

    /// Tokens that are not in the KV cache; at least 1.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// How many of its tokens it may begin with from the prefix cache. The last is computed in any case: its logits are
    /// wanted. So is every token of a prompt that is to be scored, once.
    pub(super) fn borrowable(&self) -> usize {
        if self.unscored() { self.scored } else { self.tokens.len() - 1 }
    }

    /// Whether a part of its prompt is still to be scored.
    fn unscored(&self) -> bool {
        self.score_prompt && self.scored + 1 < self.prompt_tokens
    }

    /// Whether the logits at every position from here are wanted.
    pub(super) fn scores(&self) -> bool {
        self.unscored() && self.computed == self.scored
    }

    /// Tokens that may be in one row: of all of them the same is wanted. At least 1.
    pub(super) fn pending_alike(&self) -> usize {
        // What was scored before a preemption is only read again.
        if self.unscored() && self.computed < self.scored {
            self.scored - self.computed
        } else {
            self.pending()
        }
    }

    /// Its next `tokens` tokens.
    pub(super) fn row(&self, id: super::SequenceId, tokens: usize) -> PlanRow {
        let (start, end) = (self.computed, self.computed + tokens);
        let wants_logits = end == self.tokens.len() && !self.read_only;
        PlanRow { id, start, end, wants_logits, scores: self.scores() }
    }

    /// What was planned is done.
    pub(super) fn read(&mut self, row: &PlanRow) {
        self.computed = row.end;
        if row.scores {
            self.scored = self.scored.max(row.end);
        }
    }

    /// Appends a generated token; says if it was the last one allowed.
    pub(super) fn push(&mut self, token: TokenId, now: Duration) -> Option<FinishReason> {
        self.tokens.push(token);
        self.first_token.get_or_insert(now);
        (self.tokens.len() >= self.length_max).then_some(FinishReason::Length)
    }

    pub(super) fn usage(&self, now: Duration) -> EngineUsage {
        let started = self.started.unwrap_or(now);
        let first_token = self.first_token.unwrap_or(now);
        EngineUsage {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            generated_tokens: self.tokens.len() - self.prompt_tokens,
            queued: started.saturating_sub(self.submitted),
            prefill: first_token.saturating_sub(started),
            decode: now.saturating_sub(first_token),
        }
    }
}
