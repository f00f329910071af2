use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Level;

/// A number that was measured, and the one that it was held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// What was measured.
    pub measured: f64,
    /// What it was compared with.
    pub threshold: f64,
}

/// Why the gate moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Registrations rose above their forecast: the cumulative sum of what came beyond it, in registrations.
    AboveForecast(Measured),
    /// More ask for accounts than the budget has, as a multiple of it.
    Demand(Measured),
    /// The share of challenges that were answered wrongly.
    FailedChallenges(Measured),
    /// The share of attempts that came from the eight busiest prefixes.
    PrefixConcentration(Measured),
    /// The share of attempts that came from the eight busiest autonomous systems. Never the only sign of ill will.
    AsnConcentration(Measured),
    /// The share of logins that failed.
    FailedLogins(Measured),
    /// Milliseconds that established users wait.
    QueueDelay(Measured),
    /// The share of established users' requests that were refused.
    Refusals(Measured),
    /// What new accounts cost, as a multiple of others.
    CostPerAccount(Measured),
    /// Seconds without pressure.
    Calm(Measured),
    /// An operator pinned the level.
    Pinned,
}

impl Reason {
    /// Whether it speaks of ill will, which a crowd of honest people doesn't show.
    pub fn is_malice(&self) -> bool {
        matches!(
            self,
            Self::FailedChallenges(_)
                | Self::PrefixConcentration(_)
                | Self::AsnConcentration(_)
                | Self::FailedLogins(_)
                | Self::CostPerAccount(_)
        )
    }

    /// Whether it speaks of harm to others.
    pub fn is_harm(&self) -> bool {
        matches!(self, Self::QueueDelay(_) | Self::Refusals(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |f: &mut fmt::Formatter<'_>, what: &str, number: &Measured| {
            let (measured, threshold) = (number.measured * 100.0, number.threshold * 100.0);
            write!(f, "{what}: {measured:.0} % (limit {threshold:.0} %)")
        };
        match self {
            Self::AboveForecast(Measured { measured, threshold }) => {
                write!(f, "registrations above the forecast: {measured:.0} too many (limit {threshold:.0})")
            }
            Self::Demand(Measured { measured, threshold }) => {
                write!(f, "demand for accounts: {measured:.1} times the budget (limit {threshold:.1})")
            }
            Self::FailedChallenges(number) => share(f, "challenges failed", number),
            Self::PrefixConcentration(number) => share(f, "attempts from the busiest networks", number),
            Self::AsnConcentration(number) => share(f, "attempts from the busiest providers", number),
            Self::FailedLogins(number) => share(f, "logins failed", number),
            Self::QueueDelay(Measured { measured, threshold }) => {
                write!(f, "users wait {measured:.0} ms (limit {threshold:.0} ms)")
            }
            Self::Refusals(number) => share(f, "users' requests refused", number),
            Self::CostPerAccount(Measured { measured, threshold }) => {
                write!(f, "new accounts cost {measured:.1} times as much as others (limit {threshold:.1})")
            }
            Self::Calm(Measured { measured, threshold }) => {
                write!(f, "calm for {measured:.0} s (at least {threshold:.0} s)")
            }
            Self::Pinned => write!(f, "pinned by an operator"),
        }
    }
}

/// A change of level, for the record, the public page and the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    /// The level before.
    pub from: Level,
    /// The level since.
    pub to: Level,
    /// On the monotonic clock.
    #[serde(skip)]
    pub at: Duration,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// At least one.
    pub reasons: Vec<Reason>,
}
