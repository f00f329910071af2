//! Who calls: accounts, the sessions in which they are signed in, and the way in for the first administrator.

mod address;
mod api_key;
mod attempts;
mod breached;
mod caller;
mod ceremony;
mod challenges;
mod client;
mod device;
mod logins;
pub(crate) mod one_time;
mod operator;
mod password;
mod profile;
mod relying_party;
mod revoked;
mod setup;
mod signed;
mod standing;
mod ticket;
mod token;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use base::Rng;
use defence::Class;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{AuditEntry, KeyId, NewSession, SessionId, Store, StoreError, User, UserId};

pub use password::PasswordCost;

pub(crate) use address::{Arrival, Peer, Way};
pub(crate) use api_key::ApiKey;
use api_key::ApiKeySigner;
pub use attempts::Allowance;
use attempts::{Attempts, network};
pub(crate) use caller::{Caller, authenticate, cookies, no_cookie};
pub(crate) use ceremony::{Assertion, Refused, begin_login, begin_registration, finish_registration};
use challenges::Challenges;
pub(crate) use challenges::{Challenge, ticket_expired};
pub(crate) use client::{Client, clients};
use device::DeviceSigner;
pub(crate) use device::device_shown;
use logins::LoginBook;
pub(crate) use logins::{Tried, check_guess, guessed_wrong};
pub(crate) use operator::{Admin, Machine, Operator};
pub(crate) use password::{Chosen, Hasher, Password, fingerprint, random_password};
pub(crate) use profile::{check_email, check_key_name, check_name, check_passkey_name};
pub(crate) use relying_party::RelyingParty;
use revoked::Revoked;
pub(crate) use setup::SetupToken;
pub(crate) use standing::{Standing, Who};
pub(crate) use ticket::NoTicket;
use ticket::Tickets;
use token::{SessionToken, TokenKey};

use crate::app::State;
use crate::bulwark::{at_least, shares};
use crate::error::ApiError;
use crate::settings::Settings;

/// Slots of each table of allowances: a quarter of a megabyte each.
const SLOTS: usize = 1 << 14;
/// As many as the store remembers. Of the others it says that they are gone when it is asked.
const REVOKED_KEYS_MAX: usize = 100_000;

/// The state of accounts that is not in the store.
#[derive(Debug)]
pub(crate) struct Accounts {
    key: TokenKey,
    tickets: Tickets,
    challenges: Challenges,
    revoked: Mutex<Revoked<SessionId>>,
    /// When sessions were last seen, until it is noted in the store.
    seen: Mutex<HashMap<SessionId, i64>>,
    keys: ApiKeySigner,
    revoked_keys: Mutex<Revoked<KeyId>>,
    /// When keys were last used, until it is noted in the store.
    used_keys: Mutex<HashMap<KeyId, i64>>,
    pub(crate) hasher: Hasher,
    /// Devices that somebody signed in with.
    devices: DeviceSigner,
    /// Failed logins.
    logins: LoginBook,
    /// Wrong codes for one user, wherever they come from.
    by_second_factor: Mutex<Attempts>,
    /// Failed logins by other ways than a password, all sign-ups, and all ways begun to providers, from one network.
    by_network: Mutex<Attempts>,
    /// Letters to one address.
    by_address: Mutex<Attempts>,
    /// Letters asked for from one network.
    letters_by_network: Mutex<Attempts>,
    pub(crate) setup: SetupToken,
}

/// What [`Accounts`] starts from.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) cores: usize,
    /// Signs session cookies and keys.
    pub(crate) cookie_key: &'a [u8; 32],
    /// Given where there is no user yet.
    pub(crate) setup_token: Option<String>,
}

impl Accounts {
    pub(crate) fn new(start: &Start<'_>, decoy_salt: &[u8; 16], rng: &mut Rng) -> Self {
        let settings = start.settings;
        let key = TokenKey::new(start.cookie_key);
        let key = if settings.is_https() { key.for_https() } else { key };
        let defence = &settings.defence;
        Self {
            devices: DeviceSigner::new(start.cookie_key, key.cookie_name()),
            logins: LoginBook::new(defence.login_limits, defence.logins, rng),
            key,
            tickets: Tickets::new(start.cookie_key),
            challenges: Challenges::new(),
            revoked: Mutex::default(),
            seen: Mutex::default(),
            keys: ApiKeySigner::new(start.cookie_key),
            revoked_keys: Mutex::new(Revoked::of_at_most(REVOKED_KEYS_MAX)),
            used_keys: Mutex::default(),
            // Half the cores at most: answers go on while people sign in.
            hasher: Hasher::new(
                settings.password_cost,
                start.cores.div_ceil(2),
                shares(defence.hash_shares),
                decoy_salt,
            ),
            by_second_factor: Mutex::new(Attempts::new(settings.attempts_at_second_factor, SLOTS)),
            by_network: Mutex::new(Attempts::new(settings.attempts_by_network, SLOTS)),
            by_address: Mutex::new(Attempts::new(settings.letters_by_address, SLOTS)),
            letters_by_network: Mutex::new(Attempts::new(settings.letters_by_network, SLOTS)),
            setup: SetupToken::new(start.setup_token.clone()),
        }
    }

    /// Reads which sessions were revoked within their `lifetime`, and which keys: all of them at the start, when the
    /// lifetime is more than nothing, or those of now.
    pub(crate) async fn load(
        &self,
        store: &dyn Store,
        now_ms: i64,
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let since_ms = now_ms.saturating_sub(millis(lifetime));
        let sessions = store.revoked_sessions(since_ms).await?;
        for (session, expires_ms) in sessions {
            lock(&self.revoked).add(session, expires_ms, now_ms);
        }
        let since_ms = if lifetime.is_zero() { now_ms } else { 0 };
        for (key, expires_ms) in store.revoked_keys(since_ms).await? {
            self.revoke_key(key, expires_ms, now_ms);
        }
        Ok(())
    }

    /// Notes that a key is no longer good.
    pub(crate) fn revoke_key(&self, key: KeyId, expires_ms: Option<i64>, now_ms: i64) {
        lock(&self.revoked_keys).add(key, expires_ms.unwrap_or(i64::MAX), now_ms);
    }

    /// The text of a key, to be shown once.
    pub(crate) fn sign_key(&self, key: &ApiKey) -> String {
        self.keys.sign(key)
    }

    /// Notes that a key was used, after the store has said that there is one.
    pub(crate) fn key_used(&self, key: KeyId, now_ms: i64) {
        lock(&self.used_keys).insert(key, now_ms);
    }

    /// When keys were used since the last call.
    pub(crate) fn take_used_keys(&self) -> Vec<(KeyId, i64)> {
        std::mem::take(&mut *lock(&self.used_keys)).into_iter().collect()
    }

    /// Notes that sessions are no longer good; none of them would have been for longer than a `lifetime` from now.
    pub(crate) fn revoke(&self, sessions: &[SessionId], now_ms: i64, lifetime: Duration) {
        let expires_ms = now_ms.saturating_add(millis(lifetime));
        let mut revoked = lock(&self.revoked);
        for &session in sessions {
            revoked.add(session, expires_ms, now_ms);
        }
    }

    /// What a text is remembered by for `purpose` where it should not be kept itself.
    pub(crate) fn fingerprint(&self, purpose: &'static str, text: &str) -> [u8; 32] {
        self.tickets.fingerprint(purpose, text)
    }

    /// When sessions were seen since the last call.
    pub(crate) fn take_seen(&self) -> Vec<(SessionId, i64)> {
        std::mem::take(&mut *lock(&self.seen)).into_iter().collect()
    }

    /// Takes one of the tries that there are at a user's second factor: before it is made, so that many at once are no
    /// more than one after the other. Counted wherever they come from, as codes are short and networks many; only who
    /// has the password can use them up. [`second_factor_right`](Self::second_factor_right) gives them back.
    pub(crate) fn try_second_factor(&self, user: UserId, peer: Peer, now: Duration) -> Result<(), ApiError> {
        self.check_network(peer, now)?;
        let mut attempts = lock(&self.by_second_factor);
        attempts.check(&user, now).map_err(too_many_attempts)?;
        attempts.take(&user, now);
        Ok(())
    }

    /// Notes that the try was right.
    pub(crate) fn second_factor_right(&self, user: UserId) {
        lock(&self.by_second_factor).forgive(&user);
    }

    /// The name of the session's cookie.
    pub(crate) fn cookie_name(&self) -> &str {
        self.key.cookie_name()
    }

    /// Whether this network may try anything; how long to wait if not.
    pub(crate) fn check_network(&self, peer: Peer, now: Duration) -> Result<(), ApiError> {
        lock(&self.by_network).check(&network(peer.ip()), now).map_err(too_many_attempts)
    }

    /// Notes that what this network tried was wrong.
    pub(crate) fn network_failed(&self, peer: Peer, now: Duration) {
        lock(&self.by_network).take(&network(peer.ip()), now);
    }

    /// Takes one of the things that a network may do that cost this server something.
    pub(crate) fn take_network(&self, peer: Peer, now: Duration) -> Result<(), ApiError> {
        let network = network(peer.ip());
        let mut attempts = lock(&self.by_network);
        attempts.check(&network, now).map_err(too_many_attempts)?;
        attempts.take(&network, now);
        Ok(())
    }

    /// Takes one of the letters that an address may get and that a network may ask for. Counted for every address
    /// alike, whether it is anybody's or not.
    pub(crate) fn letter(&self, address: &str, peer: Peer, now: Duration) -> Result<(), ApiError> {
        let (address, network) = (address.to_lowercase(), network(peer.ip()));
        let (mut by_address, mut by_network) = (lock(&self.by_address), lock(&self.letters_by_network));
        by_address.check(&address, now).map_err(too_many_attempts)?;
        by_network.check(&network, now).map_err(too_many_attempts)?;
        by_address.take(&address, now);
        by_network.take(&network, now);
        Ok(())
    }
}

fn too_many_attempts(wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + 1;
    ApiError::too_many("too_many_attempts", format!("too many attempts; try again in {seconds} s"), seconds)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is good wherever a panic leaves it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl State {
    /// A sealed text for `purpose`, good for `lifetime`. See [`ticket`].
    pub(crate) fn ticket<T: Serialize>(
        &self,
        purpose: &'static str,
        content: &T,
        lifetime: Duration,
    ) -> Result<String, ApiError> {
        let until_ms = self.clock.unix_ms().saturating_add(millis(lifetime));
        let ticket = self.accounts.tickets.seal(purpose, content, until_ms, self.random_bytes());
        ticket
            .ok_or_else(|| ApiError::internal(format!("the content of a ticket for {purpose} is too large")))
    }

    /// What is in a sealed text for `purpose`.
    pub(crate) fn open_ticket<T: DeserializeOwned>(
        &self,
        purpose: &'static str,
        text: &str,
    ) -> Result<T, NoTicket> {
        self.accounts.tickets.open(purpose, text, self.clock.unix_ms())
    }

    /// Signs a user in: a session in the store, and the field of the response that gives the browser its cookie.
    pub(crate) async fn sign_in(
        &self,
        user: &User,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, ApiError> {
        let settings = &self.settings;
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let lifetime = settings.session_lifetime;
        let new = NewSession {
            user_id: user.id,
            agent: agent.to_owned(),
            address: peer.ip().to_string(),
            lifetime,
        };
        // Who makes room for this one is no longer good from now on.
        let now_ms = self.clock.unix_ms();
        let session =
            at_least(Standing::class_of(self, user), self.store.add_session(new, settings.sessions_max))
                .await?;
        self.accounts.load(&*self.store, now_ms, Duration::ZERO).await?;
        let token = SessionToken {
            session: session.id,
            user: user.id,
            role: user.role,
            user_since_ms: user.created_ms,
            issued_ms: session.created_ms,
        };
        Ok(caller::cookie(self, &token))
    }

    /// Notes an event of security. That it can't be noted keeps nobody from their account.
    pub(crate) async fn audit(&self, event: &'static str, user_id: Option<UserId>, peer: Peer) {
        let entry = AuditEntry {
            at_ms: self.clock.unix_ms(),
            user_id,
            by: None,
            event: event.to_owned(),
            address: peer.ip().to_string(),
            note: None,
        };
        let class = if user_id.is_some() { Class::New } else { Class::Unknown };
        at_least(class, self.note(entry)).await;
    }

    pub(crate) async fn note(&self, entry: AuditEntry) {
        let event = entry.event.clone();
        if let Err(error) = self.store.audit(entry).await {
            tracing::error!(%error, event, "an event of security could not be noted");
        }
    }
}
