//! The pool of KV blocks: which sequence holds which.
//!
//! A block has one owner, the pool's free list or one [`BlockTable`]; a table can't be cloned and is emptied
//! when released, so a block can't be freed twice, and the pool checks it all the same. Conservation is counted
//! from the owners' side, free + used = total. A prefix cache is a third owner beside these two: it takes blocks
//! out of tables, lends them to others, and gives them back to the free list when that runs low.

use models::batch::{BlockId, KV_BLOCK_TOKENS};

/// Blocks that `tokens` tokens take.
pub fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(KV_BLOCK_TOKENS)
}

/// The blocks of one sequence in order: block `i` holds positions `i * KV_BLOCK_TOKENS ..`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BlockTable {
    blocks: Vec<BlockId>,
}

impl BlockTable {
    /// The ids, as a model wants them.
    pub fn ids(&self) -> &[BlockId] {
        &self.blocks
    }
}

/// A fixed number of blocks.
#[derive(Debug)]
pub struct BlockPool {
    /// Blocks that no table holds; the last one is given out next.
    free: Vec<BlockId>,
    /// `[total]`, whether a table holds the block.
    held: Vec<bool>,
}

impl BlockPool {
    /// A pool of `total` free blocks, ids `0..total`.
    ///
    /// # Panics
    /// When a block id can't name that many.
    pub fn new(total: usize) -> Self {
        let count = BlockId::try_from(total).expect("a block id names every block");
        Self { free: (0..count).rev().collect(), held: vec![false; total] }
    }

    /// All blocks.
    pub fn total(&self) -> usize {
        self.held.len()
    }

    /// Blocks that no table holds.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Extends a table until it has `blocks` blocks, or leaves it as it is and returns false when the pool has
    /// too few.
    pub fn grow(&mut self, table: &mut BlockTable, blocks: usize) -> bool {
        let missing = blocks.saturating_sub(table.blocks.len());
        let Some(kept) = self.free.len().checked_sub(missing) else { return false };
        for id in self.free.drain(kept..).rev() {
            self.held[id as usize] = true;
            table.blocks.push(id);
        }
        true
    }

    /// Takes back all blocks of a table.
    ///
    /// # Panics
    /// When the table holds a block that this pool has not given out: a bug, caught before it corrupts another
    /// sequence.
    pub fn release(&mut self, table: &mut BlockTable) {
        for id in table.blocks.drain(..).rev() {
            assert!(std::mem::replace(&mut self.held[id as usize], false), "block {id} was freed twice");
            self.free.push(id);
        }
    }

    /// Checks free + used = total, each block in exactly one place.
    ///
    /// # Panics
    /// When a block is lost or has two owners.
    pub fn assert_conserved<'a>(&self, tables: impl Iterator<Item = &'a BlockTable>) {
        let mut owners = vec![0_u32; self.total()];
        let mut used = 0;
        for id in tables.flat_map(BlockTable::ids) {
            owners[*id as usize] += 1;
            used += 1;
        }
        for id in &self.free {
            owners[*id as usize] += 1;
        }
        let (free, total) = (self.free(), self.total());
        assert_eq!(free + used, total, "{free} free + {used} used blocks are not the {total} of the pool");
        let wrong = owners.iter().position(|&owners| owners != 1);
        assert_eq!(wrong, None, "this block does not have exactly one owner");
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
