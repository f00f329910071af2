use defence::{Level, Signals};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Gatehouse, Recorded, word};
use crate::app::State;

/// How the service is, for everybody.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceStatus)]
pub(crate) struct StatusView {
    pub(crate) registration: RegistrationView,
    /// While there is one.
    pub(crate) incident: Option<IncidentView>,
    /// The last moves of the gate, the newest first; at most 64.
    pub(crate) moves: Vec<MoveView>,
}

/// How far the door to new accounts stands open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Registration)]
pub(crate) struct RegistrationView {
    #[schema(value_type = LevelName)]
    level: String,
    /// Whether an operator holds it there.
    pinned: bool,
    /// Unix milliseconds.
    since_ms: i64,
    /// About how long until everybody is let in again, if it is calm from now on; null if the level is pinned or no
    /// new accounts are taken at all.
    reopens_in_seconds: Option<u64>,
    /// Whether the server takes new accounts.
    offered: bool,
    /// People in the waiting list.
    waiting: usize,
    /// The budget of new accounts.
    accounts_per_minute: u32,
    /// Of the last move.
    reasons: Vec<ReasonView>,
}

/// Something exceptional goes on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Incident)]
pub(crate) struct IncidentView {
    /// Unix milliseconds at which it began, as far as can be told.
    since_ms: i64,
}

/// A change of level.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GateMove)]
pub(crate) struct MoveView {
    /// Unix milliseconds.
    at_ms: i64,
    #[schema(value_type = LevelName)]
    from: String,
    #[schema(value_type = LevelName)]
    to: String,
    reasons: Vec<ReasonView>,
}

/// Why the gate moved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GateReason)]
pub(crate) struct ReasonView {
    #[schema(value_type = ReasonName)]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    measured: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    threshold: Option<f64>,
}

/// How far the door to new accounts stands open, the widest first.
#[derive(Serialize, ToSchema)]
#[schema(as = GateLevel)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the document's: the words are those of the crate that decides")]
pub(crate) enum LevelName {
    Open,
    Challenge,
    EmailFirst,
    WaitingList,
    InviteOnly,
    Suspended,
}

/// What speaks for a move.
#[derive(Serialize, ToSchema)]
#[schema(as = GateReasonName)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the document's: the words are those of the crate that decides")]
enum ReasonName {
    AboveForecast,
    Demand,
    FailedChallenges,
    PrefixConcentration,
    AsnConcentration,
    FailedLogins,
    QueueDelay,
    Refusals,
    CostPerAccount,
    Calm,
    Pinned,
}

/// What the gate was told at its last tick: counts since the one before.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GateSignals)]
pub(crate) struct SignalsView {
    /// Unix milliseconds of the tick.
    at_ms: i64,
    attempted: u32,
    completed: u32,
    challenges_passed: u32,
    challenges_failed: u32,
    /// The share of attempts from the eight busiest networks, 0 to 1.
    prefix_concentration: f64,
    /// The same of the eight busiest autonomous systems; null without a table of them (`defence.asn_file`).
    asn_concentration: Option<f64>,
    logins_passed: u32,
    logins_failed: u32,
    /// What the tenth of those waited at least that waited longest, of users whose account is older than a day and who
    /// got an answer of a model in the last 15 seconds; 0 if there were few.
    queue_delay_ms: u64,
    established_answered: u32,
    established_refused: u32,
    /// Tokens of an account that is younger than a day as a multiple of those of another, over the last minutes; 0 if
    /// there were few of either.
    cost_per_account: f64,
    /// Attempts of the last 15 seconds as a multiple of the budget.
    demand: f64,
    /// Registrations per minute that are forecast.
    forecast_per_minute: f64,
}

/// What operators see besides.
pub(crate) struct Inside {
    pub(crate) signals: SignalsView,
    /// The level that is pinned.
    pub(crate) pin: Option<String>,
    /// Of the last 60 seconds.
    pub(crate) accounts_made: u32,
}

impl MoveView {
    fn of(moved: &Recorded) -> Self {
        let reasons = reasons(&moved.reasons);
        Self { at_ms: moved.at_ms, from: moved.from.clone(), to: moved.to.clone(), reasons }
    }
}

fn reasons(reasons: &Value) -> Vec<ReasonView> {
    let view = |reason: &Value| ReasonView {
        reason: reason["reason"].as_str().unwrap_or_default().to_owned(),
        measured: reason["measured"].as_f64(),
        threshold: reason["threshold"].as_f64(),
    };
    reasons.as_array().map(|reasons| reasons.iter().map(view).collect()).unwrap_or_default()
}

impl State {
    pub(crate) fn gate_status(&self) -> StatusView {
        let offered = self.settings.sign_up && !self.accounts.setup.is_open();
        self.gatehouse.status(offered)
    }
}

impl Gatehouse {
    fn status(&self, offered: bool) -> StatusView {
        let inner = self.lock();
        let (level, pinned) = (inner.gate.level(), inner.gate.is_pinned());
        let name = word(level);
        // After a restart the gate is open, whatever the last move of before was.
        let last = inner.moves.front().filter(|moved| moved.to == name);
        let reopens = inner.gate.reopens_in();
        let seconds = reopens.as_secs() + u64::from(reopens.subsec_nanos() > 0);
        let onset_ms = self.onset_ms().filter(|_| level > Level::Open);
        StatusView {
            registration: RegistrationView {
                pinned,
                since_ms: inner.since_ms,
                reopens_in_seconds: (offered && !pinned).then_some(seconds),
                offered,
                waiting: inner.registrar.waiting(),
                accounts_per_minute: self.settings.accounts_per_minute,
                reasons: last.map(|moved| reasons(&moved.reasons)).unwrap_or_default(),
                level: name,
            },
            incident: onset_ms.map(|since_ms| IncidentView { since_ms }),
            moves: inner.moves.iter().map(MoveView::of).collect(),
        }
    }

    /// What operators see besides.
    pub(crate) fn inside(&self, now: std::time::Duration) -> Inside {
        let mut inner = self.lock();
        let signals = SignalsView::of(&inner.last.signals, inner.last.at_ms, &inner.gate);
        let pin = inner.gate.is_pinned().then(|| word(inner.gate.level()));
        Inside { signals, pin, accounts_made: inner.made.count(now) }
    }
}

impl SignalsView {
    fn of(signals: &Signals, at_ms: i64, gate: &defence::Gate) -> Self {
        Self {
            at_ms,
            attempted: signals.attempted,
            completed: signals.completed,
            challenges_passed: signals.challenges_passed,
            challenges_failed: signals.challenges_failed,
            prefix_concentration: signals.prefix_concentration,
            asn_concentration: signals.asn_concentration,
            logins_passed: signals.logins_passed,
            logins_failed: signals.logins_failed,
            queue_delay_ms: u64::try_from(signals.queue_delay.as_millis()).unwrap_or(u64::MAX),
            established_answered: signals.established_answered,
            established_refused: signals.established_refused,
            cost_per_account: signals.cost_per_account,
            demand: gate.demand(),
            forecast_per_minute: gate.forecast_per_minute(),
        }
    }
}
