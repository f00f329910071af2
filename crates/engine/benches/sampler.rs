//! Time of one pick, by sampling parameters and vocabulary: `cargo bench -p cachalot-engine`.

use std::hint::black_box;

use base::{Clock, Rng, SystemClock};
use engine::SamplingParams;
use engine::sampler::{Sampler, SamplerState};

/// Picks timed for each row of the table.
const PICKS: u32 = 200;

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
        print!("{name:24}");
        for row in &rows {
            print!("{:14.1}", microseconds_per_pick(&params, &mut row.clone(), &history));
        }
        println!();
    }
}

/// Nearly normal logits: sums of 12 uniform numbers.
fn logits(rng: &mut Rng, count: usize, spread: f32) -> Vec<f32> {
    (0..count).map(|_| spread * ((0..12).map(|_| rng.next_f32()).sum::<f32>() - 6.0)).collect()
}

fn microseconds_per_pick(params: &SamplingParams, logits: &mut [f32], history: &[u32]) -> f64 {
    let mut sampler = Sampler::new();
    let mut state = SamplerState::new(params.clone(), 1);
    let mut pick = |tokens: usize| {
        let picked = sampler.pick(&mut state, logits, &history[..tokens], 1000);
        black_box(picked.expect("the logits are finite"));
    };
    pick(1001);
    let clock = SystemClock::new();
    for number in 0..PICKS {
        pick(1002 + number as usize);
    }
    clock.monotonic().as_secs_f64() * 1e6 / f64::from(PICKS)
}
