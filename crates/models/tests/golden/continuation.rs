//! Greedy continuations must not depend on how they are computed.

use base::TokenId;
use kernels::{Isa, KvFormat, Precision};
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, Wanted};

use crate::reference::{prompts, smollm};
use crate::runner::{CHUNKS, Runner, THREADS, first, isas, load, load_rounding, margin};

/// Tokens generated after each prompt.
const GENERATED: usize = 24;
/// Between instruction sets sums are taken in another order. Twice the largest difference of two logits that this made
/// was 0.04.
const ISA_DIFFERENCE_MAX: f32 = 0.1;

/// A continuation: the tokens, and the logits that each was picked from.
#[derive(Debug)]
struct Continuation {
    tokens: Vec<TokenId>,
    logits: Vec<Vec<f32>>,
}

fn prompt(name: &str) -> Vec<TokenId> {
    let prompt = prompts().into_iter().find(|prompt| prompt.name == name);
    prompt.unwrap_or_else(|| panic!("there is no prompt {name}")).tokens
}

/// Prefills in chunks, then generates the likeliest token each time.
fn continue_greedily(model: &mut dyn Model, prompt: &[TokenId], chunk: usize) -> Continuation {
    let mut runner = Runner::new(model, prompt.len() + GENERATED);
    let mut row = Vec::new();
    for part in prompt.chunks(chunk) {
        row = runner.step(part, Wanted::Last).to_vec();
    }
    let mut continuation = Continuation { tokens: Vec::new(), logits: Vec::new() };
    for _ in 0..GENERATED {
        let token = first(&row) as TokenId;
        continuation.tokens.push(token);
        continuation.logits.push(std::mem::take(&mut row));
        row = runner.step(&[token], Wanted::Last).to_vec();
    }
    continuation
}

fn assert_same_bits(given: &Continuation, expected: &Continuation, how: &str) {
    assert_eq!(given.tokens, expected.tokens, "{how}");
    for (step, (given, expected)) in given.logits.iter().zip(&expected.logits).enumerate() {
        let same = given.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{how}: the logits of generated token {step} have other bits");
    }
}

/// With both kinds of cache.
const KV_FORMATS: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8];

fn check_ways(name: &str, isa: Isa, kv_format: KvFormat, ways: &[(usize, usize)]) {
    let mut expected: Option<Continuation> = None;
    for &(threads, chunk) in ways {
        let mut loaded = load_rounding(&smollm(), isa, threads, Precision::default(), kv_format);
        let given = continue_greedily(&mut *loaded.model, &prompt(name), chunk);
        match &expected {
            Some(expected) => {
                let how =
                    format!("{name}, {}, {kv_format:?}, {threads} threads, chunks of {chunk}", isa.name());
                assert_same_bits(&given, expected, &how);
            }
            None => expected = Some(given),
        }
    }
}

#[test]
fn greedy_answers_to_a_short_prompt_do_not_depend_on_threads_or_chunks() {
    let ways: Vec<_> = THREADS.iter().flat_map(|&threads| CHUNKS.map(|chunk| (threads, chunk))).collect();
    for isa in isas() {
        // The scalar kernels are slow: every thread count and every chunk size, but not with each other.
        let few = [(1, CHUNKS[0]), (2, CHUNKS[1]), (2, CHUNKS[2])];
        let ways = if matches!(isa, Isa::Scalar) { &few[..] } else { &ways };
        for kv_format in KV_FORMATS {
            check_ways("chat-short", isa, kv_format, ways);
        }
    }
}

/// 600 tokens are more than the largest chunk. Equality of bits is transitive, so not every pair is needed; the
/// scalar kernels would take minutes.
#[test]
fn greedy_answers_to_a_long_prompt_do_not_depend_on_threads_or_chunks() {
    for isa in isas().into_iter().filter(|isa| !matches!(isa, Isa::Scalar)) {
        for kv_format in KV_FORMATS {
            check_ways("english-long", isa, kv_format, &[(1, 512), (2, 512), (2, 7), (2, 1)]);
        }
    }
}

/// The same tokens, as long as the choice is wider than the rounding between instruction sets.
#[test]
fn greedy_answers_agree_between_instruction_sets() {
    let model = smollm();
    let prompt = prompt("chat-short");
    let runs: Vec<(Isa, Continuation)> = isas()
        .into_iter()
        .map(|isa| (isa, continue_greedily(&mut *load(&model, isa, 2).model, &prompt, 512)))
        .collect();
    for (isa, given) in &runs[1..] {
        let (expected_isa, expected) = &runs[0];
        let how = format!("{} against {}", isa.name(), expected_isa.name());
        let mut difference_max = 0.0f32;
        let mut compared = 0;
        for (a, b) in given.logits.iter().zip(&expected.logits) {
            let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            difference_max = differences.fold(difference_max, f32::max);
            compared += 1;
            if first(a) != first(b) {
                // From here on the two have different texts before them.
                let margin = margin(b);
                assert!(margin <= 2.0 * ISA_DIFFERENCE_MAX, "{how}: tokens differ at a margin of {margin}");
                break;
            }
        }
        println!("{how}: logits differ by at most {difference_max:.1e} over {compared} tokens");
        assert!(difference_max <= ISA_DIFFERENCE_MAX, "{how}: logits differ by {difference_max}");
    }
}

/// A sequence of the batch test: where its blocks are and what it has said.
struct Member {
    prompt: Vec<TokenId>,
    blocks: Vec<BlockId>,
    position: usize,
    answer: Continuation,
}

/// Eight sequences that start at different steps, so that each step mixes prefill chunks of several sizes with
/// single tokens. Each must get the bits that it gets alone.
#[test]
fn eight_sequences_at_once_answer_as_each_does_alone() {
    let isa = Isa::best();
    for kv_format in KV_FORMATS {
        let mut loaded = load_rounding(&smollm(), isa, 2, Precision::default(), kv_format);
        check_eight_at_once(&mut *loaded.model, &format!("{kv_format:?}"));
    }
}

fn check_eight_at_once(model: &mut dyn Model, what: &str) {
    let prompts: Vec<Vec<TokenId>> = prompts()
        .into_iter()
        .filter(|prompt| prompt.tokens.len() <= 300)
        .map(|prompt| prompt.tokens)
        .collect();
    assert_eq!(prompts.len(), 8);
    let alone: Vec<Continuation> =
        prompts.iter().map(|prompt| continue_greedily(model, prompt, 512)).collect();

    let together = continue_together(model, prompts);
    for (place, (member, alone)) in together.iter().zip(&alone).enumerate() {
        assert_same_bits(&member.answer, alone, &format!("{what}, sequence {place} of eight"));
    }
}

fn continue_together(model: &mut dyn Model, prompts: Vec<Vec<TokenId>>) -> Vec<Member> {
    let mut next_block = 0;
    let mut members: Vec<Member> = Vec::new();
    for prompt in prompts {
        let blocks = (prompt.len() + GENERATED).div_ceil(KV_BLOCK_TOKENS) as BlockId;
        let blocks_of_member = (next_block..next_block + blocks).collect();
        next_block += blocks;
        let answer = Continuation { tokens: Vec::new(), logits: Vec::new() };
        members.push(Member { prompt, blocks: blocks_of_member, position: 0, answer });
    }
    model.allocate_kv(next_block as usize).expect("room for the cache");

    let mut logits = Vec::new();
    for step in 0.. {
        // The members that are not done, each with the tokens of its next chunk; member i joins at step 2 * i.
        let mut planned: Vec<(usize, Vec<TokenId>)> = Vec::new();
        for (place, member) in members.iter().enumerate() {
            if step < 2 * place || member.answer.tokens.len() == GENERATED {
                continue;
            }
            let rest = &member.prompt[member.position.min(member.prompt.len())..];
            let tokens = match member.answer.tokens.last() {
                Some(&token) => vec![token],
                None => rest[..rest.len().min(13 + 5 * place)].to_vec(),
            };
            planned.push((place, tokens));
        }
        if planned.is_empty() && step >= 2 * members.len() {
            return members;
        }
        let chunks: Vec<Chunk<'_>> = planned
            .iter()
            .map(|(place, tokens)| Chunk {
                tokens,
                position: members[*place].position,
                blocks: &members[*place].blocks,
                wanted: Wanted::Last,
            })
            .collect();
        model.forward(&chunks, &mut logits).expect("the step is within the contract");
        let vocab_size = model.info().vocab_size;
        for ((place, tokens), row) in planned.into_iter().zip(logits.chunks_exact(vocab_size)) {
            let member = &mut members[place];
            member.position += tokens.len();
            if member.position >= member.prompt.len() {
                member.answer.tokens.push(first(row) as TokenId);
                member.answer.logits.push(row.to_vec());
            }
        }
    }
    unreachable!("the loop ends when all members are done")
}
