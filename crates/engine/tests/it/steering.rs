//! Sequences of which something else than the model says what may come next, and prompts that are weighed.

use std::sync::{Arc, Mutex};

use base::{Rng, TokenId};
use engine::{
    Allowed, Engine, EngineConfig, FinishReason, GeneratedToken, SamplingParams, Sequence, SequenceEvent,
    Steering, Submission, TokenMask,
};
use proptest::prelude::*;

use crate::engine::{answer, check_idle, collect, prompt, start, submission, submit};
use crate::fake::{HASH_START, VOCAB_SIZE, greedy_answer, hash_token, logits_of};

const CONFIG: EngineConfig =
    EngineConfig { kv_blocks: 256, step_tokens_max: 64, running_max: 8, waiting_max: 16, kv_claimed: false };
/// Sequences of full length have to give way to each other.
const TIGHT: EngineConfig =
    EngineConfig { kv_blocks: 6, step_tokens_max: 48, running_max: 6, waiting_max: 64, kv_claimed: false };

/// What may follow the tokens that were taken.
type Ask = dyn Fn(&[TokenId], &mut TokenMask) -> Result<Allowed, String> + Send;

/// Allows tokens by a rule, and notes what it is asked and told.
struct Rule {
    ask: Box<Ask>,
    taken: Vec<TokenId>,
    asked: usize,
    told: Arc<Mutex<Vec<TokenId>>>,
}

impl Rule {
    fn new(ask: impl Fn(&[TokenId], &mut TokenMask) -> Result<Allowed, String> + Send + 'static) -> Self {
        Self { ask: Box::new(ask), taken: Vec::new(), asked: 0, told: Arc::default() }
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Steering for Rule {
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<Allowed, String> {
        assert!((0..VOCAB_SIZE as TokenId).all(|token| !mask.contains(token)), "the mask comes empty");
        assert_eq!(self.asked, self.taken.len(), "it is asked once for each token");
        self.asked += 1;
        (self.ask)(&self.taken, mask)
    }

    fn took(&mut self, token: TokenId) -> Result<(), String> {
        self.taken.push(token);
        self.told.lock().expect("no holder panics").push(token);
        Ok(())
    }
}

/// Tokens of one remainder by 3 after another; every seventh is token 7, whatever the model thinks of it.
#[expect(clippy::unnecessary_wraps, reason = "rules may fail")]
fn by_remainder(taken: &[TokenId], mask: &mut TokenMask) -> Result<Allowed, String> {
    if taken.len() % 7 == 6 {
        return Ok(Allowed::Forced(7));
    }
    if taken.len() % 7 == 5 {
        return Ok(Allowed::All);
    }
    (0..57).filter(|token| token % 3 == taken.len() as TokenId % 3).for_each(|token| mask.allow(token));
    Ok(Allowed::Masked)
}

/// Tokens that are a matter of chance, a few or most of them; now and then any, or one that is forced.
fn by_chance(seed: u64) -> impl Fn(&[TokenId], &mut TokenMask) -> Result<Allowed, String> {
    move |taken, mask| {
        let mut rng =
            Rng::from_seed(seed ^ hash_token(HASH_START, taken.len(), taken.last().map_or(0, |&t| t)));
        match rng.below(8) {
            0 => return Ok(Allowed::All),
            1 => return Ok(Allowed::Forced(rng.below(57) as TokenId)),
            _ => {}
        }
        let percent = [3, 50, 97][rng.below(3)];
        (0..57).filter(|_| rng.below(100) < percent).for_each(|token| mask.allow(token));
        // Something may come.
        mask.allow(rng.below(57) as TokenId);
        Ok(Allowed::Masked)
    }
}

/// The greedy answer under a rule, without an engine.
fn ruled(
    prompt: &[TokenId],
    tokens: usize,
    rule: impl Fn(&[TokenId], &mut TokenMask) -> Result<Allowed, String>,
) -> Vec<TokenId> {
    let mut hash =
        prompt.iter().enumerate().fold(HASH_START, |hash, (at, &token)| hash_token(hash, at, token));
    let mut taken = Vec::new();
    while taken.len() < tokens {
        let mut logits = Vec::new();
        logits_of(hash, &mut logits);
        let mut mask = TokenMask::new(VOCAB_SIZE);
        let allowed = rule(&taken, &mut mask).expect("the rule has an answer");
        let best = |may: &dyn Fn(TokenId) -> bool| {
            let ids = (0..VOCAB_SIZE as TokenId).filter(|&id| may(id)).rev();
            ids.max_by(|&a, &b| logits[a as usize].total_cmp(&logits[b as usize]))
                .expect("something may come")
        };
        let token = match allowed {
            Allowed::All => best(&|_| true),
            Allowed::Masked => best(&|id| mask.contains(id)),
            Allowed::Forced(token) => token,
        };
        hash = hash_token(hash, prompt.len() + taken.len(), token);
        taken.push(token);
    }
    taken
}

fn steered(prompt: Vec<TokenId>, tokens: usize, rule: Rule) -> Submission {
    Submission { steering: Some(Box::new(rule)), ..submission(prompt, tokens) }
}

#[test]
fn an_answer_is_the_best_that_may_come_and_the_steering_hears_of_each_token_once() {
    let (engine, _) = start(CONFIG);
    let rule = Rule::new(by_remainder);
    let told = Arc::clone(&rule.told);
    let given = answer(&engine, steered(prompt(3, 40), 60, rule));
    assert_eq!(given, ruled(&prompt(3, 40), 60, by_remainder));
    assert_eq!(*told.lock().unwrap(), given);
    assert_ne!(given, greedy_answer(&prompt(3, 40), 60));
    check_idle(&engine);
}

#[test]
fn the_token_that_ends_an_answer_is_told_too() {
    let (engine, _) = start(CONFIG);
    let rule = Rule::new(|taken, _| Ok(if taken.len() == 3 { Allowed::Forced(50) } else { Allowed::All }));
    let told = Arc::clone(&rule.told);
    let ending = Submission { end_tokens: vec![50], ..steered(prompt(4, 9), 40, rule) };
    let (tokens, reason, _) = collect(&mut submit(&engine, ending));
    assert_eq!((tokens.len(), reason), (3, FinishReason::EndToken));
    assert_eq!(told.lock().unwrap().len(), 4);
}

#[test]
fn draws_are_among_what_may_come_and_repeat_with_their_seed() {
    let (engine, _) = start(CONFIG);
    let even = |_: &[TokenId], mask: &mut TokenMask| -> Result<Allowed, String> {
        (0..56).step_by(2).for_each(|token| mask.allow(token));
        Ok(Allowed::Masked)
    };
    let sampling =
        SamplingParams { temperature: 1.5, seed: Some(7), logprobs: Some(3), ..SamplingParams::greedy() };
    let with = || Submission { sampling: sampling.clone(), ..steered(prompt(1, 20), 50, Rule::new(even)) };
    let mut sequence = submit(&engine, with());
    let mut given: Vec<GeneratedToken> = Vec::new();
    while let Some(event) = sequence.blocking_next() {
        if let SequenceEvent::Token(token) = event {
            given.push(token);
        }
    }
    assert!(given.iter().all(|token| token.id.is_multiple_of(2)));
    // The model's own log-probabilities: what may not come is among the alternatives.
    assert!(given.iter().any(|token| token.top.iter().any(|(id, _)| !id.is_multiple_of(2))));
    let ids: Vec<_> = given.iter().map(|token| token.id).collect();
    assert_eq!(answer(&engine, with()), ids);
}

#[test]
fn a_steering_that_fails_ends_its_sequence_alone() {
    type Case = (fn(&[TokenId], &mut TokenMask) -> Result<Allowed, String>, &'static str);
    let (engine, _) = start(CONFIG);
    let cases: [Case; 4] = [
        (|_, _| Err("no such thing".to_owned()), "no such thing"),
        (|_, _| Ok(Allowed::Masked), "nothing of what may come next"),
        (|_, _| Ok(Allowed::Forced(5000)), "nothing of what may come next"),
        (|_, _| panic!("the steering was told to panic"), "could not be worked out"),
    ];
    for (rule, expected) in cases {
        let mut other = submit(&engine, steered(prompt(9, 30), 40, Rule::new(by_remainder)));
        let (tokens, reason, _) = collect(&mut submit(&engine, steered(prompt(2, 8), 10, Rule::new(rule))));
        assert!(tokens.is_empty());
        assert!(matches!(&reason, FinishReason::Failed(why) if why.contains(expected)), "{reason:?}");
        assert_eq!(collect(&mut other).0, ruled(&prompt(9, 30), 40, by_remainder));
    }
    check_idle(&engine);
}

/// Does one of the things that a steering must not do, once the third token is taken.
#[derive(Debug)]
struct Breaks {
    taken: usize,
    how: Breakage,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Breakage {
    PanicsWhenAsked,
    PanicsWhenTold,
    RefusesWhenTold,
    PanicsWhenDropped,
}

impl Steering for Breaks {
    fn allowed(&mut self, _: &mut TokenMask) -> Result<Allowed, String> {
        assert!(self.taken < 3 || self.how != Breakage::PanicsWhenAsked, "the steering was told to panic");
        Ok(Allowed::All)
    }

    fn took(&mut self, _: TokenId) -> Result<(), String> {
        self.taken += 1;
        assert!(self.taken < 4 || self.how != Breakage::PanicsWhenTold, "the steering was told to panic");
        if self.taken == 4 && self.how == Breakage::RefusesWhenTold {
            Err("not this".to_owned())
        } else {
            Ok(())
        }
    }
}

impl Drop for Breaks {
    fn drop(&mut self) {
        assert!(self.how != Breakage::PanicsWhenDropped, "the steering was told to panic");
    }
}

#[test]
fn a_steering_that_breaks_in_the_middle_ends_its_sequence_alone() {
    let (engine, _) = start(CONFIG);
    let cases = [
        (Breakage::PanicsWhenAsked, Some("could not be worked out")),
        (Breakage::PanicsWhenTold, Some("could not be worked out")),
        (Breakage::RefusesWhenTold, Some("not this")),
        (Breakage::PanicsWhenDropped, None),
    ];
    for (how, expected) in cases {
        let mut other = submit(&engine, steered(prompt(9, 30), 40, Rule::new(by_remainder)));
        let steering: Box<dyn Steering> = Box::new(Breaks { taken: 0, how });
        let broken = Submission { steering: Some(steering), ..submission(prompt(2, 8), 10) };
        let (tokens, reason, _) = collect(&mut submit(&engine, broken));
        assert_eq!(tokens, greedy_answer(&prompt(2, 8), if expected.is_some() { 3 } else { 10 }), "{how:?}");
        match (&reason, expected) {
            (FinishReason::Failed(why), Some(expected)) => assert!(why.contains(expected), "{why}"),
            (reason, expected) => assert_eq!((reason, expected), (&FinishReason::Length, None)),
        }
        assert_eq!(collect(&mut other).0, ruled(&prompt(9, 30), 40, by_remainder));
    }
    check_idle(&engine);
}

#[test]
fn steered_and_free_sequences_keep_out_of_each_others_way_when_memory_is_short() {
    let (engine, controls) = start(TIGHT);
    let length = |number: usize| 30 + number * 5 % 60;
    controls.gate.close();
    let mut sequences: Vec<_> = (0..40)
        .map(|number| {
            let prompt = prompt(number, length(number));
            let wanted = match number % 3 {
                0 => submission(prompt, 50),
                1 => steered(prompt, 50, Rule::new(by_remainder)),
                _ => Submission { prompt_logprobs: Some(2), ..submission(prompt, 50) },
            };
            submit(&engine, wanted)
        })
        .collect();
    controls.gate.open();
    for (number, sequence) in sequences.iter_mut().enumerate() {
        let prompt = prompt(number, length(number));
        let expected = match number % 3 {
            1 => ruled(&prompt, 50, by_remainder),
            _ => greedy_answer(&prompt, 50),
        };
        assert_eq!(collect(sequence).0, expected, "sequence {number}");
    }
    check_idle(&engine);
    assert!(engine.stats().preemptions > 0, "nothing had to give way");
}

/// The prompt's tokens as an engine weighs them.
fn weighed(engine: &Engine, submission: Submission) -> (Vec<GeneratedToken>, Vec<TokenId>) {
    collect_weighed(&mut submit(engine, submission))
}

fn collect_weighed(sequence: &mut Sequence) -> (Vec<GeneratedToken>, Vec<TokenId>) {
    let (mut weights, mut tokens) = (Vec::new(), Vec::<TokenId>::new());
    while let Some(event) = sequence.blocking_next() {
        match event {
            SequenceEvent::Prompt(given) => {
                assert!(weights.is_empty() && tokens.is_empty(), "it comes once, before the answer");
                weights = given;
            }
            SequenceEvent::Token(token) => tokens.push(token.id),
            SequenceEvent::Started { .. } => {}
            SequenceEvent::Finished { reason, usage } => {
                assert_eq!(reason, FinishReason::Length);
                assert_eq!(usage.cached_tokens, 0, "all of it is read");
            }
        }
    }
    (weights, tokens)
}

fn check_weights(prompt: &[TokenId], weights: &[GeneratedToken], alternatives: usize) {
    assert_eq!(weights.len(), prompt.len() - 1);
    let mut hash = HASH_START;
    for (at, (&token, next)) in prompt.iter().zip(weights).enumerate() {
        hash = hash_token(hash, at, token);
        let mut logits = Vec::new();
        logits_of(hash, &mut logits);
        let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = f64::from(logits[prompt[at + 1] as usize]) - total.ln();
        assert_eq!(next.id, prompt[at + 1]);
        assert!((f64::from(next.logprob) - expected).abs() < 1e-4, "{} is not {expected}", next.logprob);
        assert_eq!(next.top.len(), alternatives);
        assert!(next.top.iter().is_sorted_by(|a, b| a.1 >= b.1));
    }
}

#[test]
fn a_prompt_is_weighed_whole_whatever_the_cache_has() {
    let (engine, _) = start(CONFIG);
    let prompt = prompt(6, 300);
    for tokens_max in [0, 1, 5, 0] {
        let wanted = Submission { prompt_logprobs: Some(3), ..submission(prompt.clone(), tokens_max) };
        let (weights, tokens) = weighed(&engine, wanted);
        check_weights(&prompt, &weights, 3);
        assert_eq!(tokens, greedy_answer(&prompt, tokens_max));
    }
    // Its blocks serve others all the same.
    let (_, _, usage) = collect(&mut submit(&engine, submission(prompt.clone(), 1)));
    assert_eq!(usage.cached_tokens, 288);
    // One token has nothing before it that could say how probable it is.
    let one = Submission { prompt_logprobs: Some(0), ..submission(vec![9], 0) };
    assert_eq!(weighed(&engine, one), (Vec::new(), Vec::new()));
    check_idle(&engine);
}

#[test]
fn a_prompt_weighs_what_it_did_when_it_was_generated_step_by_step() {
    let sampling = SamplingParams { logprobs: Some(4), ..SamplingParams::greedy() };
    let (engine, _) = start(CONFIG);
    let mut sequence = submit(&engine, Submission { sampling, ..submission(prompt(8, 1), 200) });
    let mut generated = Vec::new();
    while let Some(event) = sequence.blocking_next() {
        if let SequenceEvent::Token(token) = event {
            generated.push(token);
        }
    }
    let whole: Vec<TokenId> =
        prompt(8, 1).into_iter().chain(generated.iter().map(|token| token.id)).collect();
    for step_tokens_max in [1, 7, 64, 512] {
        let (engine, _) = start(EngineConfig { step_tokens_max, ..CONFIG });
        let wanted = Submission { prompt_logprobs: Some(4), ..submission(whole.clone(), 0) };
        let (weights, tokens) = weighed(&engine, wanted);
        assert_eq!((weights, tokens.len()), (generated.clone(), 0), "steps of {step_tokens_max}");
        assert_eq!(engine.stats().generated_tokens, 0);
    }
}

#[test]
fn weights_of_prompts_are_whole_when_memory_is_short() {
    let (engine, controls) = start(TIGHT);
    let prompt = |number: usize| prompt(number, 20 + number * 3);
    controls.gate.close();
    let mut sequences: Vec<_> = (0..24)
        .map(|number| {
            let wanted = Submission { prompt_logprobs: Some(1), ..submission(prompt(number), 40) };
            submit(&engine, wanted)
        })
        .collect();
    controls.gate.open();
    for (number, sequence) in sequences.iter_mut().enumerate() {
        let (weights, tokens) = collect_weighed(sequence);
        check_weights(&prompt(number), &weights, 1);
        assert_eq!(tokens, greedy_answer(&prompt(number), 40));
    }
    assert!(engine.stats().preemptions > 0, "nothing had to give way");
    check_idle(&engine);
}

#[test]
fn a_storm_of_cancellations_leaves_nothing_behind() {
    let (engine, controls) = start(EngineConfig { waiting_max: 2000, ..TIGHT });
    let mut rng = Rng::from_seed(3);
    let mut held = Vec::new();
    // Shared by all steerings: each holds it as long as it is there.
    let told: Arc<Mutex<Vec<TokenId>>> = Arc::default();
    for number in 0..1000 {
        let prompt = prompt(number, 1 + rng.below(90));
        let wanted = match rng.below(3) {
            0 => submission(prompt, 60),
            1 => steered(prompt, 60, Rule { told: Arc::clone(&told), ..Rule::new(by_remainder) }),
            _ => Submission { prompt_logprobs: Some(1), ..submission(prompt, 60) },
        };
        held.push((submit(&engine, wanted), rng.below(40)));
        // Some are dropped before they start, some in the middle, some near their end.
        held.retain_mut(|(sequence, events)| {
            if *events == 0 {
                return false;
            }
            *events -= 1;
            rng.below(4) != 0 || sequence.blocking_next().is_some()
        });
    }
    drop(held);
    let last = answer(&engine, submission(prompt(1, 10), 5));
    assert_eq!(last, greedy_answer(&prompt(1, 10), 5));
    check_idle(&engine);
    assert!(!told.lock().unwrap().is_empty(), "some were steered");
    assert_eq!(Arc::strong_count(&told), 1, "no steering is left");
    let steps = controls.seen.lock().unwrap().len();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(controls.seen.lock().unwrap().len(), steps, "an idle engine runs nothing");
}

/// One sequence of a company.
#[derive(Debug, Clone)]
struct Member {
    prompt_tokens: usize,
    tokens_max: usize,
    /// Whether it is steered, and by which chances.
    steered: Option<u64>,
    weighs: bool,
    seed: Option<u64>,
    /// After so many events nobody wants it any more.
    leaves: Option<usize>,
}

fn any_member() -> impl Strategy<Value = Member> {
    let sizes = (1_usize..120, 1_usize..60);
    let kinds = (prop::option::of(any::<u64>()), any::<bool>(), prop::option::of(any::<u64>()));
    (sizes, kinds, prop::option::weighted(0.3, 0_usize..40)).prop_map(
        |((prompt_tokens, tokens_max), (steered, weighs, seed), leaves)| Member {
            prompt_tokens,
            tokens_max,
            steered,
            weighs,
            seed,
            leaves,
        },
    )
}

impl Member {
    fn submission(&self, number: usize) -> Submission {
        let sampling = match self.seed {
            Some(seed) => SamplingParams {
                temperature: 0.8,
                top_p: 0.9,
                repetition_penalty: 1.3,
                logit_bias: vec![(5, 2.0)],
                logprobs: Some(2),
                seed: Some(seed),
                ..SamplingParams::default()
            },
            None => SamplingParams::greedy(),
        };
        Submission {
            sampling,
            steering: self.steered.map(|seed| -> Box<dyn Steering> { Box::new(Rule::new(by_chance(seed))) }),
            prompt_logprobs: self.weighs.then_some(2),
            ..submission(prompt(number, self.prompt_tokens), self.tokens_max)
        }
    }
}

/// All that a listener hears of, without the times.
fn heard(sequence: &mut engine::Sequence, events_max: usize) -> Vec<String> {
    let told = |event: SequenceEvent| match event {
        SequenceEvent::Started { .. } => "started".to_owned(),
        SequenceEvent::Finished { reason, usage } => format!("{reason:?} {}", usage.generated_tokens),
        event => format!("{event:?}"),
    };
    std::iter::from_fn(|| sequence.blocking_next()).map(told).take(events_max).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_greedy_answer_is_the_best_of_what_may_come(
        seed in any::<u64>(),
        prompt_tokens in 1_usize..100,
        tokens in 1_usize..60,
        step_tokens_max in 1_usize..80,
    ) {
        let (engine, _) = start(EngineConfig { step_tokens_max, ..CONFIG });
        let prompt = prompt(4, prompt_tokens);
        let given = answer(&engine, steered(prompt.clone(), tokens, Rule::new(by_chance(seed))));
        prop_assert_eq!(given, ruled(&prompt, tokens, by_chance(seed)));
    }

    #[test]
    fn company_and_its_leaving_change_nothing(
        members in prop::collection::vec(any_member(), 2..12),
        kv_blocks in 6_usize..20,
        step_tokens_max in 1_usize..80,
    ) {
        // Debug builds check after each step that no block is lost.
        let (engine, _) = start(EngineConfig { kv_blocks, step_tokens_max, ..CONFIG });
        let together: Vec<_> = std::thread::scope(|scope| {
            let listen = |(number, member): (usize, &Member)| {
                let mut sequence = submit(&engine, member.submission(number));
                let events_max = member.leaves.unwrap_or(usize::MAX);
                scope.spawn(move || heard(&mut sequence, events_max))
            };
            let listeners: Vec<_> = members.iter().enumerate().map(listen).collect();
            listeners.into_iter().map(|listener| listener.join().expect("it panics nowhere")).collect()
        });
        for (number, (member, given)) in members.iter().zip(together).enumerate() {
            let (engine, _) = start(EngineConfig { step_tokens_max: 512, ..CONFIG });
            let alone = heard(&mut submit(&engine, member.submission(number)), member.leaves.unwrap_or(usize::MAX));
            prop_assert_eq!(given, alone, "sequence {}", number);
        }
        // Commands are taken in order: when this one is answered, every cancel before it has been obeyed.
        prop_assert_eq!(answer(&engine, submission(prompt(1, 9), 3)), greedy_answer(&prompt(1, 9), 3));
        check_idle(&engine);
    }
}
