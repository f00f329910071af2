use std::collections::BTreeMap;

use super::{PASSED_OVER_MAX, Rank, SequenceId};
use crate::events::Priority;
use crate::prefix::CacheScope;

const CLASSES: usize = Priority::ALL.len();

/// The queue: by class, then by how much their users had of late, then arrival, except that a class passed over often
/// enough has a turn.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    classes: [Class; CLASSES],
}

#[derive(Debug, Default)]
struct Class {
    /// By arrival.
    queue: BTreeMap<u64, (SequenceId, CacheScope)>,
    /// Sequences of higher classes taken since this class had a turn or became non-empty.
    passed_over: u32,
}

impl Class {
    fn first(&self, level: impl Fn(CacheScope) -> u32) -> Option<SequenceId> {
        let first = self.queue.iter().min_by_key(|(arrival, (_, user))| (level(*user), **arrival));
        first.map(|(_, (id, _))| *id)
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.queue.len()).sum()
    }

    pub(super) fn insert(&mut self, rank: Rank, id: SequenceId, user: CacheScope) {
        self.classes[rank.class].queue.insert(rank.arrival, (id, user));
    }

    /// Takes out one sequence wherever it stands; false if it isn't here.
    pub(super) fn remove(&mut self, rank: Rank, id: SequenceId) -> bool {
        let class = &mut self.classes[rank.class];
        if class.queue.get(&rank.arrival).is_none_or(|(held, _)| *held != id) {
            return false;
        }
        class.queue.remove(&rank.arrival);
        if class.queue.is_empty() {
            class.passed_over = 0;
        }
        true
    }

    /// Whose turn it is, with `level` for how much a user had.
    pub(super) fn peek(&self, level: impl Fn(CacheScope) -> u32) -> Option<SequenceId> {
        self.classes[self.turn()?].first(level)
    }

    /// Whose turn it would be if nobody had been passed over.
    pub(super) fn first(&self, level: impl Fn(CacheScope) -> u32) -> Option<SequenceId> {
        self.classes.iter().find(|class| !class.queue.is_empty())?.first(level)
    }

    /// Whether it is the turn of a class that was passed over too often.
    pub(super) fn is_overdue(&self) -> bool {
        self.turn().is_some_and(|class| self.classes[class].passed_over >= PASSED_OVER_MAX)
    }

    /// Those of classes below `class`, the lowest class first, and of each the one that came last.
    pub(super) fn below(&self, class: usize) -> impl Iterator<Item = SequenceId> {
        let lower = self.classes.iter().skip(class + 1).rev();
        lower.flat_map(|class| class.queue.values().rev().map(|(id, _)| *id))
    }

    /// Takes out the sequence that [`peek`](Self::peek) shows, and counts the turn.
    pub(super) fn take(&mut self, rank: Rank) {
        let turn = rank.class;
        if self.classes[turn].queue.remove(&rank.arrival).is_none() {
            return;
        }
        self.classes[turn].passed_over = 0;
        for lower in &mut self.classes[turn + 1..] {
            if !lower.queue.is_empty() {
                lower.passed_over += 1;
            }
        }
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
                waiting.insert(Rank { class, arrival }, SequenceId(arrival), CacheScope::default());
                arrival += 1;
            }
        }
        waiting
    }

    fn class_of(id: SequenceId, counts: [u64; CLASSES]) -> usize {
        let until = |class: usize| counts[..=class].iter().sum::<u64>();
        (0..CLASSES).find(|class| id.0 < until(*class)).unwrap()
    }

    fn classes_taken(mut waiting: Waiting, counts: [u64; CLASSES]) -> String {
        let mut taken = String::new();
        while let Some(peeked) = waiting.peek(|_| 0) {
            let class = class_of(peeked, counts);
            waiting.take(Rank { class, arrival: peeked.0 });
            taken.push(['h', 'n', 'l', 'z'][class]);
        }
        taken
    }

    #[test]
    fn of_a_class_who_had_least_goes_first() {
        let mut waiting = Waiting::default();
        for (arrival, user) in [(0, 3), (1, 1), (2, 3), (3, 1), (4, 0)] {
            waiting.insert(Rank { class: 1, arrival }, SequenceId(arrival), CacheScope([user; 16]));
        }
        waiting.insert(Rank { class: 2, arrival: 5 }, SequenceId(5), CacheScope([0; 16]));
        let mut order = Vec::new();
        while let Some(id) = waiting.peek(|user| u32::from(user.0[0])) {
            order.push(id.0);
            waiting.take(Rank { class: if id.0 == 5 { 2 } else { 1 }, arrival: id.0 });
        }
        assert_eq!(order, [4, 1, 3, 0, 2, 5]);
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
        assert_eq!((waiting.len(), waiting.peek(|_| 0)), (2, Some(SequenceId(0))));
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
