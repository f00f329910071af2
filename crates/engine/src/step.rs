//! The step loop: commands in, steps, events out.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::{Clock, Rng};
use models::batch::{Chunk, Model};
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::{Arrival, Command, EngineConfig, Shared};
use crate::events::{EngineUsage, FinishReason, SequenceEvent};
use crate::sampler::{Sampler, SamplerState};
use crate::scheduler::{Picked, Plan, PlanRow, Request, Scheduler, SchedulerConfig, SequenceId};
use crate::stats::EngineStats;

/// What the engine's thread owns.
pub(crate) struct StepLoop {
    model: Box<dyn Model>,
    scheduler: Scheduler,
    sampler: Sampler,
    streams: HashMap<SequenceId, Stream>,
    seeds: Rng,
    clock: Arc<dyn Clock>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    stats: EngineStats,
    /// Set by shutdown: when to cut what still runs.
    deadline: Option<Duration>,
    /// Of the step in progress, kept between steps for their memory.
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    plan: Plan,
    /// Empty between steps.
    chunks: Vec<Chunk<'static>>,
    /// `[rows that want logits, vocab_size]`.
    logits: Vec<f32>,
    /// `[rows]`, why the model couldn't run a row.
    failures: Vec<Option<String>>,
    /// `[rows]`.
    picked: Vec<Picked>,
    events: Vec<(SequenceId, SequenceEvent)>,
}

/// A sequence's listener, and its sampler's memory.
struct Stream {
    events: UnboundedSender<SequenceEvent>,
    sampling: SamplerState,
    submitted: Duration,
    last_token: Option<Duration>,
}

impl StepLoop {
    pub(crate) fn new(
        model: Box<dyn Model>,
        config: EngineConfig,
        length_max: usize,
        clock: Arc<dyn Clock>,
        seeds: Rng,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        let EngineConfig { kv_blocks, step_tokens_max, running_max, waiting_max } = config;
        let stats = EngineStats { blocks_total: kv_blocks, blocks_free: kv_blocks, ..EngineStats::default() };
        Self {
            model,
            scheduler: Scheduler::new(SchedulerConfig {
                kv_blocks,
                step_tokens_max,
                running_max,
                waiting_max,
                length_max,
            }),
            sampler: Sampler::new(),
            streams: HashMap::new(),
            seeds,
            clock,
            commands,
            shared,
            stats,
            deadline: None,
            buffers: Buffers::default(),
        }
    }

    /// Runs until shutdown, or until nobody is left who could send a command.
    pub(crate) fn run(mut self) {
        while self.receive() {
            self.step();
        }
    }

    /// The walk of one step.
    fn step(&mut self) {
        self.plan();
        if !self.buffers.plan.rows().is_empty() {
            self.forward();
            self.pick();
            self.commit();
        }
    }

    /// Takes in the commands that are there; waits for one if there is nothing to do. False at the end.
    fn receive(&mut self) -> bool {
        if self.scheduler.is_empty() {
            if self.deadline.is_some() {
                return false;
            }
            let Ok(command) = self.commands.recv() else { return false };
            self.obey(command);
        }
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
        if self.deadline.is_some_and(|deadline| self.clock.monotonic() >= deadline) {
            self.finish_all(&FinishReason::ShuttingDown);
        }
        true
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(arrival) => self.accept(*arrival),
            Command::Cancel(id) => self.finish(id, FinishReason::Cancelled),
            Command::Shutdown { deadline } => {
                self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
            }
        }
    }

    fn accept(&mut self, arrival: Arrival) {
        let Arrival { id, submission, submitted, events } = arrival;
        let fallback_seed = self.seeds.next_u64();
        let sampling = SamplerState::new(submission.sampling, fallback_seed);
        self.streams.insert(id, Stream { events, sampling, submitted, last_token: None });
        let prompt_tokens = submission.prompt.len();
        let request = Request {
            id,
            prompt: submission.prompt,
            tokens_max: submission.tokens_max,
            end_tokens: submission.end_tokens,
            priority: submission.priority,
            scope: submission.scope,
        };
        if self.scheduler.submit(request, submitted).is_err() {
            // The handle counts places before it submits, so this is a bug; the caller still gets an end.
            tracing::error!("the scheduler was full though the engine had a place");
            let reason = FinishReason::Failed("the queue is full".to_owned());
            let usage = EngineUsage { prompt_tokens, ..EngineUsage::default() };
            self.tell(vec![(id, SequenceEvent::Finished { reason, usage })]);
        }
    }

    fn finish(&mut self, id: SequenceId, reason: FinishReason) {
        let now = self.clock.monotonic();
        // None: it ended by itself before the command came.
        if let Some(event) = self.scheduler.finish(id, reason, now) {
            self.tell(vec![(id, event)]);
        }
    }

    fn finish_all(&mut self, reason: &FinishReason) {
        let ids: Vec<SequenceId> = self.scheduler.ids().collect();
        for id in ids {
            self.finish(id, reason.clone());
        }
    }

    /// Chooses what to run, and tells those that start.
    fn plan(&mut self) {
        let now = self.clock.monotonic();
        let plan = &mut self.buffers.plan;
        self.scheduler.plan(now, plan);
        for started in &plan.started {
            self.stats.queue.record(started.queued);
            if let Some(stream) = self.streams.get(&started.id) {
                // A listener that has gone has sent a cancel, which is on its way.
                let _ = stream.events.send(SequenceEvent::Started { queued: started.queued });
            }
        }
    }

    /// Runs the plan: afterwards `failures` has an entry per row, and `logits` the rows that want them and did
    /// not fail.
    fn forward(&mut self) {
        let Buffers { plan, chunks, logits, failures, .. } = &mut self.buffers;
        let rows = plan.rows();
        failures.clear();
        failures.resize(rows.len(), None);
        let vocab_size = self.model.info().vocab_size;
        let failure = match forward_rows(&mut *self.model, &self.scheduler, rows, chunks, logits) {
            Ok(()) => return,
            Err(failure) => failure,
        };
        tracing::error!(rows = rows.len(), failure = failure.for_log(), "a step failed");
        if rows.len() == 1 || failure.is_panic() {
            logits.clear();
            failures.fill(Some(failure.for_caller()));
            return;
        }
        // A refused batch has not run: each row alone shows whose fault it was, and the others go on.
        let mut gathered = Vec::with_capacity(rows.len() * vocab_size);
        for (row, failed) in rows.iter().zip(failures) {
            match forward_rows(&mut *self.model, &self.scheduler, std::slice::from_ref(row), chunks, logits) {
                Ok(()) => gathered.extend_from_slice(logits),
                Err(failure) => *failed = Some(failure.for_caller()),
            }
        }
        *logits = gathered;
    }

    /// Chooses the next token of each row that has logits.
    fn pick(&mut self) {
        let Buffers { plan, logits, failures, picked, .. } = &mut self.buffers;
        let mut logits = logits.chunks_exact_mut(self.model.info().vocab_size.max(1));
        picked.clear();
        for (row, failure) in plan.rows().iter().zip(failures.drain(..)) {
            picked.push(match failure {
                Some(message) => Picked::Failed(message),
                None if !row.wants_logits => Picked::Read,
                None => {
                    let logits = logits.next().unwrap_or_default();
                    pick_row(&mut self.sampler, &self.scheduler, &mut self.streams, row.id, logits)
                }
            });
        }
    }

    /// Takes the picks into the sequences, and tells their listeners.
    fn commit(&mut self) {
        let now = self.clock.monotonic();
        let Buffers { plan, picked, events, .. } = &mut self.buffers;
        self.stats.steps += 1;
        for row in plan.rows() {
            let (_, prompt_tokens) = self.scheduler.tokens(row.id).unwrap_or_default();
            self.stats.prompt_tokens += (row.end.min(prompt_tokens) - row.start.min(prompt_tokens)) as u64;
        }
        for (id, picked) in plan.rows().iter().map(|row| row.id).zip(picked.iter()) {
            if let (Picked::Token(_), Some(stream)) = (picked, self.streams.get_mut(&id)) {
                match stream.last_token.replace(now) {
                    None => self.stats.first_token.record(now.saturating_sub(stream.submitted)),
                    Some(last) => self.stats.inter_token.record(now.saturating_sub(last)),
                }
            }
        }
        self.scheduler.commit(now, plan, picked, events);
        if cfg!(debug_assertions) {
            self.scheduler.assert_conserved();
        }
        let events = std::mem::take(events);
        self.buffers.events = self.tell(events);
    }

    /// Counts events, makes the counts public, then sends the events, so that who hears of an end finds it
    /// counted and the place free. Returns the emptied vector.
    fn tell(&mut self, mut events: Vec<(SequenceId, SequenceEvent)>) -> Vec<(SequenceId, SequenceEvent)> {
        for (_, event) in &events {
            match event {
                SequenceEvent::Started { .. } => (),
                SequenceEvent::Token(_) => self.stats.generated_tokens += 1,
                SequenceEvent::Finished { reason, usage } => {
                    self.stats.cached_tokens += usage.cached_tokens as u64;
                    let finished = &mut self.stats.finished;
                    *match reason {
                        FinishReason::EndToken => &mut finished.end_token,
                        FinishReason::Length => &mut finished.length,
                        FinishReason::Cancelled => &mut finished.cancelled,
                        FinishReason::ShuttingDown => &mut finished.shutting_down,
                        FinishReason::Failed(_) => &mut finished.failed,
                    } += 1;
                    self.shared.release();
                }
            }
        }
        self.stats.running = self.scheduler.running();
        self.stats.blocks_free = self.scheduler.blocks_free();
        self.stats.blocks_cached = self.scheduler.blocks_cached();
        self.stats.preemptions = self.scheduler.preemptions();
        self.shared.publish(&self.stats);
        for (id, event) in events.drain(..) {
            let last = matches!(event, SequenceEvent::Finished { .. });
            if let Some(stream) = self.streams.get(&id) {
                // A listener that has gone has sent a cancel, which is on its way.
                let _ = stream.events.send(event);
            }
            if last {
                self.streams.remove(&id);
            }
        }
        events
    }
}

impl Drop for StepLoop {
    /// However the loop ends, also by a panic, every sequence gets its last event.
    fn drop(&mut self) {
        self.shared.close();
        let panicking = std::thread::panicking();
        let reason = if panicking {
            FinishReason::Failed("the engine stopped unexpectedly".to_owned())
        } else {
            FinishReason::ShuttingDown
        };
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Submit(arrival) = command {
                let prompt_tokens = arrival.submission.prompt.len();
                let usage = EngineUsage { prompt_tokens, ..EngineUsage::default() };
                let _ = arrival.events.send(SequenceEvent::Finished { reason: reason.clone(), usage });
            }
        }
        if panicking {
            // The scheduler may be what panicked; it is left alone.
            for stream in self.streams.values() {
                let usage = EngineUsage::default();
                let _ = stream.events.send(SequenceEvent::Finished { reason: reason.clone(), usage });
            }
        } else {
            self.finish_all(&reason);
        }
        self.shared.stop();
    }
}

/// Why the model did not run some rows.
enum ForwardFailure {
    /// It refused them, by its own account without running any.
    Refused(String),
    /// It panicked, or broke its contract.
    Broken(String),
}

impl ForwardFailure {
    fn is_panic(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    fn for_log(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Broken(why) => why,
        }
    }

    fn for_caller(&self) -> String {
        match self {
            Self::Refused(why) => format!("the model could not go on: {why}"),
            Self::Broken(_) => "the model stopped unexpectedly".to_owned(),
        }
    }
}

/// Runs some rows of a plan; `logits` gets `[rows that want them, vocab_size]`.
fn forward_rows(
    model: &mut dyn Model,
    scheduler: &Scheduler,
    rows: &[PlanRow],
    chunks: &mut Vec<Chunk<'static>>,
    logits: &mut Vec<f32>,
) -> Result<(), ForwardFailure> {
    // The vector's memory outlives the step, its contents don't: it is empty here and there.
    let mut batch: Vec<Chunk<'_>> = std::mem::take(chunks);
    batch.extend(rows.iter().map(|row| scheduler.chunk(row)));
    let outcome = catch_unwind(AssertUnwindSafe(|| model.forward(&batch, logits)));
    batch.clear();
    // Collecting in place keeps the memory and gives the empty vector its old lifetime back.
    *chunks = batch.into_iter().map(|_| unreachable!("the batch is empty")).collect();
    match outcome {
        Ok(Ok(())) => (),
        Ok(Err(error)) => return Err(ForwardFailure::Refused(error.to_string())),
        Err(panic) => return Err(ForwardFailure::Broken(panic_text(&*panic))),
    }
    let wanted = rows.iter().filter(|row| row.wants_logits).count() * model.info().vocab_size;
    if logits.len() == wanted {
        Ok(())
    } else {
        Err(ForwardFailure::Broken(format!("{wanted} logits were wanted, the model gave {}", logits.len())))
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("no text"))
}

fn pick_row(
    sampler: &mut Sampler,
    scheduler: &Scheduler,
    streams: &mut HashMap<SequenceId, Stream>,
    id: SequenceId,
    logits: &mut [f32],
) -> Picked {
    let (Some((tokens, prompt_tokens)), Some(stream)) = (scheduler.tokens(id), streams.get_mut(&id)) else {
        return Picked::Failed("the sequence has ended".to_owned());
    };
    match sampler.pick(&mut stream.sampling, logits, tokens, prompt_tokens) {
        Ok(token) => Picked::Token(token),
        Err(error) => Picked::Failed(error.to_string()),
    }
}
