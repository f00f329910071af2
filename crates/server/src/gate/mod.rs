//! The registration gate: what [`defence`] decides, with the server's clock, database and endpoints around it.
//!
//! Everything that decides stands behind one lock, so that however many ask at once, no more accounts are made than the
//! budget allows: [`State::take_account`] is asked last, when all that is left to do is to hash a password and add the
//! user. What an account takes that then can't be made is given back. Who has an account never comes here.

mod counts;
mod keep;
mod load;
mod pass;
mod systems;
mod turned;
mod view;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Rng;
use defence::challenge::LIFETIME;
use defence::gate::{NoMail, WINDOW};
use defence::registration::{BudgetSettings, PlaceId, Turn};
use defence::{
    Answer, Challenge, ChallengeError, Challenges, Claim, Concentration, Difficulty, Gate, GateSettings,
    Level, Moment, Move, Network, Prefix, Proof, Registrar, RegistrarSettings, Signals, Source,
};
use serde::Deserialize;
use serde_json::Value;
use store::{GateMove, Store, StoreError, UserId};
use tokio::sync::OnceCell;
use utoipa::ToSchema;

pub(crate) use self::keep::keep_gate;
pub use self::systems::{Systems, SystemsError};

pub(crate) use self::pass::{HeldPlace, Pass, Shown, place_gone};
pub(crate) use self::turned::{Turned, Waits, challenge_body};
pub(crate) use self::view::{IncidentView, LevelName, MoveView, RegistrationView, SignalsView, StatusView};

use self::counts::{Beside, Counts, Minute};
use self::load::Load;
use self::systems::source;
use crate::settings::{Registration, Settings};

const NO_ONSET: i64 = i64::MIN;
/// Moves that are shown.
const MOVES_MAX: u32 = 64;

/// What the challenge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ChallengeAction)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    SignUp,
    SignIn,
}

impl Action {
    /// The word that stands in challenges.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignIn => "sign_in",
        }
    }
}

/// The gate and its clerk.
#[derive(Debug)]
pub(crate) struct Gatehouse {
    settings: Registration,
    has_mail: bool,
    inner: Mutex<Inner>,
    /// The onset of the incident that goes on or ended not long ago, in Unix milliseconds; [`NO_ONSET`] if there is none.
    /// Beside the lock too, as it is read at every request.
    onset_ms: AtomicI64,
    /// Of this process, by which its places are told from those of earlier ones.
    process: u64,
    /// What is counted at every request, beside the lock.
    beside: Beside,
    /// What is counted at every answer of a model.
    answers: Mutex<Load>,
    /// Whether what the store knows of before was read.
    loaded: OnceCell<()>,
    /// Held by who pins or unpins, so that the store and the gate do it in the same order.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    gate: Gate,
    registrar: Registrar,
    challenges: Challenges,
    /// For challenges.
    rng: Rng,
    /// Where attempts come from.
    prefixes: Concentration<Prefix>,
    /// The same by autonomous system, where there is a table of them.
    networks: Concentration<Network>,
    counts: Counts,
    made: Minute,
    ticked: Duration,
    last: Tick,
    /// The newest first.
    moves: VecDeque<Recorded>,
    /// Unix milliseconds since when the level is what it is.
    since_ms: i64,
}

/// What was there at the last tick.
#[derive(Debug, Clone, Copy)]
struct Tick {
    signals: Signals,
    at_ms: i64,
}

/// A move, also one of before a restart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    at_ms: i64,
    from: String,
    to: String,
    /// A list, as [`defence::Reason`] serialises.
    reasons: Value,
}

impl From<&Move> for Recorded {
    fn from(moved: &Move) -> Self {
        let reasons = serde_json::to_value(&moved.reasons).unwrap_or_default();
        Self { at_ms: moved.at_ms, from: word(moved.from), to: word(moved.to), reasons }
    }
}

impl From<GateMove> for Recorded {
    fn from(row: GateMove) -> Self {
        let reasons = serde_json::from_str(&row.reasons).unwrap_or_default();
        Self { at_ms: row.at_ms, from: row.from, to: row.to, reasons }
    }
}

impl From<Recorded> for GateMove {
    fn from(moved: Recorded) -> Self {
        let reasons = moved.reasons.to_string();
        Self { at_ms: moved.at_ms, from: moved.from, to: moved.to, reasons }
    }
}

/// What a level is called, in the API and in the store.
pub(crate) fn word(level: Level) -> String {
    match serde_json::to_value(level) {
        Ok(Value::String(word)) => word,
        // It always is one.
        _ => String::new(),
    }
}

/// The level of this name.
pub(crate) fn level_named(word: &str) -> Option<Level> {
    serde_json::from_value(Value::from(word)).ok()
}

impl Gatehouse {
    pub(crate) fn new(settings: &Settings, now: Moment, rng: &mut Rng) -> Self {
        let registration = settings.registration.clone();
        let has_mail = settings.mail.is_some();
        let per_minute = registration.accounts_per_minute;
        let gate = GateSettings { accounts_per_minute: per_minute, has_mail, ..GateSettings::default() };
        let (narrow, wide) = (registration.accounts_per_address, registration.accounts_per_network);
        let registrar = RegistrarSettings {
            // A /56 is one customer's, who may have twice what an address has.
            budget: BudgetSettings {
                per_minute,
                per_narrow: narrow,
                per_middle: narrow.saturating_mul(2),
                per_wide: wide,
                per_asn: registration.accounts_per_asn,
            },
            has_mail,
            places_max: registration.places_max,
            places_per_prefix_max: registration.places_per_network_max,
            // Microseconds: rounds can't be called up as fast as that.
            first_round: u64::try_from(now.unix_ms).unwrap_or(0).saturating_mul(1000),
        };
        let inner = Inner {
            gate: Gate::new(gate, now.monotonic),
            registrar: Registrar::new(registrar, rng),
            challenges: Challenges::new(rng),
            rng: rng.fork(),
            prefixes: Concentration::new(WINDOW),
            networks: Concentration::new(WINDOW),
            counts: Counts::default(),
            made: Minute::default(),
            ticked: now.monotonic,
            last: Tick { signals: Signals::default(), at_ms: now.unix_ms },
            moves: VecDeque::new(),
            since_ms: now.unix_ms,
        };
        Self {
            settings: registration,
            has_mail,
            inner: Mutex::new(inner),
            onset_ms: AtomicI64::new(NO_ONSET),
            process: rng.next_u64(),
            beside: Beside::default(),
            answers: Mutex::default(),
            loaded: OnceCell::new(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Reads what the store knows of before: the moves, and the level that an operator holds. The first time only.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn load(&self, store: &dyn Store, now: Moment) -> Result<(), StoreError> {
        let load = async || -> Result<(), StoreError> {
            let moves = store.moves(MOVES_MAX).await?;
            let pin = store.pin().await?;
            let mut inner = self.lock();
            inner.moves.extend(moves.into_iter().map(Recorded::from));
            let Some(pin) = pin else { return Ok(()) };
            let pinned = level_named(&pin.level).map(|level| inner.gate.pin(level, now));
            match pinned {
                // It moved when it was pinned, which is recorded.
                Some(Ok(_)) => inner.since_ms = pin.at_ms,
                Some(Err(NoMail)) | None => {
                    tracing::warn!(
                        level = pin.level,
                        "the gate can't be held at this level any more, and runs"
                    );
                }
            }
            Ok(())
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    pub(crate) fn level(&self) -> Level {
        self.lock().gate.level()
    }

    /// Unix milliseconds at which the incident began that goes on or ended not long ago, as of the last tick. Takes no lock.
    pub(crate) fn onset_ms(&self) -> Option<i64> {
        Some(self.onset_ms.load(Ordering::Relaxed)).filter(|onset_ms| *onset_ms != NO_ONSET)
    }

    /// How often to look whether it is time for a tick.
    pub(crate) fn interval(&self) -> Duration {
        self.settings.tick_interval
    }

    /// A challenge for `action` from here.
    pub(crate) fn issue(&self, prefix: Prefix, action: Action, now: Moment) -> Challenge {
        let mut inner = self.lock();
        let Inner { gate, challenges, rng, .. } = &mut *inner;
        // Whoever signs in has an account already, and is in nobody's way: what keeps guessing slow are limits.
        let level_max = if action == Action::SignIn { Level::Challenge } else { Level::Suspended };
        let difficulty = Difficulty::at(gate.level().min(level_max));
        challenges.issue(difficulty, (prefix, action.name()), LIFETIME, now.unix_ms, rng)
    }

    /// Takes an answer to a challenge; see [`Challenges::claim`]. One that is none is counted, if it is for an account.
    fn claim(
        &self,
        answer: &str,
        (prefix, action): (Prefix, Action),
        now: Moment,
    ) -> Result<Claim, ChallengeError> {
        let mut inner = self.lock();
        let claimed = inner.challenges.claim(answer, (prefix, action.name()), now.unix_ms);
        if action == Action::SignUp && claimed.as_ref().is_err_and(|error| error.is_failure()) {
            inner.counts.challenges_failed += 1;
        }
        claimed
    }

    /// Looks at an answer to a challenge, which stays as good as it is; see [`Challenges::peek`].
    pub(crate) fn peek(
        &self,
        answer: &str,
        (prefix, action): (Prefix, Action),
        now: Moment,
    ) -> Result<Claim, ChallengeError> {
        self.lock().challenges.peek(answer, (prefix, action.name()), now.unix_ms)
    }

    /// Counts what came of the work of an answer.
    fn solved(&self, right: bool) {
        let mut inner = self.lock();
        if right {
            inner.counts.challenges_passed += 1;
        } else {
            inner.counts.challenges_failed += 1;
        }
    }

    /// Counts somebody who asks for an account for the first time.
    pub(crate) fn attempted(&self, address: IpAddr, now: Moment) {
        let from = self.source(address);
        let mut inner = self.lock();
        inner.counts.attempted += 1;
        inner.prefixes.add(Prefix::wide(address), now.monotonic);
        inner.networks.add(from.network(), now.monotonic);
    }

    fn source(&self, address: IpAddr) -> Source {
        source(self.settings.systems.as_ref(), address)
    }

    /// Counts a login.
    pub(crate) fn login(&self, passed: bool) {
        self.beside.login(passed);
    }

    /// Counts a request of somebody who is known.
    pub(crate) fn answered(&self, class: &str, status: u16) {
        self.beside.answered(class, status);
    }

    /// Counts an answer of a model that ended: what it took, and how long it was waited for.
    pub(crate) fn generated(&self, user: UserId, tokens: u64, queued: Duration, now: Moment) {
        self.answers().add(user, tokens, queued, now);
    }

    /// What becomes of somebody who asks for an account now.
    fn register(&self, address: IpAddr, proof: Proof, now: Moment) -> Answer {
        let from = self.source(address);
        let mut inner = self.lock();
        let level = inner.gate.level();
        let answer = inner.registrar.register(level, from, proof, now.monotonic);
        if answer == Answer::Make {
            inner.counts.completed += 1;
            inner.made.add(now.monotonic);
        }
        answer
    }

    /// What [`register`](Self::register) took for an account that could not be made.
    fn give_back(&self, place: Option<PlaceId>, now: Moment) {
        let mut inner = self.lock();
        inner.registrar.give_back(place, now.monotonic);
        inner.counts.completed = inner.counts.completed.saturating_sub(1);
        inner.made.take_back(now.monotonic);
    }

    /// What becomes of somebody who would show next that an address is theirs: [`Answer::ShowEmail`] if that is what
    /// they are to do. Takes nothing of the budget, which is taken when the letter was read.
    fn register_by_letter(&self, address: IpAddr, proof: Proof, now: Moment) -> Answer {
        let from = self.source(address);
        let mut inner = self.lock();
        let level = inner.gate.level();
        if proof.invitation && level < Level::Suspended {
            return Answer::ShowEmail;
        }
        let challenge = proof.challenge || level < Level::Challenge;
        let proof = Proof { challenge, email: false, ..proof };
        inner.registrar.register(level.max(Level::EmailFirst), from, proof, now.monotonic)
    }

    /// Where a place of this process is in the order of the list, and which process that is.
    fn turn(&self, place: PlaceId) -> Option<(Turn, u64)> {
        Some((self.lock().registrar.turn(place)?, self.process))
    }

    /// Puts a place back that another process gave out, if it is one.
    fn restore(&self, place: PlaceId, (turn, process): (Turn, u64), prefix: Prefix, now: Moment) {
        if process != self.process {
            self.lock().registrar.restore(place, turn, prefix, now.monotonic);
        }
    }

    /// Where a place stands, for its holder.
    pub(crate) fn ask_place(&self, place: PlaceId, now: Moment) -> Option<Answer> {
        self.lock().registrar.ask(place, now.monotonic)
    }

    /// The holder of a place needs it no more.
    pub(crate) fn leave_place(&self, place: PlaceId) {
        self.lock().registrar.leave(place);
    }

    /// Takes what happened since the last tick, if that is a second ago: whether the level changed, and calls people up.
    pub(crate) fn tick(&self, now: Moment) -> Option<Move> {
        let mut inner = self.lock();
        // A clock that is looked at each second says a little less at times.
        if now.monotonic.saturating_sub(inner.ticked) < Duration::from_millis(750) {
            return None;
        }
        inner.ticked = now.monotonic;
        let signals = self.signals(&mut inner, now);
        inner.last = Tick { signals, at_ms: now.unix_ms };
        let moved = if self.settings.gate { inner.gate.tick(&signals, now) } else { None };
        if let Some(moved) = &moved {
            inner.note(moved);
        }
        self.onset_ms.store(inner.gate.onset_ms().unwrap_or(NO_ONSET), Ordering::Relaxed);
        let level = inner.gate.level();
        // Who is called up sees it when their page asks.
        inner.registrar.tick(level, now.monotonic);
        moved
    }

    fn signals(&self, inner: &mut Inner, now: Moment) -> Signals {
        let counts = std::mem::take(&mut inner.counts);
        // Two locks within one statement would wait for each other.
        let (queue_delay, cost_per_account) = {
            let mut answers = self.answers();
            (answers.queue_delay(now.monotonic), answers.cost_per_account(now.monotonic))
        };
        let has_systems = self.settings.systems.is_some();
        Signals {
            attempted: counts.attempted,
            completed: counts.completed,
            challenges_passed: counts.challenges_passed,
            challenges_failed: counts.challenges_failed,
            prefix_concentration: inner.prefixes.share(now.monotonic).0,
            asn_concentration: has_systems.then(|| inner.networks.share(now.monotonic).0),
            queue_delay,
            cost_per_account,
            ..self.beside.take()
        }
    }

    /// Holds the gate at a level.
    fn pin(&self, level: Level, now: Moment) -> Result<Option<Move>, NoMail> {
        let mut inner = self.lock();
        let moved = inner.gate.pin(level, now)?;
        if let Some(moved) = &moved {
            inner.note(moved);
        }
        Ok(moved)
    }

    fn unpin(&self, now: Moment) {
        self.lock().gate.unpin(now);
    }

    fn answers(&self) -> MutexGuard<'_, Load> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is behind it is good wherever a panic leaves it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, moved: &Move) {
        self.moves.truncate(MOVES_MAX as usize - 1);
        self.moves.push_front(moved.into());
        self.since_ms = moved.at_ms;
    }
}
