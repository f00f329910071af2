use std::collections::BTreeMap;

use super::{PASSED_OVER_MAX, Rank, SequenceId};
use crate::events::Priority;

const CLASSES: usize = Priority::ALL.len();

/// The queue: by class, then arrival, except that a class passed over often enough has a turn.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    classes: [Class; CLASSES],
}

#[derive(Debug, Default)]
struct Class {
    /// By arrival.
    queue: BTreeMap<u64, SequenceId>,
    /// Sequences of higher classes taken since this class had a turn or became non-empty.
    passed_over: u32,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.queue.len()).sum()
    }

    pub(super) fn insert(&mut self, rank: Rank, id: SequenceId) {
        self.classes[rank.class].queue.insert(rank.arrival, id);
    }

    /// Takes out one sequence wherever it stands; false if it isn't here.
    pub(super) fn remove(&mut self, rank: Rank, id: SequenceId) -> bool {
        let class = &mut self.classes[rank.class];
        if class.queue.get(&rank.arrival) != Some(&id) {
            return false;
        }
        class.queue.remove(&rank.arrival);
        if class.queue.is_empty() {
            class.passed_over = 0;
        }
        true
    }

    /// Whose turn it is.
    pub(super) fn peek(&self) -> Option<SequenceId> {
        let class = &self.classes[self.turn()?];
        class.queue.first_key_value().map(|(_, id)| *id)
    }

    /// Whether it is the turn of a class that was passed over too often.
    pub(super) fn is_overdue(&self) -> bool {
        self.turn().is_some_and(|class| self.classes[class].passed_over >= PASSED_OVER_MAX)
    }

    /// Those of classes below `class`, the lowest class first, and of each the one that came last.
    pub(super) fn below(&self, class: usize) -> impl Iterator<Item = SequenceId> {
        let lower = self.classes.iter().skip(class + 1).rev();
        lower.flat_map(|class| class.queue.values().rev().copied())
    }

    /// Takes out the sequence that [`peek`](Self::peek) shows, and counts the turn.
    pub(super) fn take(&mut self) -> Option<SequenceId> {
        let turn = self.turn()?;
        let (_, id) = self.classes[turn].queue.pop_first()?;
        self.classes[turn].passed_over = 0;
        for lower in &mut self.classes[turn + 1..] {
            if !lower.queue.is_empty() {
                lower.passed_over += 1;
            }
        }
        Some(id)
    }

    /// The class passed over most, if that is often enough, or else the highest that has anyone.
    fn turn(&self) -> Option<usize> {
        let occupied = |class: &&usize| !self.classes[**class].queue.is_empty();
        let overdue = |class: &&usize| self.classes[**class].passed_over >= PASSED_OVER_MAX;
        let order: [usize; CLASSES] = std::array::from_fn(|class| class);
        let most_overdue = order
            .iter()
            .filter(occupied)
            .filter(overdue)
            .max_by_key(|class| self.classes[**class].passed_over);
        most_overdue.or_else(|| order.iter().find(occupied)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(counts: [u64; CLASSES]) -> Waiting {
        let mut waiting = Waiting::default();
        let mut arrival = 0;
        for (class, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                waiting.insert(Rank { class, arrival }, SequenceId(arrival));
                arrival += 1;
            }
        }
        waiting
    }

    fn classes_taken(mut waiting: Waiting, bounds: [u64; CLASSES]) -> String {
        let mut taken = String::new();
        while let Some(peeked) = waiting.peek() {
            let id = waiting.take();
            assert_eq!(id, Some(peeked));
            let high = peeked.0 < bounds[0];
            let normal = peeked.0 < bounds[0] + bounds[1];
            let low = peeked.0 < bounds[0] + bounds[1] + bounds[2];
            taken.push(match (high, normal, low) {
                (true, ..) => 'h',
                (_, true, _) => 'n',
                (.., true) => 'l',
                _ => 'z',
            });
        }
        taken
    }

    #[test]
    fn classes_go_in_order_and_the_passed_over_have_turns() {
        let check = |counts, expected: &str| assert_eq!(classes_taken(queue(counts), counts), expected);
        check([0, 0, 0, 0], "");
        check([2, 2, 2, 2], "hhnnllzz");
        check([20, 0, 2, 0], "hhhhhhhhlhhhhhhhhlhhhh");
        check([0, 9, 0, 3], "nnnnnnnnznzz");
        // Normal's turn counts as passing over low once more.
        check([18, 2, 2, 0], "hhhhhhhhlnhhhhhhhlhnhh");
    }

    #[test]
    fn removal_finds_the_one_meant() {
        let mut waiting = queue([1, 2, 0, 0]);
        assert!(!waiting.remove(Rank { class: 0, arrival: 1 }, SequenceId(1)));
        assert!(!waiting.remove(Rank { class: 1, arrival: 1 }, SequenceId(2)));
        assert!(waiting.remove(Rank { class: 1, arrival: 1 }, SequenceId(1)));
        assert_eq!((waiting.len(), waiting.peek()), (2, Some(SequenceId(0))));
    }

    #[test]
    fn who_came_last_of_the_lowest_class_goes_first() {
        let waiting = queue([1, 2, 0, 2]);
        let below = |class| waiting.below(class).map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(below(0), [4, 3, 2, 1]);
        assert_eq!(below(1), [4, 3]);
        assert_eq!(below(3), [0_u64; 0]);
    }
}
