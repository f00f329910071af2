//! The step loop: commands in, steps, events out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::{Clock, Rng, TokenId};
use models::batch::{Chunk, Model, Ran};
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::{Arrival, Command, EngineConfig, Shared};
use crate::events::{EngineUsage, FinishReason, GeneratedToken, Priority, SequenceEvent, Submission};
use crate::forward::forward_rows;
use crate::masks::{Guarded, Masks, Next, STOPPED};
use crate::sampler::{Sampler, SamplerState};
use crate::scheduler::{Picked, Plan, PlanRow, Request, Scheduler, SchedulerConfig, SequenceId};
use crate::stats::EngineStats;
use crate::steering::Allowed;

/// Most bytes of logits of prompts that are scored in a step.
const SCORED_BYTES_MAX: usize = 64 << 20;

/// What the engine's thread owns.
pub(crate) struct StepLoop {
    model: Box<dyn Model>,
    scheduler: Scheduler,
    sampler: Sampler,
    masks: Masks,
    streams: HashMap<SequenceId, Stream>,
    seeds: Rng,
    clock: Arc<dyn Clock>,
    commands: mpsc::Receiver<Command>,
    /// What came while a step ran that could be given up.
    arrived: VecDeque<Command>,
    /// Whether the last step that read a part of a prompt was given up.
    gave_up: bool,
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
    /// `[rows of logits that are wanted, vocab_size]`.
    logits: Vec<f32>,
    /// `[rows]`, why the model couldn't run a row.
    failures: Vec<Option<String>>,
    /// `[rows]`.
    picked: Vec<Picked>,
    events: Vec<(SequenceId, SequenceEvent)>,
}

/// A sequence's listener, and what chooses its tokens.
struct Stream {
    events: UnboundedSender<SequenceEvent>,
    priority: Priority,
    sampling: SamplerState,
    /// Away while it works out what may come next.
    steering: Option<Guarded>,
    /// Whether there is one; then nothing is chosen without it.
    steered: bool,
    /// Where the probability of the prompt was asked for.
    score: Option<Score>,
    submitted: Duration,
    last_token: Option<Duration>,
}

/// How probable a prompt is, as far as it has been read.
struct Score {
    alternatives: usize,
    /// Of the prompt's tokens but the first.
    tokens: Vec<GeneratedToken>,
    sent: bool,
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
        let EngineConfig { kv_blocks, step_tokens_max, running_max, waiting_max, .. } = config;
        let stats = EngineStats { blocks_total: kv_blocks, blocks_free: kv_blocks, ..EngineStats::default() };
        let vocab_size = model.info().vocab_size;
        Self {
            model,
            scheduler: Scheduler::new(SchedulerConfig {
                kv_blocks,
                step_tokens_max,
                running_max,
                waiting_max,
                length_max,
                scored_rows_max: (SCORED_BYTES_MAX / (4 * vocab_size).max(1)).max(1),
            }),
            sampler: Sampler::new(),
            masks: Masks::new(vocab_size),
            streams: HashMap::new(),
            seeds,
            clock,
            commands,
            shared,
            stats,
            deadline: None,
            arrived: VecDeque::new(),
            gave_up: false,
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
            self.begin_masks();
            let ran = self.forward();
            if ran == Ran::GivenUp {
                self.gave_up = true;
                return;
            }
            self.gave_up &= !self.buffers.plan.has_parts();
            self.masks.wait();
            self.pick();
            self.commit();
        }
    }

    /// Takes in the commands that are there; waits for one if there is nothing to do. False at the end.
    fn receive(&mut self) -> bool {
        if self.scheduler.is_empty() && self.arrived.is_empty() {
            if self.deadline.is_some() {
                return false;
            }
            let Ok(command) = self.commands.recv() else { return false };
            self.obey(command);
        }
        loop {
            match self.next_command() {
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

    /// The next command that is there.
    fn next_command(&mut self) -> Result<Command, mpsc::TryRecvError> {
        self.arrived.pop_front().map_or_else(|| self.commands.try_recv(), Ok)
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
        let score = submission.prompt_logprobs.map(|alternatives| Score {
            alternatives,
            tokens: Vec::new(),
            sent: false,
        });
        let score_prompt = score.is_some();
        let steering = submission.steering.map(Guarded::new);
        let steered = steering.is_some();
        let priority = submission.priority;
        let stream =
            Stream { events, priority, sampling, steering, steered, score, submitted, last_token: None };
        self.streams.insert(id, stream);
        if let Some(displaced) = self.scheduler.make_room(priority, self.clock.monotonic()) {
            self.tell(vec![displaced]);
        }
        let prompt_tokens = submission.prompt.len();
        let request = Request {
            id,
            prompt: submission.prompt,
            tokens_max: submission.tokens_max,
            end_tokens: submission.end_tokens,
            priority,
            scope: submission.scope,
            score_prompt,
        };
        if self.scheduler.submit(request, submitted).is_err() {
            // It hoped for the place of another, who has begun since.
            let reason = FinishReason::Displaced;
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

    /// Has worked out, while the model runs, what may come next in steered sequences.
    fn begin_masks(&mut self) {
        for row in self.buffers.plan.rows().iter().filter(|row| row.wants_logits) {
            if let Some(steering) = self.streams.get_mut(&row.id).and_then(|stream| stream.steering.take()) {
                self.masks.begin(row.id, steering);
            }
        }
    }

    /// Runs the plan: afterwards `failures` has an entry per row, and `logits` the rows that want them and did
    /// not fail. It is given up where somebody comes meanwhile whom those in it leave the way to, and who then waits for
    /// the layer in progress only; but not if the one before with a part of a prompt was, so that who is in it gets on.
    fn forward(&mut self) -> Ran {
        let Self { model, scheduler, commands, arrived, clock, buffers, streams, gave_up, .. } = self;
        let Buffers { plan, chunks, logits, failures, .. } = buffers;
        let (plan, scheduler) = (&*plan, &*scheduler);
        // What may come next in a steered sequence is being worked out for this step.
        let steered =
            |row: &PlanRow| row.wants_logits && streams.get(&row.id).is_some_and(|stream| stream.steered);
        let may_give_up = !*gave_up && !plan.rows().iter().any(steered);
        let mut stop = || {
            if !may_give_up {
                return false;
            }
            let before = arrived.len();
            arrived.extend(commands.try_iter());
            arrived.iter().skip(before).any(|command| match command {
                Command::Submit(arrival) => {
                    let Submission { priority, scope, prompt, .. } = &arrival.submission;
                    scheduler.leaves_way(plan, *priority, *scope, prompt, clock.monotonic())
                }
                Command::Cancel(_) | Command::Shutdown { .. } => false,
            })
        };
        let rows = plan.rows();
        failures.clear();
        failures.resize(rows.len(), None);
        let vocab_size = model.info().vocab_size;
        let failure = match forward_rows(&mut **model, scheduler, rows, chunks, logits, &mut stop) {
            Ok(ran) => return ran,
            Err(failure) => failure,
        };
        tracing::error!(rows = rows.len(), failure = failure.for_log(), "a step failed");
        if rows.len() == 1 || failure.is_panic() {
            logits.clear();
            failures.fill(Some(failure.for_caller()));
            return Ran::Whole;
        }
        // A refused batch has not run: each row alone shows whose fault it was, and the others go on.
        let mut gathered = Vec::with_capacity(rows.len() * vocab_size);
        for (row, failed) in rows.iter().zip(failures) {
            let row = std::slice::from_ref(row);
            match forward_rows(&mut **model, scheduler, row, chunks, logits, &mut || false) {
                Ok(_) => gathered.extend_from_slice(logits),
                Err(failure) => *failed = Some(failure.for_caller()),
            }
        }
        *logits = gathered;
        Ran::Whole
    }

    /// Chooses the next token of each row that has logits, and weighs prompts where that was asked for.
    fn pick(&mut self) {
        let Buffers { plan, logits, failures, picked, .. } = &mut self.buffers;
        let vocab_size = self.model.info().vocab_size.max(1);
        let mut logits = &mut logits[..];
        picked.clear();
        for (row, failure) in plan.rows().iter().zip(failures.drain(..)) {
            let next = self.masks.take(row.id);
            if let Some(failure) = failure {
                picked.push(Picked::Failed(failure));
                continue;
            }
            let (own, rest) = std::mem::take(&mut logits).split_at_mut(row.logits_rows() * vocab_size);
            logits = rest;
            let stream = self.streams.get_mut(&row.id);
            let (Some(stream), Some((tokens, prompt_tokens))) = (stream, self.scheduler.tokens(row.id))
            else {
                picked.push(Picked::Failed("the sequence has ended".to_owned()));
                continue;
            };
            let mut picker =
                Picker { sampler: &mut self.sampler, masks: &mut self.masks, stream, tokens, prompt_tokens };
            picked.push(picker.pick(row, next, own, vocab_size));
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
            let (_, prompt_tokens) = self.scheduler.tokens(id).unwrap_or_default();
            let failed = matches!(picked, Picked::Failed(_));
            let scored =
                self.streams.get_mut(&id).filter(|_| !failed).and_then(|stream| stream.scored(prompt_tokens));
            events.extend(scored.map(|tokens| (id, SequenceEvent::Prompt(tokens))));
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
        for (id, event) in &events {
            match event {
                SequenceEvent::Started { .. } | SequenceEvent::Prompt(_) => (),
                SequenceEvent::Token(_) => self.stats.generated_tokens += 1,
                SequenceEvent::Finished { reason, usage } => {
                    self.stats.cached_tokens += usage.cached_tokens as u64;
                    let finished = &mut self.stats.finished;
                    *match reason {
                        FinishReason::EndToken => &mut finished.end_token,
                        FinishReason::Length => &mut finished.length,
                        FinishReason::Cancelled => &mut finished.cancelled,
                        FinishReason::ShuttingDown => &mut finished.shutting_down,
                        FinishReason::Displaced => &mut finished.displaced,
                        FinishReason::Failed(_) => &mut finished.failed,
                    } += 1;
                    if let Some(stream) = self.streams.get(id) {
                        self.shared.release(stream.priority);
                    }
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
        while let Ok(command) = self.next_command() {
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

/// Chooses the next token of one sequence.
struct Picker<'a> {
    sampler: &'a mut Sampler,
    masks: &'a mut Masks,
    stream: &'a mut Stream,
    tokens: &'a [TokenId],
    prompt_tokens: usize,
}

impl Picker<'_> {
    /// `logits` are `[row.logits_rows(), vocab_size]`.
    fn pick(&mut self, row: &PlanRow, next: Option<Next>, logits: &mut [f32], vocab_size: usize) -> Picked {
        if let Err(why) = self.weigh(row, logits, vocab_size) {
            return Picked::Failed(why);
        }
        if !row.wants_logits {
            return Picked::Read;
        }
        let last = logits.len().saturating_sub(vocab_size);
        match self.choose(next, &mut logits[last..]) {
            Ok(token) => Picked::Token(token),
            Err(why) => Picked::Failed(why),
        }
    }

    fn choose(&mut self, next: Option<Next>, logits: &mut [f32]) -> Result<GeneratedToken, String> {
        let Self { sampler, stream, tokens, prompt_tokens, .. } = self;
        let state = &mut stream.sampling;
        let Some(Next { mut steering, allowed, mask }) = next else {
            if stream.steered {
                return Err(STOPPED.to_owned());
            }
            return sampler.pick(state, logits, tokens, *prompt_tokens).map_err(|error| error.to_string());
        };
        let token = match allowed? {
            Allowed::All => sampler.pick(state, logits, tokens, *prompt_tokens),
            Allowed::Masked => sampler.pick_among(state, logits, &mask, tokens, *prompt_tokens),
            Allowed::Forced(token) => sampler.forced(state, logits, token),
        };
        self.masks.recycle(mask);
        let token = token.map_err(|error| error.to_string())?;
        steering.took(token.id)?;
        self.stream.steering = Some(steering);
        Ok(token)
    }

    /// Notes how probable the prompt's tokens after those of the row are. A row may be read again.
    fn weigh(&mut self, row: &PlanRow, logits: &[f32], vocab_size: usize) -> Result<(), String> {
        let Some(score) = self.stream.score.as_mut().filter(|_| row.scores) else { return Ok(()) };
        for (position, logits) in (row.start..row.end).zip(logits.chunks_exact(vocab_size)) {
            if position == score.tokens.len() && position + 1 < self.prompt_tokens {
                let token = self.sampler.weigh(logits, self.tokens[position + 1], score.alternatives);
                score.tokens.push(token.map_err(|error| error.to_string())?);
            }
        }
        Ok(())
    }
}

impl Stream {
    /// The prompt's tokens with their log-probabilities, once, when all are there.
    fn scored(&mut self, prompt_tokens: usize) -> Option<Vec<GeneratedToken>> {
        let score = self.score.as_mut()?;
        if score.sent || score.tokens.len() + 1 < prompt_tokens {
            return None;
        }
        score.sent = true;
        Some(std::mem::take(&mut score.tokens))
    }
}
