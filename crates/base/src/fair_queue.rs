use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// What callers wait for in turns: each has one at a time, however many they put in, and theirs come in their order.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    /// In the order of their turns.
    callers: VecDeque<K>,
    /// Of each caller above, never empty.
    of_caller: HashMap<K, VecDeque<T>>,
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { callers: VecDeque::new(), of_caller: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// How many are in it.
    pub fn len(&self) -> usize {
        self.of_caller.values().map(VecDeque::len).sum()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Puts one behind those of the same caller; a new caller comes behind the others.
    pub fn push(&mut self, caller: K, item: T) {
        let own = self.of_caller.entry(caller).or_default();
        if own.is_empty() {
            self.callers.push_back(caller);
        }
        own.push_back(item);
    }

    /// The first of the caller whose turn it is for which `still` holds. Those for which it doesn't are dropped, and take
    /// nobody's turn.
    pub fn pop_if(&mut self, still: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            let caller = self.callers.pop_front()?;
            let own = self.of_caller.get_mut(&caller)?;
            let gone = own.iter().take_while(|item| !still(item)).count();
            own.drain(..gone);
            let first = own.pop_front();
            if own.is_empty() {
                self.of_caller.remove(&caller);
            } else {
                self.callers.push_back(caller);
            }
            if first.is_some() {
                return first;
            }
        }
    }

    /// Drops those for which `still` doesn't hold.
    pub fn retain(&mut self, still: impl Fn(&T) -> bool) {
        self.of_caller.retain(|_, own| {
            own.retain(&still);
            !own.is_empty()
        });
        self.callers.retain(|caller| self.of_caller.contains_key(caller));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(items: &[(char, u32)]) -> FairQueue<char, u32> {
        let mut queue = FairQueue::default();
        for &(caller, item) in items {
            queue.push(caller, item);
        }
        queue
    }

    fn drained(mut queue: FairQueue<char, u32>, still: impl Fn(&u32) -> bool) -> Vec<u32> {
        let items = std::iter::from_fn(|| queue.pop_if(&still)).collect();
        assert!(queue.is_empty());
        assert_eq!(queue.len(), 0, "and counts none");
        items
    }

    const ITEMS: [(char, u32); 7] = [('a', 1), ('a', 2), ('a', 3), ('b', 11), ('b', 12), ('c', 21), ('a', 4)];

    #[test]
    fn callers_take_turns_and_each_callers_come_in_their_order() {
        let queue = filled(&ITEMS);
        assert_eq!(queue.len(), 7);
        assert_eq!(drained(queue, |_| true), [1, 11, 21, 2, 12, 3, 4]);
    }

    #[test]
    fn what_is_gone_takes_nobodys_turn() {
        assert_eq!(drained(filled(&ITEMS), |item| ![1, 2, 21].contains(item)), [3, 11, 4, 12]);
        assert_eq!(drained(filled(&ITEMS), |_| false), [0; 0]);
    }

    #[test]
    fn what_is_dropped_is_not_counted() {
        let mut queue = filled(&ITEMS);
        queue.retain(|item| *item > 10);
        assert_eq!(queue.len(), 3);
        assert_eq!(drained(queue, |_| true), [11, 21, 12]);
    }
}
