//! Time of one pick, by sampling parameters and vocabulary: `cargo bench -p cachalot-engine`.

use std::hint::black_box;

use base::{Clock, Rng, SystemClock};
use engine::sampler::{Sampler, SamplerState};
use engine::{SamplingParams, TokenMask};

/// Picks in a run; the table has the fastest of [`RUNS`].
const PICKS: u32 = 20;
const RUNS: u32 = 20;

fn main() {
    let base = SamplingParams { seed: Some(1), ..SamplingParams::default() };
    let cases = [
        ("greedy", SamplingParams::greedy()),
        ("greedy, logprobs 5", SamplingParams { logprobs: Some(5), ..SamplingParams::greedy() }),
        ("temperature", base.clone()),
        ("top-k 40, top-p 0.95", SamplingParams { top_k: 40, top_p: 0.95, ..base.clone() }),
        ("top-p 0.95 at 0.6", SamplingParams { top_p: 0.95, temperature: 0.6, ..base.clone() }),
        ("top-p 0.95 at 1.5", SamplingParams { top_p: 0.95, temperature: 1.5, ..base.clone() }),
        ("min-p 0.05", SamplingParams { min_p: 0.05, ..base.clone() }),
        ("typical 0.9", SamplingParams { typical_p: 0.9, ..base.clone() }),
        ("penalties", SamplingParams { repetition_penalty: 1.1, presence_penalty: 0.5, ..base.clone() }),
    ];
    println!("{:24}{:>14}{:>14}   microseconds per pick", "", "49152 peaked", "151936 flat");
    let mut rng = Rng::from_seed(3);
    let history: Vec<u32> = (0..2000).map(|_| rng.below(40_000) as u32).collect();
    let rows = [logits(&mut rng, 49_152, 3.0), logits(&mut rng, 151_936, 0.5)];
    for (name, params) in cases {
        print_row(name, &rows, |row| microseconds_per_pick(&params, row, &history, None));
        for every in [2, 1000] {
            let mask = |vocab_size: usize| {
                let mut mask = TokenMask::new(vocab_size);
                (0..vocab_size).step_by(every).for_each(|token| mask.allow(token as u32));
                mask
            };
            let time = |row: &[f32]| microseconds_per_pick(&params, row, &history, Some(&mask(row.len())));
            print_row(&format!("  1 in {every} allowed"), &rows, time);
        }
    }
}

fn print_row(name: &str, rows: &[Vec<f32>], time: impl Fn(&[f32]) -> f64) {
    print!("{name:24}");
    for row in rows {
        print!("{:14.1}", time(row));
    }
    println!();
}

/// Nearly normal logits: sums of 12 uniform numbers.
fn logits(rng: &mut Rng, count: usize, spread: f32) -> Vec<f32> {
    (0..count).map(|_| spread * ((0..12).map(|_| rng.next_f32()).sum::<f32>() - 6.0)).collect()
}

fn microseconds_per_pick(
    params: &SamplingParams,
    logits: &[f32],
    history: &[u32],
    mask: Option<&TokenMask>,
) -> f64 {
    let mut sampler = Sampler::new();
    let mut logits = logits.to_vec();
    let mut state = SamplerState::new(params.clone(), 1);
    let mut pick = |tokens: usize| {
        let picked = match mask {
            None => sampler.pick(&mut state, &mut logits, &history[..tokens], 1000),
            Some(mask) => sampler.pick_among(&mut state, &logits, mask, &history[..tokens], 1000),
        };
        black_box(picked.expect("the logits are finite"));
    };
    pick(1001);
    let run = |run: u32| {
        let clock = SystemClock::new();
        for number in 0..PICKS {
            pick(1002 + (run * PICKS + number) as usize);
        }
        clock.monotonic().as_secs_f64() * 1e6 / f64::from(PICKS)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}
