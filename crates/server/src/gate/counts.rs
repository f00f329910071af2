//! What is counted between two ticks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use defence::Signals;

/// What happens at the gate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) attempted: u32,
    pub(super) completed: u32,
    pub(super) challenges_passed: u32,
    pub(super) challenges_failed: u32,
}

/// What happens elsewhere, at every request.
#[derive(Debug, Default)]
pub(super) struct Beside {
    logins_passed: AtomicU32,
    logins_failed: AtomicU32,
    answered: AtomicU32,
    refused: AtomicU32,
}

impl Beside {
    pub(super) fn login(&self, passed: bool) {
        let count = if passed { &self.logins_passed } else { &self.logins_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests of people and programs that have an account: that they got an answer, or that there was no room for one.
    pub(super) fn answered(&self, class: &str, status: u16) {
        if class == "session" || class == "key" {
            let count = if status == 503 { &self.refused } else { &self.answered };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since the last call.
    pub(super) fn take(&self) -> Signals {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        Signals {
            logins_passed: take(&self.logins_passed),
            logins_failed: take(&self.logins_failed),
            established_answered: take(&self.answered),
            established_refused: take(&self.refused),
            ..Signals::default()
        }
    }
}

/// How many of something there were in the last minute, by the second.
#[derive(Debug, Default)]
pub(super) struct Minute {
    /// Second, and how many in it.
    seconds: VecDeque<(u64, u32)>,
}

impl Minute {
    const SECONDS: u64 = 60;

    pub(super) fn add(&mut self, now: Duration) {
        self.forget(now);
        match self.seconds.back_mut() {
            Some((second, count)) if *second == now.as_secs() => *count += 1,
            _ => self.seconds.push_back((now.as_secs(), 1)),
        }
    }

    /// The newest was none.
    pub(super) fn take_back(&mut self, now: Duration) {
        self.forget(now);
        if let Some((_, count)) = self.seconds.back_mut() {
            *count -= 1;
            if *count == 0 {
                self.seconds.pop_back();
            }
        }
    }

    pub(super) fn count(&mut self, now: Duration) -> u32 {
        self.forget(now);
        self.seconds.iter().map(|(_, count)| count).sum()
    }

    fn forget(&mut self, now: Duration) {
        while self.seconds.front().is_some_and(|(second, _)| second + Self::SECONDS <= now.as_secs()) {
            self.seconds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_what_came_in_it() {
        let mut minute = Minute::default();
        for second in 0..1000 {
            minute.add(Duration::from_secs(second));
            minute.add(Duration::from_millis(second * 1000 + 999));
            assert_eq!(u64::from(minute.count(Duration::from_secs(second))), 2 * (second + 1).min(60));
            assert!(minute.seconds.len() <= 60);
        }
        assert_eq!(minute.count(Duration::from_secs(1030)), 58);
        for left in (0..58).rev() {
            minute.take_back(Duration::from_secs(1030));
            assert_eq!(minute.count(Duration::from_secs(1030)), left);
        }
        minute.take_back(Duration::from_secs(1030));
        assert_eq!(minute.count(Duration::from_secs(5000)), 0);
    }

    #[test]
    fn only_those_who_have_an_account_are_established() {
        let beside = Beside::default();
        for (class, status) in
            [("anonymous", 503), ("local", 503), ("session", 503), ("key", 200), ("key", 429)]
        {
            beside.answered(class, status);
        }
        beside.login(true);
        let taken = beside.take();
        assert_eq!((taken.established_answered, taken.established_refused), (2, 1));
        assert_eq!((taken.logins_passed, taken.logins_failed), (1, 0));
        assert_eq!(beside.take(), Signals::default());
    }
}
