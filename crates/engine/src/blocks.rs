//! The pool of KV blocks: which sequence holds which.
//!
//! A block is in one of three places: the pool's free list, one [`BlockTable`] that owns it, or the prefix cache, which
//! lends it to any number of tables. A table can't be cloned and is emptied when released, so a block can't be freed
//! twice, and the pool checks it all the same. Conservation: free + owned + cached = total.

use base::TokenId;
use models::batch::{BlockId, KV_BLOCK_TOKENS};

use crate::prefix::{CacheScope, NodeId, PrefixCache};

/// Blocks that `tokens` tokens take.
pub fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(KV_BLOCK_TOKENS)
}

/// The blocks of one sequence in order: block `i` holds positions `i * KV_BLOCK_TOKENS ..`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BlockTable {
    blocks: Vec<BlockId>,
    /// Where the first of `blocks` are in the prefix cache; the others are this table's own.
    lent: Vec<NodeId>,
}

impl BlockTable {
    /// The ids, as a model wants them.
    pub fn ids(&self) -> &[BlockId] {
        &self.blocks
    }

    /// Blocks that belong to the prefix cache, from the first on. They are only read.
    pub fn lent(&self) -> usize {
        self.lent.len()
    }

    fn own(&self) -> &[BlockId] {
        &self.blocks[self.lent.len()..]
    }
}

/// A fixed number of blocks.
#[derive(Debug)]
pub struct BlockPool {
    /// Blocks that nothing holds; the last one is given out next.
    free: Vec<BlockId>,
    /// `[total]`, whether a table or the cache holds the block.
    held: Vec<bool>,
    cache: PrefixCache,
}

impl BlockPool {
    /// A pool of `total` free blocks, ids `0..total`.
    ///
    /// # Panics
    /// When a block id can't name that many.
    pub fn new(total: usize) -> Self {
        let count = BlockId::try_from(total).expect("a block id names every block");
        let free = (0..count).rev().collect();
        Self { free, held: vec![false; total], cache: PrefixCache::default() }
    }

    /// All blocks.
    pub fn total(&self) -> usize {
        self.held.len()
    }

    /// Blocks that can be had: nothing holds them, or only the cache does.
    pub fn free(&self) -> usize {
        self.free.len() + self.cache.idle()
    }

    /// Blocks in the prefix cache, lent or not.
    pub fn cached(&self) -> usize {
        self.cache.blocks()
    }

    /// Lends an empty table the blocks that hold the beginning of `tokens`, as far as the cache has them.
    ///
    /// # Panics
    /// When the table is not empty.
    pub fn lend(&mut self, table: &mut BlockTable, scope: CacheScope, tokens: &[TokenId]) {
        assert!(table.blocks.is_empty(), "only an empty table can begin with what is cached");
        for block in tokens.chunks_exact(KV_BLOCK_TOKENS) {
            let Some(node) = self.cache.enter(scope, table.lent.last().copied(), block) else { break };
            table.blocks.push(self.cache.block(node));
            table.lent.push(node);
        }
    }

    /// How many of `tokens` could be lent.
    pub fn lendable(&self, scope: CacheScope, tokens: &[TokenId]) -> usize {
        let mut above = None;
        let find = |block: &[TokenId]| {
            above = Some(self.cache.find(scope, above, block)?);
            above
        };
        tokens.chunks_exact(KV_BLOCK_TOKENS).map_while(find).count() * KV_BLOCK_TOKENS
    }

    /// Gives the cache the blocks that `tokens`, the part of a sequence that is computed, fill, and borrows them. Where the
    /// cache has the same from another sequence, that one is borrowed and the table's own is free.
    pub fn share(&mut self, table: &mut BlockTable, scope: CacheScope, tokens: &[TokenId]) {
        for (at, block) in tokens.chunks_exact(KV_BLOCK_TOKENS).enumerate().skip(table.lent.len()) {
            let above = table.lent.last().copied();
            let own = table.blocks[at];
            let node = match self.cache.enter(scope, above, block) {
                Some(node) => {
                    table.blocks[at] = self.cache.block(node);
                    self.give_back(own);
                    node
                }
                None => self.cache.add(scope, above, block, own),
            };
            table.lent.push(node);
        }
    }

    /// Extends a table until it has `blocks` blocks, or leaves it as it is and returns false when the pool has
    /// too few.
    pub fn grow(&mut self, table: &mut BlockTable, blocks: usize) -> bool {
        let missing = blocks.saturating_sub(table.blocks.len());
        if self.free() < missing {
            return false;
        }
        for _ in 0..missing {
            let Some(id) = self.free.pop().or_else(|| self.cache.evict()) else { return false };
            self.held[id as usize] = true;
            table.blocks.push(id);
        }
        true
    }

    /// Takes back all blocks of a table: its own are free, and what it borrowed stays in the cache.
    ///
    /// # Panics
    /// When the table holds a block that this pool has not given out: a bug, caught before it corrupts another
    /// sequence.
    pub fn release(&mut self, table: &mut BlockTable) {
        for id in table.blocks.drain(table.lent.len()..).rev() {
            self.give_back(id);
        }
        table.blocks.clear();
        self.cache.leave(table.lent.drain(..));
    }

    fn give_back(&mut self, id: BlockId) {
        assert!(std::mem::replace(&mut self.held[id as usize], false), "block {id} was freed twice");
        self.free.push(id);
    }

    /// Checks free + owned + cached = total, each block in exactly one place, and that the cache knows who uses it.
    ///
    /// # Panics
    /// When a block is lost or has two owners.
    pub fn assert_conserved<'a>(&self, tables: impl Iterator<Item = &'a BlockTable>) {
        let mut places = vec![0_u32; self.total()];
        let mut users = vec![0_usize; self.cache.all().map(|(node, ..)| node + 1).max().unwrap_or(0)];
        let mut owned = 0;
        for table in tables {
            for &id in table.own() {
                places[id as usize] += 1;
                owned += 1;
            }
            for (&node, &id) in table.lent.iter().zip(&table.blocks) {
                assert_eq!(self.cache.block(node), id, "a table and the cache differ");
                users[node] += 1;
            }
        }
        let (mut cached, mut idle) = (0, 0);
        for (node, block, users_known) in self.cache.all() {
            assert_eq!(users[node], users_known, "the cache does not know who uses block {block}");
            places[block as usize] += 1;
            cached += 1;
            idle += usize::from(users_known == 0);
        }
        assert_eq!((cached, idle), (self.cache.blocks(), self.cache.idle()), "the cache has miscounted");
        for &id in &self.free {
            places[id as usize] += 1;
        }
        let (free, total) = (self.free.len(), self.total());
        assert_eq!(
            free + owned + cached,
            total,
            "{free} free + {owned} owned + {cached} cached blocks are not the {total} of the pool"
        );
        let wrong = places.iter().position(|&places| places != 1);
        assert_eq!(wrong, None, "this block is not in exactly one place");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_out_and_come_back() {
        let mut pool = BlockPool::new(5);
        let (mut a, mut b) = (BlockTable::default(), BlockTable::default());
        assert!(pool.grow(&mut a, 2));
        assert!(pool.grow(&mut b, 2));
        assert!(pool.grow(&mut a, 1), "a table is never made shorter");
        assert!(pool.grow(&mut a, 3));
        assert_eq!((a.ids(), b.ids(), pool.free()), (&[0, 1, 4][..], &[2, 3][..], 0));
        assert!(!pool.grow(&mut b, 3));
        assert_eq!(b.ids(), [2, 3], "a table that can't grow enough stays as it is");
        pool.assert_conserved([&a, &b].into_iter());
        pool.release(&mut a);
        assert_eq!((a.ids(), pool.free()), (&[][..], 3));
        pool.release(&mut a);
        assert!(pool.grow(&mut b, 5));
        pool.assert_conserved([&a, &b].into_iter());
    }

    #[test]
    fn what_is_shared_outlives_its_table_until_the_pool_runs_low() {
        let scope = CacheScope::default();
        let tokens: Vec<TokenId> = (0..3 * KV_BLOCK_TOKENS as TokenId).collect();
        let mut pool = BlockPool::new(4);
        let (mut a, mut b) = (BlockTable::default(), BlockTable::default());
        assert!(pool.grow(&mut a, 3));
        pool.share(&mut a, scope, &tokens[..2 * KV_BLOCK_TOKENS + 5]);
        assert_eq!((a.lent(), pool.cached(), pool.free()), (2, 2, 1));
        // A running sequence's beginning serves another at once; half a block is nobody's.
        pool.lend(&mut b, scope, &tokens);
        assert_eq!((b.ids(), b.lent()), (&[0, 1][..], 2));
        pool.assert_conserved([&a, &b].into_iter());
        pool.release(&mut a);
        assert_eq!((pool.cached(), pool.free()), (2, 2));
        assert!(!pool.grow(&mut a, 3), "what is lent is not to be had");
        pool.release(&mut b);
        assert_eq!((pool.cached(), pool.free()), (2, 4));
        assert!(pool.grow(&mut a, 3), "what only the cache has is");
        assert_eq!(pool.cached(), 1);
        pool.assert_conserved([&a].into_iter());
        pool.lend(&mut b, scope, &tokens);
        assert_eq!(b.ids(), [0], "the end of the path went first");
        pool.assert_conserved([&a, &b].into_iter());
    }

    #[test]
    fn the_same_computed_twice_is_kept_once() {
        let scope = CacheScope([1; 16]);
        let tokens = vec![7; KV_BLOCK_TOKENS];
        let mut pool = BlockPool::new(4);
        let (mut a, mut b, mut c) = (BlockTable::default(), BlockTable::default(), BlockTable::default());
        for table in [&mut a, &mut b, &mut c] {
            assert!(pool.grow(table, 1));
        }
        pool.share(&mut a, scope, &tokens);
        pool.share(&mut b, scope, &tokens);
        pool.share(&mut c, CacheScope([2; 16]), &tokens);
        assert_eq!((a.ids(), b.ids(), c.ids()), (&[0][..], &[0][..], &[2][..]));
        assert_eq!((pool.cached(), pool.free()), (2, 2));
        pool.assert_conserved([&a, &b, &c].into_iter());
    }

    #[test]
    fn blocks_hold_whole_and_partial_runs_of_tokens() {
        let counts = [0, 1, KV_BLOCK_TOKENS, KV_BLOCK_TOKENS + 1].map(blocks_for);
        assert_eq!(counts, [0, 1, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_foreign_table_is_refused() {
        let mut table = BlockTable::default();
        assert!(BlockPool::new(2).grow(&mut table, 1));
        BlockPool::new(2).release(&mut table);
    }

    #[test]
    #[should_panic(expected = "not the 2 of the pool")]
    fn a_lost_block_is_noticed() {
        let mut pool = BlockPool::new(2);
        let mut table = BlockTable::default();
        assert!(pool.grow(&mut table, 1));
        pool.assert_conserved(std::iter::empty());
    }
}
