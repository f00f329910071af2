use std::time::Duration;

use super::forecast::{ALARM, Forecast};
use super::reason::{Measured, Reason};
use super::window::Window;
use super::{Level, Signals};

/// From where on a signal counts. Shares are from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Attempts, as a multiple of the budget; and three standard deviations of what the budget has more.
    pub demand: f64,
    /// Challenges failed, of those answered, if at least 20 were.
    pub failed_challenges: f64,
    /// Attempts from the eight busiest prefixes, if there were at least 64.
    pub prefix_concentration: f64,
    /// Attempts from the eight busiest autonomous systems, if there were at least 64. As few providers serve nearly all
    /// of some countries, it counts only beside ill will of another kind.
    pub asn_concentration: f64,
    /// Logins failed, if at least 50 did.
    pub failed_logins: f64,
    /// Wait of established users.
    pub queue_delay: Duration,
    /// Requests of established users refused, if there were at least 20.
    pub refusals: f64,
    /// Cost of new accounts, as a multiple of others.
    pub cost_per_account: f64,
    /// What ends counts below this part of each threshold: the hysteresis.
    pub release: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            demand: 1.2,
            failed_challenges: 0.5,
            prefix_concentration: 0.5,
            asn_concentration: 0.95,
            failed_logins: 0.7,
            queue_delay: Duration::from_millis(500),
            refusals: 0.02,
            cost_per_account: 5.0,
            release: 0.75,
        }
    }
}

/// Fewest attempts that are a crowd, however small the budget is.
const CROWD_MIN: u64 = 8;
const ANSWERS_MIN: u64 = 20;
const ATTEMPTS_MIN: u64 = 64;
const FAILED_LOGINS_MIN: u64 = 50;
const REQUESTS_MIN: u64 = 20;

/// What speaks for a stricter level, and which one it speaks for.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) wanted: Level,
    pub(super) reasons: Vec<Reason>,
}

/// What the gate knows at a tick.
pub(super) struct Evidence<'a> {
    pub(super) thresholds: &'a Thresholds,
    pub(super) accounts_per_minute: u32,
    pub(super) forecast: &'a Forecast,
    pub(super) window: &'a Window,
    pub(super) signals: &'a Signals,
}

impl Evidence<'_> {
    /// Attempts of the window as a multiple of what the budget has for it.
    pub(super) fn demand(&self) -> f64 {
        self.window.sums().attempted as f64 / self.budget_of_window()
    }

    fn budget_of_window(&self) -> f64 {
        f64::from(self.accounts_per_minute.max(1)) / 60.0 * self.window.length().as_secs_f64()
    }

    /// The demand that is a crowd: three standard deviations above the limit, as people come by chance, and few of
    /// them vary much.
    fn crowd(&self) -> f64 {
        self.thresholds.demand + 3.0 / self.budget_of_window().sqrt()
    }

    /// Holds what is known against the thresholds, each times `factor`.
    ///
    /// - Nothing speaks for more than a challenge unless more ask than the budget can take.
    /// - A crowd alone leads to the waiting list and never beyond: that takes ill will of two kinds, or of one kind
    ///   with harm to users.
    pub(super) fn judge(&self, factor: f64) -> Judgement {
        let reasons = self.reasons(factor);
        let count = |is: fn(&Reason) -> bool| reasons.iter().filter(|reason| is(reason)).count();
        let crowd = count(|reason| matches!(reason, Reason::Demand(_))) > 0;
        let malice = kinds_of_malice(&reasons);
        let harm = count(Reason::is_harm) > 0;
        // Failed logins and waiting users alone say nothing about registrations, nor do they where few providers are.
        let alone = |reason: &Reason| {
            !reason.is_harm() && !matches!(reason, Reason::FailedLogins(_) | Reason::AsnConcentration(_))
        };
        let wanted = match (crowd, malice, harm) {
            (true, 1.., true) => Level::Suspended,
            (true, 2.., false) => Level::InviteOnly,
            (true, _, _) => Level::WaitingList,
            (false, _, _) if reasons.iter().any(alone) => Level::Challenge,
            (false, _, _) => Level::Open,
        };
        Judgement { wanted, reasons }
    }

    fn reasons(&self, factor: f64) -> Vec<Reason> {
        let (limits, sums, signals) = (self.thresholds, self.window.sums(), self.signals);
        let share = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
        let mut found = Vec::new();
        let mut hold = |is_enough: bool, measured: f64, threshold: f64, reason: fn(Measured) -> Reason| {
            let threshold = threshold * factor;
            if is_enough && measured >= threshold {
                found.push(reason(Measured { measured, threshold }));
            }
        };
        hold(true, self.forecast.excess(), ALARM, Reason::AboveForecast);
        hold(sums.attempted >= CROWD_MIN, self.demand(), self.crowd(), Reason::Demand);
        hold(
            sums.challenges_passed + sums.challenges_failed >= ANSWERS_MIN,
            share(sums.challenges_failed, sums.challenges_passed),
            limits.failed_challenges,
            Reason::FailedChallenges,
        );
        let many = sums.attempted >= ATTEMPTS_MIN;
        hold(many, signals.prefix_concentration, limits.prefix_concentration, Reason::PrefixConcentration);
        hold(
            sums.logins_failed >= FAILED_LOGINS_MIN,
            share(sums.logins_failed, sums.logins_passed),
            limits.failed_logins,
            Reason::FailedLogins,
        );
        let wait_ms = signals.queue_delay.as_secs_f64() * 1000.0;
        hold(true, wait_ms, limits.queue_delay.as_secs_f64() * 1000.0, Reason::QueueDelay);
        let enough = sums.answered + sums.refused >= REQUESTS_MIN;
        hold(enough, share(sums.refused, sums.answered), limits.refusals, Reason::Refusals);
        hold(true, signals.cost_per_account, limits.cost_per_account, Reason::CostPerAccount);
        let asn = signals.asn_concentration.unwrap_or(0.0);
        let threshold = limits.asn_concentration * factor;
        // Of a crowd nothing is said that sounds like ill will.
        if many && asn >= threshold && found.iter().any(Reason::is_malice) {
            found.push(Reason::AsnConcentration(Measured { measured: asn, threshold }));
        }
        found
    }
}

/// In how many ways ill will shows. Attempts from few prefixes are from few systems too: that is one way.
fn kinds_of_malice(reasons: &[Reason]) -> usize {
    let has = |is: fn(&Reason) -> bool| reasons.iter().any(is);
    let both = has(|reason| matches!(reason, Reason::PrefixConcentration(_)))
        && has(|reason| matches!(reason, Reason::AsnConcentration(_)));
    reasons.iter().filter(|reason| reason.is_malice()).count() - usize::from(both)
}
