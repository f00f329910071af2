use std::collections::VecDeque;
use std::time::Duration;

use super::Signals;

/// Counts of the last while, from tick to tick.
#[derive(Debug, Clone)]
pub(super) struct Window {
    length: Duration,
    /// When each was counted, and what. Ticks that come closer than a 64th of the window are counted together, so
    /// that the memory is fixed.
    ticks: VecDeque<(Duration, Counts)>,
    sums: Counts,
}

/// Sums over the window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) attempted: u64,
    pub(super) challenges_passed: u64,
    pub(super) challenges_failed: u64,
    pub(super) logins_passed: u64,
    pub(super) logins_failed: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
}

impl Counts {
    fn of(signals: &Signals) -> Self {
        Self {
            attempted: signals.attempted.into(),
            challenges_passed: signals.challenges_passed.into(),
            challenges_failed: signals.challenges_failed.into(),
            logins_passed: signals.logins_passed.into(),
            logins_failed: signals.logins_failed.into(),
            answered: signals.established_answered.into(),
            refused: signals.established_refused.into(),
        }
    }

    fn each(&mut self, other: &Self, change: impl Fn(u64, u64) -> u64) {
        self.attempted = change(self.attempted, other.attempted);
        self.challenges_passed = change(self.challenges_passed, other.challenges_passed);
        self.challenges_failed = change(self.challenges_failed, other.challenges_failed);
        self.logins_passed = change(self.logins_passed, other.logins_passed);
        self.logins_failed = change(self.logins_failed, other.logins_failed);
        self.answered = change(self.answered, other.answered);
        self.refused = change(self.refused, other.refused);
    }
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, ticks: VecDeque::new(), sums: Counts::default() }
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    pub(super) fn sums(&self) -> &Counts {
        &self.sums
    }

    pub(super) fn add(&mut self, signals: &Signals, now: Duration) {
        let counts = Counts::of(signals);
        self.sums.each(&counts, u64::saturating_add);
        match self.ticks.back_mut() {
            Some((at, last)) if now.saturating_sub(*at) < self.length / 64 => {
                last.each(&counts, u64::saturating_add);
            }
            _ => self.ticks.push_back((now, counts)),
        }
        while let Some((at, counts)) = self.ticks.front().copied()
            && at + self.length <= now
        {
            self.ticks.pop_front();
            self.sums.each(&counts, u64::saturating_sub);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_and_stays_small() {
        let mut window = Window::new(Duration::from_secs(15));
        let one = Signals { attempted: 1, logins_failed: 2, ..Signals::default() };
        for ms in 0..100_000 {
            window.add(&one, Duration::from_millis(ms));
            assert!(window.ticks.len() <= 66, "{}", window.ticks.len());
        }
        let seconds = window.sums().attempted as f64 / 1000.0;
        assert!((14.5..=15.5).contains(&seconds), "{seconds}");
        assert_eq!(window.sums().logins_failed, 2 * window.sums().attempted);
        window.add(&Signals::default(), Duration::from_secs(200));
        assert_eq!((window.sums().attempted, window.ticks.len()), (0, 1));
    }
}
