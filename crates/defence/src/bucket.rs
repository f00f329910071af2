use std::time::Duration;

/// A token bucket: some at once, then one after another.
///
/// Never more than `burst + per_second · t` in any `t` seconds.
#[derive(Debug, Clone)]
pub struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second, tokens: burst, at: Duration::ZERO }
    }

    /// A full bucket that gives at most `count` in any minute, a quarter of them (at least one) at once: what a budget
    /// by the minute means, as a bucket of `count` that refills with `count` a minute gives twice as many in its first.
    pub fn per_minute(count: u32) -> Self {
        let burst = f64::from((count / 4).max(1).min(count));
        Self::new(burst, (f64::from(count) - burst) / 60.0)
    }

    /// From `now` on so many at once, and so many a second. What is in it stays, as far as there is room.
    pub fn change(&mut self, burst: f64, per_second: f64, now: Duration) {
        self.tokens = self.available(now).min(burst);
        self.at = self.at.max(now);
        (self.burst, self.per_second) = (burst, per_second);
    }

    /// What is in it beyond so many is gone.
    pub fn leave(&mut self, most: f64, now: Duration) {
        self.tokens = self.available(now).min(most);
        self.at = self.at.max(now);
    }

    /// Tokens in it.
    pub fn available(&self, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        (self.tokens + since * self.per_second).min(self.burst)
    }

    /// Takes one, and leaves at least `left`.
    ///
    /// # Errors
    /// If there are not so many, the time until there are; a day if never.
    pub fn take(&mut self, left: f64, now: Duration) -> Result<(), Duration> {
        let missing = 1.0 + left - self.available(now);
        // What comes of additions of fractions of seconds is not exact.
        if missing > 1e-9 {
            return Err(self.wait(missing, left));
        }
        self.tokens = self.available(now) - 1.0;
        self.at = self.at.max(now);
        Ok(())
    }

    /// Puts one back that was taken for nothing.
    pub fn give_back(&mut self, now: Duration) {
        self.tokens = (self.available(now) + 1.0).min(self.burst);
        self.at = self.at.max(now);
    }

    fn wait(&self, missing: f64, left: f64) -> Duration {
        const NEVER: Duration = Duration::from_hours(24);
        if 1.0 + left > self.burst || self.per_second <= 0.0 {
            return NEVER;
        }
        Duration::try_from_secs_f64(missing / self.per_second).map_or(NEVER, |wait| wait.min(NEVER))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_holds_from_then_on() {
        let mut bucket = Bucket::new(10.0, 10.0);
        bucket.change(2.0, 1.0, Duration::ZERO);
        let now = Duration::from_secs(1);
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(0.0, now).is_ok()).count();
        assert_eq!(taken(&mut bucket, now), 2);
        bucket.change(10.0, 10.0, now);
        assert_eq!(taken(&mut bucket, now), 0, "nothing is given for it");
        assert_eq!(taken(&mut bucket, 2 * now), 10);
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let mut bucket = Bucket::new(2.0, 0.5);
        let now = Duration::from_secs(100);
        assert_eq!(bucket.take(1.0, now), Ok(()));
        assert_eq!(bucket.take(1.0, now), Err(Duration::from_secs(2)));
        assert_eq!(bucket.take(0.0, now), Ok(()));
        let wait = bucket.take(0.0, now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        assert_eq!(bucket.take(0.0, now + wait), Ok(()));
        assert_eq!(bucket.take(2.0, now), Err(Duration::from_hours(24)));
        bucket.give_back(now);
        assert_eq!(bucket.take(0.0, now), Ok(()), "what is given back can be taken");
        for _ in 0..9 {
            bucket.give_back(now);
        }
        assert!((bucket.available(now) - 2.0).abs() < 1e-9, "and is never more than the burst");
        assert!(Bucket::per_minute(0).take(0.0, now).is_err());
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_its_budget(
            steps in proptest::collection::vec(0_u64..5000, 1..400),
            budget in 0_u32..50,
        ) {
            let mut bucket = Bucket::per_minute(budget);
            let mut now = Duration::ZERO;
            let mut taken: Vec<Duration> = Vec::new();
            for later_ms in steps {
                now += Duration::from_millis(later_ms);
                if bucket.take(0.0, now).is_ok() {
                    taken.push(now);
                }
                let recent = taken.iter().filter(|at| now - **at < Duration::from_mins(1)).count();
                prop_assert!(recent <= budget as usize, "{} of {}", recent, budget);
            }
        }
    }

    #[test]
    fn what_was_saved_up_can_be_taken_away() {
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(10.0, 2.0);
        let mut left = |most, at| {
            bucket.leave(most, second);
            bucket.available(at)
        };
        let close = |left: f64, expected: f64| assert!((left - expected).abs() < 1e-9, "{left}");
        close(left(20.0, second), 10.0);
        close(left(3.0, second), 3.0);
        // It fills as before.
        close(left(3.0, 2 * second), 5.0);
    }
}
