//! Places at a model, by class: a part of them is kept for users, a user has not all while others ask, and where there
//! is none left, somebody of a lower class who waits gives way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defence::{Class, Full, Pool, Slot};
use dialogue::{Answer, Dialogue, DialogueError, Priority, Prompt};

use super::shares;
use crate::accounts::{Standing, Who};

/// What a user has in any case, however many ask.
const OWN_MIN: u32 = 4;

/// What one user may hold of places of which so many are free, while others hold some too: half of what is left.
pub(crate) fn fair_part(free: u32) -> u32 {
    (free / 2).max(OWN_MIN)
}

/// Places that one user leaves to whoever comes, at most.
const LEFT_MAX: u32 = 8;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Berths {
    /// By the model's name: only models that were loaded have any.
    models: Arc<Mutex<HashMap<String, Model>>>,
    has_shares: bool,
}

#[derive(Debug)]
struct Model {
    pool: Pool<Who>,
    slots: u32,
    running_max: u32,
}

/// An answer that is generated or waits, and its place.
#[derive(Debug)]
pub(crate) struct Seated {
    pub(crate) answer: Answer,
    _berth: Berth,
}

/// A place, until it is dropped.
#[derive(Debug)]
struct Berth {
    berths: Berths,
    model: String,
    slot: Option<Slot<Who>>,
}

impl Drop for Berth {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        if let Some(model) = self.berths.lock().get_mut(&self.model) {
            model.pool.give_back(slot);
        }
    }
}

impl Berths {
    pub(super) fn new(has_shares: bool) -> Self {
        Self { models: Arc::default(), has_shares }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Model>> {
        // What is behind it is good wherever a panic leaves it.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a prompt in the name of somebody.
    ///
    /// # Errors
    /// When there is no place for them, or as [`Dialogue::start`].
    pub(crate) fn start(
        &self,
        dialogue: &Dialogue,
        prompt: Prompt,
        standing: Standing,
    ) -> Result<Seated, DialogueError> {
        let berth = self.take(dialogue.name(), dialogue.places(), standing).map_err(full)?;
        let priority = if self.has_shares { priority(standing.class) } else { Priority::default() };
        let answer = dialogue.start(prompt.with_priority(priority))?;
        Ok(Seated { answer, _berth: berth })
    }

    /// Whether there would be a place for somebody now: before work is done for a prompt that would then be refused.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn look(&self, dialogue: &Dialogue, standing: Standing) -> Result<(), DialogueError> {
        self.take(dialogue.name(), dialogue.places(), standing).map(drop).map_err(full)
    }

    fn take(&self, name: &str, places: (usize, usize), standing: Standing) -> Result<Berth, Full> {
        let Standing { class, who } = standing;
        let (slots, running_max) = (number(places.0), number(places.1));
        let shares = shares(self.has_shares);
        let mut models = self.lock();
        let model = models.entry(name.to_owned()).or_insert_with(|| Model {
            pool: Pool::new(slots, shares, u32::MAX),
            slots,
            running_max,
        });
        if model.slots != slots {
            // It was loaded anew with other sizes.
            (model.slots, model.running_max) = (slots, running_max);
            model.pool.resize(slots);
        }
        if self.has_shares && who != Who::Machine {
            model.check_own(who)?;
        }
        let slot =
            if self.has_shares { model.pool.displace(class, who) } else { model.pool.take(class, who) }?;
        drop(models);
        Ok(Berth { berths: self.clone(), model: name.to_owned(), slot: Some(slot) })
    }

    /// How much is asked of the model that is asked most, 1 where its places are taken and as many wait. One user
    /// alone is no load, however much they ask: they would only take from themselves.
    pub(super) fn load(&self) -> f64 {
        let of = |model: &Model| {
            let each = model.running_max.div_ceil(4).max(1);
            model.pool.held_by_keys(each) as f64 / f64::from(2 * model.running_max.max(1))
        };
        self.lock().values().map(of).fold(0.0, f64::max)
    }

    /// Places that a class holds at all models.
    pub(super) fn held(&self, class: Class) -> u32 {
        self.lock().values().map(|model| model.pool.held(class)).sum()
    }
}

impl Model {
    /// While others ask too, nobody takes more than half of what is left to them, or more than are written at once, of
    /// which they have a part at best; alone, all but a few.
    fn check_own(&self, who: Who) -> Result<(), Full> {
        let (held, free) = (self.pool.held_by(&who), self.pool.free());
        let is_alone = self.slots.saturating_sub(free) <= held;
        let allowed = if is_alone {
            self.slots - (self.slots / 8).min(LEFT_MAX)
        } else {
            fair_part(free.min(self.running_max.saturating_mul(2)))
        };
        if held < allowed { Ok(()) } else { Err(Full::Key { allowed, held }) }
    }
}

fn number(places: usize) -> u32 {
    u32::try_from(places).unwrap_or(u32::MAX)
}

fn full(full: Full) -> DialogueError {
    let (held, allowed) = match full {
        Full::Key { allowed, held } => (held, allowed),
        Full::Class { slots, free, kept } => (slots - free, slots - kept),
    };
    DialogueError::QueueFull { held: held as usize, allowed: allowed as usize }
}

fn priority(class: Class) -> Priority {
    match class {
        Class::Established => Priority::High,
        Class::New => Priority::Normal,
        Class::Guest => Priority::Low,
        Class::Unknown => Priority::Lowest,
    }
}

#[cfg(test)]
mod tests {
    use store::UserId;

    use super::*;

    fn of(class: Class, number: u8) -> Standing {
        Standing { class, who: Who::User(UserId::from([number; 16])) }
    }

    /// As many as they get of a model with 40 places, 8 of which run.
    fn fill(berths: &Berths, standing: Standing) -> Vec<Berth> {
        std::iter::from_fn(|| berths.take("m", (40, 8), standing).ok()).collect()
    }

    #[test]
    fn one_user_has_nearly_all_alone_and_a_part_beside_others() {
        let berths = Berths::new(true);
        let alone = fill(&berths, of(Class::Established, 1));
        assert_eq!(alone.len(), 35);
        assert!(berths.load() <= 0.125, "{}", berths.load());
        drop(alone);
        let _other = berths.take("m", (40, 8), of(Class::Established, 2)).unwrap();
        let beside = fill(&berths, of(Class::Established, 1));
        assert_eq!(beside.len(), 8, "as many as run");
    }

    #[test]
    fn new_users_leave_places_and_give_way() {
        let berths = Berths::new(true);
        let mut new = Vec::new();
        for number in 0..50 {
            new.extend(berths.take("m", (40, 8), of(Class::New, number)));
        }
        assert!((10..20).contains(&new.len()), "{}", new.len());
        let mut users = Vec::new();
        for number in 100..200 {
            users.extend(berths.take("m", (40, 8), of(Class::Established, number)));
        }
        // All that are left, and in the places of new users, who then have to go, all but two.
        assert_eq!(users.len(), 20 + 16);
        assert!(berths.load() > 1.5, "{}", berths.load());
        drop((new, users));
        assert!(berths.load() < 0.01);
    }

    #[test]
    fn without_shares_who_comes_first_has_all() {
        let berths = Berths::new(false);
        let first = fill(&berths, of(Class::New, 1));
        assert_eq!(first.len(), 40);
        assert!(berths.take("m", (40, 8), of(Class::Established, 2)).is_err());
    }
}
