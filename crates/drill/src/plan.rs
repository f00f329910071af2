//! What a drill does: who comes, how often, for how long, and what counts as good. All of it is chosen before anything
//! is sent.

use std::time::Duration;

use serde::Serialize;

use crate::kind::Kind;

/// A drill. The same plan on the same machine asks for the same things at the same times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Decides who comes when, from where, and says what.
    pub seed: u64,
    /// What the attackers send, as a multiple of what the server was measured to serve of each resource.
    pub strength: f64,
    /// The kinds that attack at once.
    pub attacks: Vec<Kind>,
    /// Addresses that attackers come from, at most [`ADDRESSES_MAX`].
    pub addresses: u32,
    /// How long it is calm, to compare with.
    #[serde(serialize_with = "seconds")]
    pub calm: Duration,
    /// How long it is attacked.
    #[serde(serialize_with = "seconds")]
    pub attack: Duration,
    /// How long it is watched afterwards at least; longer, up to `reopen_max`, while registration has not reopened.
    #[serde(serialize_with = "seconds")]
    pub recovery: Duration,
    /// How long reopening is waited for.
    #[serde(serialize_with = "seconds")]
    pub reopen_max: Duration,
    /// How long each kind is watched alone at the end to see what a refused request costs, after as long of it again;
    /// zero if it isn't.
    #[serde(serialize_with = "seconds")]
    pub cost_of_each: Duration,
    /// The people.
    pub people: People,
    /// What they hope for.
    pub targets: Targets,
}

/// Who uses the server. Rates are of arrivals, which follow a schedule whatever becomes of those before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct People {
    /// Users with a session from before, in the web app.
    pub with_cookie: usize,
    /// Users with an API key from before.
    pub with_key: usize,
    /// Accounts from before whose users log in from elsewhere.
    pub returning: usize,
    /// Accounts from before that turn out to be attackers'.
    pub sleepers: usize,
    /// Chats of all established users together.
    pub chats_per_second: f64,
    /// Logins of returning users.
    pub logins_per_second: f64,
    /// Honest people who want an account.
    pub newcomers_per_second: f64,
    /// By how much newcomers multiply when a link goes viral.
    pub viral_factor: f64,
    /// Tokens that a chat asks for.
    pub answer_tokens: usize,
}

/// What makes a chat good, and how long people wait.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Targets {
    /// From the scheduled time of the chat to the first token.
    #[serde(rename = "ttft_seconds", serialize_with = "seconds")]
    pub ttft: Duration,
    /// Mean time between tokens.
    #[serde(rename = "inter_token_seconds", serialize_with = "seconds")]
    pub inter_token: Duration,
    /// Longest time between two tokens.
    #[serde(rename = "stall_seconds", serialize_with = "seconds")]
    pub stall: Duration,
    /// After so long people go away. What they waited counts as at least this.
    #[serde(rename = "patience_seconds", serialize_with = "seconds")]
    pub patience: Duration,
    /// From the scheduled time of a sign-up to the account or the place in the queue.
    #[serde(rename = "newcomer_seconds", serialize_with = "seconds")]
    pub newcomer: Duration,
}

/// Addresses of 127.64.0.0 to 127.254.255.255.
pub const ADDRESSES_MAX: u32 = 191 << 16;
/// More than any machine could send.
const STRENGTH_MAX: f64 = 1000.0;
const ATTACK_SECONDS_MIN: u64 = 2;
const ATTACK_SECONDS_MAX: u64 = 600;

/// Why a plan is none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Not a strength.
    #[error(
        "the strength may be more than 0 and at most {STRENGTH_MAX} times the server's capacity, got {given}"
    )]
    Strength {
        /// What was asked for.
        given: f64,
    },
    /// Too short to mean anything, or too long for a drill.
    #[error("the attack may last {ATTACK_SECONDS_MIN} to {ATTACK_SECONDS_MAX} seconds, got {given}")]
    Duration {
        /// What was asked for.
        given: u64,
    },
    /// Nobody, or more than there are.
    #[error("the attackers may have 1 to {ADDRESSES_MAX} addresses, got {given}")]
    Addresses {
        /// What was asked for.
        given: u32,
    },
}

/// What may be chosen; what is not given is as the preset says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choices {
    /// The main mix in under 45 s.
    pub quick: bool,
    /// Decides everything else.
    pub seed: u64,
    /// As [`Plan::strength`].
    pub strength: Option<f64>,
    /// As [`Plan::attack`], in seconds; the calm is as long.
    pub attack_seconds: Option<u64>,
    /// As [`Plan::attacks`]; the main mix if empty.
    pub attacks: Vec<Kind>,
    /// As [`Plan::addresses`].
    pub addresses: Option<u32>,
    /// Cores that the server has: people come in proportion.
    pub server_cores: usize,
}

impl Plan {
    /// The plan for these choices.
    ///
    /// # Errors
    /// When something is out of bounds.
    pub fn new(choices: Choices) -> Result<Self, PlanError> {
        let strength = choices.strength.unwrap_or(10.0);
        if !(strength > 0.0 && strength <= STRENGTH_MAX) {
            return Err(PlanError::Strength { given: strength });
        }
        let attack = choices.attack_seconds.unwrap_or(if choices.quick { 11 } else { 60 });
        if !(ATTACK_SECONDS_MIN..=ATTACK_SECONDS_MAX).contains(&attack) {
            return Err(PlanError::Duration { given: attack });
        }
        let addresses = choices.addresses.unwrap_or(1_000_000);
        if !(1..=ADDRESSES_MAX).contains(&addresses) {
            return Err(PlanError::Addresses { given: addresses });
        }
        let mut attacks = if choices.attacks.is_empty() { Kind::main_mix() } else { choices.attacks };
        attacks.sort_unstable();
        attacks.dedup();
        let attack = Duration::from_secs(attack);
        let recovery = attack / 2;
        let reopen_max = if choices.quick { recovery } else { Duration::from_secs(150).max(recovery) };
        Ok(Self {
            seed: choices.seed,
            strength,
            attacks,
            addresses,
            calm: attack,
            attack,
            recovery,
            reopen_max,
            cost_of_each: if choices.quick { Duration::ZERO } else { Duration::from_secs(3) },
            people: People::for_cores(choices.server_cores.max(1)),
            targets: Targets::default(),
        })
    }

    /// How much of a resource's strength this kind has: kinds that take the same share it.
    pub(crate) fn share(&self, kind: Kind) -> f64 {
        // A few connections are enough for headers without end: they take no share of the others'.
        let rival = |other: &&Kind| other.resource() == kind.resource() && **other != Kind::Continuation;
        1.0 / self.attacks.iter().filter(rival).count().max(1) as f64
    }

    /// Whether the people of the attack are a crowd.
    pub(crate) fn is_viral(&self) -> bool {
        self.attacks.contains(&Kind::Viral)
    }
}

impl People {
    fn for_cores(cores: usize) -> Self {
        let cores_f = cores as f64;
        Self {
            with_cookie: 12 * cores,
            with_key: 8 * cores,
            returning: 8 * cores,
            sleepers: 4 * cores,
            chats_per_second: 1.5 * cores_f,
            logins_per_second: 0.8 * cores_f,
            newcomers_per_second: 0.8 * cores_f,
            viral_factor: 5.0,
            answer_tokens: 12,
        }
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            ttft: Duration::from_secs(2),
            inter_token: Duration::from_millis(200),
            stall: Duration::from_secs(1),
            patience: Duration::from_secs(6),
            newcomer: Duration::from_secs(10),
        }
    }
}

pub(crate) fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> Choices {
        Choices { server_cores: 1, ..Choices::default() }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_and_said() {
        let check = |choices: Choices, expected: &str| {
            let refused = Plan::new(choices).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        check(
            Choices { strength: Some(0.0), ..choices() },
            "at most 1000 times the server's capacity, got 0",
        );
        check(Choices { strength: Some(f64::NAN), ..choices() }, "got NaN");
        check(Choices { strength: Some(1e6), ..choices() }, "got 1000000");
        check(Choices { attack_seconds: Some(1), ..choices() }, "2 to 600 seconds, got 1");
        check(Choices { attack_seconds: Some(601), ..choices() }, "got 601");
        check(Choices { addresses: Some(0), ..choices() }, "got 0");
        check(Choices { addresses: Some(u32::MAX), ..choices() }, "got 4294967295");
    }

    #[test]
    fn kinds_that_take_the_same_share_it() {
        let plan = Plan::new(choices()).unwrap();
        assert_eq!(plan.attacks, Kind::main_mix());
        assert!((plan.share(Kind::RegistrationFlood) - 0.5).abs() < 1e-9);
        let alone = Plan::new(Choices { attacks: vec![Kind::Sleepers; 2], ..choices() }).unwrap();
        assert_eq!(alone.attacks, [Kind::Sleepers]);
        assert!((alone.share(Kind::Sleepers) - 1.0).abs() < 1e-9);
    }
}
