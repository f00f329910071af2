use std::time::Duration;

use serde::Serialize;

/// How much of a caller is known, the least first: who is shed first, and whose reserve nobody below can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing signed by this server came with the request, or only what isn't good.
    Unknown,
    /// No account, but something signed: a challenge that was solved, a place in the waiting list, a device that
    /// somebody signed in with before.
    Guest,
    /// An account that is not trusted yet.
    New,
    /// An account from before the incident, or from long ago.
    Established,
}

impl Class {
    /// All, the least first.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Guest, Self::New, Self::Established];

    /// Its place in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What a signature of this server says of a caller. Read from the first header; the store is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A cookie or key of an account.
    Account {
        /// Unix milliseconds at which the cookie or key was made.
        issued_ms: i64,
        /// Unix milliseconds of the sign-up, where the credential says it. An account is at least as old as what it
        /// was given.
        since_ms: Option<i64>,
    },
    /// Something signed that belongs to no account.
    Guest,
}

/// When an account is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Accounts younger than this are new, at all times.
    pub age_min: Duration,
    /// Accounts that were made within this before the onset of an incident may be its sleepers.
    pub sleeper_window: Duration,
    /// After this long even those are trusted.
    pub sleeper_age: Duration,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            age_min: Duration::from_hours(1),
            sleeper_window: Duration::from_hours(24),
            sleeper_age: Duration::from_hours(72),
        }
    }
}

impl Trust {
    /// The class of a caller. `onset_ms` is the start of the current incident
    /// ([`Gate::onset_ms`](crate::Gate::onset_ms)), if there is one; all times are Unix milliseconds.
    ///
    /// An account from before `onset - sleeper_window` is established, however new its cookie is: returning users
    /// sign in during incidents. Sleepers that are older than that can't be told from users; limits by user
    /// ([`InFlight`](crate::InFlight)) hold them.
    pub fn class(&self, credential: Option<Credential>, onset_ms: Option<i64>, now_ms: i64) -> Class {
        let since_ms = match credential {
            None => return Class::Unknown,
            Some(Credential::Guest) => return Class::Guest,
            Some(Credential::Account { issued_ms, since_ms }) => since_ms.unwrap_or(issued_ms).min(issued_ms),
        };
        // A time that lies ahead is an age of nothing.
        let age_ms = now_ms.saturating_sub(since_ms);
        let may_sleep =
            onset_ms.is_some_and(|onset_ms| since_ms > onset_ms.saturating_sub(ms(self.sleeper_window)));
        if age_ms < ms(self.age_min) || (may_sleep && age_ms < ms(self.sleeper_age)) {
            Class::New
        } else {
            Class::Established
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    /// Hours after which the tests look.
    const NOW: i64 = 1000;

    fn check(credential: Option<(i64, Option<i64>)>, onset: Option<i64>, expected: Class) {
        let credential = credential.map(|(issued, since)| Credential::Account {
            issued_ms: issued * HOUR_MS,
            since_ms: since.map(|since| since * HOUR_MS),
        });
        let onset_ms = onset.map(|onset| onset * HOUR_MS);
        let found = Trust::default().class(credential, onset_ms, NOW * HOUR_MS);
        assert_eq!(found, expected, "{credential:?} {onset:?}");
    }

    #[test]
    fn by_what_is_signed() {
        check(None, None, Class::Unknown);
        assert_eq!(Trust::default().class(Some(Credential::Guest), None, 0), Class::Guest);
        check(Some((NOW, Some(NOW))), None, Class::New);
        check(Some((NOW, Some(NOW - 1))), None, Class::Established);
        check(Some((NOW - 1, None)), None, Class::Established);
        check(Some((NOW + 5, Some(NOW + 5))), None, Class::New);
    }

    #[test]
    fn sleepers_age() {
        // Signed in during the incident, with an account from long before it.
        check(Some((NOW, Some(100))), Some(NOW - 1), Class::Established);
        // Registered a day before the onset, within that day, within the incident.
        check(Some((NOW, Some(NOW - 25))), Some(NOW - 1), Class::Established);
        check(Some((NOW, Some(NOW - 24))), Some(NOW - 1), Class::New);
        check(Some((NOW - 2, None)), Some(NOW - 5), Class::New);
        // The same account when the incident is over, and when it lasts but the account is three days old.
        check(Some((NOW - 2, None)), None, Class::Established);
        check(Some((NOW - 71, None)), Some(NOW - 73), Class::New);
        check(Some((NOW - 72, None)), Some(NOW - 73), Class::Established);
    }

    #[test]
    fn no_time_is_too_wrong() {
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            for now in [i64::MIN, 0, i64::MAX] {
                let credential = Credential::Account { issued_ms: time, since_ms: Some(time) };
                Trust::default().class(Some(credential), Some(time), now);
            }
        }
    }

    #[test]
    fn the_least_first() {
        assert!(Class::ALL.is_sorted());
        assert!(Class::ALL.iter().enumerate().all(|(index, class)| class.index() == index));
    }
}
