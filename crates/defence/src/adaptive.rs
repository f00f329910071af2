use std::time::Duration;

use base::Rng;

use crate::class::Class;

/// Between what an [`Adaptive`] limit moves, and what it holds the wait against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveSettings {
    /// Fewest requests at once; at least 1.
    pub limit_min: u32,
    /// Most requests at once.
    pub limit_max: u32,
    /// A wait that is still fine.
    pub target_delay: Duration,
    /// How often the limit is reconsidered. Longer than the usual request waits.
    pub interval: Duration,
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self {
            limit_min: 4,
            limit_max: 256,
            target_delay: Duration::from_millis(100),
            interval: Duration::from_millis(500),
        }
    }
}

/// How many requests may be under way at once, found out from how long they wait.
///
/// What tells overload from a burst is the *least* wait within an interval (`CoDel`, RFC 8289): a queue that was empty
/// once in it does no harm. If even the least is above the target, the limit falls by a tenth; if it is below and the
/// limit was needed, it grows by one (as TCP's window does). Lower classes have only a part of the limit, so they are shed
/// first, long before an established user waits.
#[derive(Debug)]
pub struct Adaptive {
    settings: AdaptiveSettings,
    limit: f64,
    interval_ends: Duration,
    least_delay: Option<Duration>,
    most_in_flight: u32,
    completed: u32,
    /// Requests per second that end, smoothed.
    drain_per_second: f64,
    began: Duration,
}

/// A request that is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{in_flight} requests are under way; allowed for this class: {allowed}")]
pub struct Shed {
    /// Requests under way.
    pub in_flight: u32,
    /// How many there may be for a request of this class to be let in.
    pub allowed: u32,
    /// When there is room again, as far as the pace of the last seconds tells, and a random part of it more, so that
    /// those who are told so don't come back together.
    pub retry_after: Duration,
}

/// The part of the limit up to which a class is let in, the least first.
const PARTS: [f64; 4] = [0.5, 0.65, 0.85, 1.0];
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

impl Adaptive {
    /// A limit that begins at half of the most.
    pub fn new(settings: AdaptiveSettings, now: Duration) -> Self {
        let settings = AdaptiveSettings {
            limit_min: settings.limit_min.max(1),
            limit_max: settings.limit_max.max(settings.limit_min).max(1),
            ..settings
        };
        Self {
            limit: f64::from(settings.limit_min.midpoint(settings.limit_max)),
            interval_ends: now + settings.interval,
            least_delay: None,
            most_in_flight: 0,
            completed: 0,
            drain_per_second: 0.0,
            began: now,
            settings,
        }
    }

    /// Requests that may be under way at once.
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Requests per second that ended lately.
    pub fn drain_per_second(&self) -> f64 {
        self.drain_per_second
    }

    /// Whether a request of a class is let in beside `in_flight` others of all classes.
    ///
    /// # Errors
    /// [`Shed`].
    pub fn admit(&mut self, class: Class, in_flight: u32, now: Duration, rng: &mut Rng) -> Result<(), Shed> {
        self.turn(now);
        self.most_in_flight = self.most_in_flight.max(in_flight + 1);
        let allowed = ((self.limit * PARTS[class.index()]) as u32).max(1);
        if in_flight < allowed {
            return Ok(());
        }
        Err(Shed { in_flight, allowed, retry_after: self.retry_after(in_flight + 1 - allowed, rng) })
    }

    /// A request began after waiting `delay`.
    pub fn began(&mut self, delay: Duration, now: Duration) {
        self.turn(now);
        self.least_delay = Some(self.least_delay.map_or(delay, |least| least.min(delay)));
    }

    /// A request ended.
    pub fn ended(&mut self, now: Duration) {
        self.turn(now);
        self.completed += 1;
    }

    /// How long it takes until `too_many` have ended.
    fn retry_after(&self, too_many: u32, rng: &mut Rng) -> Duration {
        let seconds = if self.drain_per_second > 0.0 {
            f64::from(too_many) / self.drain_per_second
        } else {
            RETRY_MAX.as_secs_f64()
        };
        let spread = 1.0 + 0.5 * f64::from(rng.next_f32());
        let wait = Duration::try_from_secs_f64(seconds * spread).unwrap_or(RETRY_MAX);
        wait.clamp(RETRY_MIN, RETRY_MAX)
    }

    fn turn(&mut self, now: Duration) {
        if now < self.interval_ends {
            return;
        }
        let seconds = now.saturating_sub(self.began).as_secs_f64();
        let pace = f64::from(self.completed) / seconds.max(1e-3);
        self.drain_per_second += 0.3 * (pace - self.drain_per_second);
        let settings = &self.settings;
        if let Some(least) = self.least_delay {
            if least > settings.target_delay {
                self.limit *= 0.9;
            } else if f64::from(self.most_in_flight) >= 0.8 * self.limit {
                self.limit += 1.0;
            }
        }
        self.limit = self.limit.clamp(f64::from(settings.limit_min), f64::from(settings.limit_max));
        self.least_delay = None;
        self.most_in_flight = 0;
        self.completed = 0;
        self.began = now;
        self.interval_ends = now + settings.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// A server that does `cores` requests at once, each of which takes a tenth of a second; who is above waits. A
    /// request of each class comes as often as `per_step` says.
    struct Server {
        adaptive: Adaptive,
        rng: Rng,
        now: Duration,
        queue: std::collections::VecDeque<Duration>,
        running: Vec<Duration>,
        cores: usize,
        admitted: [u32; 4],
        offered: [u32; 4],
    }

    impl Server {
        fn new(cores: usize) -> Self {
            Self {
                adaptive: Adaptive::new(AdaptiveSettings::default(), Duration::ZERO),
                rng: Rng::from_seed(1),
                now: Duration::ZERO,
                queue: std::collections::VecDeque::new(),
                running: Vec::new(),
                cores,
                admitted: [0; 4],
                offered: [0; 4],
            }
        }

        fn run(&mut self, steps: u32, per_step: [f32; 4]) {
            (self.admitted, self.offered) = ([0; 4], [0; 4]);
            for _ in 0..steps {
                self.now += STEP;
                let now = self.now;
                let before = self.running.len();
                self.running.retain(|ends| *ends > now);
                (self.running.len()..before).for_each(|_| self.adaptive.ended(now));
                while self.running.len() < self.cores
                    && let Some(came) = self.queue.pop_front()
                {
                    self.adaptive.began(now - came, now);
                    self.running.push(now + Duration::from_millis(100));
                }
                for class in Class::ALL {
                    let rate = per_step[class.index()];
                    let count = rate as u32 + u32::from(self.rng.next_f32() < rate.fract());
                    for _ in 0..count {
                        self.offered[class.index()] += 1;
                        let in_flight = (self.queue.len() + self.running.len()) as u32;
                        if self.adaptive.admit(class, in_flight, now, &mut self.rng).is_ok() {
                            self.admitted[class.index()] += 1;
                            self.queue.push_back(now);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_flood_of_strangers_is_shed_and_users_are_not() {
        let mut server = Server::new(10);
        // A hundred a second are the server's capacity: half of it are users, ten times as many strangers.
        server.run(3000, [10.0, 0.0, 0.0, 0.5]);
        server.run(3000, [10.0, 0.0, 0.0, 0.5]);
        let share = |server: &Server, class: Class| {
            f64::from(server.admitted[class.index()]) / f64::from(server.offered[class.index()])
        };
        assert!(share(&server, Class::Established) > 0.99, "{:?}", server.admitted);
        assert!(share(&server, Class::Unknown) < 0.1);
        let wait = server.queue.len() as f64 / 100.0;
        assert!(wait < 0.5, "who is let in waits {wait} s");
        assert!((server.adaptive.drain_per_second() - 100.0).abs() < 10.0);
        // And when it is over, everybody is let in.
        server.run(1000, [0.1, 0.1, 0.1, 0.3]);
        assert!(Class::ALL.into_iter().all(|class| share(&server, class) > 0.99));
    }

    #[test]
    fn the_limit_stays_within_its_bounds() {
        let mut rng = Rng::from_seed(1);
        for delay_ms in [0, 10_000] {
            let mut adaptive = Adaptive::new(AdaptiveSettings::default(), Duration::ZERO);
            for step in 0..10_000_u32 {
                let now = step * 100 * STEP;
                adaptive.began(Duration::from_millis(delay_ms), now);
                let limit = adaptive.limit();
                let _ = adaptive.admit(Class::Established, limit, now, &mut rng);
            }
            assert_eq!(adaptive.limit(), if delay_ms == 0 { 256 } else { 4 });
        }
    }

    #[test]
    fn the_lowest_first_and_told_when_to_come_back() {
        let mut rng = Rng::from_seed(1);
        let mut adaptive = Adaptive::new(AdaptiveSettings::default(), Duration::ZERO);
        let now = Duration::from_millis(1);
        let mut allowed = Vec::new();
        for class in Class::ALL {
            let shed = adaptive.admit(class, 1000, now, &mut rng).unwrap_err();
            assert!((RETRY_MIN..=RETRY_MAX).contains(&shed.retry_after));
            assert_eq!(adaptive.admit(class, shed.allowed - 1, now, &mut rng), Ok(()));
            allowed.push(shed.allowed);
        }
        assert!(allowed.is_sorted() && allowed[0] < allowed[3], "{allowed:?}");
    }
}
