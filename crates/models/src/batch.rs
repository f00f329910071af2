//! The seam between the engine and a model: one step over several sequences at once.

use base::TokenId;

/// Index of a block in the KV cache.
pub type BlockId = u32;

/// Tokens per KV block, for every model.
pub const KV_BLOCK_TOKENS: usize = 32;

/// Positions of a chunk whose logits the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: a prefill chunk that isn't the prompt's last.
    None,
    /// The last position only.
    Last,
    /// Every position, in order.
    All,
}

/// Consecutive tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The tokens to run.
    pub tokens: &'a [TokenId],
    /// Position of `tokens[0]` in its sequence; everything before it is in the KV cache already.
    pub position: usize,
    /// Block table of the sequence: block `i` holds positions `i * KV_BLOCK_TOKENS ..`. Covers at least
    /// `position + tokens.len()` tokens.
    pub blocks: &'a [BlockId],
    /// Which logits to return.
    pub wanted: Wanted,
}

/// The memory of a vector without its contents, for others of the same size, such as those that borrow for another time.
pub fn emptied<T, U>(mut vector: Vec<T>) -> Vec<U> {
    vector.clear();
    // Collecting in place keeps the memory.
    vector.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// Facts about a loaded model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// GGUF architecture name: `llama`, `qwen2`, `qwen3`.
    pub architecture: String,
    /// Tokens in the vocabulary, the width of a row of logits.
    pub vocab_size: usize,
    /// Longest sequence the model was made for, in tokens.
    pub context_length: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Bytes of KV cache that one token takes, over all layers.
    pub kv_bytes_per_token: usize,
    /// Bytes of the packed weights in memory.
    pub weight_bytes: u64,
    /// Weights in the file.
    pub parameters: u64,
}

/// What a step has to do at the least, for comparison with what a machine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Bytes of packed weights that every step reads: those of the blocks and of the head.
    pub weight_bytes: u64,
    /// int8 multiplications and additions of the blocks' products for one token.
    pub int8_operations: u64,
    /// The same in f32, where weights are floats. Attention isn't counted.
    pub f32_operations: u64,
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            weight_bytes: sum.weight_bytes + one.weight_bytes,
            int8_operations: sum.int8_operations + one.int8_operations,
            f32_operations: sum.f32_operations + one.f32_operations,
        })
    }
}

/// Why a step could not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A chunk has no tokens.
    #[error("a chunk must have at least one token, got none")]
    EmptyChunk,
    /// A token id is outside the vocabulary.
    #[error("token id {given} is outside the vocabulary of {vocab_size} tokens")]
    TokenOutOfRange {
        /// The id in the batch.
        given: TokenId,
        /// Ids below this are allowed.
        vocab_size: usize,
    },
    /// A chunk reaches past its block table or names a block that the cache doesn't have.
    #[error("{needed} KV blocks are needed, the block table has {given} and the cache {allocated}")]
    Blocks {
        /// Blocks that the chunk needs.
        needed: usize,
        /// Entries in its table.
        given: usize,
        /// Blocks allocated in the cache.
        allocated: usize,
    },
    /// A chunk reaches past the context that the model was made for.
    #[error("position {given} is past the model's context of {context_length} tokens")]
    PastContext {
        /// The last position of the chunk.
        given: usize,
        /// Positions below this are allowed.
        context_length: usize,
    },
    /// The KV cache does not fit in memory.
    #[error("a KV cache of {bytes} bytes could not be allocated")]
    KvMemory {
        /// Bytes asked for.
        bytes: u64,
    },
}

/// How far a step ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// To its end.
    Whole,
    /// It was given up: there are no logits.
    GivenUp,
}

/// A model that can run steps. One per loaded file; the engine owns it.
pub trait Model: Send {
    /// Facts about the model.
    fn info(&self) -> &ModelInfo;

    /// What a step has to do; nothing is known by default.
    fn work(&self) -> Work {
        Work::default()
    }

    /// Makes the KV cache with room for `blocks` blocks, empty. What was cached before is gone.
    ///
    /// # Errors
    /// When the memory can't be had.
    fn allocate_kv(&mut self, blocks: usize) -> Result<(), ModelError>;

    /// Takes the memory of the KV cache from the system now, where it would be taken as blocks are first used.
    fn claim_kv(&mut self) {}

    /// Runs one step over several sequences at once.
    ///
    /// `logits` is cleared and filled with `[rows, vocab_size]`, rows in chunk order (within a chunk the last
    /// position, or every position). A row's values don't depend on what else is in the batch.
    ///
    /// # Errors
    /// When the batch breaks the contract of [`Chunk`]. Nothing of a refused batch is run.
    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError>;

    /// [`Self::forward`], that is given up when `stop`, which is asked now and then, says so. What it has put into the KV
    /// cache by then counts for nothing: the same positions are run again. A model that can't stop runs to the end.
    ///
    /// # Errors
    /// As there.
    fn forward_unless(
        &mut self,
        chunks: &[Chunk<'_>],
        logits: &mut Vec<f32>,
        _stop: &mut dyn FnMut() -> bool,
    ) -> Result<Ran, ModelError> {
        self.forward(chunks, logits).map(|()| Ran::Whole)
    }
}
