use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use base::Rng;

use crate::prefix::Prefix;

/// A place in the waiting list. Hard to guess; the server gives it out signed and for nobody else, with the prefix that
/// it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub u64);

/// Where a place is in the order in which they are called up. The server signs it along with the place, so that it can be
/// put back after a restart ([`Registrar::restore`](crate::Registrar::restore)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Rounds are called up one after the other; each has at most one place of a prefix.
    pub round: u64,
    /// The order within a round; no two places have the same.
    pub sequence: u64,
}

/// Where a place stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// So many are called up before it, about: places that come later from prefixes that have none go before further
    /// places of a prefix that has.
    Waiting {
        /// Places before this one.
        ahead: usize,
    },
    /// It has been called up and is good until then.
    CalledUp {
        /// On the monotonic clock.
        until: Duration,
    },
    /// There is no such place: it was used, it was called up and not used in time, it had to give way, or the server
    /// was restarted and it was not [restored](crate::Registrar::restore). Whoever holds it may take another.
    Gone,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The prefix has its share.
    #[error("{prefix} has {held} places in the waiting list; allowed: {allowed}")]
    Prefix {
        /// Whose share it is.
        prefix: Prefix,
        /// Places that it holds.
        held: u32,
        /// Most that it may hold.
        allowed: u32,
    },
    /// All are taken, and none is less urgent.
    #[error("the waiting list is full: it has {capacity} places")]
    Full {
        /// All places.
        capacity: usize,
    },
}

/// People who wait for an account, first come, first served among prefixes: a queue that is fair to prefixes
/// (start-time fair queueing, Goyal et al., 1996, with places for packets).
///
/// A prefix's places stand in rounds, one in each, and the rounds are called up one after the other. So a prefix with a
/// hundred places pushes nobody back by more than one. Prefixes are the wide ones, /24 and /48.
///
/// **Capacity.** The list is bounded. If it is full, the last place of the last round gives way to one of an earlier
/// round: the last of the prefix with the most places. Where there is no earlier round, some places are looked at in
/// turn, and one whose holder has not asked after it for [`PATIENCE`] gives way; if none is found, there is no place.
///
/// **Restarts.** The list is in memory, and each place is known to its holder by its turn. Rounds and sequence numbers of
/// a process are higher than those of the ones before, so a place that is put back stands before all that were given out
/// since, and among others of before as it did.
///
/// A bookkeeping, nothing more: it holds no name and no address but the prefix.
#[derive(Debug)]
pub(crate) struct WaitingList {
    capacity: usize,
    per_prefix_max: u32,
    /// The order in which places are called up.
    queue: BTreeMap<Turn, PlaceId>,
    places: HashMap<PlaceId, Place>,
    prefixes: HashMap<Prefix, OfPrefix>,
    /// The round that is being called up.
    round: u64,
    sequence: u64,
    /// The first round, and the first sequence number, of this process.
    first_round: u64,
    /// Places of earlier rounds.
    restored_waiting: usize,
    /// All that were ever put back: none is twice. No more than there are places.
    restored: HashSet<PlaceId>,
    /// Until when each is good.
    called: HashMap<PlaceId, Called>,
    /// In the order in which they end.
    called_until: VecDeque<(Duration, PlaceId)>,
    /// Places in the order in which they are looked at for one to give way.
    hand: VecDeque<PlaceId>,
}

#[derive(Debug, Clone, Copy)]
struct Called {
    since: Duration,
    until: Duration,
    turn: Turn,
}

#[derive(Debug)]
struct Place {
    at: Turn,
    prefix: Prefix,
    asked: Duration,
}

#[derive(Debug, Default)]
struct OfPrefix {
    held: u32,
    /// The round of its last place.
    round: u64,
}

/// Whose holder has not asked for this long may give way if there is no room. Pages ask each half minute.
pub const PATIENCE: Duration = Duration::from_mins(3);
/// How long a place that was called up is good.
pub const CALLED_UP_FOR: Duration = Duration::from_mins(10);
/// How long it is good in all, for those who come in time and are kept from their account by what others of their network
/// took.
const CALLED_UP_MAX: Duration = Duration::from_hours(1);
/// Places that are looked at for one that may give way.
const LOOKS: usize = 16;

impl WaitingList {
    pub(crate) fn new(capacity: usize, per_prefix_max: u32, first_round: u64) -> Self {
        Self {
            capacity,
            per_prefix_max,
            queue: BTreeMap::new(),
            places: HashMap::new(),
            prefixes: HashMap::new(),
            round: first_round,
            sequence: first_round,
            first_round,
            restored_waiting: 0,
            restored: HashSet::new(),
            called: HashMap::new(),
            called_until: VecDeque::new(),
            hand: VecDeque::new(),
        }
    }

    /// Places that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.places.len()
    }

    /// Places that were called up and not used yet.
    pub(crate) fn called(&self) -> usize {
        self.called.len()
    }

    /// Takes a place for somebody from a prefix.
    pub(crate) fn join(&mut self, prefix: Prefix, now: Duration, rng: &mut Rng) -> Result<PlaceId, NoPlace> {
        let of_prefix = self.prefixes.get(&prefix);
        let (held, last) = of_prefix.map_or((0, None), |of| (of.held, Some(of.round)));
        if held >= self.per_prefix_max {
            return Err(NoPlace::Prefix { prefix, held, allowed: self.per_prefix_max });
        }
        let round = last.map_or(self.round, |last| self.round.max(last + 1));
        if self.places.len() >= self.capacity && !self.make_room(round, now) {
            return Err(NoPlace::Full { capacity: self.capacity });
        }
        let id = PlaceId(rng.next_u64());
        let at = Turn { round, sequence: self.next_sequence() };
        self.put(id, at, prefix, now);
        Ok(id)
    }

    /// Puts a place back that an earlier process gave out, unless there is no room or it was put back before: whoever
    /// used it since, or lost it, has it no more.
    pub(crate) fn restore(&mut self, id: PlaceId, at: Turn, prefix: Prefix, now: Duration) {
        let held = self.prefixes.get(&prefix).map_or(0, |of| of.held);
        let may_be = at.round < self.first_round
            && held < self.per_prefix_max
            && self.restored.len() < self.capacity
            && !self.restored.contains(&id)
            && !self.queue.contains_key(&at);
        if may_be && (self.places.len() < self.capacity || self.make_room(at.round, now)) {
            self.restored.insert(id);
            self.put(id, at, prefix, now);
        }
    }

    /// The turn of a place, also of one that is called up.
    pub(crate) fn turn(&self, id: PlaceId) -> Option<Turn> {
        let waiting = self.places.get(&id).map(|place| place.at);
        waiting.or_else(|| self.called.get(&id).map(|called| called.turn))
    }

    fn put(&mut self, id: PlaceId, at: Turn, prefix: Prefix, now: Duration) {
        self.queue.insert(at, id);
        self.places.insert(id, Place { at, prefix, asked: now });
        self.restored_waiting += usize::from(at.round < self.first_round);
        self.hand.push_back(id);
        self.trim_hand();
        let of = self.prefixes.entry(prefix).or_default();
        of.held += 1;
        of.round = of.round.max(at.round);
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    /// Where a place stands; its holder has asked.
    pub(crate) fn ask(&mut self, id: PlaceId, now: Duration) -> Standing {
        self.lapse(now);
        if let Some(Called { until, .. }) = self.called.get(&id) {
            return Standing::CalledUp { until: *until };
        }
        let Some(place) = self.places.get_mut(&id) else { return Standing::Gone };
        place.asked = now;
        let at = place.at;
        Standing::Waiting { ahead: self.ahead(at) }
    }

    /// Calls the next one up.
    pub(crate) fn call(&mut self, now: Duration) -> Option<PlaceId> {
        self.lapse(now);
        let (at, id) = self.queue.first_key_value().map(|(at, id)| (*at, *id))?;
        self.remove(id);
        self.round = self.round.max(at.round);
        self.call_up(id, at, now);
        Some(id)
    }

    /// Calls a place up that was used for nothing.
    pub(crate) fn call_again(&mut self, id: PlaceId, now: Duration) {
        self.lapse(now);
        let turn = Turn { round: self.round, sequence: self.next_sequence() };
        self.call_up(id, turn, now);
    }

    fn call_up(&mut self, id: PlaceId, turn: Turn, now: Duration) {
        let until = now + CALLED_UP_FOR;
        self.called.insert(id, Called { since: now, until, turn });
        self.called_until.push_back((until, id));
    }

    /// The holder of a place that was called up has come, and it is not for them that they get nothing yet: it is good
    /// for longer.
    pub(crate) fn extend(&mut self, id: PlaceId, now: Duration) {
        self.lapse(now);
        let until = now + CALLED_UP_FOR;
        let Some(called) = self.called.get_mut(&id) else { return };
        // Not each time that they ask: what is noted for it is freed when it ends.
        if until <= called.since + CALLED_UP_MAX && until >= called.until + CALLED_UP_FOR / 4 {
            called.until = until;
            self.called_until.push_back((until, id));
        }
    }

    /// Its holder needs it no more.
    pub(crate) fn leave(&mut self, id: PlaceId) {
        self.called.remove(&id);
        self.remove(id);
    }

    /// Counted where it is cheap, near the front; else from the numbers, which is as good for somebody who waits.
    fn ahead(&self, at: Turn) -> usize {
        const COUNTED: usize = 64;
        let counted = self.queue.range(..at).take(COUNTED).count();
        if counted < COUNTED {
            return counted;
        }
        // Far below the rounds of this process are those of the ones before.
        let own = Turn { round: self.first_round, sequence: 0 };
        let new = self.places.len() - self.restored_waiting;
        let (before, like, mut turns) = if at < own {
            (0, self.restored_waiting, self.queue.range(..own))
        } else {
            (self.restored_waiting, new, self.queue.range(own..))
        };
        let Some((first, _)) = turns.next() else { return counted };
        let last = turns.next_back().map_or(first, |(last, _)| last);
        // Places of a round come one after another, about as many in each.
        let rounds = (last.round - first.round + 1) as f64;
        let from = first.sequence.min(at.sequence);
        let within = (at.sequence - from) as f64 / (last.sequence.max(at.sequence) - from).max(1) as f64;
        let part = ((at.round - first.round) as f64 + within) / rounds;
        counted.max(before + (part.min(1.0) * like as f64) as usize)
    }

    fn remove(&mut self, id: PlaceId) {
        let Some(place) = self.places.remove(&id) else { return };
        self.queue.remove(&place.at);
        self.restored_waiting -= usize::from(place.at.round < self.first_round);
        if let Some(of) = self.prefixes.get_mut(&place.prefix) {
            of.held -= 1;
            if of.held == 0 {
                self.prefixes.remove(&place.prefix);
            }
        }
    }

    fn make_room(&mut self, round: u64, now: Duration) -> bool {
        let last = self.queue.last_key_value().map(|(last, id)| (last.round, *id));
        let gives_way = last.filter(|(last, _)| *last > round).map(|(_, id)| id);
        let gives_way = gives_way.or_else(|| self.forgotten(now));
        gives_way.inspect(|id| self.remove(*id)).is_some()
    }

    /// Looks at some places in turn for one that nobody asks after.
    fn forgotten(&mut self, now: Duration) -> Option<PlaceId> {
        for _ in 0..LOOKS {
            let id = self.hand.pop_front()?;
            let Some(place) = self.places.get(&id) else { continue };
            if now.saturating_sub(place.asked) > PATIENCE {
                return Some(id);
            }
            self.hand.push_back(id);
        }
        None
    }

    /// The hand may hold places that are gone; not more than there are others.
    fn trim_hand(&mut self) {
        if self.hand.len() > 2 * self.capacity.max(LOOKS) {
            let places = &self.places;
            self.hand.retain(|id| places.contains_key(id));
        }
    }

    fn lapse(&mut self, now: Duration) {
        while let Some((until, id)) = self.called_until.front().copied()
            && until <= now
        {
            self.called_until.pop_front();
            // It may have been called up again since.
            if self.called.get(&id).is_some_and(|called| called.until <= now) {
                self.called.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base::Rng;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn prefix(number: u32) -> Prefix {
        Prefix::wide(std::net::Ipv4Addr::from(number << 8).into())
    }

    struct Run {
        list: WaitingList,
        rng: Rng,
    }

    impl Run {
        fn new(capacity: usize, per_prefix_max: u32) -> Self {
            Self::later(capacity, per_prefix_max, 0)
        }

        /// A process that began later.
        fn later(capacity: usize, per_prefix_max: u32, first_round: u64) -> Self {
            let list = WaitingList::new(capacity, per_prefix_max, first_round);
            Self { list, rng: Rng::from_seed(first_round + 1) }
        }

        fn join(&mut self, number: u32, now: Duration) -> Result<PlaceId, NoPlace> {
            self.list.join(prefix(number), now, &mut self.rng)
        }
    }

    #[test]
    fn a_prefix_with_many_places_pushes_nobody_back() {
        let mut run = Run::new(1000, 100);
        let greedy: Vec<_> = (0..100).map(|_| run.join(1, SECOND).unwrap()).collect();
        let honest = run.join(2, SECOND).unwrap();
        assert_eq!(run.list.ask(honest, SECOND), Standing::Waiting { ahead: 1 });
        assert_eq!(run.list.ask(greedy[1], SECOND), Standing::Waiting { ahead: 2 });
        assert_eq!(run.list.call(SECOND), Some(greedy[0]));
        assert_eq!(run.list.call(SECOND), Some(honest));
        // Somebody who comes now is in the round of now, before the further places of the first.
        let later = run.join(3, SECOND).unwrap();
        assert_eq!(run.list.call(SECOND), Some(later));
        assert_eq!(run.list.call(SECOND), Some(greedy[1]));
        let none = run.join(1, SECOND);
        assert!(none.is_ok(), "two of its places are called up");
        run.join(1, SECOND).unwrap();
        assert!(matches!(run.join(1, SECOND), Err(NoPlace::Prefix { held: 100, allowed: 100, .. })));
    }

    #[test]
    fn who_was_called_up_has_their_time() {
        let mut run = Run::new(10, 10);
        let id = run.join(1, SECOND).unwrap();
        assert_eq!(run.list.ask(id, SECOND), Standing::Waiting { ahead: 0 });
        assert_eq!(run.list.call(SECOND), Some(id));
        let until = SECOND + CALLED_UP_FOR;
        assert_eq!(run.list.ask(id, 2 * SECOND), Standing::CalledUp { until });
        assert_eq!(run.list.ask(id, until - SECOND), Standing::CalledUp { until });
        assert_eq!(run.list.ask(id, until), Standing::Gone);
        assert_eq!((run.list.waiting(), run.list.called(), run.list.called_until.len()), (0, 0, 0));
    }

    #[test]
    fn who_comes_for_nothing_has_longer_but_not_for_ever() {
        let mut run = Run::new(10, 10);
        let places = [1, 2].map(|number| run.join(number, SECOND).unwrap());
        for id in places {
            assert_eq!(run.list.call(SECOND), Some(id));
        }
        let mut now = SECOND;
        while run.list.ask(places[0], now) != Standing::Gone {
            now += SECOND;
            run.list.extend(places[0], now);
            assert!(run.list.called_until.len() <= 6, "{}", run.list.called_until.len());
            let other = run.list.ask(places[1], now);
            assert_eq!(other == Standing::Gone, now >= SECOND + CALLED_UP_FOR, "who doesn't come has theirs");
        }
        assert!(now > CALLED_UP_MAX - CALLED_UP_FOR / 4 && now <= SECOND + CALLED_UP_MAX, "{now:?}");
        run.list.extend(places[0], now);
        assert_eq!((run.list.called(), run.list.called_until.len()), (0, 0));
    }

    #[test]
    fn who_is_greedy_or_gone_gives_way() {
        let mut run = Run::new(3, 3);
        let greedy = [0; 3].map(|_| run.join(1, SECOND).unwrap());
        let second = run.join(2, SECOND).unwrap();
        assert_eq!(run.list.ask(greedy[2], SECOND), Standing::Gone);
        let third = run.join(3, SECOND).unwrap();
        assert_eq!(run.list.ask(greedy[1], SECOND), Standing::Gone);
        assert_eq!(run.join(4, SECOND), Err(NoPlace::Full { capacity: 3 }));
        let later = SECOND + PATIENCE;
        run.list.ask(greedy[0], later);
        run.list.ask(third, later);
        let fourth = run.join(4, later + SECOND).unwrap();
        assert_eq!(run.list.ask(second, later + SECOND), Standing::Gone);
        assert_eq!(run.list.ask(fourth, later + SECOND), Standing::Waiting { ahead: 2 });
    }

    #[test]
    fn places_of_before_a_restart_come_first_and_in_their_order() {
        let mut before = Run::new(100, 10);
        let [called, second] = [1, 2].map(|number| before.join(number, SECOND).unwrap());
        let further = before.join(1, SECOND).unwrap();
        assert_eq!(before.list.call(SECOND), Some(called));
        let turn = |id: PlaceId| before.list.turn(id).unwrap();

        let mut run = Run::later(100, 10, 1_000_000);
        let new = run.join(3, SECOND).unwrap();
        for (id, number) in [(further, 1), (second, 2), (called, 1), (second, 2)] {
            run.list.restore(id, turn(id), prefix(number), SECOND);
        }
        assert_eq!((run.list.waiting(), run.list.restored_waiting), (4, 3));
        assert_eq!(run.list.turn(second), Some(turn(second)));
        for (ahead, id) in [called, second, further, new].into_iter().enumerate() {
            assert_eq!(run.list.ask(id, SECOND), Standing::Waiting { ahead });
        }
        // What was used is not put back, nor what this process gave out.
        run.list.leave(second);
        run.list.restore(second, turn(second), prefix(2), SECOND);
        let own = run.list.turn(new).unwrap();
        run.list.leave(new);
        run.list.restore(new, own, prefix(3), SECOND);
        assert_eq!([second, new].map(|id| run.list.ask(id, SECOND)), [Standing::Gone; 2]);
        assert_eq!([(); 3].map(|()| run.list.call(SECOND)), [Some(called), Some(further), None]);
    }

    #[test]
    fn what_is_put_back_keeps_to_the_limits() {
        let mut run = Run::later(3, 2, 100);
        for sequence in 0..5 {
            run.list.restore(PlaceId(sequence), Turn { round: sequence, sequence }, prefix(1), SECOND);
        }
        assert_eq!(run.list.waiting(), 2, "a prefix has two");
        let new = run.join(2, SECOND).unwrap();
        for sequence in 10..15 {
            run.list.restore(PlaceId(sequence), Turn { round: 5, sequence }, prefix(sequence as u32), SECOND);
        }
        assert_eq!((run.list.waiting(), run.list.restored.len()), (3, 3));
        assert_eq!(run.list.ask(new, SECOND), Standing::Gone, "it gives way to those of before");
    }

    #[test]
    fn who_got_nothing_for_their_place_is_called_up_again() {
        let mut run = Run::new(10, 10);
        let id = run.join(1, SECOND).unwrap();
        run.list.call(SECOND);
        run.list.leave(id);
        run.list.call_again(id, 9 * SECOND);
        let until = 9 * SECOND + CALLED_UP_FOR;
        assert_eq!(run.list.ask(id, until - SECOND), Standing::CalledUp { until });
        assert_eq!(run.list.ask(id, until), Standing::Gone);
    }

    #[test]
    fn a_place_far_back_is_told_about_where_it_stands() {
        let mut run = Run::new(10_000, 4);
        let ids: Vec<_> = (0..8000).map(|number| run.join(number / 2, SECOND).unwrap()).collect();
        for (at, expected) in [(0, 0), (400, 200), (6000, 3000), (7999, 7999)] {
            let Standing::Waiting { ahead } = run.list.ask(ids[at], SECOND) else { panic!("it waits") };
            assert!(ahead.abs_diff(expected) <= 2000, "{at}: {ahead} instead of {expected}");
        }
    }

    proptest! {
        #[test]
        fn the_books_agree_and_stay_within_the_capacity(
            steps in prop::collection::vec((0_u32..8, 0_u8..6, 0_u32..120, 0_usize..50), 1..300),
        ) {
            let mut run = Run::new(6, 3);
            let mut now = Duration::ZERO;
            let mut given: Vec<PlaceId> = Vec::new();
            let mut seen = HashSet::new();
            for (number, what, later, which) in steps {
                now += later * SECOND / 4;
                let some = given.get(which % given.len().max(1)).copied();
                match (what, some) {
                    (0..=2, _) => if let Ok(id) = run.join(number, now) {
                        prop_assert!(seen.insert(id));
                        given.push(id);
                    },
                    (3, _) => if let Some(id) = run.list.call(now) {
                        let until = now + CALLED_UP_FOR;
                        prop_assert_eq!(run.list.ask(id, now), Standing::CalledUp { until });
                    },
                    (4, Some(id)) => { run.list.ask(id, now); }
                    (_, Some(id)) => run.list.leave(id),
                    _ => {}
                }
                let list = &run.list;
                prop_assert!(list.places.len() <= 6 && list.hand.len() <= 40);
                prop_assert_eq!(list.queue.len(), list.places.len());
                let held: u32 = list.prefixes.values().map(|of| of.held).sum();
                prop_assert_eq!(held as usize, list.places.len());
                prop_assert!(list.prefixes.values().all(|of| (1..=3).contains(&of.held)));
                prop_assert!(list.queue.iter().all(|(at, id)| list.places[id].at == *at));
                // Of a prefix's places each is in a round of its own.
                let mut rounds = HashSet::new();
                prop_assert!(list.places.values().all(|place| rounds.insert((place.prefix, place.at.round))));
            }
        }
    }
}
