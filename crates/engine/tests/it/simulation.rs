//! The scheduler alone, driven with the fake model over random histories.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Rng, TokenId};
use engine::scheduler::{Picked, Plan, PlanRow, Request, Scheduler, SchedulerConfig, SequenceId};
use engine::{CacheScope, FinishReason, GeneratedToken, Priority, SequenceEvent};
use models::batch::{Chunk, KV_BLOCK_TOKENS, Model};
use proptest::prelude::*;

use crate::fake::{FakeModel, HASH_START, greedy_of, hash_token};

const PRIORITIES: [Priority; 4] = Priority::ALL;

/// What a sequence should still do.
struct Expected {
    hash: u64,
    length: usize,
    length_end: usize,
    end_token: TokenId,
    /// Positions of the prompt whose logits are wanted and have not been there.
    unscored: usize,
    started: bool,
    submitted_step: u64,
}

/// A scheduler, a model, and what should come of each sequence.
struct World {
    scheduler: Scheduler,
    config: SchedulerConfig,
    model: FakeModel,
    expected: BTreeMap<SequenceId, Expected>,
    plan: Plan,
    steps: u64,
    next_id: u64,
    finished: u64,
    cancelled: u64,
    refused: u64,
    /// Longest time from submission to a natural end, in steps, by class.
    longest: [u64; 4],
    classes: BTreeMap<SequenceId, Priority>,
    /// Tokens of prompts that the prefix cache had.
    cached_tokens: u64,
    /// Rows that only read again what was scored before a preemption.
    read_again: u64,
}

impl World {
    fn new(config: SchedulerConfig) -> Self {
        let mut model = FakeModel::new(config.length_max);
        model.allocate_kv(config.kv_blocks).expect("the fake model has memory");
        Self {
            scheduler: Scheduler::new(config),
            config,
            model,
            expected: BTreeMap::new(),
            plan: Plan::default(),
            steps: 0,
            next_id: 0,
            finished: 0,
            cancelled: 0,
            refused: 0,
            longest: [0; 4],
            classes: BTreeMap::new(),
            cached_tokens: 0,
            read_again: 0,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.steps)
    }

    fn submit(&mut self, prompt: Vec<TokenId>, tokens_max: usize, end_token: TokenId, priority: Priority) {
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let score_prompt = id.0.is_multiple_of(5);
        let expected = Expected {
            hash: prompt
                .iter()
                .enumerate()
                .fold(HASH_START, |hash, (at, token)| hash_token(hash, at, *token)),
            length: prompt.len(),
            length_end: (prompt.len() + tokens_max).min(self.config.length_max),
            end_token,
            unscored: if score_prompt { prompt.len() - 1 } else { 0 },
            started: false,
            submitted_step: self.steps,
        };
        // Two scopes: half of all sequences share their beginnings.
        let scope = CacheScope([(id.0 % 2) as u8; 16]);
        let request =
            Request { id, prompt, tokens_max, end_tokens: vec![end_token], priority, scope, score_prompt };
        let room = self.expected.len() < self.config.running_max + self.config.waiting_max;
        let accepted = self.scheduler.submit(request, self.now()).is_ok();
        assert_eq!(accepted, room, "a submission is refused just if the queue is full");
        if accepted {
            self.expected.insert(id, expected);
            self.classes.insert(id, priority);
        } else {
            self.refused += 1;
        }
    }

    /// Cancels the `nth` sequence there is, if there is one.
    fn cancel(&mut self, nth: usize) {
        let Some(id) = self.expected.keys().nth(nth % self.expected.len().max(1)).copied() else { return };
        let event = self.scheduler.finish(id, FinishReason::Cancelled, self.now());
        assert!(matches!(event, Some(SequenceEvent::Finished { reason: FinishReason::Cancelled, .. })));
        assert!(self.scheduler.finish(id, FinishReason::Cancelled, self.now()).is_none());
        self.expected.remove(&id);
        self.cancelled += 1;
        self.scheduler.assert_conserved();
    }

    fn step(&mut self) {
        self.steps += 1;
        let now = self.now();
        self.scheduler.plan(now, &mut self.plan);
        self.scheduler.assert_conserved();
        self.check_plan();
        for started in &self.plan.started {
            let expected = self.expected.get_mut(&started.id).expect("only known sequences start");
            assert!(!std::mem::replace(&mut expected.started, true), "a sequence starts once");
        }
        for row in self.plan.rows().iter().filter(|row| row.scores) {
            let expected = self.expected.get_mut(&row.id).expect("only known sequences are planned");
            let scored =
                self.scheduler.tokens(row.id).map_or(0, |(_, prompt)| prompt - 1) - expected.unscored;
            // Also after a preemption: each position once, none left out.
            assert_eq!(row.start, scored, "the positions that are scored follow one another");
            expected.unscored -= expected.unscored.min(row.end - scored);
        }
        let unscored = |row: &&PlanRow| !row.scores && self.expected[&row.id].unscored > 0;
        self.read_again += self.plan.rows().iter().filter(unscored).count() as u64;
        let mut picked = self.run_model();
        let mut events = Vec::new();
        self.scheduler.commit(now, &self.plan, &mut picked, &mut events);
        self.scheduler.assert_conserved();
        for (id, event) in events {
            self.check_event(id, event);
        }
        assert_eq!(self.scheduler.running() + self.scheduler.waiting(), self.expected.len());
    }

    fn check_plan(&self) {
        let rows = self.plan.rows();
        assert_eq!(rows.is_empty(), self.expected.is_empty(), "there is work just if there are sequences");
        let is_last = |row: &&PlanRow| {
            self.scheduler
                .tokens(row.id)
                .is_some_and(|(tokens, _)| (row.start, row.end) == (tokens.len() - 1, tokens.len()))
        };
        let decodes = rows.iter().filter(is_last).count();
        let most = self.config.step_tokens_max.max(decodes + 1);
        assert!(self.plan.tokens() <= most, "{} tokens, at most {most} allowed", self.plan.tokens());
        assert!(rows.len() <= self.config.running_max);
        let scored: usize = rows.iter().filter(|row| row.scores).map(|row| row.end - row.start).sum();
        assert!(scored <= self.config.scored_rows_max, "{scored} positions are scored in one step");
    }

    fn run_model(&mut self) -> Vec<Picked> {
        let chunks: Vec<Chunk<'_>> = self.plan.rows().iter().map(|row| self.scheduler.chunk(row)).collect();
        let mut logits = Vec::new();
        self.model.run(&chunks, &mut logits).expect("the batch keeps the contract");
        let mut rows = logits.chunks_exact(crate::fake::VOCAB_SIZE);
        let pick = |row: &PlanRow| {
            let last = rows.by_ref().take(row.logits_rows()).last();
            if !row.wants_logits {
                return Picked::Read;
            }
            let logits = last.expect("a row of logits for each row that wants one");
            let best = (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
            let id = best.expect("the vocabulary is not empty") as TokenId;
            Picked::Token(GeneratedToken { id, logprob: f32::NAN, top: Vec::new() })
        };
        self.plan.rows().iter().map(pick).collect()
    }

    fn check_event(&mut self, id: SequenceId, event: SequenceEvent) {
        let expected = self.expected.get_mut(&id).expect("only known sequences have events");
        let token = greedy_of(expected.hash);
        match event {
            SequenceEvent::Started { .. } => unreachable!("commit starts nothing"),
            SequenceEvent::Prompt(_) => unreachable!("commit weighs nothing"),
            SequenceEvent::Token(given) => {
                assert_eq!(expected.unscored, 0, "{id:?} speaks before its prompt is weighed");
                assert_eq!(given.id, token, "{id:?} got the token of another history");
                assert_ne!(token, expected.end_token, "the end token is not reported");
                expected.hash = hash_token(expected.hash, expected.length, token);
                expected.length += 1;
            }
            SequenceEvent::Finished { reason: FinishReason::EndToken, .. } => {
                assert_eq!(token, expected.end_token);
                self.natural_end(id);
            }
            SequenceEvent::Finished { reason: FinishReason::Length, usage } => {
                assert_eq!(expected.unscored, 0, "{id:?} ends before its prompt is weighed");
                assert_eq!(expected.length, expected.length_end);
                self.cached_tokens += usage.cached_tokens as u64;
                assert_eq!(usage.prompt_tokens + usage.generated_tokens, expected.length);
                self.natural_end(id);
            }
            SequenceEvent::Finished { reason, .. } => panic!("{id:?} ended with {reason:?}"),
        }
    }

    fn natural_end(&mut self, id: SequenceId) {
        let took = self.expected.remove(&id).map_or(0, |expected| self.steps - expected.submitted_step);
        let longest = &mut self.longest[self.classes[&id] as usize];
        *longest = (*longest).max(took);
        self.finished += 1;
    }

    /// Steps until everything has ended, in at most as many steps as one sequence after the other would take
    /// with every preemption that is possible.
    fn drain(&mut self) {
        let longest = self.config.length_max as u64;
        let most = (self.expected.len() as u64 + 1) * (longest * longest / 4 + longest);
        let start = self.steps;
        while !self.expected.is_empty() {
            self.step();
            assert!(self.steps - start <= most, "nothing waits for ever");
        }
        assert_eq!(self.scheduler.blocks_free(), self.config.kv_blocks, "every block came back");
    }

    fn submit_random(&mut self, rng: &mut Rng) {
        let longest = self.config.length_max - 1;
        let prompt_tokens =
            1 + if rng.below(4) == 0 { rng.below(longest) } else { rng.below(longest.min(30)) };
        // Half of them begin as many others do, and go their own way after a while.
        let common = if rng.below(2) == 0 { rng.below(longest) } else { 0 };
        let prompt = (0..prompt_tokens)
            .map(|at| if at < common { (at % 3) as TokenId } else { rng.below(57) as TokenId })
            .collect();
        // Some only want to have their prompt scored, see `submit`.
        let tokens_max = if self.next_id.is_multiple_of(10) { 0 } else { 1 + rng.below(120) };
        let end_token = if rng.below(3) == 0 { rng.below(57) as TokenId } else { 1000 };
        let priority = PRIORITIES[rng.below(4)];
        self.submit(prompt, tokens_max, end_token, priority);
    }
}

/// Runs random arrivals and cancels. Returns the world, drained.
fn simulate(config: SchedulerConfig, seed: u64, steps: u64, arrivals_percent: usize) -> World {
    let mut world = World::new(config);
    let mut rng = Rng::from_seed(seed);
    for _ in 0..steps {
        if rng.below(100) < arrivals_percent {
            world.submit_random(&mut rng);
        }
        if rng.below(100) < arrivals_percent / 4 {
            world.cancel(rng.below(1000));
        }
        world.step();
    }
    world.drain();
    world
}

#[test]
fn a_hundred_thousand_random_steps() {
    let tiny = SchedulerConfig {
        kv_blocks: 6,
        step_tokens_max: 16,
        running_max: 6,
        waiting_max: 10,
        length_max: 6 * KV_BLOCK_TOKENS,
        scored_rows_max: 11,
    };
    let small = SchedulerConfig { kv_blocks: 24, step_tokens_max: 64, running_max: 8, ..tiny };
    let roomy = SchedulerConfig { kv_blocks: 80, step_tokens_max: 128, running_max: 12, ..tiny };
    let one_by_one = SchedulerConfig { step_tokens_max: 1, length_max: 100, ..tiny };
    let (mut preemptions, mut cached_tokens) = (0, 0);
    for (config, seed, steps, arrivals_percent) in [
        (tiny, 1, 40_000, 12),
        (small, 2, 25_000, 25),
        (roomy, 3, 20_000, 40),
        (one_by_one, 4, 10_000, 5),
        (SchedulerConfig { scored_rows_max: 1, ..small }, 6, 10_000, 25),
        // Hardly any load: the scheduler is empty most of the time.
        (tiny, 5, 5_000, 1),
    ] {
        let world = simulate(config, seed, steps, arrivals_percent);
        preemptions += world.scheduler.preemptions();
        cached_tokens += world.cached_tokens;
        let total = world.finished + world.cancelled + world.refused;
        assert_eq!(total, world.next_id, "every submission came to an end");
        assert!(world.finished > 20, "{} finished", world.finished);
    }
    assert!(cached_tokens > 10_000, "{cached_tokens} tokens came from the cache, which is hardly tried");
    assert!(preemptions > 100, "the pools are small enough that {preemptions} preemptions are too few");
}

#[test]
fn what_was_scored_before_a_preemption_is_only_read_again() {
    let config = SchedulerConfig {
        kv_blocks: 6,
        step_tokens_max: 16,
        running_max: 2,
        waiting_max: 10,
        length_max: 6 * KV_BLOCK_TOKENS,
        scored_rows_max: 1,
    };
    for answer_tokens in [100, 160] {
        let mut world = World::new(config);
        // The first of a world is scored: it takes 3 blocks, and the other one's answer grows into them before its 95
        // steps are over.
        let prompt =
            |first: TokenId, tokens: usize| (0..tokens).map(|at| first + at as TokenId % 20).collect();
        world.submit(prompt(1, 96), 5, 1000, Priority::Low);
        world.step();
        world.submit(prompt(30, 30), answer_tokens, 1000, Priority::High);
        world.drain();
        assert_eq!((world.finished, world.scheduler.preemptions()), (2, 1));
        assert!(world.read_again > 0, "it lost its blocks when nothing was scored, or all");
    }
}

#[test]
fn a_flood_of_the_highest_class_does_not_starve_the_lowest() {
    let config = SchedulerConfig {
        kv_blocks: 12,
        step_tokens_max: 32,
        running_max: 4,
        waiting_max: 40,
        length_max: 4 * KV_BLOCK_TOKENS,
        scored_rows_max: 11,
    };
    let mut world = World::new(config);
    let mut rng = Rng::from_seed(11);
    for step in 0..6000 {
        while world.expected.len() < 30 {
            world.submit((0..20).map(|_| rng.below(57) as TokenId).collect(), 10, 1000, Priority::High);
        }
        if step % 500 == 0 {
            world.submit((0..60).map(|_| rng.below(57) as TokenId).collect(), 40, 1000, Priority::Low);
        }
        world.step();
    }
    let highs_per_low = 9;
    // Two low ones at most are there at a time; each needs 9 places of the queue, at 4 places per 10 steps or
    // so, then its 2 prompt chunks and 40 tokens, twice read again.
    assert!(world.longest[2] > 0 && world.longest[2] < 40 * highs_per_low, "{:?}", world.longest);
    world.drain();
}

#[derive(Debug, Clone)]
enum Act {
    Submit { prompt_tokens: usize, tokens_max: usize, end_token: TokenId, class: usize },
    Cancel { nth: usize },
    Step { times: usize },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1_usize..63, 1_usize..80, prop_oneof![Just(1000_u32), 0_u32..57], 0_usize..3).prop_map(
            |(prompt_tokens, tokens_max, end_token, class)| Act::Submit {
                prompt_tokens,
                tokens_max,
                end_token,
                class
            }
        ),
        (0_usize..8).prop_map(|nth| Act::Cancel { nth }),
        (1_usize..20).prop_map(|times| Act::Step { times }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_history_conserves_blocks_and_ends(
        kv_blocks in 2_usize..7,
        step_tokens_max in 1_usize..40,
        running_max in 1_usize..6,
        waiting_max in 1_usize..6,
        acts in prop::collection::vec(any_act(), 1..40),
    ) {
        let length_max = 2 * KV_BLOCK_TOKENS;
        let config = SchedulerConfig {
            kv_blocks,
            step_tokens_max,
            running_max,
            waiting_max,
            length_max,
            scored_rows_max: 11,
        };
        let mut world = World::new(config);
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Submit { prompt_tokens, tokens_max, end_token, class } => {
                    let prompt = (0..prompt_tokens).map(|at| ((at * 7 + number) % 57) as TokenId).collect();
                    world.submit(prompt, tokens_max, end_token, PRIORITIES[class]);
                }
                Act::Cancel { nth } => world.cancel(nth),
                Act::Step { times } => (0..times).for_each(|_| world.step()),
            }
        }
        world.drain();
    }
}
