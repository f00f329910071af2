//! The prefix cache: KV blocks that outlive their sequence, so that a later one that begins with the same tokens need
//! not read them again.
//!
//! A tree per scope: an edge is one full block of [`KV_BLOCK_TOKENS`] tokens, a path from the root is a beginning of
//! sequences (the radix tree of `SGLang`, Zheng et al. 2024, with edges of one block, as block tables share no less).
//! Tokens are compared, not their hashes. A block's content depends on nothing but the tokens up to its end
//! (ARCHITECTURE.md, invariant 2), so an answer is the same with and without the cache, to the bit.
//!
//! A node that a running sequence uses, and with it every node above, stays. The others are idle: they are given up
//! when the pool needs blocks, the one used longest ago first, from the ends of paths.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base::TokenId;
use models::batch::{BlockId, KV_BLOCK_TOKENS};

/// Whose sequences share their beginnings. What one scope has read tells another nothing, not even by the time that an
/// answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CacheScope(pub [u8; 16]);

/// A node of the tree, by its place in the list of nodes.
pub(crate) type NodeId = usize;

type Children = HashMap<Arc<[TokenId]>, NodeId>;

/// What holds a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Root(CacheScope),
    Node(NodeId),
}

#[derive(Debug)]
struct Node {
    parent: Parent,
    /// `[KV_BLOCK_TOKENS]`, the edge that leads here.
    tokens: Arc<[TokenId]>,
    block: BlockId,
    children: Children,
    /// Sequences that use it.
    users: usize,
    /// When it became idle.
    idle_since: u64,
}

/// The tree. Blocks in it are neither free nor any table's own.
#[derive(Debug, Default)]
pub(crate) struct PrefixCache {
    roots: HashMap<CacheScope, Children>,
    /// As many as there were at once; those given up are `None` and used again.
    nodes: Vec<Option<Node>>,
    vacant: Vec<NodeId>,
    /// Idle nodes without children, the one idle longest first.
    ends: BTreeSet<(u64, NodeId)>,
    idle: usize,
    /// Counts releases.
    now: u64,
}

impl PrefixCache {
    /// Blocks in the tree.
    pub(crate) fn blocks(&self) -> usize {
        self.nodes.len() - self.vacant.len()
    }

    /// Blocks in the tree that no sequence uses.
    pub(crate) fn idle(&self) -> usize {
        self.idle
    }

    pub(crate) fn block(&self, node: NodeId) -> BlockId {
        self.node(node).block
    }

    /// The node that `tokens`, one block of them, lead to below `above`. It is used from now on.
    pub(crate) fn enter(
        &mut self,
        scope: CacheScope,
        above: Option<NodeId>,
        tokens: &[TokenId],
    ) -> Option<NodeId> {
        let id = self.find(scope, above, tokens)?;
        self.use_node(id);
        Some(id)
    }

    /// The same, not used.
    pub(crate) fn find(
        &self,
        scope: CacheScope,
        above: Option<NodeId>,
        tokens: &[TokenId],
    ) -> Option<NodeId> {
        self.children(scope, above)?.get(tokens).copied()
    }

    /// Adds the node that `tokens` lead to below `above`, which is used; it is used too. There must be none yet.
    pub(crate) fn add(
        &mut self,
        scope: CacheScope,
        above: Option<NodeId>,
        tokens: &[TokenId],
        block: BlockId,
    ) -> NodeId {
        debug_assert_eq!(tokens.len(), KV_BLOCK_TOKENS);
        let tokens: Arc<[TokenId]> = tokens.into();
        let node = Node {
            parent: above.map_or(Parent::Root(scope), Parent::Node),
            tokens: Arc::clone(&tokens),
            block,
            children: HashMap::new(),
            users: 1,
            idle_since: 0,
        };
        let id = if let Some(id) = self.vacant.pop() {
            self.nodes[id] = Some(node);
            id
        } else {
            self.nodes.push(Some(node));
            self.nodes.len() - 1
        };
        let siblings = match above {
            Some(above) => &mut self.node_mut(above).children,
            None => self.roots.entry(scope).or_default(),
        };
        let earlier = siblings.insert(tokens, id);
        assert!(earlier.is_none(), "a node is added twice");
        id
    }

    /// A sequence leaves its path. The whole path counts as used last now.
    pub(crate) fn leave(&mut self, path: impl Iterator<Item = NodeId>) {
        self.now += 1;
        let now = self.now;
        for id in path {
            let node = self.node_mut(id);
            node.users -= 1;
            if node.users == 0 {
                node.idle_since = now;
                let is_end = node.children.is_empty();
                self.idle += 1;
                if is_end {
                    self.ends.insert((now, id));
                }
            }
        }
    }

    /// Gives up the idle block used longest ago.
    pub(crate) fn evict(&mut self) -> Option<BlockId> {
        let (_, id) = self.ends.pop_first()?;
        let node = self.nodes[id].take()?;
        self.vacant.push(id);
        self.idle -= 1;
        match node.parent {
            Parent::Root(scope) => {
                if let Some(children) = self.roots.get_mut(&scope) {
                    children.remove(&node.tokens);
                    if children.is_empty() {
                        self.roots.remove(&scope);
                    }
                }
            }
            Parent::Node(above) => {
                let parent = self.node_mut(above);
                parent.children.remove(&node.tokens);
                if parent.users == 0 && parent.children.is_empty() {
                    let end = (parent.idle_since, above);
                    self.ends.insert(end);
                }
            }
        }
        Some(node.block)
    }

    /// Every node with its block and the number of sequences that use it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, BlockId, usize)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(id, node)| node.as_ref().map(|node| (id, node.block, node.users)))
    }

    fn children(&self, scope: CacheScope, above: Option<NodeId>) -> Option<&Children> {
        match above {
            Some(above) => Some(&self.node(above).children),
            None => self.roots.get(&scope),
        }
    }

    fn use_node(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.users += 1;
        if node.users == 1 {
            let end = (node.idle_since, id);
            self.idle -= 1;
            self.ends.remove(&end);
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id].as_ref().expect("a node that is used stays")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id].as_mut().expect("a node that is used, or has children, stays")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(of: TokenId) -> Vec<TokenId> {
        vec![of; KV_BLOCK_TOKENS]
    }

    /// Enters or adds a path of blocks that each repeat one token; block ids are `first_block..`.
    fn walk(cache: &mut PrefixCache, scope: u8, path: &[TokenId], first_block: BlockId) -> Vec<NodeId> {
        let scope = CacheScope([scope; 16]);
        let mut nodes: Vec<NodeId> = Vec::new();
        for (at, &token) in path.iter().enumerate() {
            let above = nodes.last().copied();
            let block = first_block + at as BlockId;
            let entered = cache.enter(scope, above, &tokens(token));
            nodes.push(entered.unwrap_or_else(|| cache.add(scope, above, &tokens(token), block)));
        }
        nodes
    }

    fn blocks(cache: &PrefixCache, nodes: &[NodeId]) -> Vec<BlockId> {
        nodes.iter().map(|&node| cache.block(node)).collect()
    }

    #[test]
    fn beginnings_are_shared_within_a_scope() {
        let mut cache = PrefixCache::default();
        let a = walk(&mut cache, 1, &[1, 2, 3], 10);
        assert_eq!(blocks(&cache, &a), [10, 11, 12]);
        let b = walk(&mut cache, 1, &[1, 2, 4], 20);
        assert_eq!(blocks(&cache, &b), [10, 11, 22]);
        // The same block elsewhere in the sequence is another one, and so is another scope's.
        let c = walk(&mut cache, 1, &[2], 30);
        let d = walk(&mut cache, 2, &[1, 2], 40);
        assert_eq!((blocks(&cache, &c), blocks(&cache, &d)), (vec![30], vec![40, 41]));
        assert_eq!((cache.blocks(), cache.idle()), (7, 0));
        assert_eq!(cache.evict(), None, "all are used");
        cache.leave(a.into_iter());
        assert_eq!((cache.idle(), cache.evict(), cache.evict()), (1, Some(12), None));
        assert_eq!(walk(&mut cache, 1, &[1, 2, 3], 50).len(), 3);
    }

    #[test]
    fn ends_go_first_and_the_one_used_longest_ago() {
        let mut cache = PrefixCache::default();
        let a = walk(&mut cache, 1, &[1, 2, 3], 10);
        let b = walk(&mut cache, 1, &[1, 4], 20);
        let c = walk(&mut cache, 2, &[9], 30);
        for path in [a, b, c] {
            cache.leave(path.into_iter());
        }
        assert_eq!((cache.blocks(), cache.idle()), (5, 5));
        // Entering again makes a path the newest.
        let again = walk(&mut cache, 1, &[1, 2], 0);
        assert_eq!((blocks(&cache, &again), cache.idle()), (vec![10, 11], 3));
        cache.leave(again.into_iter());
        let order: Vec<_> = std::iter::from_fn(|| cache.evict()).collect();
        assert_eq!(order, [12, 21, 30, 11, 10]);
        assert_eq!((cache.blocks(), cache.idle(), cache.roots.len()), (0, 0, 0));
    }
}
