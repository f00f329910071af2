use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use base::{Clock, Rng, TokenId};
use models::batch::{KV_BLOCK_TOKENS, Model, ModelError, ModelInfo};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::events::{EngineUsage, FinishReason, Priority, SequenceEvent, Submission};
use crate::sampler::{LOGPROBS_MAX, ParamError};
use crate::scheduler::SequenceId;
use crate::stats::EngineStats;
use crate::step::StepLoop;

/// Sizes of an engine, all at least 1, and what it does with its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Blocks of [`KV_BLOCK_TOKENS`] tokens in the KV pool.
    pub kv_blocks: usize,
    /// Tokens of a step. Sequences that generate take one each, the rest goes to reading prompts (which get at
    /// least one token however many generate).
    pub step_tokens_max: usize,
    /// Most sequences in a step.
    pub running_max: usize,
    /// Sequences that may wait when `running_max` are running. When the pool keeps fewer from running, as many
    /// more may wait: `running_max + waiting_max` is the most that the engine holds.
    pub waiting_max: usize,
    /// Whether the memory of the KV pool is taken from the system at the start instead of as it is first used. That
    /// takes longer then, and nobody waits for it later.
    pub kv_claimed: bool,
}

impl EngineConfig {
    /// Checks that every size is at least 1.
    ///
    /// # Errors
    /// The first size that is 0, or more blocks than a block id can name.
    pub fn validate(&self) -> Result<(), ParamError> {
        let sizes = [
            ("kv_blocks", self.kv_blocks),
            ("step_tokens_max", self.step_tokens_max),
            ("running_max", self.running_max),
            ("waiting_max", self.waiting_max),
        ];
        for (name, size) in sizes {
            if size == 0 {
                return Err(ParamError::new(name, "at least 1", size));
            }
        }
        if u32::try_from(self.kv_blocks).is_err() {
            return Err(ParamError::new("kv_blocks", format!("at most {}", u32::MAX), self.kv_blocks));
        }
        Ok(())
    }
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A size is outside its range.
    #[error(transparent)]
    Config(#[from] ParamError),
    /// The model could not make its KV cache.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The operating system gave no thread.
    #[error("the engine's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a submission was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The engine holds as many sequences as it may.
    #[error("the queue is full: {held} sequences are running or waiting, at most {allowed} may")]
    QueueFull {
        /// Sequences running or waiting.
        held: usize,
        /// `running_max + waiting_max`.
        allowed: usize,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {prompt} tokens, at most {allowed} fit")]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Longest prompt that leaves room for one token.
        allowed: usize,
    },
    /// A parameter is outside its range.
    #[error(transparent)]
    InvalidParam(#[from] ParamError),
    /// The engine is shutting down or has stopped.
    #[error("the engine is shutting down")]
    ShutDown,
}

/// What reaches the step loop from outside.
pub(crate) enum Command {
    /// A new sequence.
    Submit(Box<Arrival>),
    /// Nobody wants this sequence any more.
    Cancel(SequenceId),
    /// No submission comes after this; what still runs at `deadline` (on the engine's clock) is cut.
    Shutdown { deadline: Duration },
}

/// A submission on its way to the step loop.
pub(crate) struct Arrival {
    pub(crate) id: SequenceId,
    pub(crate) submission: Submission,
    pub(crate) submitted: Duration,
    pub(crate) events: UnboundedSender<SequenceEvent>,
}

/// What the handles and the step loop share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Sequences accepted and not finished, by class; the bound of the queue.
    held: Mutex<[usize; Priority::ALL.len()]>,
    /// No more submissions.
    closed: AtomicBool,
    /// Latest picture of the engine.
    stats: Mutex<EngineStats>,
    /// Whether the step loop has ended.
    stopped: Mutex<bool>,
    stopped_changed: Condvar,
}

impl Shared {
    /// A sequence of this class ended; its place is free.
    pub(crate) fn release(&self, priority: Priority) {
        self.held()[priority as usize] -= 1;
    }

    fn held(&self) -> MutexGuard<'_, [usize; Priority::ALL.len()]> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The step loop ends.
    pub(crate) fn stop(&self) {
        self.close();
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopped_changed.notify_all();
    }

    pub(crate) fn publish(&self, stats: &EngineStats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = *stats;
    }
}

/// A model that answers many callers at once. A handle: clones share one step loop, which runs on a thread of
/// its own, takes no time while there is nothing to do, and ends when the last handle and the last
/// [`Sequence`] are gone or after [`shutdown`](Self::shutdown).
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    clock: Arc<dyn Clock>,
    info: Arc<ModelInfo>,
    next_id: Arc<AtomicU64>,
    held_max: usize,
    running_max: usize,
    length_max: usize,
}

impl Engine {
    /// Makes the KV cache and starts the step loop. `seeds` gives the seeds of sequences that bring none.
    ///
    /// # Errors
    /// When a size is outside its range, the KV cache can't be had, or there is no thread to be had.
    pub fn start(
        mut model: Box<dyn Model>,
        config: EngineConfig,
        clock: Arc<dyn Clock>,
        seeds: Rng,
    ) -> Result<Self, EngineError> {
        config.validate()?;
        model.allocate_kv(config.kv_blocks)?;
        if config.kv_claimed {
            model.claim_kv();
        }
        let info = Arc::new(model.info().clone());
        let length_max = info.context_length.min(config.kv_blocks.saturating_mul(KV_BLOCK_TOKENS));
        let stats = EngineStats {
            blocks_total: config.kv_blocks,
            blocks_free: config.kv_blocks,
            ..EngineStats::default()
        };
        let shared = Arc::new(Shared {
            held: Mutex::default(),
            closed: AtomicBool::new(false),
            stats: Mutex::new(stats),
            stopped: Mutex::new(false),
            stopped_changed: Condvar::new(),
        });
        let (commands, receiver) = mpsc::channel();
        let step_loop = StepLoop::new(
            model,
            config,
            length_max,
            Arc::clone(&clock),
            seeds,
            receiver,
            Arc::clone(&shared),
        );
        thread::Builder::new().name("engine".to_owned()).spawn(move || step_loop.run())?;
        let held_max = config.running_max.saturating_add(config.waiting_max);
        let next_id = Arc::new(AtomicU64::new(0));
        let running_max = config.running_max;
        Ok(Self { shared, commands, clock, info, next_id, held_max, running_max, length_max })
    }

    /// Queues a submission and returns at once.
    ///
    /// # Errors
    /// When a parameter is outside its range, the prompt is too long, the queue is full or the engine is
    /// shutting down.
    pub fn submit(&self, submission: Submission) -> Result<Sequence, SubmitError> {
        self.check(&submission)?;
        let priority = submission.priority;
        self.reserve_place(priority)?;
        let id = SequenceId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let prompt_tokens = submission.prompt.len();
        let (sender, events) = unbounded_channel();
        let submitted = self.clock.monotonic();
        let arrival = Arrival { id, submission, submitted, events: sender };
        if self.commands.send(Command::Submit(Box::new(arrival))).is_err() {
            self.shared.release(priority);
            return Err(SubmitError::ShutDown);
        }
        let cancelled = AtomicBool::new(false);
        Ok(Sequence {
            id,
            events,
            commands: self.commands.clone(),
            prompt_tokens,
            finished: false,
            cancelled,
        })
    }

    /// The state of the engine after its latest step.
    pub fn stats(&self) -> EngineStats {
        let mut stats = *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        // What was just submitted waits too, though the step loop hasn't seen it yet.
        stats.waiting = self.shared.held().iter().sum::<usize>().saturating_sub(stats.running);
        stats
    }

    /// Facts about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Sequences that run or wait at most, and how many of them may run.
    pub fn places(&self) -> (usize, usize) {
        (self.held_max, self.running_max)
    }

    /// Longest sequence, prompt and answer together, in tokens: the model's context, or the KV pool if that is
    /// smaller.
    pub fn length_max(&self) -> usize {
        self.length_max
    }

    /// Refuses new submissions from now on, lets accepted ones finish for at most `deadline`, then cuts them
    /// with [`FinishReason::ShuttingDown`], and ends the step loop. Returns at once; see
    /// [`wait_stopped`](Self::wait_stopped). A second call may only shorten the deadline.
    pub fn shutdown(&self, deadline: Duration) {
        self.shared.close();
        let deadline = self.clock.monotonic().saturating_add(deadline);
        // A step loop that is gone already is shut down.
        let _ = self.commands.send(Command::Shutdown { deadline });
    }

    /// Blocks until the step loop has ended and every sequence has its last event. Not for async code.
    pub fn wait_stopped(&self) {
        let mut stopped = self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            stopped = self.shared.stopped_changed.wait(stopped).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn check(&self, submission: &Submission) -> Result<(), SubmitError> {
        submission.sampling.validate()?;
        if submission.prompt.is_empty() {
            return Err(ParamError::new("prompt", "at least 1 token", 0).into());
        }
        if submission.tokens_max == 0 && submission.prompt_logprobs.is_none() {
            return Err(ParamError::new("tokens_max", "at least 1", 0).into());
        }
        if let Some(given) = submission.prompt_logprobs
            && given > LOGPROBS_MAX
        {
            return Err(ParamError::new("prompt_logprobs", format!("at most {LOGPROBS_MAX}"), given).into());
        }
        let allowed = self.length_max.saturating_sub(1);
        if submission.prompt.len() > allowed {
            return Err(SubmitError::TooLong { prompt: submission.prompt.len(), allowed });
        }
        let vocab_size = self.info.vocab_size;
        let outside = |id: &TokenId| usize::try_from(*id).is_ok_and(|id| id >= vocab_size);
        if let Some(&id) = submission.prompt.iter().find(|id| outside(id)) {
            return Err(ParamError::new("prompt", format!("token ids below {vocab_size}"), id).into());
        }
        if let Some(&(id, _)) = submission.sampling.logit_bias.iter().find(|(id, _)| outside(id)) {
            return Err(ParamError::new("logit_bias", format!("token ids below {vocab_size}"), id).into());
        }
        Ok(())
    }

    /// A place in the queue. Where there is none, the step loop looks for somebody of a lower class who gives way: then
    /// more than may be are held until it has, but never twice as many.
    fn reserve_place(&self, priority: Priority) -> Result<(), SubmitError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(SubmitError::ShutDown);
        }
        let mut by_class = self.shared.held();
        let held = by_class.iter().sum::<usize>();
        let lower = by_class.iter().skip(priority as usize + 1).sum::<usize>();
        let over = held.saturating_sub(self.held_max);
        if held >= self.held_max && lower <= over {
            return Err(SubmitError::QueueFull { held, allowed: self.held_max });
        }
        by_class[priority as usize] += 1;
        Ok(())
    }
}

/// A submission being answered. Dropping it cancels it; the engine then frees what it holds within one step.
#[derive(Debug)]
pub struct Sequence {
    id: SequenceId,
    events: UnboundedReceiver<SequenceEvent>,
    commands: mpsc::Sender<Command>,
    prompt_tokens: usize,
    finished: bool,
    cancelled: AtomicBool,
}

impl Sequence {
    /// The next event; after [`SequenceEvent::Finished`], which always comes, `None`. Cancel-safe. Events that
    /// nobody takes wait, at most `tokens_max + 3` of them.
    pub async fn next(&mut self) -> Option<SequenceEvent> {
        let event = self.events.recv().await;
        self.note(event)
    }

    /// [`next`](Self::next) for a thread that may block.
    ///
    /// # Panics
    /// When called within an async runtime.
    pub fn blocking_next(&mut self) -> Option<SequenceEvent> {
        let event = self.events.blocking_recv();
        self.note(event)
    }

    /// Asks for the end. Tokens already generated still come, then `Finished` with
    /// [`FinishReason::Cancelled`], unless it ended by itself first.
    pub fn cancel(&self) {
        if !self.cancelled.swap(true, Ordering::Relaxed) {
            // A step loop that is gone has no sequences.
            let _ = self.commands.send(Command::Cancel(self.id));
        }
    }

    fn note(&mut self, event: Option<SequenceEvent>) -> Option<SequenceEvent> {
        if self.finished {
            return event;
        }
        // A submission that crossed the end of the step loop gets its last event here.
        let event = event.unwrap_or(SequenceEvent::Finished {
            reason: FinishReason::ShuttingDown,
            usage: EngineUsage { prompt_tokens: self.prompt_tokens, ..EngineUsage::default() },
        });
        self.finished = matches!(event, SequenceEvent::Finished { .. });
        Some(event)
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        if !self.finished {
            self.cancel();
        }
    }
}
