//! What stands between a flood and the server's users: what [`defence`] decides, with requests, hashes and models around
//! it. Everywhere the same holds: who is trusted more comes first, each class has its share, and refusing costs less than
//! asking.
//!
//! ```text
//! first bytes         Strangers: so many a second by errand,   strangers.rs, toll.rs,
//!                     more who solve a challenge               connections/doorman.rs
//! head of a request   Standing: class by signatures           accounts/standing.rs
//! before its body     Turnstile: room for requests            turnstile.rs, patience.rs
//! before a password   try_login, then Turns at hashing        accounts/logins.rs, turns.rs
//! before a prompt     Portion: caps, price, brownout          portion.rs, underway.rs
//! reading a prompt    Turns; long ones stand back            turns.rs, spare.rs
//! before a model      Berths: places by class, priority       berths.rs, engine's scheduler
//! before a write      Lanes: of each class one at a time       lanes.rs, the store's lanes.rs
//! all the while       how long tasks wait, models' load      keep.rs
//! ```

mod berths;
mod keep;
mod lanes;
mod patience;
mod portion;
mod spare;
mod strangers;
mod toll;
mod turns;
mod turnstile;
mod underway;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Rng;
use defence::{Brownout, Caps, Class, Dimness, Reduced, Shares};

pub(crate) use self::berths::{Berths, Seated, fair_part};
pub(crate) use self::keep::keep_bulwark;
pub(crate) use self::lanes::{at_least, lanes};
pub(crate) use self::patience::Patience;
pub(crate) use self::portion::{Cut, Portion, Wish};
pub(crate) use self::spare::spare;
pub(crate) use self::strangers::{Counted, Errand, too_many};
pub(crate) use self::toll::Toll;
pub(crate) use self::turns::Turns;
pub(crate) use self::turnstile::{turnstile, waits_for_model};
pub(crate) use self::underway::{Counts, Listens};

use self::strangers::Strangers;
use self::turnstile::Turnstile;
use self::underway::Underway;
use crate::accounts::{Standing, Who};
use crate::error::ApiError;
use crate::settings::Defence;

/// Prompts that may wait to be read for each that is, and those of one caller.
const CHECKS_WAITING: u32 = 1024;
/// Connections that may wait for their first request to be begun; no others than are open anyway.
const ENTRIES_WAITING: u32 = 1 << 14;

#[derive(Debug)]
pub(crate) struct Bulwark {
    settings: Defence,
    cores: usize,
    turnstile: Turnstile,
    pub(crate) strangers: Strangers,
    pub(crate) patience: Patience,
    pub(crate) berths: Berths,
    underway: Underway,
    brownout: Mutex<Brownout>,
    /// Prompts that may be rendered and tokenised at once.
    pub(crate) checks: Turns,
    /// The same of long ones, which stand back.
    pub(crate) long_checks: Turns,
    /// Connections whose first request is begun at once, while very many come: as many as there are threads for them.
    pub(crate) entries: Turns,
}

impl Bulwark {
    pub(crate) fn new(settings: &Defence, cores: usize, now: Duration, mut rng: Rng) -> Self {
        let shares = shares(settings.request_slots);
        Self {
            settings: settings.clone(),
            cores,
            strangers: Strangers::new(settings, &mut rng),
            patience: Patience::new(settings.request_slots, &mut rng),
            turnstile: Turnstile::new(settings, now, rng),
            berths: Berths::new(settings.engine_shares),
            underway: Underway::new(),
            brownout: Mutex::new(Brownout::new(now)),
            checks: Turns::new(cores, CHECKS_WAITING, shares, CHECKS_WAITING / 2),
            long_checks: Turns::new(cores, CHECKS_WAITING, shares, CHECKS_WAITING / 2),
            entries: Turns::new(cores, ENTRIES_WAITING, shares, ENTRIES_WAITING / 2),
        }
    }

    /// What somebody may ask for. Programs of this machine may do what the machine can.
    fn caps(&self, standing: Standing) -> Caps {
        if !self.settings.prices || standing.who == Who::Machine {
            return Caps::default();
        }
        *self.settings.caps.of(standing.class)
    }

    /// A request that may cost so much, until what is returned is dropped: also where nobody listens any more.
    pub(crate) fn begin(&self, standing: Standing, cost: u64) -> Result<Counts, ApiError> {
        self.underway.begin(standing.who, cost, &self.caps(standing))
    }

    /// A stream that somebody listens to.
    pub(crate) fn listen(&self, standing: Standing) -> Result<Listens, ApiError> {
        self.underway.open(standing.who, &self.caps(standing))
    }

    fn reduce(&self, standing: Standing, thinking_tokens: u64, output_tokens: u64) -> Reduced {
        if standing.who == Who::Machine {
            return Reduced { thinking_tokens, output_tokens, is_reduced: false };
        }
        self.brownout().reduce(standing.class, thinking_tokens, output_tokens)
    }

    fn brownout(&self) -> MutexGuard<'_, Brownout> {
        // What is behind it is good wherever a panic leaves it.
        self.brownout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is asked of models now.
    fn dim(&self, now: Duration) -> Dimness {
        let load = if self.settings.brownout { self.berths.load() } else { 0.0 };
        let mut brownout = self.brownout();
        if brownout.tick(load, now) {
            tracing::warn!(dimness = ?brownout.dimness(), load, "answers may be of another size");
        }
        brownout.dimness()
    }
}

/// How slots are shared, if they are.
pub(crate) fn shares(are_shared: bool) -> Shares {
    if are_shared { Shares::default() } else { Shares::NONE }
}

/// What a class is called in metrics.
pub(crate) fn class_word(class: Class) -> &'static str {
    match class {
        Class::Unknown => "unknown",
        Class::Guest => "guest",
        Class::New => "new",
        Class::Established => "established",
    }
}
