use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use base::{Clock, Rng, TokenId};
use engine::{
    CacheScope, Engine, EngineConfig, EngineError, EngineUsage, FinishReason, Priority, SamplingParams,
    Sequence, SequenceEvent, Submission, SubmitError,
};
use models::batch::{Chunk, Model, ModelError, ModelInfo};

use crate::fake::{Controls, FakeModel, NOT_A_NUMBER, PANICS, REFUSED, SHORT, SeenChunk, greedy_answer};

const CONFIG: EngineConfig =
    EngineConfig { kv_blocks: 256, step_tokens_max: 64, running_max: 8, waiting_max: 16, kv_claimed: false };
const CONTEXT: usize = 1024;

pub(crate) fn start(config: EngineConfig) -> (Engine, Controls) {
    start_with(FakeModel::new(CONTEXT), config)
}

fn start_with(model: FakeModel, config: EngineConfig) -> (Engine, Controls) {
    let controls = model.controls();
    let clock: Arc<dyn Clock> = controls.clock.clone();
    let engine = Engine::start(Box::new(model), config, clock, Rng::from_seed(1));
    (engine.expect("the config is valid"), controls)
}

pub(crate) fn prompt(number: usize, tokens: usize) -> Vec<TokenId> {
    (0..tokens).map(|at| ((at * 31 + number * 17 + at * at) % 57) as TokenId).collect()
}

pub(crate) fn submission(prompt: Vec<TokenId>, tokens_max: usize) -> Submission {
    Submission {
        prompt,
        sampling: SamplingParams::greedy(),
        tokens_max,
        end_tokens: Vec::new(),
        priority: Priority::High,
        scope: CacheScope::default(),
        steering: None,
        prompt_logprobs: None,
    }
}

/// The same once more, without what steers it.
fn again(submission: &Submission) -> Submission {
    Submission {
        prompt: submission.prompt.clone(),
        sampling: submission.sampling.clone(),
        end_tokens: submission.end_tokens.clone(),
        steering: None,
        ..*submission
    }
}

pub(crate) fn submit(engine: &Engine, submission: Submission) -> Sequence {
    engine.submit(submission).expect("the submission is accepted")
}

/// Takes all events of a sequence and checks their order.
pub(crate) fn collect(sequence: &mut Sequence) -> (Vec<TokenId>, FinishReason, EngineUsage) {
    let mut tokens = Vec::new();
    let mut started = false;
    loop {
        match sequence.blocking_next().expect("the last event is Finished") {
            SequenceEvent::Started { .. } => {
                assert!(!started && tokens.is_empty(), "Started comes once and first");
                started = true;
            }
            SequenceEvent::Prompt(_) => {
                assert!(started && tokens.is_empty(), "the prompt comes before the answer");
            }
            SequenceEvent::Token(token) => {
                assert!(started);
                tokens.push(token.id);
            }
            SequenceEvent::Finished { reason, usage } => {
                assert_eq!(usage.generated_tokens, tokens.len());
                assert_eq!(sequence.blocking_next(), None, "nothing comes after Finished");
                return (tokens, reason, usage);
            }
        }
    }
}

pub(crate) fn answer(engine: &Engine, submission: Submission) -> Vec<TokenId> {
    let (tokens, reason, _) = collect(&mut submit(engine, submission));
    assert_eq!(reason, FinishReason::Length);
    tokens
}

/// Every block is free and nothing is left.
pub(crate) fn check_idle(engine: &Engine) {
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting), (0, 0));
    assert_eq!(stats.blocks_free, stats.blocks_total);
}

#[test]
fn turns_of_a_conversation_are_read_once_and_answered_the_same() {
    let (engine, controls) = start(CONFIG);
    let mut history = prompt(5, 100);
    let mut cached = Vec::new();
    for turn in 0..4 {
        let (tokens, _, usage) = collect(&mut submit(&engine, submission(history.clone(), 50)));
        assert_eq!(tokens, greedy_answer(&history, 50), "turn {turn}");
        cached.push((usage.prompt_tokens, usage.cached_tokens));
        history.extend(tokens);
        history.extend(prompt(turn, 20));
    }
    // All but the last block, which was not full, and the answer's last token, which was never computed.
    assert_eq!(cached, [(100, 0), (170, 128), (240, 192), (310, 288)]);
    // Another scope's is read from the start, and answered the same.
    controls.seen.lock().unwrap().clear();
    let strange = Submission { scope: CacheScope([1; 16]), ..submission(history.clone(), 5) };
    let (tokens, _, usage) = collect(&mut submit(&engine, strange));
    assert_eq!((tokens, usage.cached_tokens), (greedy_answer(&history, 5), 0));
    assert_eq!(controls.seen.lock().unwrap()[0][0].position, 0);
    check_idle(&engine);
    let stats = engine.stats();
    assert_eq!(stats.cached_tokens, 128 + 192 + 288);
    assert!(stats.blocks_cached >= 20, "{}", stats.blocks_cached);
}

#[test]
fn eight_at_once_answer_as_each_alone() {
    let lengths = [1, 2, 31, 32, 33, 150, 400, 90];
    let sampled = SamplingParams {
        temperature: 0.9,
        top_p: 0.95,
        repetition_penalty: 1.2,
        frequency_penalty: 0.3,
        penalty_window: 50,
        seed: Some(5),
        logprobs: Some(2),
        ..SamplingParams::default()
    };
    let submissions: Vec<Submission> = lengths
        .iter()
        .enumerate()
        .map(|(number, &tokens)| {
            let sampling = if number % 2 == 0 { SamplingParams::greedy() } else { sampled.clone() };
            Submission { sampling, ..submission(prompt(number, tokens), 40 + number) }
        })
        .collect();
    let (alone, _) = start(EngineConfig { step_tokens_max: 512, ..CONFIG });
    let expected: Vec<_> = submissions.iter().map(|submission| answer(&alone, again(submission))).collect();
    for number in (0..8).step_by(2) {
        let cacheless = greedy_answer(&submissions[number].prompt, submissions[number].tokens_max);
        assert_eq!(expected[number], cacheless);
    }
    // 30 blocks can't hold the 22 of the prompts and 12 or so of the answers: some are preempted.
    for (step_tokens_max, kv_blocks) in [(1, 256), (7, 256), (512, 256), (1, 30), (7, 30), (512, 30)] {
        let (engine, _) = start(EngineConfig { step_tokens_max, kv_blocks, ..CONFIG });
        let mut sequences: Vec<_> = submissions.iter().map(|one| submit(&engine, again(one))).collect();
        let answers: Vec<_> = sequences.iter_mut().map(|sequence| collect(sequence).0).collect();
        assert_eq!(answers, expected, "chunks of {step_tokens_max}, {kv_blocks} blocks");
        check_idle(&engine);
    }
}

#[test]
fn preemption_is_not_seen_in_the_answers() {
    let (engine, controls) = start(EngineConfig { kv_blocks: 9, ..CONFIG });
    controls.gate.close();
    let mut sequences: Vec<_> =
        (0..4).map(|number| submit(&engine, submission(prompt(number, 20), 150))).collect();
    controls.gate.open();
    for (number, sequence) in sequences.iter_mut().enumerate() {
        let (tokens, reason, _) = collect(sequence);
        assert_eq!(reason, FinishReason::Length);
        assert_eq!(tokens, greedy_answer(&prompt(number, 20), 150));
    }
    assert!(engine.stats().preemptions > 0, "4 answers of 6 blocks don't fit in 9");
    check_idle(&engine);
}

#[test]
fn unseeded_draws_differ_and_seeded_ones_repeat() {
    let (engine, _) = start(CONFIG);
    let sampling = |seed| SamplingParams { temperature: 50.0, seed, ..SamplingParams::default() };
    let with = |seed| Submission { sampling: sampling(seed), ..submission(prompt(1, 9), 30) };
    assert_ne!(answer(&engine, with(None)), answer(&engine, with(None)));
    assert_eq!(answer(&engine, with(Some(3))), answer(&engine, with(Some(3))));
    assert_ne!(answer(&engine, with(Some(3))), answer(&engine, with(Some(4))));
}

#[test]
fn a_chosen_end_token_ends_and_is_not_reported() {
    let (engine, _) = start(CONFIG);
    let whole = greedy_answer(&prompt(3, 12), 30);
    let end = whole[7];
    let before = whole.iter().position(|token| *token == end).expect("it is there");
    let ending = Submission { end_tokens: vec![1000, end], ..submission(prompt(3, 12), 30) };
    let (tokens, reason, usage) = collect(&mut submit(&engine, ending));
    assert_eq!(reason, FinishReason::EndToken);
    assert_eq!(tokens, whole[..before]);
    assert_eq!((usage.prompt_tokens, usage.generated_tokens), (12, before));
}

#[test]
fn answers_end_where_the_context_does() {
    let check = |context, kv_blocks, length_max: usize| {
        let (engine, _) = start_with(FakeModel::new(context), EngineConfig { kv_blocks, ..CONFIG });
        assert_eq!(engine.length_max(), length_max);
        for tokens in [1, length_max - 1] {
            let asked = submission(prompt(2, tokens), usize::MAX);
            assert_eq!(answer(&engine, asked), greedy_answer(&prompt(2, tokens), length_max - tokens));
        }
        let refused = engine.submit(submission(prompt(2, length_max), 1)).map(|_| ());
        assert_eq!(refused, Err(SubmitError::TooLong { prompt: length_max, allowed: length_max - 1 }));
    };
    check(100, 256, 100);
    check(1000, 4, 128);
}

#[test]
fn logprobs_come_when_asked_for() {
    let (engine, _) = start(CONFIG);
    for (asked, alternatives) in [(None, 0), (Some(0), 0), (Some(4), 4)] {
        let sampling = SamplingParams { logprobs: asked, ..SamplingParams::greedy() };
        let mut sequence = submit(&engine, Submission { sampling, ..submission(prompt(1, 5), 3) });
        let mut seen = 0;
        while let Some(event) = sequence.blocking_next() {
            let SequenceEvent::Token(token) = event else { continue };
            seen += 1;
            assert_eq!(token.top.len(), alternatives);
            assert_eq!(token.logprob.is_nan(), asked.is_none());
            if let Some(&(id, logprob)) = token.top.first() {
                assert_eq!((id, logprob.to_bits()), (token.id, token.logprob.to_bits()));
            }
        }
        assert_eq!(seen, 3);
    }
}

#[test]
fn times_and_counts_are_those_of_the_steps() {
    // Each step takes 10 ms of the manual clock.
    let (engine, controls) = start(EngineConfig { step_tokens_max: 10, running_max: 1, ..CONFIG });
    controls.gate.close();
    let mut first = submit(&engine, submission(prompt(1, 25), 4));
    let mut second = submit(&engine, submission(prompt(2, 5), 2));
    controls.gate.open();
    let millis = Duration::from_millis;
    // 3 steps for the prompt, the last of which gives a token, and 3 more tokens.
    let usage = collect(&mut first).2;
    let times = (usage.queued, usage.prefill, usage.decode);
    assert_eq!(times, (millis(0), millis(30), millis(30)));
    let usage = collect(&mut second).2;
    let times = (usage.queued, usage.prefill, usage.decode);
    assert_eq!(times, (millis(60), millis(10), millis(10)));
    let stats = engine.stats();
    assert_eq!((stats.steps, stats.prompt_tokens, stats.generated_tokens), (8, 30, 6));
    assert_eq!((stats.queue.count, stats.queue.sum), (2, millis(60)));
    assert_eq!((stats.first_token.count, stats.first_token.sum), (2, millis(100)));
    assert_eq!((stats.inter_token.count, stats.inter_token.sum), (4, millis(40)));
    assert_eq!(stats.finished.length, 2);
    check_idle(&engine);
}

#[test]
fn prompts_are_read_between_the_tokens_of_others() {
    let (engine, controls) = start(EngineConfig { step_tokens_max: 16, ..CONFIG });
    controls.gate.close();
    let mut short = submit(&engine, submission(prompt(1, 2), 12));
    let mut long = submit(&engine, submission(prompt(2, 100), 2));
    controls.gate.open();
    collect(&mut short);
    collect(&mut long);
    let seen = controls.seen.lock().unwrap();
    let sizes = |batch: usize| seen[batch].iter().map(|chunk| chunk.tokens.len()).collect::<Vec<_>>();
    // The first step may have begun before the long prompt came.
    let both = usize::from(seen[0].len() == 1);
    for step in 1..6 {
        assert_eq!(sizes(both + step), [1, 15], "one token of the short one in every step");
    }
}

#[test]
fn a_full_queue_refuses_and_has_room_again() {
    let config = EngineConfig { running_max: 2, waiting_max: 3, ..CONFIG };
    let (engine, controls) = start(config);
    controls.gate.close();
    let mut sequences: Vec<_> =
        (0..5).map(|number| submit(&engine, submission(prompt(number, 5), 3))).collect();
    let refused = || engine.submit(submission(prompt(9, 5), 3)).map(|_| ());
    assert_eq!(refused(), Err(SubmitError::QueueFull { held: 5, allowed: 5 }));
    let stats = engine.stats();
    assert_eq!(stats.running + stats.waiting, 5);
    controls.gate.open();
    // A place is free as soon as an end is told.
    collect(&mut sequences[0]);
    answer(&engine, submission(prompt(9, 5), 3));
    for sequence in &mut sequences[1..] {
        collect(sequence);
    }
    check_idle(&engine);
}

#[test]
fn classes_start_in_their_order() {
    let (engine, controls) = start(EngineConfig { running_max: 1, ..CONFIG });
    controls.gate.close();
    let of = |first: TokenId, priority| {
        submit(&engine, Submission { priority, ..submission(vec![first, 1, 2], 2) })
    };
    // Holds the only place until all others are queued.
    let mut sequences = vec![of(50, Priority::Low)];
    let plan = [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Normal)];
    controls.gate.let_through(1);
    while !matches!(sequences[0].blocking_next(), Some(SequenceEvent::Token(_))) {}
    sequences.extend(plan.into_iter().map(|(first, priority)| of(first, priority)));
    controls.gate.open();
    for sequence in &mut sequences {
        while sequence.blocking_next().is_some() {}
    }
    let seen = controls.seen.lock().unwrap();
    let prompts = seen.iter().flatten().filter(|chunk| chunk.position == 0);
    let order: Vec<TokenId> = prompts.map(|chunk| chunk.tokens[0]).collect();
    assert_eq!(order, [50, 3, 2, 4, 1]);
}

/// Takes what comes until the end, and says why it was.
fn end_of(sequence: &mut Sequence) -> FinishReason {
    loop {
        if let SequenceEvent::Finished { reason, .. } = sequence.blocking_next().expect("an end comes") {
            return reason;
        }
    }
}

#[test]
fn who_comes_first_takes_a_place_in_a_full_queue_from_who_waits() {
    let (engine, controls) = start(EngineConfig { running_max: 1, waiting_max: 2, ..CONFIG });
    controls.gate.close();
    let of = |priority| engine.submit(Submission { priority, ..submission(prompt(1, 3), 2) });
    // It goes on for longer than what is asked next takes to be looked at.
    let longer = Submission { priority: Priority::Lowest, ..submission(prompt(2, 3), 40) };
    let mut running = engine.submit(longer).unwrap();
    controls.gate.let_through(1);
    while !matches!(running.blocking_next(), Some(SequenceEvent::Token(_))) {}
    let mut waiting = [of(Priority::Normal).unwrap(), of(Priority::Low).unwrap()];
    // Nobody gives way to those below, nor to their like; what runs does not either, which shows after the step.
    let refused = of(Priority::Lowest).map(|_| ());
    assert_eq!(refused, Err(SubmitError::QueueFull { held: 3, allowed: 3 }));
    let mut hoped = of(Priority::Low).unwrap();
    let mut first = of(Priority::High).unwrap();
    controls.gate.open();
    assert_eq!(end_of(&mut hoped), FinishReason::Displaced);
    assert_eq!(end_of(&mut waiting[1]), FinishReason::Displaced);
    // What runs goes on.
    assert_eq!(end_of(&mut running), FinishReason::Length);
    assert_eq!(end_of(&mut first), FinishReason::Length);
    assert_eq!(end_of(&mut waiting[0]), FinishReason::Length);
    check_idle(&engine);
    assert_eq!(engine.stats().finished.displaced, 2);
}

#[test]
fn a_cancel_ends_a_sequence_within_a_step() {
    let (engine, controls) = start(CONFIG);
    controls.gate.close();
    let mut kept = submit(&engine, submission(prompt(1, 40), 30));
    let mut cancelled = submit(&engine, submission(prompt(2, 40), 30));
    let dropped = submit(&engine, submission(prompt(3, 40), 30));
    controls.gate.let_through(3);
    while !matches!(cancelled.blocking_next(), Some(SequenceEvent::Token(_))) {}
    cancelled.cancel();
    cancelled.cancel();
    drop(dropped);
    // At most one step can have been planned before the cancels.
    controls.gate.let_through(1);
    let (reason, usage) = loop {
        match cancelled.blocking_next().expect("the last event is Finished") {
            SequenceEvent::Finished { reason, usage } => break (reason, usage),
            SequenceEvent::Started { .. } | SequenceEvent::Prompt(_) | SequenceEvent::Token(_) => (),
        }
    };
    assert_eq!(reason, FinishReason::Cancelled);
    assert!(usage.generated_tokens >= 1 && usage.generated_tokens <= 4);
    controls.gate.open();
    assert_eq!(collect(&mut kept).0, greedy_answer(&prompt(1, 40), 30));
    let stats = engine.stats();
    assert_eq!((stats.finished.cancelled, stats.finished.length), (2, 1));
    check_idle(&engine);
}

#[test]
fn a_storm_of_cancels_loses_nothing() {
    let (engine, _) = start(EngineConfig { kv_blocks: 40, waiting_max: 1000, ..CONFIG });
    let mut rng = Rng::from_seed(21);
    let mut held = Vec::new();
    for number in 0..600 {
        let mut sequence =
            submit(&engine, submission(prompt(number, 1 + rng.below(200)), 1 + rng.below(100)));
        match rng.below(4) {
            // Dropped at once, in the queue most likely.
            0 => (),
            // Dropped after some events.
            1 => (0..rng.below(3)).for_each(|_| drop(sequence.blocking_next())),
            2 => {
                sequence.cancel();
                held.push(sequence);
            }
            _ => held.push(sequence),
        }
        if held.len() > 12 {
            held.swap_remove(rng.below(held.len()));
        }
    }
    held.clear();
    // Commands are taken in order: when this one is answered, every cancel before it has been obeyed.
    assert_eq!(answer(&engine, submission(prompt(7, 60), 80)), greedy_answer(&prompt(7, 60), 80));
    check_idle(&engine);
    let finished = engine.stats().finished;
    assert_eq!(finished.cancelled + finished.length, 601);
}

#[test]
fn a_failure_ends_the_sequence_at_fault_and_no_other() {
    let with = |token: TokenId| vec![1, 2, token, 4];
    let message = |token: TokenId| {
        let (engine, controls) = start(CONFIG);
        controls.gate.close();
        let mut good = submit(&engine, submission(prompt(1, 50), 20));
        controls.gate.let_through(2);
        while !matches!(good.blocking_next(), Some(SequenceEvent::Token(_))) {}
        let mut bad = submit(&engine, submission(with(token), 20));
        controls.gate.open();
        let (tokens, reason, _) = collect(&mut bad);
        assert!(tokens.is_empty());
        let FinishReason::Failed(message) = reason else { panic!("{reason:?}") };
        let mut rest = Vec::new();
        let good_end = loop {
            match good.blocking_next().expect("the last event is Finished") {
                SequenceEvent::Finished { reason, .. } => break reason,
                SequenceEvent::Token(token) => rest.push(token.id),
                SequenceEvent::Started { .. } | SequenceEvent::Prompt(_) => {
                    unreachable!("it has started before, and nobody asked for the prompt")
                }
            }
        };
        let good_is_right = rest == greedy_answer(&prompt(1, 50), 20)[1..];
        // The engine goes on.
        assert_eq!(answer(&engine, submission(prompt(5, 40), 10)), greedy_answer(&prompt(5, 40), 10));
        check_idle(&engine);
        (message, good_end == FinishReason::Length && good_is_right)
    };
    let refused = "the model could not go on: token id 57 is outside the vocabulary of 61 tokens";
    assert_eq!(message(REFUSED), (refused.to_owned(), true));
    let not_finite = "the model's logits must be numbers below infinity, some are not";
    assert_eq!(message(NOT_A_NUMBER), (not_finite.to_owned(), true));
    // After a panic, or logits of the wrong shape, nothing of the step can be trusted.
    assert_eq!(message(PANICS), ("the model stopped unexpectedly".to_owned(), false));
    assert_eq!(message(SHORT), ("the model stopped unexpectedly".to_owned(), false));
}

#[test]
fn what_is_wrong_with_a_submission_is_said() {
    let (engine, _) = start(CONFIG);
    let check = |submission: Submission, expected: &str| {
        let error = engine.submit(submission).map(|_| ()).unwrap_err();
        assert!(matches!(error, SubmitError::InvalidParam(_)));
        assert_eq!(error.to_string(), expected);
    };
    check(submission(vec![], 5), "prompt must be at least 1 token, got 0");
    check(submission(vec![1], 0), "tokens_max must be at least 1, got 0");
    check(submission(vec![1, 61], 5), "prompt must be token ids below 61, got 61");
    let with = |sampling| Submission { sampling, ..submission(vec![1], 5) };
    let bias = SamplingParams { logit_bias: vec![(70, 1.0)], ..SamplingParams::default() };
    check(with(bias), "logit_bias must be token ids below 61, got 70");
    let hot = SamplingParams { temperature: 101.0, ..SamplingParams::default() };
    check(with(hot), "temperature must be between 0 and 100, got 101");
    let many = Submission { prompt_logprobs: Some(21), ..submission(vec![1], 0) };
    check(many, "prompt_logprobs must be at most 20, got 21");
    assert_eq!(engine.stats().waiting, 0, "what is refused holds no place");
    for config in [
        EngineConfig { kv_blocks: 0, ..CONFIG },
        EngineConfig { step_tokens_max: 0, ..CONFIG },
        EngineConfig { running_max: 0, ..CONFIG },
        EngineConfig { waiting_max: 0, ..CONFIG },
    ] {
        let model = FakeModel::new(CONTEXT);
        let clock = model.controls().clock;
        let started = Engine::start(Box::new(model), config, clock, Rng::from_seed(1));
        assert!(matches!(started, Err(EngineError::Config(error)) if error.allowed == "at least 1"));
    }
}

#[test]
fn memory_of_the_kv_pool_is_claimed_where_that_is_wanted() {
    for (kv_claimed, blocks) in [(false, 0), (true, CONFIG.kv_blocks)] {
        let (_engine, controls) = start(EngineConfig { kv_claimed, ..CONFIG });
        assert_eq!(controls.claimed.load(Ordering::SeqCst), blocks);
    }
}

#[test]
fn shutdown_lets_answers_finish() {
    let (engine, controls) = start(CONFIG);
    controls.gate.close();
    let mut sequences: Vec<_> =
        (0..12).map(|number| submit(&engine, submission(prompt(number, 9), 20))).collect();
    engine.shutdown(Duration::from_mins(1));
    assert!(matches!(engine.submit(submission(prompt(1, 9), 20)), Err(SubmitError::ShutDown)));
    controls.gate.open();
    for (number, sequence) in sequences.iter_mut().enumerate() {
        let (tokens, reason, _) = collect(sequence);
        assert_eq!(reason, FinishReason::Length);
        assert_eq!(tokens, greedy_answer(&prompt(number, 9), 20));
    }
    engine.wait_stopped();
    engine.wait_stopped();
    check_idle(&engine);
    assert!(matches!(engine.submit(submission(prompt(1, 9), 20)), Err(SubmitError::ShutDown)));
}

#[test]
fn shutdown_cuts_at_the_deadline() {
    // Each step takes 10 ms, the deadline is 50 ms after the first.
    let (engine, controls) = start(EngineConfig { running_max: 2, ..CONFIG });
    controls.gate.close();
    let mut sequences: Vec<_> =
        (0..4).map(|number| submit(&engine, submission(prompt(number, 5), 500))).collect();
    engine.shutdown(Duration::from_millis(50));
    // A later deadline doesn't lengthen it.
    engine.shutdown(Duration::from_secs(50));
    controls.gate.open();
    for (number, sequence) in sequences.iter_mut().enumerate() {
        let (tokens, reason, _) = collect(sequence);
        assert_eq!(reason, FinishReason::ShuttingDown);
        // The first step may have begun before the second submission.
        let allowed = [5..=5, 4..=5, 0..=0, 0..=0];
        assert!(allowed[number].contains(&tokens.len()), "{} tokens of {number}", tokens.len());
    }
    engine.wait_stopped();
    check_idle(&engine);
    assert_eq!(engine.stats().finished.shutting_down, 4);
}

/// Waits until a step that could be given up has asked whether it is to be, some times more.
fn wait_until_asked(controls: &Controls) {
    let before = controls.asked.load(Ordering::SeqCst);
    while controls.asked.load(Ordering::SeqCst) < before + 100 {
        thread::yield_now();
    }
}

fn of_user(user: u8, submission: Submission) -> Submission {
    Submission { scope: CacheScope([user; 16]), ..submission }
}

#[test]
fn a_part_of_a_long_prompt_is_given_up_for_who_comes_with_a_short_one_and_had_less() {
    let (engine, controls) = start(CONFIG);
    controls.holds.store(true, Ordering::SeqCst);
    let long = prompt(1, 900);
    let mut first = submit(&engine, of_user(1, submission(long.clone(), 3)));
    wait_until_asked(&controls);
    assert_eq!(controls.seen.lock().unwrap().len(), 1);
    // Not for the same user, nor for another's that is as long, nor for one of a lower class.
    let mut not_for = vec![
        submit(&engine, of_user(1, submission(prompt(2, 20), 2))),
        submit(&engine, of_user(2, submission(prompt(3, 500), 2))),
    ];
    let low = Submission { priority: Priority::Low, ..of_user(3, submission(prompt(4, 20), 2)) };
    not_for.push(submit(&engine, low));
    wait_until_asked(&controls);
    assert_eq!(controls.seen.lock().unwrap().len(), 1, "its step goes on");
    let short = prompt(5, 20);
    let mut next = submit(&engine, of_user(4, submission(short.clone(), 2)));
    while controls.seen.lock().unwrap().len() < 2 {
        thread::yield_now();
    }
    controls.holds.store(false, Ordering::SeqCst);
    let (tokens, ..) = collect(&mut next);
    assert_eq!(tokens, greedy_answer(&short, 2));
    let seen = controls.seen.lock().unwrap().clone();
    assert_eq!(seen[0], [SeenChunk { tokens: long[..64].to_vec(), position: 0 }]);
    assert!(seen[1].iter().any(|chunk| chunk.tokens == short), "{:?}", seen[1]);
    assert_eq!(collect(&mut first).0, greedy_answer(&long, 3));
    for sequence in &mut not_for {
        collect(sequence);
    }
    check_idle(&engine);
}

#[test]
fn an_answer_in_a_step_that_is_given_up_has_its_token_a_step_later() {
    let (engine, controls) = start(CONFIG);
    let (answered, long, short) = (prompt(1, 20), prompt(2, 900), prompt(3, 20));
    controls.gate.close();
    controls.holds.store(true, Ordering::SeqCst);
    let mut first = submit(&engine, of_user(1, submission(answered.clone(), 40)));
    let mut second = submit(&engine, of_user(2, submission(long.clone(), 3)));
    controls.gate.open();
    wait_until_asked(&controls);
    let steps = controls.seen.lock().unwrap().len();
    let mut next = submit(&engine, of_user(3, submission(short.clone(), 2)));
    while controls.seen.lock().unwrap().len() == steps {
        thread::yield_now();
    }
    controls.holds.store(false, Ordering::SeqCst);
    assert_eq!(collect(&mut next).0, greedy_answer(&short, 2));
    assert_eq!(collect(&mut first).0, greedy_answer(&answered, 40));
    assert_eq!(collect(&mut second).0, greedy_answer(&long, 3));
    let seen = controls.seen.lock().unwrap().clone();
    let (given_up, after) = (&seen[steps - 1], &seen[steps]);
    assert_eq!((given_up.len(), given_up[0].tokens.len()), (2, 1), "an answer and a part: {given_up:?}");
    assert_eq!(after[0], given_up[0]);
    assert_eq!(after[1], SeenChunk { tokens: short, position: 0 });
    check_idle(&engine);
}

#[test]
fn who_came_while_the_only_step_failed_is_answered() {
    let (engine, controls) = start(CONFIG);
    controls.holds.store(true, Ordering::SeqCst);
    let mut first = submit(&engine, of_user(1, submission(prompt(1, 900), 3)));
    wait_until_asked(&controls);
    let short = prompt(2, 20);
    let mut next = submit(&engine, of_user(1, submission(short.clone(), 2)));
    wait_until_asked(&controls);
    controls.breaks.store(true, Ordering::SeqCst);
    controls.holds.store(false, Ordering::SeqCst);
    assert!(matches!(collect(&mut first).1, FinishReason::Failed(_)));
    assert_eq!(collect(&mut next).0, greedy_answer(&short, 2));
}

#[test]
fn who_is_given_up_gets_on_however_many_come() {
    let (engine, controls) = start(CONFIG);
    controls.holds.store(true, Ordering::SeqCst);
    let long = prompt(1, 900);
    let mut first = submit(&engine, of_user(1, submission(long.clone(), 1)));
    wait_until_asked(&controls);
    let ends = Arc::new(AtomicBool::new(false));
    let coming = thread::spawn({
        let (engine, ends) = (engine.clone(), Arc::clone(&ends));
        let asked = Arc::clone(&controls.asked);
        move || {
            for number in 2.. {
                // Who came before the step, and so is in it, has nobody come for whom it is given up.
                let before = asked.load(Ordering::SeqCst);
                while asked.load(Ordering::SeqCst) < before + 10 {
                    if ends.load(Ordering::SeqCst) {
                        return number - 2;
                    }
                    thread::yield_now();
                }
                let short = prompt(number.into(), 9);
                let mut other = submit(&engine, of_user(number, submission(short.clone(), 1)));
                assert_eq!(collect(&mut other).0, greedy_answer(&short, 1));
            }
            0
        }
    });
    let (tokens, reason, _) = collect(&mut first);
    ends.store(true, Ordering::SeqCst);
    let came = coming.join().unwrap();
    assert!(came > 10, "one came in each step that was held, {came} in all");
    assert_eq!((tokens, reason), (greedy_answer(&long, 1), FinishReason::Length));
}

/// A model that panics where the engine doesn't expect it.
struct Brittle {
    model: FakeModel,
    breaks: Arc<AtomicBool>,
}

impl Model for Brittle {
    fn info(&self) -> &ModelInfo {
        assert!(!self.breaks.load(Ordering::SeqCst), "the brittle model broke");
        self.model.info()
    }

    fn allocate_kv(&mut self, blocks: usize) -> Result<(), ModelError> {
        self.model.allocate_kv(blocks)
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        self.model.forward(chunks, logits)
    }
}

#[test]
fn every_sequence_hears_of_it_when_the_step_loop_breaks() {
    let model = FakeModel::new(CONTEXT);
    let controls = model.controls();
    controls.gate.close();
    let breaks = Arc::new(AtomicBool::new(false));
    let brittle = Brittle { model, breaks: Arc::clone(&breaks) };
    let clock = controls.clock.clone();
    let engine = Engine::start(Box::new(brittle), CONFIG, clock, Rng::from_seed(1)).unwrap();
    let mut sequences: Vec<_> =
        (0..12).map(|number| submit(&engine, submission(prompt(number, 9), 20))).collect();
    breaks.store(true, Ordering::SeqCst);
    controls.gate.open();
    for sequence in &mut sequences {
        let reason = loop {
            match sequence.blocking_next().expect("the last event is Finished") {
                SequenceEvent::Finished { reason, .. } => break reason,
                SequenceEvent::Started { .. } | SequenceEvent::Prompt(_) | SequenceEvent::Token(_) => (),
            }
        };
        assert_eq!(reason, FinishReason::Failed("the engine stopped unexpectedly".to_owned()));
    }
    engine.wait_stopped();
    assert!(matches!(engine.submit(submission(prompt(1, 9), 20)), Err(SubmitError::ShutDown)));
}

#[test]
fn the_thread_ends_when_nobody_is_left() {
    let ends = |leave: &dyn Fn(Engine, Sequence)| {
        let (sender, dropped) = mpsc::channel();
        let mut model = FakeModel::new(CONTEXT);
        model.dropped = Some(sender);
        let (engine, _) = start_with(model, CONFIG);
        let sequence = submit(&engine, submission(prompt(1, 9), 1000));
        leave(engine, sequence);
        assert_eq!(dropped.recv(), Ok(()));
    };
    ends(&|engine, mut sequence| {
        drop(engine);
        // The sequence goes on without the handle.
        assert_eq!(collect(&mut sequence).1, FinishReason::Length);
    });
    ends(&|engine, sequence| {
        drop(sequence);
        drop(engine.clone());
        drop(engine);
    });
}

#[test]
fn an_idle_engine_does_nothing() {
    let model = FakeModel::new(CONTEXT);
    let clock = Arc::new(CountingClock::default());
    let engine = Engine::start(Box::new(model), CONFIG, clock.clone(), Rng::from_seed(1)).unwrap();
    for round in 1..4 {
        answer(&engine, submission(prompt(round, 9), 5));
        let readings = clock.readings.load(Ordering::SeqCst);
        // Long enough for a loop that doesn't park to go round, which reads the clock; one that parks is right
        // however long this takes.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(clock.readings.load(Ordering::SeqCst), readings);
        assert_eq!(engine.stats().steps, 5 * round as u64);
    }
}

/// Counts how often it is read.
#[derive(Debug, Default)]
struct CountingClock {
    readings: AtomicU64,
}

impl Clock for CountingClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.readings.fetch_add(1, Ordering::SeqCst))
    }

    fn unix_ms(&self) -> i64 {
        0
    }
}

#[test]
fn many_threads_may_submit_and_async_code_may_wait() {
    let (engine, _) = start(EngineConfig { waiting_max: 100, ..CONFIG });
    thread::scope(|scope| {
        for number in 0..8 {
            let engine = engine.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for round in 0..5 {
                        let asked = prompt(number * 5 + round, 30 + round);
                        let mut sequence = submit(&engine, submission(asked.clone(), 25));
                        let mut tokens = Vec::new();
                        while let Some(event) = sequence.next().await {
                            if let SequenceEvent::Token(token) = event {
                                tokens.push(token.id);
                            }
                        }
                        assert_eq!(tokens, greedy_answer(&asked, 25));
                    }
                });
            });
        }
    });
    check_idle(&engine);
}
