//! Work that is large: each user does one piece of it at a time, and few do at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use store::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// For one kind of work.
#[derive(Debug)]
pub(crate) struct Places {
    /// As in "one search at a time".
    what: &'static str,
    /// Codes of the two refusals.
    running: &'static str,
    full: &'static str,
    users_max: usize,
    free: Arc<Semaphore>,
    working: Mutex<HashSet<UserId>>,
}

impl Places {
    fn new(what: &'static str, running: &'static str, full: &'static str, users_max: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(users_max));
        Arc::new(Self { what, running, full, users_max, free, working: Mutex::default() })
    }

    /// For searches.
    pub(crate) fn of_searches(users_max: usize) -> Arc<Self> {
        Self::new("search", "search_running", "too_many_searches", users_max)
    }

    /// For exports.
    pub(crate) fn of_exports(users_max: usize) -> Arc<Self> {
        Self::new("export", "export_running", "too_many_exports", users_max)
    }

    /// For imports.
    pub(crate) fn of_imports(users_max: usize) -> Arc<Self> {
        Self::new("import", "import_running", "too_many_imports", users_max)
    }

    /// A place, given back when it is dropped.
    pub(crate) fn take(self: &Arc<Self>, user: UserId) -> Result<Place, ApiError> {
        let mut working = self.lock();
        if working.contains(&user) {
            let message = format!("one {} at a time: wait for the end of the other", self.what);
            return Err(ApiError::too_many(self.running, message, 1));
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let message =
                format!("no more than {} of these at once: {}; try again", self.users_max, self.what);
            ApiError::busy(self.full, message)
        })?;
        working.insert(user);
        drop(working);
        Ok(Place { places: Arc::clone(self), user, _permit: permit })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<UserId>> {
        // No code between lock and unlock leaves the set half-changed.
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    user: UserId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn one_for_each_and_few_for_all() {
        let places = Places::of_searches(2);
        let user = |number: u8| UserId::from([number; 16]);
        let refused = |user| places.take(user).unwrap_err().into_response().status().as_u16();
        let first = places.take(user(1)).unwrap();
        assert_eq!(refused(user(1)), 429);
        let second = places.take(user(2)).unwrap();
        assert_eq!(refused(user(3)), 503);
        drop(first);
        assert_eq!(refused(user(2)), 429, "a refusal takes no place");
        let third = places.take(user(3)).unwrap();
        assert_eq!((refused(user(1)), refused(user(2))), (503, 429));
        drop((second, third));
        assert!(places.lock().is_empty());
        assert_eq!(places.free.available_permits(), 2);
    }
}
