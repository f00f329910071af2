use base::TokenId;
use kernels::AttentionChunk;

use crate::batch::{Chunk, KV_BLOCK_TOKENS, ModelError, ModelInfo, Wanted, emptied};

/// One step, checked and flattened: the rows of all chunks one after another. Between steps it is empty, and kept for its
/// memory.
#[derive(Debug, Default)]
pub(crate) struct Step<'a> {
    /// What attention sees of each chunk.
    pub(crate) attention: Vec<AttentionChunk<'a>>,
    /// Token of each row, `[n]`.
    pub(crate) tokens: Vec<TokenId>,
    /// Position of each row in its sequence, `[n]`.
    pub(crate) positions: Vec<usize>,
    /// Rows whose logits are wanted.
    pub(crate) wanted: Vec<usize>,
}

impl<'a> Step<'a> {
    /// Checks a batch against the model and its cache of `allocated` blocks; in the memory of the step before.
    pub(crate) fn new(
        memory: Step<'static>,
        chunks: &'a [Chunk<'a>],
        info: &ModelInfo,
        allocated: usize,
    ) -> Result<Self, ModelError> {
        let mut step: Self = memory;
        let Self { attention, tokens, positions, wanted } = &mut step;
        for chunk in chunks {
            check(chunk, info, allocated)?;
            let start = tokens.len();
            tokens.extend_from_slice(chunk.tokens);
            positions.extend(chunk.position..chunk.position + chunk.tokens.len());
            let (rows, position) = (start..tokens.len(), chunk.position);
            attention.push(AttentionChunk { rows, position, blocks: chunk.blocks });
            match chunk.wanted {
                Wanted::None => {}
                Wanted::Last => wanted.push(tokens.len() - 1),
                Wanted::All => wanted.extend(start..tokens.len()),
            }
        }
        Ok(step)
    }

    /// Its memory, for the next.
    pub(crate) fn done(self) -> Step<'static> {
        let Self { attention, mut tokens, mut positions, mut wanted } = self;
        tokens.clear();
        positions.clear();
        wanted.clear();
        Step { attention: emptied(attention), tokens, positions, wanted }
    }
}

fn check(chunk: &Chunk<'_>, info: &ModelInfo, allocated: usize) -> Result<(), ModelError> {
    if chunk.tokens.is_empty() {
        return Err(ModelError::EmptyChunk);
    }
    let end = chunk.position.saturating_add(chunk.tokens.len());
    if end > info.context_length {
        return Err(ModelError::PastContext { given: end - 1, context_length: info.context_length });
    }
    if let Some(&given) = chunk.tokens.iter().find(|&&token| token as usize >= info.vocab_size) {
        return Err(ModelError::TokenOutOfRange { given, vocab_size: info.vocab_size });
    }
    let needed = end.div_ceil(KV_BLOCK_TOKENS);
    let outside = chunk.blocks.iter().take(needed).any(|&block| block as usize >= allocated);
    if chunk.blocks.len() < needed || outside {
        return Err(ModelError::Blocks { needed, given: chunk.blocks.len(), allocated });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_step(tokens: &[TokenId], position: usize, blocks: &[u32], expected: Result<usize, ModelError>) {
        let info = ModelInfo {
            architecture: "test".into(),
            vocab_size: 10,
            context_length: 64,
            layers: 1,
            kv_bytes_per_token: 1,
            weight_bytes: 1,
            parameters: 1,
        };
        let chunks = [Chunk { tokens, position, blocks, wanted: Wanted::Last }];
        let rows = Step::new(Step::default(), &chunks, &info, 4).map(|step| step.tokens.len());
        assert_eq!(rows, expected);
    }

    #[test]
    fn batches_are_checked() {
        check_step(&[1, 2], 0, &[0], Ok(2));
        check_step(&[], 0, &[0], Err(ModelError::EmptyChunk));
        check_step(&[10], 0, &[0], Err(ModelError::TokenOutOfRange { given: 10, vocab_size: 10 }));
        check_step(&[1, 2], 31, &[0], Err(ModelError::Blocks { needed: 2, given: 1, allocated: 4 }));
        check_step(&[1], 0, &[4], Err(ModelError::Blocks { needed: 1, given: 1, allocated: 4 }));
        check_step(&[1], 64, &[0, 1, 2], Err(ModelError::PastContext { given: 64, context_length: 64 }));
        check_step(
            &[1],
            usize::MAX,
            &[0],
            Err(ModelError::PastContext { given: usize::MAX - 1, context_length: 64 }),
        );
    }
}
