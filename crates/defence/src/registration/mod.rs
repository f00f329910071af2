//! Who gets an account now, and who waits: the level of the gate, the hard budget and the waiting list together.

mod budget;
mod waiting;

use std::net::IpAddr;
use std::time::Duration;

use base::Rng;

use self::budget::Budget;
use self::waiting::WaitingList;
use crate::gate::Level;
use crate::prefix::Prefix;
use crate::source::Source;

pub use budget::{BudgetSettings, Spent};
pub use waiting::{CALLED_UP_FOR, NoPlace, PATIENCE, PlaceId, Standing, Turn};

/// What the registrar is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// How many accounts may be made.
    pub budget: BudgetSettings,
    /// Whether letters are sent: if so an address is asked for from [`Level::EmailFirst`] on.
    pub has_mail: bool,
    /// Places in the waiting list; some 200 bytes each.
    pub places_max: usize,
    /// Places that a /24 or /48 may hold.
    pub places_per_prefix_max: u32,
    /// Where the rounds of the waiting list begin. Higher than any of an earlier process, as the microseconds of the Unix
    /// clock are, so that its places come first when they are [restored](Registrar::restore).
    pub first_round: u64,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            budget: BudgetSettings::default(),
            has_mail: false,
            places_max: 1 << 16,
            places_per_prefix_max: 256,
            first_round: 0,
        }
    }
}

/// What somebody who asks for an account has shown. The server has checked each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proof {
    /// A challenge was solved, for this prefix and to register; or a letter was read that was sent to somebody who had
    /// solved one, as its ticket says.
    pub challenge: bool,
    /// A letter was read.
    pub email: bool,
    /// An invitation of an operator or user.
    pub invitation: bool,
    /// The place that they hold, from a signed ticket.
    pub place: Option<PlaceId>,
}

/// What becomes of somebody who asks for an account. Nobody is turned away without being told why, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An account may be made, now; it is counted. To be asked last, when nothing else can fail but what is rare.
    Make,
    /// A challenge comes first.
    SolveChallenge,
    /// An address that is theirs comes first.
    ShowEmail,
    /// They have a place.
    Wait {
        /// To be given to them in a signed ticket.
        place: PlaceId,
        /// Where it stands.
        standing: Standing,
        /// About how long it takes until their turn.
        about: Duration,
        /// When to ask again.
        ask_again: Duration,
    },
    /// There is not even a place.
    Refuse {
        /// Why not.
        reason: NoPlace,
        /// When to try again.
        retry_after: Duration,
    },
}

/// The clerk at the gate.
#[derive(Debug)]
pub struct Registrar {
    settings: RegistrarSettings,
    budget: Budget,
    list: WaitingList,
    /// People who may be called up.
    credit: f64,
    ticked: Duration,
    /// For the names of places.
    rng: Rng,
}

/// Pages ask after their place at least this often.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(30);
/// And not more often than this.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(2);
/// An estimate beyond a day is no help to anybody.
const ABOUT_MAX: Duration = Duration::from_hours(24);

impl Registrar {
    /// An empty list and a full budget. `rng` is drawn from for keys of hashes and, later, for places.
    pub fn new(settings: RegistrarSettings, rng: &mut Rng) -> Self {
        Self {
            budget: Budget::new(settings.budget, rng),
            list: WaitingList::new(settings.places_max, settings.places_per_prefix_max, settings.first_round),
            credit: 0.0,
            ticked: Duration::ZERO,
            rng: rng.fork(),
            settings,
        }
    }

    /// People who wait.
    pub fn waiting(&self) -> usize {
        self.list.waiting()
    }

    /// People who were called up and haven't made their account yet.
    pub fn called(&self) -> usize {
        self.list.called()
    }

    /// Somebody asks for an account at a level of the gate. Takes from the budget if the answer is [`Answer::Make`],
    /// whatever becomes of it.
    pub fn register(&mut self, level: Level, from: Source, proof: Proof, now: Duration) -> Answer {
        let standing = proof.place.map_or(Standing::Gone, |place| self.list.ask(place, now));
        // Who holds a place has shown what was asked for it.
        let holds = standing != Standing::Gone;
        if level >= Level::Challenge && !(proof.challenge || proof.invitation || holds) {
            return Answer::SolveChallenge;
        }
        let called = matches!(standing, Standing::CalledUp { .. });
        let may_have_one = match level {
            Level::Open | Level::Challenge | Level::EmailFirst => called || !holds,
            Level::WaitingList | Level::InviteOnly => called || proof.invitation,
            Level::Suspended => false,
        };
        if !may_have_one {
            return match self.wait(from.address, proof.place.filter(|_| holds), now) {
                // Called up before the gate was closed: until it opens again there is nothing to be had.
                Answer::Wait { place, standing: standing @ Standing::CalledUp { .. }, .. } => {
                    Answer::Wait { place, standing, about: ASK_AGAIN_MAX, ask_again: ASK_AGAIN_MAX }
                }
                other => other,
            };
        }
        let wants_email = level >= Level::EmailFirst && self.settings.has_mail;
        if wants_email && !proof.email && !proof.invitation {
            return Answer::ShowEmail;
        }
        let left = if called || proof.invitation { 0.0 } else { self.kept_for_called() };
        match self.budget.take(from, left, now) {
            Ok(()) => {
                if let Some(place) = proof.place {
                    self.list.leave(place);
                }
                Answer::Make
            }
            Err(spent) => {
                let retry_after = spent.retry_after();
                if let (true, Some(place), Spent::Prefix { .. } | Spent::Asn { .. }) =
                    (called, proof.place, spent)
                {
                    self.list.extend(place, now);
                }
                let answer = self.wait(from.address, proof.place.filter(|_| holds), now);
                // Who is called up has only the budget before them.
                match answer {
                    Answer::Wait { place, standing: standing @ Standing::CalledUp { .. }, .. } => {
                        let ask_again = retry_after.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX);
                        Answer::Wait { place, standing, about: retry_after, ask_again }
                    }
                    other => other,
                }
            }
        }
    }

    /// Where a place stands, for its holder, who has asked: [`Answer::Wait`], or none if it is gone.
    pub fn ask(&mut self, place: PlaceId, now: Duration) -> Option<Answer> {
        match self.list.ask(place, now) {
            Standing::Gone => None,
            standing => Some(self.waits(place, standing)),
        }
    }

    /// An account for which the answer was [`Answer::Make`] could not be made: its part of the budget is there again, and
    /// its holder's place is called up again. What it counts against its prefixes stays.
    pub fn give_back(&mut self, place: Option<PlaceId>, now: Duration) {
        self.budget.give_back(now);
        if let Some(place) = place {
            self.list.call_again(place, now);
        }
    }

    /// Puts a place back into the list that an earlier process gave out, where it was: before all that were given out
    /// since. Once each, and as far as there is room. Who was called up before is called up soon again.
    ///
    /// The turn must be what [`turn`](Self::turn) said. That a place was used before the restart is not known: whoever
    /// comes with it again has it once more, within the budget and their prefix's share.
    pub fn restore(&mut self, place: PlaceId, turn: Turn, prefix: Prefix, now: Duration) {
        self.list.restore(place, turn, prefix, now);
    }

    /// Where a place is in the order in which they are called up; none if it is gone.
    pub fn turn(&self, place: PlaceId) -> Option<Turn> {
        self.list.turn(place)
    }

    /// The holder of a place needs it no more.
    pub fn leave(&mut self, place: PlaceId) {
        self.list.leave(place);
    }

    /// Calls people up, as many as there may be accounts for; who they are, for letters. To be called with each tick
    /// of the gate.
    ///
    /// Nobody is called up while the gate is for invited people or for nobody. Below the waiting list, where newcomers
    /// get accounts too, half of the budget is for the list. While nobody takes accounts, as those called up have
    /// gone, it goes twice as fast.
    pub fn tick(&mut self, level: Level, now: Duration) -> Vec<PlaceId> {
        let elapsed = now.saturating_sub(self.ticked).as_secs_f64();
        self.ticked = self.ticked.max(now);
        if level > Level::WaitingList {
            return Vec::new();
        }
        let part = if level == Level::WaitingList { 1.0 } else { 0.5 };
        let idle = self.budget.available(now) >= self.burst() - 0.5;
        let pace = if idle { 2.0 } else { 1.0 };
        self.credit = (self.credit + elapsed * self.per_second() * part * pace).min(self.burst());
        let mut called = Vec::new();
        while self.credit >= 1.0
            && let Some(place) = self.list.call(now)
        {
            self.credit -= 1.0;
            called.push(place);
        }
        called
    }

    /// The place that somebody holds, or a new one.
    fn wait(&mut self, address: IpAddr, held: Option<PlaceId>, now: Duration) -> Answer {
        let joined = held.map_or_else(|| self.list.join(Prefix::wide(address), now, &mut self.rng), Ok);
        match joined {
            Ok(place) => {
                let standing = self.list.ask(place, now);
                self.waits(place, standing)
            }
            Err(reason) => Answer::Refuse { reason, retry_after: PATIENCE / 4 },
        }
    }

    fn waits(&self, place: PlaceId, standing: Standing) -> Answer {
        let about = match standing {
            Standing::Waiting { ahead } => self.turn_in(ahead),
            Standing::CalledUp { .. } | Standing::Gone => Duration::ZERO,
        };
        Answer::Wait { place, standing, about, ask_again: (about / 4).clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX) }
    }

    fn turn_in(&self, ahead: usize) -> Duration {
        let seconds = (ahead as f64 + 1.0) / self.per_second();
        Duration::try_from_secs_f64(seconds).map_or(ABOUT_MAX, |about| about.min(ABOUT_MAX))
    }

    /// Tokens of the budget that newcomers leave to those who were called up.
    fn kept_for_called(&self) -> f64 {
        (self.list.called() as f64).min((self.burst() / 2.0).floor())
    }

    fn burst(&self) -> f64 {
        f64::from((self.settings.budget.per_minute / 4).max(1))
    }

    /// What the budget gives on and on.
    fn per_second(&self) -> f64 {
        (f64::from(self.settings.budget.per_minute) - self.burst()).max(0.0) / 60.0
    }
}

#[cfg(test)]
mod tests;
