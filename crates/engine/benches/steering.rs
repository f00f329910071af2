//! What steering costs per token, in an engine whose model does nothing but keep two threads busy for a while:
//! `cargo bench -p cachalot-engine --bench steering`.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base::{Clock, Rng, SystemClock, TokenId};
use engine::{
    Allowed, CacheScope, Engine, EngineConfig, FinishReason, Priority, SamplingParams, SequenceEvent,
    Steering, Submission, TokenMask,
};
use models::batch::{Chunk, Model, ModelError, ModelInfo, Wanted};

const VOCAB_SIZE: usize = 151_936;
/// Tokens timed in each run; the table has the fastest of [`RUNS`].
const TOKENS: usize = 20;
const RUNS: usize = 40;
/// Threads of the model.
const THREADS: usize = 2;
/// Pieces of work in a pass, shared out as threads come for them.
const PIECES: usize = 64;

fn main() {
    let passes = [Duration::ZERO, Duration::from_millis(4)];
    let masks = [Duration::ZERO, Duration::from_micros(50), Duration::from_millis(1)];
    println!(
        "microseconds per token, vocabulary of {VOCAB_SIZE}, by the processor time of a pass of the model"
    );
    println!("{:44}{:>12}{:>12}", "", "0 ms", "4 ms");
    let base = SamplingParams { seed: Some(1), ..SamplingParams::default() };
    let sampled = SamplingParams { temperature: 0.6, top_p: 0.95, ..base };
    for (name, sampling) in [("greedy", SamplingParams::greedy()), ("top-p 0.95 at 0.6", sampled)] {
        row(&format!("{name}, not steered"), &passes, &sampling, None);
        row(&format!("{name}, any token"), &passes, &sampling, Some(Fixed::new(Allowed::All, 1, masks[0])));
        for (time, every) in [(masks[0], 1), (masks[0], 1000), (masks[1], 2), (masks[2], 2)] {
            let name = format!("{name}, 1 in {every} allowed, mask of {} us", time.as_micros());
            row(&name, &passes, &sampling, Some(Fixed::new(Allowed::Masked, every, time)));
        }
        row(
            &format!("{name}, forced"),
            &passes,
            &sampling,
            Some(Fixed::new(Allowed::Forced(7), 1, masks[0])),
        );
    }
}

fn row(name: &str, passes: &[Duration], sampling: &SamplingParams, steering: Option<Fixed>) {
    print!("{name:44}");
    for &pass in passes {
        print!("{:12.1}", microseconds_per_token(pass, sampling, steering.as_ref()));
    }
    println!();
}

fn microseconds_per_token(pass: Duration, sampling: &SamplingParams, steering: Option<&Fixed>) -> f64 {
    let config = EngineConfig {
        kv_blocks: 64,
        step_tokens_max: 64,
        running_max: 1,
        waiting_max: 1,
        kv_claimed: false,
    };
    let clock = Arc::new(SystemClock::new());
    let engine = Engine::start(Box::new(Busy::new(pass)), config, clock, Rng::from_seed(1));
    let engine = engine.expect("the config is valid");
    let run = |_| {
        let submission = Submission {
            prompt: vec![1],
            sampling: sampling.clone(),
            tokens_max: TOKENS + 1,
            end_tokens: Vec::new(),
            priority: Priority::Normal,
            scope: CacheScope::default(),
            steering: steering.map(|steering| -> Box<dyn Steering> { Box::new(steering.clone()) }),
            prompt_logprobs: None,
        };
        let mut sequence = engine.submit(submission).expect("the submission is accepted");
        let events = std::iter::from_fn(|| sequence.blocking_next());
        let decode = events.last().map(|event| match event {
            SequenceEvent::Finished { reason: FinishReason::Length, usage } => usage.decode,
            event => panic!("the last event is {event:?}"),
        });
        decode.expect("the last event is Finished").as_secs_f64() * 1e6 / TOKENS as f64
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

/// Allows every `every`th token, after a time.
#[derive(Debug, Clone)]
struct Fixed {
    allowed: Allowed,
    mask: TokenMask,
    time: Duration,
}

impl Fixed {
    fn new(allowed: Allowed, every: usize, time: Duration) -> Self {
        let mut mask = TokenMask::new(VOCAB_SIZE);
        (0..VOCAB_SIZE).step_by(every).for_each(|token| mask.allow(token as TokenId));
        Self { allowed, mask, time }
    }
}

impl Steering for Fixed {
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<Allowed, String> {
        work(self.time);
        if self.allowed == Allowed::Masked {
            mask.words_mut().copy_from_slice(self.mask.words());
        }
        Ok(self.allowed)
    }

    fn took(&mut self, _: TokenId) -> Result<(), String> {
        Ok(())
    }
}

/// Takes so much of a processor's time, not counting what others take of it meanwhile.
fn work(time: Duration) {
    static ROUNDS_PER_MICROSECOND: LazyLock<f64> = LazyLock::new(|| {
        let best = (0..20).map(|_| {
            let clock = SystemClock::new();
            turn(100_000);
            clock.monotonic().as_secs_f64()
        });
        0.1 / best.fold(f64::INFINITY, f64::min)
    });
    turn((time.as_secs_f64() * 1e6 * *ROUNDS_PER_MICROSECOND) as u64);
}

fn turn(rounds: u64) {
    let mut state = 1_u64;
    for round in 0..rounds {
        state = black_box(state.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round);
    }
}

struct Busy {
    info: ModelInfo,
    /// `[VOCAB_SIZE]`.
    logits: Vec<f32>,
    pass: Duration,
}

impl Busy {
    fn new(pass: Duration) -> Self {
        let mut rng = Rng::from_seed(3);
        // Nearly normal: sums of 12 uniform numbers.
        let logit = |_| 3.0 * ((0..12).map(|_| rng.next_f32()).sum::<f32>() - 6.0);
        let info = ModelInfo {
            architecture: "busy".to_owned(),
            vocab_size: VOCAB_SIZE,
            context_length: 2048,
            layers: 1,
            kv_bytes_per_token: 1,
            weight_bytes: 0,
            parameters: 0,
        };
        Self { info, logits: (0..VOCAB_SIZE).map(logit).collect(), pass }
    }
}

impl Model for Busy {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn allocate_kv(&mut self, _: usize) -> Result<(), ModelError> {
        Ok(())
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        if !self.pass.is_zero() {
            let next = AtomicUsize::new(0);
            let piece = self.pass / PIECES as u32;
            let serve = || {
                while next.fetch_add(1, Ordering::Relaxed) < PIECES {
                    work(piece);
                }
            };
            std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(serve))));
        }
        logits.clear();
        for _ in chunks.iter().filter(|chunk| chunk.wanted != Wanted::None) {
            logits.extend_from_slice(&self.logits);
        }
        Ok(())
    }
}
