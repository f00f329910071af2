use std::time::Duration;

use base::Clock;

/// A moment on both of the machine's clocks: one to measure by, and one that people and cookies know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the start of the clock.
    pub monotonic: Duration,
    /// Unix milliseconds.
    pub unix_ms: i64,
}

impl Moment {
    /// Now.
    pub fn now(clock: &dyn Clock) -> Self {
        Self { monotonic: clock.monotonic(), unix_ms: clock.unix_ms() }
    }

    /// Unix milliseconds of another time of the monotonic clock.
    pub(crate) fn unix_ms_of(self, monotonic: Duration) -> i64 {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.unix_ms.saturating_add(ms(monotonic)).saturating_sub(ms(self.monotonic))
    }
}
