use std::collections::HashMap;
use std::hash::Hash;

use crate::class::Class;

/// How the slots of a stage (connections, requests, password hashes, engine, database writers) are shared, in
/// thousandths of them by class, the least class first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Kept from the classes below: no class takes what one above it may still need.
    pub reserved: [u32; 4],
    /// Kept from the classes above, so that nobody is shut out for good. Small.
    pub floor: [u32; 4],
}

impl Shares {
    /// Whoever comes first has all.
    pub const NONE: Self = Self { reserved: [0; 4], floor: [0; 4] };
}

impl Default for Shares {
    /// Half of the slots for established users, a tenth for new ones and a twentieth for guests; a twentieth stays for
    /// those who are not known yet, for everybody was once, and for new ones whatever established users do.
    fn default() -> Self {
        Self { reserved: [0, 50, 100, 500], floor: [50, 0, 50, 0] }
    }
}

/// Slots of one stage. A pure book of who holds how many: the server takes before it begins and gives back when it has
/// ended.
///
/// A caller of a class gets a slot if one is left besides what is kept for the other classes and not yet held by them.
/// Every key (a user, or a prefix) holds at most `per_key_max`. Memory is bounded by the slots: only who holds one has
/// an entry.
#[derive(Debug)]
pub struct Pool<K> {
    slots: u32,
    shares: Shares,
    per_key_max: u32,
    held: [u32; 4],
    by_key: HashMap<K, u32>,
}

/// A slot that was taken. It can't be copied, and goes back by [`Pool::give_back`]: so slots are conserved.
#[derive(Debug)]
#[must_use = "a slot that is dropped is never free again: give it back"]
pub struct Slot<K> {
    class: Class,
    key: K,
}

impl<K> Slot<K> {
    /// The class that it is held under.
    pub fn class(&self) -> Class {
        self.class
    }
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The key has its own.
    #[error("at most {allowed} at once for each caller, {held} are held")]
    Key {
        /// Most that a key may hold.
        allowed: u32,
        /// What this one holds.
        held: u32,
    },
    /// What is left is kept for others.
    #[error("of {slots} places {free} are free, and {kept} are kept for others")]
    Class {
        /// All slots.
        slots: u32,
        /// Those that nobody holds.
        free: u32,
        /// Of these, kept for other classes.
        kept: u32,
    },
}

impl<K: Eq + Hash + Clone> Pool<K> {
    /// A pool of `slots`, of which each key holds at most `per_key_max`. Shares that are more than the whole together
    /// are cut, the least class's first.
    pub fn new(slots: u32, shares: Shares, per_key_max: u32) -> Self {
        Self { slots, shares, per_key_max, held: [0; 4], by_key: HashMap::new() }
    }

    /// Takes a slot.
    ///
    /// # Errors
    /// [`Full`]: the key's own slots, or the class's, are used up.
    pub fn take(&mut self, class: Class, key: K) -> Result<Slot<K>, Full> {
        let held = self.by_key.get(&key).copied().unwrap_or(0);
        if held >= self.per_key_max {
            return Err(Full::Key { allowed: self.per_key_max, held });
        }
        let (free, kept) = (self.free(), self.kept_from(class));
        if free <= kept {
            return Err(Full::Class { slots: self.slots, free, kept: kept.min(free) });
        }
        self.held[class.index()] += 1;
        *self.by_key.entry(key.clone()).or_insert(0) += 1;
        Ok(Slot { class, key })
    }

    /// Takes a slot as [`take`](Self::take) does or, where none is left for the class, in the place of somebody of a
    /// class below who holds more than their floor: the caller sees to it that they give theirs back. More than all slots
    /// are held until then.
    ///
    /// # Errors
    /// As [`take`](Self::take), if nobody could give way either.
    pub fn displace(&mut self, class: Class, key: K) -> Result<Slot<K>, Full> {
        let full = match self.take(class, key.clone()) {
            Err(full @ Full::Class { .. }) => full,
            taken => return taken,
        };
        let (_, floor) = self.kept();
        let lower = Class::ALL.into_iter().filter(|other| *other < class).map(Class::index);
        let can_go: u32 = lower.map(|index| self.held[index].saturating_sub(floor[index])).sum();
        let held: u32 = self.held.iter().sum();
        let have_to_go = (held + 1).saturating_sub(self.slots.saturating_sub(self.kept_from(class)));
        if can_go < have_to_go {
            return Err(full);
        }
        self.held[class.index()] += 1;
        *self.by_key.entry(key.clone()).or_insert(0) += 1;
        Ok(Slot { class, key })
    }

    /// Gives a slot back.
    pub fn give_back(&mut self, slot: Slot<K>) {
        self.held[slot.class.index()] -= 1;
        if let Some(held) = self.by_key.get_mut(&slot.key) {
            *held -= 1;
            if *held == 0 {
                self.by_key.remove(&slot.key);
            }
        }
    }

    /// Holds a slot under another class from now on: of a connection, say, when its first header says whose it is.
    /// Nobody is refused for it, as the slot is held already.
    pub fn change_class(&mut self, slot: &mut Slot<K>, class: Class) {
        self.held[slot.class.index()] -= 1;
        self.held[class.index()] += 1;
        slot.class = class;
    }

    /// Changes the number of slots, as [`Adaptive`](crate::Adaptive) says. If more are held, nobody loses theirs, and
    /// none are given out until enough came back.
    pub fn resize(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// Slots that nobody holds.
    pub fn free(&self) -> u32 {
        self.slots.saturating_sub(self.held.iter().sum())
    }

    /// Slots that a class holds.
    pub fn held(&self, class: Class) -> u32 {
        self.held[class.index()]
    }

    /// Slots that a key holds.
    pub fn held_by(&self, key: &K) -> u32 {
        self.by_key.get(key).copied().unwrap_or(0)
    }

    /// Slots that are held, where each key counts for so many at most.
    pub fn held_by_keys(&self, each_max: u32) -> u64 {
        self.by_key.values().map(|held| u64::from(*held.min(&each_max))).sum()
    }

    /// Slots that a class may hold against the classes below it and those above it, after rounding.
    fn kept(&self) -> ([u32; 4], [u32; 4]) {
        // At least one slot is anybody's.
        let mut left = self.slots.saturating_sub(1);
        let mut part = |thousandths: u32| {
            let wanted = (u64::from(self.slots) * u64::from(thousandths) + 500) / 1000;
            let part = u32::try_from(wanted).unwrap_or(u32::MAX).min(left);
            left -= part;
            part
        };
        let mut reserved = [0; 4];
        let mut floor = [0; 4];
        for class in Class::ALL.into_iter().rev() {
            reserved[class.index()] = part(self.shares.reserved[class.index()]);
        }
        for class in Class::ALL.into_iter().rev() {
            floor[class.index()] = part(self.shares.floor[class.index()]);
        }
        (reserved, floor)
    }

    /// Slots that others have a right to and don't hold yet.
    fn kept_from(&self, class: Class) -> u32 {
        let (reserved, floor) = self.kept();
        let unused = |other: Class| {
            let index = other.index();
            let right = if other > class { reserved[index] + floor[index] } else { floor[index] };
            right.saturating_sub(self.held[index])
        };
        Class::ALL.into_iter().filter(|other| *other != class).map(unused).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes until there are no more.
    fn fill(pool: &mut Pool<u32>, class: Class) -> Vec<Slot<u32>> {
        (0..).map_while(|key| pool.take(class, key + 1000 * class as u32).ok()).collect()
    }

    #[test]
    fn what_is_reserved_is_there_whatever_came_before() {
        let mut pool = Pool::new(100, Shares::default(), 1);
        let unknown = fill(&mut pool, Class::Unknown);
        assert_eq!(unknown.len(), 100 - 50 - 15 - 5);
        assert_eq!(fill(&mut pool, Class::Guest).len(), 5);
        assert_eq!(fill(&mut pool, Class::New).len(), 15);
        assert_eq!(fill(&mut pool, Class::Established).len(), 50);
        assert_eq!(pool.free(), 0);
        for slot in unknown {
            pool.give_back(slot);
        }
        // Established users take all but the floors.
        assert_eq!(fill(&mut pool, Class::Established).len(), 0, "the same keys hold theirs");
        let more = (0..).map_while(|key| pool.take(Class::Established, 9000 + key).ok()).count();
        assert_eq!(more, 30 - 5);
        assert_eq!((0..).map_while(|key| pool.take(Class::Unknown, 99_000 + key).ok()).count(), 5);
    }

    #[test]
    fn somebody_below_gives_way_but_not_their_floor() {
        let mut pool = Pool::new(40, Shares::default(), 40);
        let mut new: Vec<_> = std::iter::from_fn(|| pool.take(Class::New, 1).ok()).collect();
        assert_eq!(new.len(), 18, "all but what is kept for others");
        assert!(pool.displace(Class::New, 2).is_err(), "nobody gives way to their like");
        let mut users: Vec<_> = std::iter::from_fn(|| pool.displace(Class::Established, 3).ok()).collect();
        assert_eq!(users.len(), 20 + 16, "as many of theirs as are above two");
        assert_eq!((pool.held_by(&1), pool.held_by_keys(20)), (18, 38));
        for slot in new.drain(2..).chain(users.drain(..)) {
            pool.give_back(slot);
        }
        assert_eq!((pool.free(), pool.held_by(&3)), (38, 0));
        assert_eq!(pool.displace(Class::Established, 3).map(|slot| slot.class()), Ok(Class::Established));
    }

    #[test]
    fn even_few_slots_have_a_reserve() {
        let mut pool = Pool::new(2, Shares::default(), 9);
        let _one = pool.take(Class::Unknown, 1).unwrap();
        let full = pool.take(Class::Unknown, 2).unwrap_err();
        assert_eq!(full, Full::Class { slots: 2, free: 1, kept: 1 });
        assert_eq!(full.to_string(), "of 2 places 1 are free, and 1 are kept for others");
        let _other = pool.take(Class::Established, 3).unwrap();
        // One alone is for whoever comes first, none for nobody.
        assert!(Pool::new(1, Shares::default(), 1).take(Class::Unknown, 1).is_ok());
        assert!(Pool::new(0, Shares::default(), 1).take(Class::Established, 1).is_err());
    }

    #[test]
    fn a_key_has_its_cap() {
        let mut pool = Pool::new(100, Shares::default(), 2);
        let first = pool.take(Class::Established, "a").unwrap();
        let _second = pool.take(Class::Established, "a").unwrap();
        assert_eq!(pool.take(Class::Established, "a").unwrap_err(), Full::Key { allowed: 2, held: 2 });
        pool.give_back(first);
        let mut again = pool.take(Class::Unknown, "a").unwrap();
        pool.change_class(&mut again, Class::New);
        assert_eq!((pool.held(Class::Unknown), pool.held(Class::New), again.class()), (0, 1, Class::New));
    }

    fn class() -> impl Strategy<Value = Class> {
        prop::sample::select(&Class::ALL[..])
    }

    proptest! {
        #[test]
        fn slots_are_conserved_and_reserves_are_kept(
            slots in 0_u32..40,
            reserved in prop::array::uniform4(0_u32..600),
            floor in prop::array::uniform4(0_u32..300),
            steps in prop::collection::vec((class(), 0_u8..12, 0_u8..8, 0_usize..40), 1..300),
        ) {
            let mut pool = Pool::new(slots, Shares { reserved, floor }, 5);
            let mut out: Vec<Slot<u8>> = Vec::new();
            for (class, key, what, which) in steps {
                match what {
                    0..=3 => match pool.take(class, key) {
                        Ok(slot) => out.push(slot),
                        Err(Full::Key { held, .. }) => prop_assert_eq!(held, 5),
                        Err(Full::Class { free, kept, .. }) => prop_assert_eq!(free, kept),
                    },
                    4..=6 if !out.is_empty() => pool.give_back(out.swap_remove(which % out.len())),
                    7 if !out.is_empty() => {
                        let at = which % out.len();
                        let mut slot = out.swap_remove(at);
                        pool.change_class(&mut slot, class);
                        out.push(slot);
                    }
                    _ => {}
                }
                let held: u32 = Class::ALL.into_iter().map(|class| pool.held(class)).sum();
                prop_assert_eq!(held as usize, out.len());
                prop_assert_eq!(pool.by_key.values().sum::<u32>(), held);
                prop_assert_eq!(pool.free() + held, slots);
                prop_assert!(pool.by_key.values().all(|held| (1..=5).contains(held)));
            }
            for slot in out {
                pool.give_back(slot);
            }
            prop_assert_eq!((pool.free(), pool.by_key.len()), (slots, 0));
        }

        #[test]
        fn no_lower_class_takes_a_reserve(
            slots in 1_u32..60,
            tries in prop::collection::vec(class(), 0..200),
            wanted in class(),
        ) {
            let mut pool = Pool::new(slots, Shares::default(), 1);
            let mut out = Vec::new();
            for (key, class) in tries.into_iter().enumerate() {
                if class < wanted && let Ok(slot) = pool.take(class, key) {
                    out.push(slot);
                }
            }
            let (reserved, floor) = pool.kept();
            let own = reserved[wanted.index()] + floor[wanted.index()];
            let taken = (0..).map_while(|key| pool.take(wanted, 1000 + key).ok()).count();
            prop_assert!(taken as u32 >= own, "{} of {}", taken, own);
        }
    }
}
