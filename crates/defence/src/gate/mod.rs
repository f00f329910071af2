//! The registration gate: an automaton over time that is an argument.
//!
//! The server calls [`Gate::tick`] about once a second with what happened since; the gate says whether its [`Level`]
//! changed, and why. Registrations are let through by [`Registrar`](crate::Registrar), which asks for the level.
//!
//! **Up.** Registrations beyond the forecast (an alarm within a second or two), more of them than the budget takes, or
//! signs of ill will lead to [`Level::Challenge`] at once. While more ask than the budget takes, the gate goes on to
//! [`Level::EmailFirst`] (where letters are sent) and [`Level::WaitingList`] within seconds; beyond that only with ill
//! will of two kinds, or of one kind while users are harmed. A crowd that a link brings shows neither, whatever its size.
//!
//! **Down.** When nothing has spoken for the level for a while ([`CALM`]), it goes down by one, and by another every
//! [`STEP_DOWN`]. If it fell within the last minutes only to rise again, it waits so long that it is open after
//! [`REOPENS_AFTER_RELAPSE`], whatever the level: attackers who come in pulses find it as they left it. What holds a level
//! is weaker than what leads to it (`release` of [`Thresholds`]), so that noise around a threshold moves nothing. Before
//! that, the last attempts are forgotten within [`WINDOW`]: it is open within two minutes after the end of an incident.
//!
//! So there is no state without a way out: without pressure every level has a timer that ends.

mod forecast;
mod judge;
mod level;
mod reason;
mod signals;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use self::forecast::Forecast;
use self::judge::{Evidence, Judgement};
use self::window::Window;
use crate::moment::Moment;

pub use judge::Thresholds;
pub use level::Level;
pub use reason::{Measured, Move, Reason};
pub use signals::Signals;

/// The while over which attempts, answers and logins are counted.
pub const WINDOW: Duration = Duration::from_secs(15);
/// Time without pressure after which the gate goes down for the first time.
pub const CALM: Duration = Duration::from_secs(15);
/// Time without pressure after which the gate is open, after a relapse.
pub const REOPENS_AFTER_RELAPSE: Duration = Duration::from_secs(95);
/// Least time at a level on the way down.
pub const STEP_DOWN: Duration = Duration::from_secs(10);
/// A rise within this after a fall is a relapse.
const RELAPSE: Duration = Duration::from_mins(5);
/// Moves that are remembered.
const MOVES_MAX: usize = 64;
/// How long the forecast takes to halve its distance to a new usual.
const HALF_LIFE: Duration = Duration::from_mins(10);

/// What the gate is told once.
#[derive(Debug, Clone, PartialEq)]
pub struct GateSettings {
    /// Accounts that may be made in a minute.
    pub accounts_per_minute: u32,
    /// Whether the server sends letters, without which there is no [`Level::EmailFirst`].
    pub has_mail: bool,
    /// From where on signals count.
    pub thresholds: Thresholds,
    /// How long an incident's onset is remembered after the gate is open again.
    pub onset_memory: Duration,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            accounts_per_minute: 60,
            has_mail: false,
            thresholds: Thresholds::default(),
            onset_memory: Duration::from_hours(24),
        }
    }
}

/// A level that can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the level email_first needs a mail server, and none is set")]
pub struct NoMail;

/// The gate. See the [module's](self) text.
#[derive(Debug, Clone)]
pub struct Gate {
    settings: GateSettings,
    level: Level,
    pinned: bool,
    forecast: Forecast,
    window: Window,
    ticked: Duration,
    moved: Duration,
    lowered: Option<Duration>,
    relapsed: bool,
    /// Time without pressure.
    calm: Duration,
    incident: Option<Incident>,
    moves: VecDeque<Move>,
}

#[derive(Debug, Clone, Copy)]
struct Incident {
    onset_ms: i64,
    /// When the gate was open again.
    ended: Option<Duration>,
}

impl Gate {
    /// An open gate.
    pub fn new(settings: GateSettings, now: Duration) -> Self {
        let fine_per_second = f64::from(settings.accounts_per_minute.max(1)) / 60.0;
        Self {
            settings,
            level: Level::Open,
            pinned: false,
            forecast: Forecast::new(fine_per_second, HALF_LIFE),
            window: Window::new(WINDOW),
            ticked: now,
            moved: now,
            lowered: None,
            relapsed: false,
            calm: Duration::ZERO,
            incident: None,
            moves: VecDeque::new(),
        }
    }

    /// The level now.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether an operator holds the level.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Registrations per minute that are forecast.
    pub fn forecast_per_minute(&self) -> f64 {
        self.forecast.per_second() * 60.0
    }

    /// Attempts of the last [`WINDOW`], as a multiple of what the budget has for it.
    pub fn demand(&self) -> f64 {
        self.evidence(&Signals::default()).demand()
    }

    /// Unix milliseconds at which the current incident, or one that ended not long ago, began: when registrations
    /// began to exceed the forecast, not when it was noticed. For [`Trust::class`](crate::Trust::class).
    pub fn onset_ms(&self) -> Option<i64> {
        self.incident.map(|incident| incident.onset_ms)
    }

    /// The last moves, the oldest first; at most 64.
    pub fn moves(&self) -> impl DoubleEndedIterator<Item = &Move> {
        self.moves.iter()
    }

    /// About how long it takes until everyone is let in again, if it is calm from now on. For `Retry-After`.
    pub fn reopens_in(&self) -> Duration {
        match self.steps_to_open() {
            0 => Duration::ZERO,
            steps => self.hold().saturating_sub(self.calm) + STEP_DOWN * (steps - 1),
        }
    }

    fn steps_to_open(&self) -> u32 {
        let mut steps = 0;
        let mut level = self.level;
        while level > Level::Open {
            level = level.down(self.settings.has_mail);
            steps += 1;
        }
        steps
    }

    /// Takes what happened since the last tick, and moves by at most one level. To be called every second or so.
    pub fn tick(&mut self, signals: &Signals, now: Moment) -> Option<Move> {
        let elapsed = now.monotonic.saturating_sub(self.ticked);
        self.ticked = self.ticked.max(now.monotonic);
        let usual = self.level == Level::Open && !self.forecast.is_alarm();
        self.forecast.observe(signals.attempted, elapsed, now.monotonic, usual);
        self.window.add(signals, now.monotonic);
        self.forget_incident(now);
        let evidence = self.evidence(signals);
        let (enters, holds) =
            (evidence.judge(1.0), evidence.judge(self.settings.thresholds.release.clamp(0.0, 1.0)));
        self.count_calm(&enters, &holds, elapsed);
        if self.pinned { None } else { self.step_up(enters, now).or_else(|| self.step_down(now)) }
    }

    /// Moves to a level and stays there until [`unpin`](Self::unpin).
    ///
    /// # Errors
    /// [`NoMail`].
    pub fn pin(&mut self, level: Level, now: Moment) -> Result<Option<Move>, NoMail> {
        if level == Level::EmailFirst && !self.settings.has_mail {
            return Err(NoMail);
        }
        self.pinned = true;
        let moved = (level != self.level).then(|| self.go(level, vec![Reason::Pinned], now));
        Ok(moved)
    }

    /// Lets the gate run by itself again, from the level that it has.
    pub fn unpin(&mut self, now: Moment) {
        self.pinned = false;
        self.calm = Duration::ZERO;
        self.moved = now.monotonic;
    }

    fn evidence<'a>(&'a self, signals: &'a Signals) -> Evidence<'a> {
        Evidence {
            thresholds: &self.settings.thresholds,
            accounts_per_minute: self.settings.accounts_per_minute,
            forecast: &self.forecast,
            window: &self.window,
            signals,
        }
    }

    /// Between what leads to a level and what holds it, calm neither grows nor is lost.
    fn count_calm(&mut self, enters: &Judgement, holds: &Judgement, elapsed: Duration) {
        if enters.wanted >= self.level && self.level > Level::Open {
            self.calm = Duration::ZERO;
        } else if holds.wanted < self.level {
            // A server that was stopped for an hour has not seen an hour of calm.
            self.calm += elapsed.min(Duration::from_secs(5));
        }
    }

    fn step_up(&mut self, enters: Judgement, now: Moment) -> Option<Move> {
        let next = self.level.up(self.settings.has_mail);
        let waited = now.monotonic.saturating_sub(self.moved);
        if next > enters.wanted || next == self.level || waited < dwell_before(next) {
            return None;
        }
        self.relapsed = self.lowered.is_some_and(|lowered| now.monotonic.saturating_sub(lowered) < RELAPSE);
        if self.level == Level::Open && self.incident.is_none_or(|incident| incident.ended.is_some()) {
            self.begin_incident(now);
        }
        Some(self.go(next, enters.reasons, now))
    }

    fn step_down(&mut self, now: Moment) -> Option<Move> {
        let hold = self.hold();
        let waited = now.monotonic.saturating_sub(self.moved);
        if self.level == Level::Open || self.calm < hold || waited < STEP_DOWN {
            return None;
        }
        let calm = Measured { measured: self.calm.as_secs_f64(), threshold: hold.as_secs_f64() };
        // After a relapse what is left to wait for grows by a step with each: the time goes on.
        let kept = if self.relapsed { self.calm } else { hold.saturating_sub(STEP_DOWN) };
        let moved = self.go(self.level.down(self.settings.has_mail), vec![Reason::Calm(calm)], now);
        self.lowered = Some(now.monotonic);
        self.calm = kept;
        if self.level == Level::Open
            && let Some(incident) = &mut self.incident
        {
            incident.ended = Some(now.monotonic);
        }
        Some(moved)
    }

    /// Time without pressure after which the gate goes down from here.
    fn hold(&self) -> Duration {
        if self.relapsed {
            REOPENS_AFTER_RELAPSE.saturating_sub(STEP_DOWN * self.steps_to_open().saturating_sub(1)).max(CALM)
        } else {
            CALM
        }
    }

    fn go(&mut self, to: Level, reasons: Vec<Reason>, now: Moment) -> Move {
        let moved = Move { from: self.level, to, at: now.monotonic, at_ms: now.unix_ms, reasons };
        self.level = to;
        self.moved = now.monotonic;
        self.calm = Duration::ZERO;
        if self.moves.len() == MOVES_MAX {
            self.moves.pop_front();
        }
        self.moves.push_back(moved.clone());
        moved
    }

    /// One that follows another within its memory has the other's onset: its sleepers may be of then.
    fn begin_incident(&mut self, now: Moment) {
        let onset = if self.forecast.excess() > 0.0 { self.forecast.rising_since() } else { now.monotonic };
        let onset_ms = self.incident.map_or_else(|| now.unix_ms_of(onset), |incident| incident.onset_ms);
        self.incident = Some(Incident { onset_ms, ended: None });
    }

    fn forget_incident(&mut self, now: Moment) {
        let memory = self.settings.onset_memory;
        let is_old = |ended: Duration| now.monotonic.saturating_sub(ended) > memory;
        if self.incident.is_some_and(|incident| incident.ended.is_some_and(is_old)) {
            self.incident = None;
        }
    }
}

/// Least time at the level before, on the way up: the first step is taken at once, and each next one when the last
/// has had time to help.
fn dwell_before(level: Level) -> Duration {
    Duration::from_secs(match level {
        Level::Open | Level::Challenge => 0,
        Level::EmailFirst => 3,
        Level::WaitingList => 5,
        Level::InviteOnly => 10,
        Level::Suspended => 20,
    })
}

#[cfg(test)]
mod tests;
