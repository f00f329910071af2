//! Challenges: a proof of work that a browser does by itself, in the form of ALTCHA's second protocol.
//!
//! It is a toll and no wall: a native program is quicker than a browser at any of them. PBKDF2 keeps that factor small,
//! as a browser runs its thousands of iterations natively too, where single hashes cost it a call each. What protects is the
//! budget of accounts.
//!
//! A challenge is bound to the prefix and the action that it was asked for, and good once, within minutes, in this
//! process: its key is drawn at the start. Asking for one costs an HMAC and fills nothing. An answer is checked in this
//! order: its length; the signature; time, action and prefix; that it is the first; and only then is any work done, once for
//! each challenge that was given out, right or wrong.
//!
//! The `altcha` crate implements the same protocol; it reads the machine's clock and entropy, looks at a challenge's
//! time before its signature, and knows nothing of single use or prefixes.

mod answered;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use base::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use self::answered::Answered;
use self::wire::{Payload, from_hex, to_hex};
use crate::gate::Level;
use crate::prefix::Prefix;

pub use wire::{Challenge, Parameters};

const ALGORITHM: &str = "PBKDF2/SHA-256";
const KEY_BYTES: u32 = 32;
/// Longest answer, in characters; longer ones are not even decoded.
const TEXT_CHARS_MAX: usize = 2048;
/// Answers that are remembered, about 100 bytes each.
const ANSWERED_MAX: usize = 1 << 16;
/// How long a challenge is good unless it is said.
pub const LIFETIME: Duration = Duration::from_mins(5);

/// How much work a challenge is: `16^digits` tries on average, of `iterations` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difficulty {
    /// Iterations of PBKDF2 in a try, which are what an answer costs us.
    pub iterations: u32,
    /// Hexadecimal digits that must be 0.
    pub digits: u8,
}

impl Difficulty {
    /// What is asked for at a level of the gate: a fraction of a second of a laptop at [`Level::Challenge`], some
    /// seconds of its one core from [`Level::WaitingList`] on.
    pub fn at(level: Level) -> Self {
        match level {
            Level::Open => Self { iterations: 1000, digits: 1 },
            Level::Challenge | Level::EmailFirst => Self { iterations: 2000, digits: 2 },
            Level::WaitingList | Level::InviteOnly | Level::Suspended => Self { iterations: 1000, digits: 3 },
        }
    }
}

/// Why an answer is none. That it was wrong, forged or used counts as a failed challenge
/// ([`Signals`](crate::Signals)); that it was too late doesn't, for a slow device is no attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// It is too long.
    #[error("the answer has {given} characters; allowed: {allowed}")]
    TooLong {
        /// Most characters.
        allowed: usize,
        /// Those of this one.
        given: usize,
    },
    /// It is not in the form of one.
    #[error("the answer is not Base64 of a JSON object with a challenge and a solution")]
    Malformed,
    /// The challenge is none of ours, or not of this process.
    #[error("the challenge is none that this server gave out since its start")]
    Forged,
    /// It took too long.
    #[error("the challenge has expired")]
    Expired,
    /// It was given out to another network, or for something else.
    #[error("the challenge is for another network or another purpose")]
    Elsewhere,
    /// It was answered before.
    #[error("the challenge was answered before")]
    Used,
}

impl ChallengeError {
    /// Whether it counts as a failed challenge.
    pub fn is_failure(self) -> bool {
        self != Self::Expired
    }
}

/// An answer to a challenge of ours. Whether it is right is not known yet.
#[derive(Debug, Clone)]
#[must_use = "it is not known yet whether the answer is right"]
pub struct Claim {
    nonce: [u8; 16],
    salt: [u8; 16],
    key_prefix: String,
    iterations: u32,
    counter: u32,
}

impl Claim {
    /// What its challenge is told from others by.
    pub fn id(&self) -> [u8; 16] {
        self.nonce
    }

    /// Does the work of one try: whether the answer is right. It takes a fraction of a millisecond; see
    /// [`Difficulty::iterations`].
    pub fn is_right(&self) -> bool {
        let mut password = [0; 20];
        password[..16].copy_from_slice(&self.nonce);
        password[16..].copy_from_slice(&self.counter.to_be_bytes());
        let mut key = [0; KEY_BYTES as usize];
        pbkdf2::pbkdf2_hmac::<Sha256>(&password, &self.salt, self.iterations, &mut key);
        to_hex(&key).starts_with(&self.key_prefix)
    }
}

/// Gives challenges out and takes answers.
pub struct Challenges {
    mac: Hmac<Sha256>,
    answered: Answered,
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenges").field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl Challenges {
    /// With a key that is drawn now: which ones were answered is forgotten with the process, and so is the key.
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 64];
        rng.fill(&mut key);
        Self { mac: Hmac::<Sha256>::new(&key.into()), answered: Answered::new(ANSWERED_MAX) }
    }

    /// A challenge for `action` (a word of the program's own) from `prefix`, good for `lifetime` from `now_ms` on (Unix
    /// milliseconds). Wide prefixes ([`Prefix::wide`]) suit people on the move.
    pub fn issue(
        &self,
        difficulty: Difficulty,
        (prefix, action): (Prefix, &'static str),
        lifetime: Duration,
        now_ms: i64,
        rng: &mut Rng,
    ) -> Challenge {
        let mut random = || {
            let mut bytes = [0; 16];
            rng.fill(&mut bytes);
            to_hex(&bytes)
        };
        let lifetime_s = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let parameters = Parameters {
            algorithm: ALGORITHM.to_owned(),
            cost: difficulty.iterations.max(1),
            data: BTreeMap::from([
                ("action".to_owned(), action.to_owned()),
                ("scope".to_owned(), self.scope(prefix)),
            ]),
            expires_at: now_ms.div_euclid(1000).saturating_add(lifetime_s),
            key_length: KEY_BYTES,
            key_prefix: "0".repeat(usize::from(difficulty.digits)),
            nonce: random(),
            salt: random(),
        };
        let signature = to_hex(&self.sign(&parameters).finalize().into_bytes());
        Challenge { parameters, signature }
    }

    /// Takes an answer from `prefix` for `action`, and uses its challenge up. The work of looking whether it is right
    /// is left to [`Claim::is_right`], for wherever work may be done.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn claim(
        &mut self,
        answer: &str,
        asked: (Prefix, &'static str),
        now_ms: i64,
    ) -> Result<Claim, ChallengeError> {
        let (claim, expires_at) = self.open(answer, asked, now_ms)?;
        let is_first = self.answered.add(claim.nonce, expires_at, now_ms.div_euclid(1000));
        if is_first { Ok(claim) } else { Err(ChallengeError::Used) }
    }

    /// The same, and its challenge is as good as before: for who is let in by it and has yet to say what for. How often
    /// that is done for one challenge ([`Claim::id`]) is for the caller to bound.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn peek(
        &self,
        answer: &str,
        asked: (Prefix, &'static str),
        now_ms: i64,
    ) -> Result<Claim, ChallengeError> {
        let (claim, expires_at) = self.open(answer, asked, now_ms)?;
        if self.answered.has(claim.nonce, expires_at) { Err(ChallengeError::Used) } else { Ok(claim) }
    }

    /// An answer to a challenge of ours from `prefix` for `action`, and the Unix second in which it expires.
    fn open(
        &self,
        answer: &str,
        (prefix, action): (Prefix, &'static str),
        now_ms: i64,
    ) -> Result<(Claim, i64), ChallengeError> {
        if answer.len() > TEXT_CHARS_MAX {
            return Err(ChallengeError::TooLong { allowed: TEXT_CHARS_MAX, given: answer.len() });
        }
        let json = STANDARD.decode(answer).map_err(|_| ChallengeError::Malformed)?;
        let payload: Payload = serde_json::from_slice(&json).map_err(|_| ChallengeError::Malformed)?;
        let Challenge { parameters, signature } = payload.challenge;
        let signature: [u8; 32] = from_hex(&signature).ok_or(ChallengeError::Malformed)?;
        // In constant time. From here on everything in it is ours.
        self.sign(&parameters).verify_slice(&signature).map_err(|_| ChallengeError::Forged)?;
        if now_ms.div_euclid(1000) > parameters.expires_at {
            return Err(ChallengeError::Expired);
        }
        let is =
            |name: &str, expected: &str| parameters.data.get(name).is_some_and(|given| given == expected);
        if !is("action", action) || !is("scope", &self.scope(prefix)) {
            return Err(ChallengeError::Elsewhere);
        }
        let claim = Claim {
            nonce: from_hex(&parameters.nonce).ok_or(ChallengeError::Forged)?,
            salt: from_hex(&parameters.salt).ok_or(ChallengeError::Forged)?,
            key_prefix: parameters.key_prefix,
            iterations: parameters.cost,
            counter: payload.solution.counter,
        };
        Ok((claim, parameters.expires_at))
    }

    /// The HMAC of the parameters' JSON, as the protocol has it.
    fn sign(&self, parameters: &Parameters) -> Hmac<Sha256> {
        // Strings and numbers always have a JSON.
        let json = serde_json::to_vec(parameters).unwrap_or_default();
        self.mac.clone().chain_update(json)
    }

    /// What a prefix is called in a challenge: whoever else reads it learns nothing.
    fn scope(&self, prefix: Prefix) -> String {
        let mac = self.mac.clone().chain_update("scope\0").chain_update(prefix.to_string());
        to_hex(&mac.finalize().into_bytes()[..16])
    }
}

/// Solves a challenge as a native program does: for drills and tests.
pub fn solve(challenge: &Challenge) -> Option<String> {
    let parameters = &challenge.parameters;
    let mut claim = Claim {
        nonce: from_hex(&parameters.nonce)?,
        salt: from_hex(&parameters.salt)?,
        key_prefix: parameters.key_prefix.clone(),
        iterations: parameters.cost,
        counter: 0,
    };
    while !claim.is_right() {
        claim.counter = claim.counter.checked_add(1)?;
    }
    let payload = Payload { challenge: challenge.clone(), solution: wire::Solved { counter: claim.counter } };
    Some(STANDARD.encode(serde_json::to_vec(&payload).ok()?))
}

#[cfg(test)]
mod tests;
