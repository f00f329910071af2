//! Which sequences run in the next step, and what becomes of them: continuous batching, pure.
//!
//! No threads, no IO, no clock: time is an argument, and a step is [`plan`](Scheduler::plan), the model's work,
//! [`commit`](Scheduler::commit). The rules:
//!
//! - **Blocks.** A running sequence holds KV blocks for all tokens it has. It gets them when it is admitted, and
//!   one more whenever its answer enters a new block.
//! - **Prefix cache.** Blocks that a sequence has filled are shared with sequences of the same [`CacheScope`] that begin
//!   with the same tokens, at once and after it has ended, until the pool needs them. A sequence that is admitted
//!   begins where the cache ends, and computes at least its last token.
//! - **Users.** What each user, by their [`CacheScope`], had of the model of late is counted. Within a class, who had
//!   less comes first, in steps of doublings that fade, so that nobody gains by asking more often.
//! - **A step** takes one token of every sequence that generates, and fills what is left of `step_tokens_max`
//!   (at least one token) with chunks of prompts, by class, then user, then arrival. Where prompts that end with the step
//!   fill half of that, a part of another doesn't lengthen it. A prompt that got nothing for
//!   [`PASSED_OVER_MAX`] steps in a row comes first in the next, if as many steps have begun in order. While several
//!   users are about, steps are kept to [`SHARED_STEP`] as far as long prompts go: who comes waits no longer until theirs
//!   is begun.
//! - **Scoring.** Where a prompt's own probability is asked for, its rows want logits at every position, at most
//!   `scored_rows_max` positions in a step over all sequences. The prefix cache gives it nothing that it has not
//!   scored itself. A sequence may end there, with no answer.
//! - **Admission** is from the queue, highest class first, who had least first, oldest first, while fewer than
//!   `running_max` run and the pool has the sequence's blocks plus one for each sequence that would then run. If the
//!   next in turn doesn't fit, nobody takes what is free before it. A class that waited while [`PASSED_OVER_MAX`] sequences of higher classes
//!   were admitted has the next turn, so a flood of one class leaves the others at least every ninth place. But for
//!   such turns, classes below the highest leave it a quarter of the places and of the blocks while anything runs: who
//!   comes with it waits for no answer of theirs to end.
//! - **Giving way.** If the next in turn doesn't fit, a running sequence of a user who had four times as much, or of a
//!   lower class when it has run for [`RUN_MIN`], goes back to the queue for it, one in a step. What it has read mostly
//!   stays in the prefix cache. And while a prompt is read, the answers of such wait, [`PASSED_OVER_MAX`] steps at most.
//!   Parts of the prompts of such wait too, while answers are written or shorter prompts end,
//!   [`PART_WAITS_MAX`] steps at most; and a step with such a part may be given up for a short prompt that comes
//!   meanwhile ([`Scheduler::leaves_way`]).
//! - **Displacement.** Where the queue is full, who comes takes the place of the one of the lowest class below that
//!   came last, among those that have not begun. What has begun goes on.
//! - **Preemption.** When a generating sequence needs a block and none is free, the running sequence of the
//!   lowest class, the youngest of it, gives up its blocks and goes back to the queue, at its old place and
//!   with the tokens it has; when readmitted it is read again from the start, and its listener notices only the
//!   pause. Nobody is admitted in a step that preempted. Each preemption raises the sequence by one class for
//!   all the rules above.
//! - **Progress.** The oldest running sequence of the highest class is never preempted for want of blocks, and a
//!   sequence is refused at the door if the whole pool could not hold it; so it ends, and then another is the oldest.
//!   Three preemptions bring any sequence to the highest class. There what its user had fades while it waits, until
//!   only older ones go before it and it gives way to none. Nothing waits for ever.

mod plan;
mod sequence;
mod served;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use base::TokenId;
use models::batch::{Chunk, KV_BLOCK_TOKENS, Wanted};

pub use self::plan::{Picked, Plan, PlanRow, Started};
use self::sequence::Sequence;
use self::served::Served;
use self::waiting::Waiting;
use crate::blocks::{BlockPool, blocks_for};
use crate::events::{FinishReason, Priority, SequenceEvent};
use crate::prefix::CacheScope;

/// The part of places and blocks that lower classes leave to the highest: one in so many.
const KEPT_ONE_IN: usize = 4;

/// Times that a waiting class, or a prompt being read, may be passed over before its turn comes.
pub const PASSED_OVER_MAX: u32 = 8;

/// Steps in a row that parts of prompts leave to answers, and to prompts that end, of users who had less.
pub const PART_WAITS_MAX: u32 = 3;

/// How long a step's prompts may take while several users are about.
pub const SHARED_STEP: Duration = Duration::from_millis(15);
/// Tokens of prompts in a step in any case: with fewer, reading the weights costs more than the tokens.
const SHARED_STEP_TOKENS_MIN: usize = 8;
/// Up to this level a prompt is not cut for that: it is short, and who asks had little.
const UNCUT_LEVEL_MAX: u32 = 1;
/// Tokens of prompts in a step that has such.
const UNCUT_TOKENS_MAX: usize = 128;
/// Weight of the latest step in how long a token of a prompt takes.
const PACE_WEIGHT: f64 = 0.2;

/// How long a sequence runs before it may have to give way to one of a higher class.
pub const RUN_MIN: Duration = Duration::from_millis(300);
/// So many doublings more a user must have had to give way to another of the same class.
const GIVES_WAY_LEVELS: u32 = 2;

/// Names a sequence within one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// Sizes of a scheduler, all at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Blocks in the KV pool.
    pub kv_blocks: usize,
    /// Tokens in a step.
    pub step_tokens_max: usize,
    /// Most sequences in a step.
    pub running_max: usize,
    /// Most sequences held beyond `running_max`.
    pub waiting_max: usize,
    /// Longest sequence, prompt and answer, in tokens. The pool must be able to hold it.
    pub length_max: usize,
    /// Positions of prompts that are scored in a step: each takes a row of logits.
    pub scored_rows_max: usize,
}

/// A sequence for the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name, never used before.
    pub id: SequenceId,
    /// Tokens to continue, at least one and fewer than `length_max`.
    pub prompt: Vec<TokenId>,
    /// Most tokens to generate, at least 1, or 0 with `score_prompt`.
    pub tokens_max: usize,
    /// Tokens that end the answer.
    pub end_tokens: Vec<TokenId>,
    /// Class.
    pub priority: Priority,
    /// With whom it shares what it has read, and in whose name it takes its turns.
    pub scope: CacheScope,
    /// Whether the logits at every position of the prompt are wanted; then all of it is read.
    pub score_prompt: bool,
}

/// The scheduler already holds as many sequences as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// Order among sequences: class after promotion, then arrival. The smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// 0 is the highest.
    class: usize,
    arrival: u64,
}

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    pool: BlockPool,
    sequences: BTreeMap<SequenceId, Sequence>,
    /// Sequences that hold blocks, by rank.
    running: Vec<SequenceId>,
    /// Sequences that hold none.
    waiting: Waiting,
    served: Served,
    arrivals: u64,
    preemptions: u64,
    /// Steps since one began with a prompt that was passed over.
    steps_in_order: u32,
    /// Steps in a row in which parts of prompts waited for others.
    part_waits: u32,
    /// When the step in progress was planned.
    planned: Duration,
    /// Seconds that a token of a prompt takes, about; 0 before the first is known.
    prefill_pace: f64,
    /// Order in which prompts are read in this step: passed-over ones first. Kept for its memory.
    prefill_order: Vec<PrefillTurn>,
}

/// A prompt's turn: how long it was passed over, its class, how much its user had, and its place among the running.
type PrefillTurn = (std::cmp::Reverse<u32>, usize, u32, usize);

/// Whether a sequence waits for another, each given by its class and how much its user had.
fn waits_for(own: (usize, u32), other: (usize, u32)) -> bool {
    own.0 > other.0 || (own.0 == other.0 && own.1 >= other.1 + GIVES_WAY_LEVELS)
}

impl Scheduler {
    /// A scheduler with nothing to do.
    ///
    /// # Panics
    /// When a size is 0 or the pool can't hold a sequence of `length_max`.
    pub fn new(config: SchedulerConfig) -> Self {
        let SchedulerConfig {
            kv_blocks,
            step_tokens_max,
            running_max,
            waiting_max,
            length_max,
            scored_rows_max,
        } = config;
        let sizes = [kv_blocks, step_tokens_max, running_max, waiting_max, length_max, scored_rows_max];
        assert!(
            sizes.into_iter().min() >= Some(1),
            "every size of a scheduler must be at least 1, got {config:?}"
        );
        assert!(blocks_for(length_max) <= kv_blocks, "{kv_blocks} blocks can't hold {length_max} tokens");
        Self {
            config,
            pool: BlockPool::new(kv_blocks),
            sequences: BTreeMap::new(),
            running: Vec::new(),
            waiting: Waiting::default(),
            served: Served::default(),
            arrivals: 0,
            preemptions: 0,
            steps_in_order: 0,
            part_waits: 0,
            planned: Duration::ZERO,
            prefill_pace: 0.0,
            prefill_order: Vec::new(),
        }
    }

    /// Queues a sequence.
    ///
    /// # Errors
    /// When `running_max + waiting_max` sequences are there already.
    ///
    /// # Panics
    /// When the request breaks what [`Request`] says of its fields.
    pub fn submit(&mut self, request: Request, now: Duration) -> Result<(), QueueFull> {
        let length_max = self.config.length_max;
        assert!((1..length_max).contains(&request.prompt.len()), "prompt length must be in 1..{length_max}");
        assert!(request.tokens_max > 0 || request.score_prompt, "tokens_max must be at least 1");
        if self.sequences.len() >= self.config.running_max.saturating_add(self.config.waiting_max) {
            return Err(QueueFull);
        }
        let id = request.id;
        let sequence = Sequence::new(request, self.arrivals, length_max, now);
        self.arrivals += 1;
        self.waiting.insert(sequence.rank(), id, sequence.scope);
        let earlier = self.sequences.insert(id, sequence);
        assert!(earlier.is_none(), "{id:?} is in use");
        Ok(())
    }

    /// Makes room for a submission of this class, if there is none and somebody has to give way; who does is returned
    /// with their last event.
    pub fn make_room(&mut self, priority: Priority, now: Duration) -> Option<(SequenceId, SequenceEvent)> {
        if self.sequences.len() < self.config.running_max.saturating_add(self.config.waiting_max) {
            return None;
        }
        let has_not_begun = |id: &SequenceId| self.sequences[id].started.is_none();
        let id = self.waiting.below(priority as usize).find(has_not_begun)?;
        self.finish(id, FinishReason::Displaced, now).map(|event| (id, event))
    }

    /// Ends a sequence now and frees its blocks; returns its last event, or `None` if it has ended already.
    pub fn finish(&mut self, id: SequenceId, reason: FinishReason, now: Duration) -> Option<SequenceEvent> {
        let mut sequence = self.sequences.remove(&id)?;
        if !self.waiting.remove(sequence.rank(), id) {
            self.running.retain(|running| *running != id);
        }
        self.pool.release(&mut sequence.table);
        Some(SequenceEvent::Finished { reason, usage: sequence.usage(now) })
    }

    /// Decides the next step. `plan` is overwritten; it is empty only if there are no sequences.
    pub fn plan(&mut self, now: Duration, plan: &mut Plan) {
        plan.clear();
        self.planned = now;
        let preempted = self.grow_running();
        if !preempted {
            self.admit(now, plan);
        }
        self.plan_decode(now, plan);
        self.plan_prefill(now, plan);
    }

    /// Takes in what came of a plan: `picked` has one entry per row and is drained; what the listeners should
    /// know is appended to `events`. Rows of sequences that ended in between are passed over.
    ///
    /// # Panics
    /// When `picked` doesn't have one entry per row.
    pub fn commit(
        &mut self,
        now: Duration,
        plan: &Plan,
        picked: &mut Vec<Picked>,
        events: &mut Vec<(SequenceId, SequenceEvent)>,
    ) {
        assert_eq!(picked.len(), plan.rows().len(), "one pick per row");
        self.note_pace(now, plan);
        for (row, picked) in plan.rows().iter().zip(picked.drain(..)) {
            let Some(sequence) = self.sequences.get_mut(&row.id) else { continue };
            sequence.read(row);
            if !matches!(picked, Picked::Failed(_)) {
                let Sequence { table, tokens, computed, scope, .. } = sequence;
                self.pool.share(table, *scope, &tokens[..*computed]);
            }
            let ended = match picked {
                Picked::Read => {
                    (sequence.read_only && sequence.pending() == 0).then_some(FinishReason::Length)
                }
                Picked::Failed(message) => Some(FinishReason::Failed(message)),
                Picked::Token(token) if sequence.end_tokens.contains(&token.id) => {
                    Some(FinishReason::EndToken)
                }
                Picked::Token(token) => {
                    self.served.generated(sequence.scope, now);
                    let ended = sequence.push(token.id, now);
                    events.push((row.id, SequenceEvent::Token(token)));
                    ended
                }
            };
            if let Some(reason) = ended {
                events.extend(self.finish(row.id, reason, now).map(|event| (row.id, event)));
            }
        }
    }

    /// The model's view of a planned row.
    ///
    /// # Panics
    /// When the row's sequence has ended since.
    pub fn chunk(&self, row: &PlanRow) -> Chunk<'_> {
        let sequence = &self.sequences[&row.id];
        Chunk {
            tokens: &sequence.tokens[row.start..row.end],
            position: row.start,
            blocks: sequence.table.ids(),
            wanted: match row {
                PlanRow { scores: true, .. } => Wanted::All,
                PlanRow { wants_logits: true, .. } => Wanted::Last,
                PlanRow { .. } => Wanted::None,
            },
        }
    }

    /// The tokens of a sequence, prompt and answer, and how many of them are the prompt.
    pub fn tokens(&self, id: SequenceId) -> Option<(&[TokenId], usize)> {
        self.sequences.get(&id).map(|sequence| (sequence.tokens.as_slice(), sequence.prompt_tokens))
    }

    /// Every sequence here, in order of id.
    pub fn ids(&self) -> impl Iterator<Item = SequenceId> {
        self.sequences.keys().copied()
    }

    /// No sequences.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Sequences that hold blocks.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences that wait.
    pub fn waiting(&self) -> usize {
        self.sequences.len() - self.running.len()
    }

    /// Blocks that can be had: nothing holds them, or only the prefix cache does.
    pub fn blocks_free(&self) -> usize {
        self.pool.free()
    }

    /// Blocks in the prefix cache, used by a sequence or not.
    pub fn blocks_cached(&self) -> usize {
        self.pool.cached()
    }

    /// Preemptions so far.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Checks that free + owned + cached = total, each block in exactly one place, and that the queue and the running
    /// list together are the sequences.
    ///
    /// # Panics
    /// When not.
    pub fn assert_conserved(&self) {
        self.pool.assert_conserved(self.sequences.values().map(|sequence| &sequence.table));
        assert_eq!(self.running.len() + self.waiting.len(), self.sequences.len(), "a sequence is lost");
        assert!(self.running.len() <= self.config.running_max, "more run than may");
        assert!(self.running.iter().map(|id| self.sequences[id].rank()).is_sorted(), "running is by rank");
        for (id, sequence) in &self.sequences {
            let runs = self.running.contains(id);
            assert_eq!(runs, !sequence.table.ids().is_empty(), "{id:?} must hold blocks just if it runs");
            assert!(runs || sequence.computed == 0, "{id:?} waits and has nothing in the cache");
        }
    }

    /// Gives each running sequence, by rank, the blocks for all its tokens, preempting the last in rank when the
    /// pool has none. Returns whether it did.
    fn grow_running(&mut self) -> bool {
        let preemptions_before = self.preemptions;
        let mut at = 0;
        while let Some(&id) = self.running.get(at) {
            while let Some(sequence) = self.sequences.get_mut(&id) {
                if self.pool.grow(&mut sequence.table, blocks_for(sequence.tokens.len())) {
                    break;
                }
                if self.preempt_last() == Some(id) {
                    break;
                }
            }
            at += 1;
        }
        self.preemptions > preemptions_before
    }

    /// Sends the last in rank back to the queue, a class higher.
    fn preempt_last(&mut self) -> Option<SequenceId> {
        let id = *self.running.last()?;
        self.send_back(id, 1);
        Some(id)
    }

    /// Sends a running sequence back to the queue, so many classes higher.
    fn send_back(&mut self, id: SequenceId, classes: usize) {
        self.running.retain(|running| *running != id);
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        self.pool.release(&mut sequence.table);
        sequence.computed = 0;
        sequence.preemptions = sequence.preemptions.saturating_add(classes);
        self.waiting.insert(sequence.rank(), id, sequence.scope);
        self.preemptions += 1;
    }

    /// Lets sequences in from the queue while there is room, or somebody gives way.
    fn admit(&mut self, now: Duration, plan: &mut Plan) {
        let mut has_given_way = false;
        while let Some(id) = self.waiting.peek(|user| self.served.level(user, now)) {
            if self.admit_one(id, now, plan) {
                continue;
            }
            if has_given_way {
                break;
            }
            has_given_way = true;
            if self.give_way(id, now) {
                continue;
            }
            // A class that was passed over has the next place that is free, and until there is one the first in order may
            // still take that of somebody who had more.
            let first = self.waiting.first(|user| self.served.level(user, now));
            let exchanged = first.filter(|first| *first != id && self.give_way(*first, now));
            if exchanged.is_none_or(|first| !self.admit_one(first, now, plan)) {
                break;
            }
        }
    }

    /// Lets the next in turn in, if it fits.
    fn admit_one(&mut self, id: SequenceId, now: Duration, plan: &mut Plan) -> bool {
        let keeps = !self.waiting.is_overdue();
        let Some(sequence) = self.sequences.get_mut(&id) else { return false };
        let kept_one_in = if keeps && sequence.rank().class > 0 { KEPT_ONE_IN } else { usize::MAX };
        if self.running.len() >= self.config.running_max - self.config.running_max / kept_one_in {
            return false;
        }
        let borrowable = sequence.borrowable();
        let table = &mut sequence.table;
        self.pool.lend(table, sequence.scope, &sequence.tokens[..borrowable]);
        let needed = blocks_for(sequence.tokens.len());
        let kept = self.config.kv_blocks / kept_one_in;
        let spare = if self.running.is_empty() { 0 } else { self.running.len() + 1 + kept };
        if self.pool.free() < needed - table.lent() + spare || !self.pool.grow(table, needed) {
            self.pool.release(table);
            return false;
        }
        sequence.computed = table.lent() * KV_BLOCK_TOKENS;
        self.served.read(sequence.scope, sequence.pending(), now);
        let rank = sequence.rank();
        self.waiting.take(rank);
        sequence.steps_passed_over = 0;
        sequence.admitted = now;
        if sequence.started.is_none() {
            sequence.started = Some(now);
            sequence.cached_tokens = sequence.computed;
            plan.started.push(Started { id, queued: now.saturating_sub(sequence.submitted) });
        }
        let at = self.running.partition_point(|other| self.sequences[other].rank() < rank);
        self.running.insert(at, id);
        true
    }

    /// Sends the running sequence back that gives way to this one: of the lowest class, of whose user had most, the
    /// youngest. False if none does.
    fn give_way(&mut self, next: SequenceId, now: Duration) -> bool {
        let Some(next) = self.sequences.get(&next) else { return false };
        let class = next.rank().class;
        // With its prompt it will have had as much as others of its size had before.
        let next = (class, self.served.level_with(next.scope, next.pending(), now));
        let gives_way = |sequence: &Sequence| {
            let own = sequence.order(&self.served, now);
            let has_run = now.saturating_sub(sequence.admitted) >= RUN_MIN;
            waits_for(own, next) && (own.0 == class || has_run)
        };
        let running = self.running.iter().map(|id| (*id, &self.sequences[id]));
        let those = running.filter(|(_, sequence)| gives_way(sequence));
        let last =
            those.max_by_key(|(_, sequence)| (sequence.order(&self.served, now), sequence.rank().arrival));
        let Some((id, _)) = last else { return false };
        self.send_back(id, 0);
        true
    }

    /// Learns from a step that is done how long a token of a prompt takes.
    fn note_pace(&mut self, now: Duration, plan: &Plan) {
        let taken = now.saturating_sub(self.planned).as_secs_f64();
        if plan.tokens() < plan.rows().len() + SHARED_STEP_TOKENS_MIN || taken <= 0.0 {
            return;
        }
        let pace = taken / plan.tokens() as f64;
        let weight = if self.prefill_pace > 0.0 { PACE_WEIGHT } else { 1.0 };
        self.prefill_pace += (pace - self.prefill_pace) * weight;
    }

    /// Tokens of prompts that a step may have of the `left` that there is room for.
    fn prefill_budget(&self, left: usize) -> usize {
        if !self.served.is_shared() || self.prefill_pace <= 0.0 {
            return left;
        }
        let short = (SHARED_STEP.as_secs_f64() / self.prefill_pace) as usize;
        left.min(short.max(SHARED_STEP_TOKENS_MIN))
    }

    /// Whether all of a plan may wait for a prompt that has come meanwhile: one of which little is to be read, of somebody
    /// who goes before those of whose prompts it reads a part. Answers that are in it, if not of a higher class, have
    /// their token a step later.
    pub fn leaves_way(
        &self,
        plan: &Plan,
        priority: Priority,
        scope: CacheScope,
        prompt: &[TokenId],
        now: Duration,
    ) -> bool {
        let to_read = prompt.len() - self.pool.lendable(scope, prompt);
        let next = (priority as usize, self.served.level_with(scope, to_read, now));
        let waits = |row: &PlanRow| {
            let Some(sequence) = self.sequences.get(&row.id) else { return true };
            let own = sequence.order(&self.served, now);
            waits_for(own, next) || (row.is_answer() && own.0 >= next.0)
        };
        to_read <= UNCUT_TOKENS_MAX && plan.has_parts() && plan.rows().iter().all(waits)
    }

    /// One row for each sequence that has a single token to run. Those wait for a prompt that goes before them, if they
    /// have not waited long.
    fn plan_decode(&mut self, now: Duration, plan: &mut Plan) {
        let order = |sequence: &Sequence| sequence.order(&self.served, now);
        let reading = self.running.iter().map(|id| &self.sequences[id]).filter(|it| it.pending() > 1);
        let first = reading.map(order).min().filter(|_| self.served.is_shared());
        for &id in &self.running {
            let Some(sequence) = self.sequences.get_mut(&id).filter(|it| it.pending() == 1) else { continue };
            let own = sequence.order(&self.served, now);
            let waits = first.is_some_and(|first| waits_for(own, first));
            if waits && sequence.steps_passed_over < PASSED_OVER_MAX {
                sequence.steps_passed_over += 1;
                continue;
            }
            sequence.steps_passed_over = 0;
            plan.push(sequence.row(id, 1));
        }
    }

    /// Chunks of prompts within what the step has left.
    fn plan_prefill(&mut self, now: Duration, plan: &mut Plan) {
        let mut order = std::mem::take(&mut self.prefill_order);
        order.clear();
        for (at, id) in self.running.iter().enumerate() {
            let sequence = &self.sequences[id];
            if sequence.pending() > 1 {
                let passed_over = sequence.steps_passed_over;
                let is_urgent = passed_over >= PASSED_OVER_MAX && self.steps_in_order >= PASSED_OVER_MAX;
                let urgency = if is_urgent { passed_over } else { 0 };
                let level = self.served.level(sequence.scope, now);
                order.push((std::cmp::Reverse(urgency), sequence.rank().class, level, at));
            }
        }
        order.sort_unstable();
        let is_in_order = order.first().is_none_or(|(urgency, ..)| urgency.0 == 0);
        self.steps_in_order = if is_in_order { self.steps_in_order.saturating_add(1) } else { 0 };
        let left = self.config.step_tokens_max.saturating_sub(plan.tokens()).max(1);
        let mut budget = self.prefill_budget(left);
        // What those who had little may have, who then leave the others nothing: their step is short.
        let mut uncut = left.min(UNCUT_TOKENS_MAX).max(budget);
        let mut scored_budget = self.config.scored_rows_max;
        // Tokens of prompts that end with this step, and how many are enough for one: their first tokens don't wait for a
        // part of another prompt, whose own comes no sooner for it.
        let (mut ended, short) = (0, budget.div_ceil(2));
        let rows = plan.rows().iter().map(|row| &self.sequences[&row.id]);
        let mut first = rows.map(|sequence| sequence.order(&self.served, now)).min();
        let (may_wait, mut has_waited) = (self.part_waits < PART_WAITS_MAX, false);
        for &(_, class, level, at) in &order {
            let id = self.running[at];
            let Some(sequence) = self.sequences.get_mut(&id) else { continue };
            let scores = sequence.scores();
            let room = if level <= UNCUT_LEVEL_MAX { uncut } else { budget };
            let budget_here = if scores { room.min(scored_budget) } else { room };
            let taken = sequence.pending_alike().min(budget_here);
            let is_part = taken < sequence.pending();
            let own = (class, level);
            let waits = is_part && may_wait && first.is_some_and(|first| waits_for(own, first));
            has_waited |= waits;
            if taken == 0 || waits || (is_part && ended >= short) {
                sequence.steps_passed_over = sequence.steps_passed_over.saturating_add(1);
                continue;
            }
            sequence.steps_passed_over = 0;
            plan.push(sequence.row(id, taken));
            first = Some(first.map_or(own, |first| first.min(own)));
            ended += if is_part { 0 } else { taken };
            uncut = uncut.saturating_sub(taken);
            budget = budget.saturating_sub(taken);
            scored_budget -= if scores { taken } else { 0 };
        }
        self.part_waits = if has_waited { self.part_waits + 1 } else { 0 };
        self.prefill_order = order;
    }
}

#[cfg(test)]
mod tests;
