use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use base::Rng;

use crate::prefix::Prefix;

/// A place in the waiting list. Hard to guess; the server gives it out signed and for nobody else, with the prefix that
/// it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub u64);

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
    /// was restarted. Whoever holds it may take another.
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
/// A bookkeeping, nothing more: it holds no name and no address but the prefix.
#[derive(Debug)]
pub(crate) struct WaitingList {
    capacity: usize,
    per_prefix_max: u32,
    /// The order in which places are called up, by (round, sequence number).
    queue: BTreeMap<(u64, u64), PlaceId>,
    places: HashMap<PlaceId, Place>,
    prefixes: HashMap<Prefix, OfPrefix>,
    /// The round that is being called up.
    round: u64,
    sequence: u64,
    /// Until when each is good.
    called: HashMap<PlaceId, Duration>,
    /// In the order in which they end.
    called_until: VecDeque<(Duration, PlaceId)>,
    /// Places in the order in which they are looked at for one to give way.
    hand: VecDeque<PlaceId>,
}

#[derive(Debug)]
struct Place {
    at: (u64, u64),
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
/// Places that are looked at for one that may give way.
const LOOKS: usize = 16;

impl WaitingList {
    pub(crate) fn new(capacity: usize, per_prefix_max: u32) -> Self {
        Self {
            capacity,
            per_prefix_max,
            queue: BTreeMap::new(),
            places: HashMap::new(),
            prefixes: HashMap::new(),
            round: 0,
            sequence: 0,
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
        let at = (round, self.sequence);
        self.sequence += 1;
        self.queue.insert(at, id);
        self.places.insert(id, Place { at, prefix, asked: now });
        self.hand.push_back(id);
        self.trim_hand();
        let of = self.prefixes.entry(prefix).or_default();
        of.held += 1;
        of.round = round;
        Ok(id)
    }

    /// Where a place stands; its holder has asked.
    pub(crate) fn ask(&mut self, id: PlaceId, now: Duration) -> Standing {
        self.lapse(now);
        if let Some(until) = self.called.get(&id) {
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
        self.round = self.round.max(at.0);
        let until = now + CALLED_UP_FOR;
        self.called.insert(id, until);
        self.called_until.push_back((until, id));
        Some(id)
    }

    /// Its holder needs it no more.
    pub(crate) fn leave(&mut self, id: PlaceId) {
        self.called.remove(&id);
        self.remove(id);
    }

    /// Counted where it is cheap, near the front; else from the numbers, which is as good for somebody who waits.
    fn ahead(&self, at: (u64, u64)) -> usize {
        const COUNTED: usize = 64;
        let counted = self.queue.range(..at).take(COUNTED).count();
        if counted < COUNTED {
            return counted;
        }
        let (Some(((first_round, first), _)), Some(((last_round, last), _))) =
            (self.queue.first_key_value(), self.queue.last_key_value())
        else {
            return counted;
        };
        // Places of a round come one after another, about as many in each.
        let rounds = (last_round - first_round + 1) as f64;
        let within = (at.1 - first.min(&at.1)) as f64 / (last.max(&at.1) - first.min(&at.1)).max(1) as f64;
        let part = ((at.0 - first_round) as f64 + within) / rounds;
        counted.max((part.min(1.0) * self.places.len() as f64) as usize)
    }

    fn remove(&mut self, id: PlaceId) {
        let Some(place) = self.places.remove(&id) else { return };
        self.queue.remove(&place.at);
        if let Some(of) = self.prefixes.get_mut(&place.prefix) {
            of.held -= 1;
            if of.held == 0 {
                self.prefixes.remove(&place.prefix);
            }
        }
    }

    fn make_room(&mut self, round: u64, now: Duration) -> bool {
        let last = self.queue.last_key_value().map(|((last, _), id)| (*last, *id));
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
            self.called.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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
            Self { list: WaitingList::new(capacity, per_prefix_max), rng: Rng::from_seed(1) }
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
                prop_assert!(list.places.values().all(|place| rounds.insert((place.prefix, place.at.0))));
            }
        }
    }
}
