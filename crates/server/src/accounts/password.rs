//! Passwords: what may be one, and their hashes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use defence::{Class, Shares};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Standing;
use super::breached::is_breached;
use crate::bulwark::{Turns, spare};
use crate::error::ApiError;

/// Shortest password, in characters (NIST SP 800-63B).
pub(crate) const CHARS_MIN: usize = 8;
/// Longest password, in characters.
pub(crate) const CHARS_MAX: usize = 256;

/// What a hash costs. The default is OWASP's choice for Argon2id: 19 MiB, two passes, one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// KiB of memory, at least 8.
    pub memory_kib: u32,
    /// Passes over it, at least 1.
    pub passes: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19 << 10, passes: 2 }
    }
}

/// A password as it came in. Wiped when dropped, and never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Password(Zeroizing<String>);

impl utoipa::PartialSchema for Password {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        let format = SchemaFormat::KnownFormat(KnownFormat::Password);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl utoipa::ToSchema for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

/// What changes with a password, and tells nothing about the hash that it is of.
pub(crate) fn fingerprint(password_hash: Option<&str>) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(password_hash.unwrap_or_default()))
}

/// A password of 100 random bits that can be read out: without letters and digits that look alike.
pub(crate) fn random_password(bytes: [u8; 20]) -> String {
    const CHARS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let chars: Vec<char> = bytes.iter().map(|byte| char::from(CHARS[usize::from(byte % 32)])).collect();
    let groups: Vec<String> = chars.chunks(5).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

impl Password {
    /// Refuses what is too short, too long or known from breaches; `param` names the field. It takes microseconds.
    pub(crate) fn check_form(&self, param: &'static str) -> Result<(), ApiError> {
        let chars = self.0.chars().count();
        if !(CHARS_MIN..=CHARS_MAX).contains(&chars) {
            let message = format!(
                "{param} must have between {CHARS_MIN} and {CHARS_MAX} characters, this one has {chars}"
            );
            return Err(ApiError::unprocessable("weak_password", message).with_param(param));
        }
        if is_breached(&self.0) {
            let message = format!(
                "{param} is among those that were found in breaches most often, and so among the first that an attacker \
                 tries: take another"
            );
            return Err(ApiError::unprocessable("breached_password", message).with_param(param));
        }
        Ok(())
    }
}

/// A password that somebody chooses.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) password: Password,
    /// The field that it came in.
    pub(crate) param: &'static str,
    /// Of whose account it is.
    pub(crate) name: String,
}

impl Chosen {
    /// Refuses what is too easily guessed. It takes milliseconds: done where hashes are.
    fn check_guesses(&self) -> Result<(), ApiError> {
        let &Self { ref password, param, ref name } = self;
        // It knows the passwords that were found in breaches most often, names, words, dates and keyboard walks.
        let guesses = zxcvbn::zxcvbn(&password.0, &[name, "cachalot"]).guesses();
        if guesses < GUESSES_MIN {
            let message = format!(
                "{param} is among the first {GUESSES_MIN} that an attacker tries: take several unrelated words, or more \
                 characters"
            );
            return Err(ApiError::unprocessable("weak_password", message).with_param(param));
        }
        Ok(())
    }
}

/// An online attacker is slowed to a few tries a minute: this many take years.
const GUESSES_MIN: u64 = 1_000_000;

/// Hashes and verifies, a few at a time: a flood of logins can take neither all cores nor the memory.
#[derive(Debug)]
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    /// One for each hash being computed, those first who are known.
    turns: Turns,
    at_once: usize,
    /// Verified for names that don't exist, so that they take as long.
    decoy: String,
    /// Hashes computed since the start.
    computed: AtomicU64,
}

/// How far hashes of strangers stand back behind answers and requests when the cores are busy: a tenth of a core is left
/// to each.
const NICENESS: i32 = 10;
/// The same of those who have shown something for it. They are few.
const NICENESS_OF_KNOWN: i32 = 5;
/// Hashes that wait for each that is computed from which on strangers have to show that they mean it.
const CROWD_PER_TURN: usize = 4;
/// Hashes that may wait for each that is computed.
const WAITING_PER_TURN: usize = 64;

impl Hasher {
    /// A hasher that computes at most `at_once` hashes at a time.
    pub(crate) fn new(cost: PasswordCost, at_once: usize, shares: Shares, decoy_salt: &[u8; 16]) -> Self {
        let argon2 = argon2_of(cost);
        let at_once = at_once.max(1);
        let decoy = hash(&argon2, b"nobody's password", decoy_salt).unwrap_or_default();
        let places = u32::try_from(at_once * (1 + WAITING_PER_TURN)).unwrap_or(u32::MAX);
        Self {
            argon2,
            turns: Turns::new(at_once, places, shares, places.div_ceil(2)),
            at_once,
            decoy,
            computed: AtomicU64::new(0),
        }
    }

    /// The hash in PHC form of a password that is not too weak.
    pub(crate) async fn hash(
        &self,
        chosen: Chosen,
        salt: [u8; 16],
        standing: Standing,
    ) -> Result<String, ApiError> {
        chosen.password.check_form(chosen.param)?;
        let argon2 = self.argon2.clone();
        let work = move || {
            chosen.check_guesses()?;
            hash(&argon2, chosen.password.0.as_bytes(), &salt)
                .map_err(|error| ApiError::internal(format!("a password could not be hashed: {error}")))
        };
        self.in_turn(standing, Work::Hash, work).await?
    }

    /// Refuses a weak password before the rest of what it takes to hash it.
    pub(crate) async fn check(&self, chosen: Chosen, standing: Standing) -> Result<(), ApiError> {
        chosen.password.check_form(chosen.param)?;
        self.in_turn(standing, Work::Check, move || chosen.check_guesses()).await?
    }

    /// Whether it is the password of this hash. Without a hash it is not, after as long.
    pub(crate) async fn verify(
        &self,
        password: Password,
        hash: Option<String>,
        standing: Standing,
    ) -> Result<bool, ApiError> {
        let argon2 = self.argon2.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        let matches = self
            .in_turn(standing, Work::Hash, move || {
                PasswordHash::new(&hash)
                    .is_ok_and(|hash| argon2.verify_password(password.0.as_bytes(), &hash).is_ok())
            })
            .await?;
        Ok(known && matches)
    }

    /// How many hashes were computed since the start.
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// How many wait, and the limit, if it is so many that strangers would wait for nothing.
    pub(crate) fn crowd(&self) -> Option<(u64, u64)> {
        let (waiting, limit) = (self.waiting(), self.at_once * CROWD_PER_TURN);
        (waiting >= limit).then_some((waiting as u64, limit as u64))
    }

    /// Those who wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        standing: Standing,
        kind: Work,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let full =
            |_| ApiError::busy("busy", "too many people are signing in at once; try again in a moment");
        let turn = self.turns.take(standing).await.map_err(full)?;
        self.computed.fetch_add(u64::from(kind == Work::Hash), Ordering::Relaxed);
        let niceness = if standing.class > Class::Unknown { NICENESS_OF_KNOWN } else { NICENESS };
        spare("password", niceness, turn, work).await
    }
}

/// What is done in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Hash,
    Check,
}

fn argon2_of(cost: PasswordCost) -> Argon2<'static> {
    let params = Params::new(cost.memory_kib.max(8), cost.passes.max(1), 1, None);
    // Both are within what Argon2 allows.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.unwrap_or_default())
}

fn hash(argon2: &Argon2<'_>, password: &[u8], salt: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let hash: PasswordHash = argon2.hash_password_with_salt(password, salt)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use defence::Prefix;

    use super::*;
    use crate::accounts::Who;

    const ME: Standing = Standing::MACHINE;

    /// One of many strangers.
    fn nobody(number: usize) -> Standing {
        let address = std::net::Ipv4Addr::from_bits(number as u32).into();
        Standing { class: Class::Unknown, who: Who::Network(Prefix::narrow(address)) }
    }

    fn password(text: &str) -> Password {
        Password(Zeroizing::new(text.to_owned()))
    }

    fn chosen(text: &str) -> Chosen {
        Chosen { password: password(text), param: "password", name: "moby".to_owned() }
    }

    fn check_chosen(text: &str) -> Result<(), ApiError> {
        chosen(text).password.check_form("password").and_then(|()| chosen(text).check_guesses())
    }

    fn hasher(at_once: usize) -> Hasher {
        Hasher::new(PasswordCost { memory_kib: 64, passes: 1 }, at_once, Shares::NONE, &[0; 16])
    }

    #[tokio::test]
    async fn only_the_password_itself_verifies() {
        let hasher = hasher(2);
        let hash = hasher.hash(chosen("correct horse"), [1; 16], ME).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(hasher.verify(password("correct horse"), Some(hash.clone()), ME).await.unwrap());
        assert!(!hasher.verify(password("correct horse "), Some(hash), ME).await.unwrap());
        assert!(!hasher.verify(password("nobody's password"), None, ME).await.unwrap());
        assert!(!hasher.verify(password("x"), Some("no hash".to_owned()), ME).await.unwrap());
    }

    #[test]
    fn the_default_is_what_owasp_recommends() {
        let hasher = Hasher::new(PasswordCost::default(), 1, Shares::NONE, &[0; 16]);
        assert!(hasher.decoy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hasher.decoy);
    }

    #[test]
    fn what_breaches_hold_most_often_is_refused_as_such() {
        for text in
            ["iloveyou1", "P@ssw0rd", "QWERTY123", "1q2w3e4r5t", "password2024", "qwertyuiop", "superman"]
        {
            let error = check_chosen(text).unwrap_err();
            assert_eq!(error.code(), "breached_password", "{text}");
        }
        let guessable = check_chosen("mobymoby").unwrap_err();
        assert_eq!(guessable.code(), "weak_password");
    }

    #[test]
    fn what_everybody_tries_first_is_refused() {
        let check = |text: &str, accepted: bool| {
            assert_eq!(check_chosen(text).is_ok(), accepted, "{text}");
        };
        for weak in
            ["", "short", "password", "12345678", "qwertyuiop", "iloveyou1", "mobymoby", "aaaaaaaaaaaa"]
        {
            check(weak, false);
        }
        check(&"x1".repeat(200), false);
        for fine in ["correct horse battery", "kP9#fw2Lx", "抹香鲸潜得最深的鲸"] {
            check(fine, true);
        }
    }

    #[tokio::test]
    async fn a_flood_is_refused_instead_of_piling_up() {
        let hasher = Arc::new(hasher(1));
        let hold = hasher.turns.take(ME).await.unwrap();
        let waiting: Vec<_> = (0..WAITING_PER_TURN)
            .map(|number| {
                let hasher = Arc::clone(&hasher);
                tokio::spawn(async move { hasher.verify(password("x"), None, nobody(number)).await })
            })
            .collect();
        while hasher.waiting() < WAITING_PER_TURN {
            tokio::task::yield_now().await;
        }
        let refused = hasher.verify(password("x"), None, nobody(9999)).await.unwrap_err();
        assert_eq!(refused.code(), "busy");
        drop(hold);
        for answer in waiting {
            assert!(!answer.await.unwrap().unwrap());
        }
        assert!(!hasher.verify(password("x"), None, ME).await.unwrap());
    }

    #[test]
    fn a_random_password_is_one() {
        let mut rng = base::Rng::from_seed(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut bytes = [0; 20];
            rng.fill(&mut bytes);
            let text = random_password(bytes);
            assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [5; 4], "{text}");
            assert!(!text.contains(['l', 'o', '0', '1']), "{text}");
            check_chosen(&text).unwrap();
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let given: Password = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(format!("{given:?}"), "Password(..)");
    }
}
