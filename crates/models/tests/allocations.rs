//! A step of a model takes no memory that the one before had not.

use std::alloc::System;
use std::path::Path;

use base::TokenId;
use kernels::KvFormat;
use models::LoadOptions;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, Wanted};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PROMPT: usize = 40;
const NEW: usize = 24;
const SEQUENCES: usize = 8;
const BLOCKS_EACH: usize = (PROMPT + NEW).div_ceil(KV_BLOCK_TOKENS);

/// Reads a prompt for each sequence, then goes on with all of them at once, and with one alone.
fn run(model: &mut dyn Model, blocks: &[Vec<BlockId>], logits: &mut Vec<f32>) {
    let tokens: [TokenId; PROMPT] = std::array::from_fn(|index| index as TokenId + 1);
    let mut step = |tokens: &[TokenId], position, sequences: &[Vec<BlockId>]| {
        // On the stack, so that nothing of it is counted.
        let chunks: [Chunk<'_>; SEQUENCES] = std::array::from_fn(|index| {
            let blocks = &sequences[index % sequences.len()];
            Chunk { tokens, position, blocks, wanted: Wanted::Last }
        });
        model.forward(&chunks[..sequences.len()], logits).expect("a step");
    };
    for sequence in blocks.chunks(1) {
        step(&tokens, 0, sequence);
    }
    for index in 0..NEW {
        let sequences = if index % 2 == 0 { blocks } else { &blocks[..1] };
        step(&tokens[index..=index], PROMPT + index, sequences);
    }
}

#[test]
fn a_step_allocates_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/tiny");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("golden/tiny") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        for (threads, kv_format) in [(1, KvFormat::F16), (2, KvFormat::Q8)] {
            let options = LoadOptions { threads, kv_format, ..LoadOptions::default() };
            let mut loaded = models::load(&path, &options).expect("a model");
            let model = loaded.model.as_mut();
            model.allocate_kv(SEQUENCES * BLOCKS_EACH).expect("room for the cache");
            let all: Vec<BlockId> = (0..(SEQUENCES * BLOCKS_EACH) as BlockId).collect();
            let blocks: Vec<Vec<BlockId>> = all.chunks(BLOCKS_EACH).map(<[_]>::to_vec).collect();
            let mut logits = Vec::new();
            run(model, &blocks, &mut logits);
            // A thread takes memory of its own for a kind of work when its turn first comes to some.
            let tries = if threads == 1 { 1 } else { 100 };
            let took_nothing = (0..tries).any(|_| {
                let region = Region::new(GLOBAL);
                run(model, &blocks, &mut logits);
                let Stats { allocations, reallocations, .. } = region.change();
                allocations + reallocations == 0
            });
            assert!(took_nothing, "{} on {threads} threads", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked} ways were checked");
}
