use std::time::Duration;

/// How many registrations are to be expected, and whether there are more.
///
/// The forecast is an exponentially weighted mean of what came, with a half-life of minutes; it has no seasons, as
/// what it must tell apart is a factor of ten within seconds from the day's slow rise. What comes beyond it is summed
/// up (CUSUM of Page, 1954, in the form for Poisson counts of Lucas, 1985): with a rate `r0` that is still fine and one
/// `r1 = 3·r0` that is not, each second adds `count - k`, `k = (r1 - r0) / ln(r1 / r0)`, and the sum never falls below
/// nothing. `r0` is the forecast, or what the budget is made for if that is more: what it can carry is no attack.
#[derive(Debug, Clone)]
pub(super) struct Forecast {
    /// Registrations per second that are fine whatever was before.
    fine_per_second: f64,
    half_life: Duration,
    per_second: f64,
    sum: f64,
    /// When the sum was nothing last.
    rising_since: Duration,
}

/// The sum that is an alarm, in registrations beyond what was to be expected. At the rate `r0` itself a false one comes
/// once in hours, at half of it never.
pub(super) const ALARM: f64 = 6.0;
/// How much worse a rate must be than the fine one.
const RATIO: f64 = 3.0;

impl Forecast {
    pub(super) fn new(fine_per_second: f64, half_life: Duration) -> Self {
        Self { fine_per_second, half_life, per_second: 0.0, sum: 0.0, rising_since: Duration::ZERO }
    }

    /// Registrations per second that are forecast.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Registrations beyond the forecast; [`ALARM`] of them are one.
    pub(super) fn excess(&self) -> f64 {
        self.sum
    }

    pub(super) fn is_alarm(&self) -> bool {
        self.sum >= ALARM
    }

    /// When the excess began.
    pub(super) fn rising_since(&self) -> Duration {
        self.rising_since
    }

    /// `count` registrations came in the `elapsed` time before `now`. `learns` is whether they tell what is usual:
    /// an attack does not.
    pub(super) fn observe(&mut self, count: u32, elapsed: Duration, now: Duration, learns: bool) {
        let seconds = elapsed.as_secs_f64();
        let fine = self.per_second.max(self.fine_per_second);
        let allowed = fine * (RATIO - 1.0) / RATIO.ln() * seconds;
        if self.sum <= 0.0 {
            self.rising_since = now.saturating_sub(elapsed);
        }
        // Twice the alarm is as much as is remembered: the sum falls within seconds when the flood ends.
        self.sum = (self.sum + f64::from(count) - allowed).clamp(0.0, 2.0 * ALARM);
        if learns && seconds > 0.0 {
            let weight = 1.0 - 0.5_f64.powf(seconds / self.half_life.as_secs_f64());
            self.per_second += weight * (f64::from(count) / seconds - self.per_second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn run(forecast: &mut Forecast, from: u32, seconds: u32, per_second: u32) -> Option<u32> {
        let mut alarm = None;
        for second in from..from + seconds {
            forecast.observe(per_second, SECOND, (second + 1) * SECOND, true);
            alarm = alarm.or(forecast.is_alarm().then_some(second));
        }
        alarm
    }

    #[test]
    fn ten_times_as_many_are_an_alarm_within_a_second_or_two() {
        for usual in [0, 1, 4, 20] {
            let mut forecast = Forecast::new(f64::from(usual.max(1)), Duration::from_mins(10));
            assert_eq!(run(&mut forecast, 0, 3600, usual), None, "{usual} a second are usual");
            let alarm = run(&mut forecast, 3600, 10, (10 * usual).max(10)).unwrap();
            assert!(alarm <= 3601, "{usual}: after {} s", alarm - 3599);
            assert!(forecast.rising_since() >= 3600 * SECOND);
        }
    }

    #[test]
    fn it_grows_with_a_slow_rise_and_falls_after_a_flood() {
        let mut forecast = Forecast::new(1.0, Duration::from_mins(10));
        let mut usual = 0.0;
        for (step, per_second) in [1, 1, 2, 2, 3, 4, 5, 7, 10, 14].into_iter().enumerate() {
            // The first rise above what is fine is an alarm; those after it are slow.
            let alarm = run(&mut forecast, step as u32 * 1800, 1800, per_second);
            assert!(alarm.is_none() || usual < 2.0, "step {step}");
            usual = f64::from(per_second);
        }
        assert!((forecast.per_second() - 14.0).abs() < 2.0);
        let mut forecast = Forecast::new(1.0, Duration::from_mins(10));
        for second in 0..1000 {
            forecast.observe(10_000, SECOND, second * SECOND, false);
        }
        assert!(forecast.per_second() < 1e-9, "what is an attack is not learned");
        for second in 1000..1009 {
            forecast.observe(0, SECOND, second * SECOND, false);
        }
        assert!(forecast.excess() < 1e-9);
    }
}
