//! Logins: who guesses is slowed, and nobody is locked out by somebody else.
//!
//! Only failures count. What they lead to depends on whose they are:
//!
//! | failures                                             | lead to                                                  |
//! |------------------------------------------------------|----------------------------------------------------------|
//! | for one account from one /32 or /64                  | a challenge, then a delay, for that pair only            |
//! | for one account from everywhere                      | a challenge for that account, never a delay              |
//! | from a prefix, or of many accounts from it           | a challenge for that prefix, then a delay for the narrow |
//! | of a large share of all logins (credential stuffing) | a challenge for everybody                                |
//!
//! So an attacker elsewhere costs a user at most a challenge. Who has signed in from a device before (a signed cookie of
//! that account and device) or uses a passkey, which can't be guessed, is asked nothing for what others did: their own
//! failures count for that device alone, so even somebody behind the same router can't hold them up.
//!
//! Memory is fixed. Where keys meet in the counters, somebody is asked for a challenge early; the bound is that of
//! [`Rates`].

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use base::Rng;

use crate::prefix::{Prefix, Width};
use crate::rates::Rates;

/// What a login shows besides its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoginProof {
    /// A signed cookie says that this account signed in from this device before. The number tells devices apart.
    pub known_device: Option<u64>,
    /// The login is by passkey.
    pub passkey: bool,
    /// A challenge was solved, for this prefix and to sign in.
    pub challenge: bool,
}

/// From how many failures on something happens. The window is five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// Of an account from a narrow prefix: a challenge; three times as many are a delay.
    pub pair: u64,
    /// Of an account: a challenge.
    pub account: u64,
    /// Of a known device: a delay.
    pub device: u64,
    /// From a narrow prefix: a challenge; four times as many are a delay.
    pub narrow: u64,
    /// From a /56, /48 or /24: a challenge.
    pub wide: u64,
    /// Accounts that failed from a narrow prefix: a challenge.
    pub accounts_per_prefix: u64,
    /// Failures of all, if [`stuffing_share`](Self::stuffing_share) of all logins fail: a challenge for everybody.
    pub stuffing_failures: u64,
    /// Of all logins, in hundredths.
    pub stuffing_share: u64,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            pair: 5,
            account: 20,
            device: 20,
            narrow: 30,
            wide: 120,
            accounts_per_prefix: 6,
            stuffing_failures: 100,
            stuffing_share: 60,
        }
    }
}

/// Why a login is not simply tried. Counts of failures within five minutes, and the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginReason {
    /// For the account from here.
    #[error("{failures} logins for this account failed from here; limit: {limit}")]
    Pair {
        /// Failures.
        failures: u64,
        /// Limit.
        limit: u64,
    },
    /// For the account from everywhere.
    #[error("{failures} logins for this account failed; limit: {limit}")]
    Account {
        /// Failures.
        failures: u64,
        /// Limit.
        limit: u64,
    },
    /// From the device.
    #[error("{failures} logins from this device failed; limit: {limit}")]
    Device {
        /// Failures.
        failures: u64,
        /// Limit.
        limit: u64,
    },
    /// From the prefix.
    #[error("{failures} logins from {prefix} failed; limit: {limit}")]
    Prefix {
        /// From where.
        prefix: Prefix,
        /// Failures.
        failures: u64,
        /// Limit.
        limit: u64,
    },
    /// Many accounts are tried from the prefix.
    #[error("logins for {accounts} accounts from {prefix} failed; limit: {limit}")]
    ManyAccounts {
        /// From where.
        prefix: Prefix,
        /// Accounts.
        accounts: u64,
        /// Limit.
        limit: u64,
    },
    /// Passwords are being tried on a large scale.
    #[error("{failures} of {logins} logins failed; limit: {limit_percent} %")]
    Stuffing {
        /// Failures.
        failures: u64,
        /// All.
        logins: u64,
        /// Limit, in hundredths.
        limit_percent: u64,
    },
    /// More passwords wait to be hashed than strangers should wait for. Whoever counts those says so.
    #[error("{waiting} passwords wait to be hashed; limit: {limit}")]
    Crowd {
        /// Passwords.
        waiting: u64,
        /// Limit.
        limit: u64,
    },
}

/// What becomes of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAnswer {
    /// The password may be checked.
    Allow,
    /// A challenge comes first.
    Challenge(LoginReason),
    /// Not now.
    Delay {
        /// When to try again.
        retry_after: Duration,
        /// Why.
        reason: LoginReason,
    },
}

const WINDOW: Duration = Duration::from_mins(5);
/// 1.25 MiB of counters for each of three tables.
const COLUMNS: usize = 1 << 14;
const PAIR_DELAY: u64 = 3;
const NARROW_DELAY: u64 = 4;

/// Failures of logins. See the [module's](self) text.
#[derive(Debug)]
pub struct Logins {
    limits: LoginLimits,
    /// By account, device, and account with prefix.
    accounts: Rates,
    prefixes: Rates,
    /// Accounts that failed, by narrow prefix.
    distinct: Rates,
    all_failed: Rates,
    all_passed: Rates,
    stuffing: bool,
}

#[derive(Hash)]
enum Key<A> {
    Account(A),
    Pair(A, Prefix),
    Device(A, u64),
}

impl Logins {
    /// Nothing has failed.
    pub fn new(limits: LoginLimits, rng: &mut Rng) -> Self {
        Self {
            limits,
            accounts: Rates::new(WINDOW, COLUMNS, rng),
            prefixes: Rates::new(WINDOW, COLUMNS, rng),
            distinct: Rates::new(WINDOW, COLUMNS, rng),
            all_failed: Rates::new(WINDOW, 1, rng),
            all_passed: Rates::new(WINDOW, 1, rng),
            stuffing: false,
        }
    }

    /// Whether passwords are being tried on a large scale.
    pub fn is_stuffing(&self) -> bool {
        self.stuffing
    }

    /// Whether a login for an account (whether or not there is one of this name) may be tried. Counts nothing.
    pub fn check(
        &self,
        account: impl Hash + Copy,
        from: IpAddr,
        proof: LoginProof,
        now: Duration,
    ) -> LoginAnswer {
        if proof.passkey {
            return LoginAnswer::Allow;
        }
        if let Some(device) = proof.known_device {
            return self.check_device(account, device, now);
        }
        let Some((reason, delay)) = self.worst(account, from, now) else { return LoginAnswer::Allow };
        match delay {
            Some(retry_after) => LoginAnswer::Delay { retry_after, reason },
            None if proof.challenge => LoginAnswer::Allow,
            None => LoginAnswer::Challenge(reason),
        }
    }

    /// A login failed.
    pub fn failed(&mut self, account: impl Hash + Copy, from: IpAddr, proof: LoginProof, now: Duration) {
        self.all_failed.add(&(), 1, now);
        self.look_for_stuffing(now);
        if let Some(device) = proof.known_device {
            self.accounts.add(&Key::Device(account, device), 1, now);
            return;
        }
        let narrow = Prefix::narrow(from);
        let is_first = self.accounts.add(&Key::Pair(account, narrow), 1, now) == 1;
        self.accounts.add(&Key::Account(account), 1, now);
        for prefix in Prefix::all(from) {
            self.prefixes.add(&prefix, 1, now);
        }
        if is_first {
            self.distinct.add(&narrow, 1, now);
        }
    }

    /// A login passed.
    pub fn passed(&mut self, now: Duration) {
        self.all_passed.add(&(), 1, now);
        self.look_for_stuffing(now);
    }

    fn check_device(&self, account: impl Hash + Copy, device: u64, now: Duration) -> LoginAnswer {
        let (key, limit) = (Key::Device(account, device), self.limits.device);
        match self.accounts.check(&key, limit, now) {
            Ok(()) => LoginAnswer::Allow,
            Err(retry_after) => {
                let failures = self.accounts.estimate(&key, now);
                LoginAnswer::Delay { retry_after, reason: LoginReason::Device { failures, limit } }
            }
        }
    }

    /// What speaks most against a login, and how long it must wait, if so.
    fn worst(
        &self,
        account: impl Hash + Copy,
        from: IpAddr,
        now: Duration,
    ) -> Option<(LoginReason, Option<Duration>)> {
        let (limits, narrow) = (&self.limits, Prefix::narrow(from));
        let pair = Key::Pair(account, narrow);
        let failures = self.accounts.estimate(&pair, now);
        let of_pair = LoginReason::Pair { failures, limit: limits.pair };
        if let Err(wait) = self.accounts.check(&pair, limits.pair * PAIR_DELAY, now) {
            return Some((of_pair, Some(wait)));
        }
        let from_here = self.prefixes.estimate(&narrow, now);
        let of_narrow = LoginReason::Prefix { prefix: narrow, failures: from_here, limit: limits.narrow };
        if let Err(wait) = self.prefixes.check(&narrow, limits.narrow * NARROW_DELAY, now) {
            return Some((of_narrow, Some(wait)));
        }
        let challenged = if failures >= limits.pair {
            Some(of_pair)
        } else if from_here >= limits.narrow {
            Some(of_narrow)
        } else {
            self.of_account(account, now)
                .or_else(|| self.of_many_accounts(narrow, now))
                .or_else(|| self.of_wide(from, now))
                .or_else(|| self.of_all(now))
        };
        challenged.map(|reason| (reason, None))
    }

    fn of_account(&self, account: impl Hash + Copy, now: Duration) -> Option<LoginReason> {
        let (failures, limit) = (self.accounts.estimate(&Key::Account(account), now), self.limits.account);
        (failures >= limit).then_some(LoginReason::Account { failures, limit })
    }

    fn of_many_accounts(&self, prefix: Prefix, now: Duration) -> Option<LoginReason> {
        let (accounts, limit) = (self.distinct.estimate(&prefix, now), self.limits.accounts_per_prefix);
        (accounts >= limit).then_some(LoginReason::ManyAccounts { prefix, accounts, limit })
    }

    fn of_wide(&self, from: IpAddr, now: Duration) -> Option<LoginReason> {
        let limit = self.limits.wide;
        Prefix::all(from).filter(|prefix| prefix.width() > Width::Narrow).find_map(|prefix| {
            let failures = self.prefixes.estimate(&prefix, now);
            (failures >= limit).then_some(LoginReason::Prefix { prefix, failures, limit })
        })
    }

    fn of_all(&self, now: Duration) -> Option<LoginReason> {
        let (failures, logins) = self.totals(now);
        let limit_percent = self.limits.stuffing_share;
        self.stuffing.then_some(LoginReason::Stuffing { failures, logins, limit_percent })
    }

    /// Failures, and all logins.
    fn totals(&self, now: Duration) -> (u64, u64) {
        let failures = self.all_failed.total(now);
        (failures, failures + self.all_passed.total(now))
    }

    /// Begins at the limits and ends at half of them.
    fn look_for_stuffing(&mut self, now: Duration) {
        let (failures, logins) = self.totals(now);
        let part = if self.stuffing { 2 } else { 1 };
        self.stuffing = failures * part >= self.limits.stuffing_failures
            && failures * 100 * part >= logins * self.limits.stuffing_share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);
    const NONE: LoginProof = LoginProof { known_device: None, passkey: false, challenge: false };
    const SOLVED: LoginProof = LoginProof { challenge: true, ..NONE };

    fn logins() -> Logins {
        Logins::new(LoginLimits::default(), &mut Rng::from_seed(1))
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn fail(logins: &mut Logins, account: u32, from: u32, times: u32) {
        (0..times).for_each(|_| logins.failed(account, address(from), NONE, NOW));
    }

    #[test]
    fn who_guesses_is_slowed_and_nobody_else() {
        let mut logins = logins();
        fail(&mut logins, 1, 1, 5);
        assert_eq!(
            logins.check(1, address(1), NONE, NOW),
            LoginAnswer::Challenge(LoginReason::Pair { failures: 5, limit: 5 })
        );
        assert_eq!(logins.check(1, address(1), SOLVED, NOW), LoginAnswer::Allow);
        fail(&mut logins, 1, 1, 10);
        let LoginAnswer::Delay { retry_after, .. } = logins.check(1, address(1), SOLVED, NOW) else {
            panic!("fifteen are too many")
        };
        assert!(retry_after <= WINDOW * 5 / 4);
        assert_eq!(logins.check(1, address(1), SOLVED, NOW + retry_after), LoginAnswer::Allow);
        assert_eq!(logins.check(1, address(2), NONE, NOW), LoginAnswer::Allow);
        assert_eq!(logins.check(2, address(1), NONE, NOW), LoginAnswer::Allow);
    }

    #[test]
    fn no_attacker_locks_a_user_out() {
        let mut logins = logins();
        for from in 1000..3000 {
            fail(&mut logins, 1, from << 8, 50);
        }
        // From elsewhere it is a challenge at most, and nothing at all for a device that is known or a passkey.
        assert!(matches!(
            logins.check(1, address(1), NONE, NOW),
            LoginAnswer::Challenge(LoginReason::Account { .. })
        ));
        assert_eq!(logins.check(1, address(1), SOLVED, NOW), LoginAnswer::Allow);
        let known = LoginProof { known_device: Some(7), ..NONE };
        let passkey = LoginProof { passkey: true, ..NONE };
        // Even behind the router of the attacker.
        for proof in [known, passkey] {
            assert_eq!(logins.check(1, address(1000 << 8), proof, NOW), LoginAnswer::Allow);
        }
        // A device's own failures are its own.
        (0..20).for_each(|_| logins.failed(1, address(1), known, NOW));
        assert!(matches!(logins.check(1, address(1), known, NOW), LoginAnswer::Delay { .. }));
        let other = LoginProof { known_device: Some(8), ..NONE };
        assert_eq!(logins.check(1, address(1), other, NOW), LoginAnswer::Allow);
    }

    #[test]
    fn stuffing_is_seen_by_its_many_accounts_and_by_its_share() {
        let mut logins = logins();
        (0..6).for_each(|account| fail(&mut logins, account, 1, 1));
        assert!(matches!(
            logins.check(99, address(1), NONE, NOW),
            LoginAnswer::Challenge(LoginReason::ManyAccounts { accounts: 6, .. })
        ));
        assert!(!logins.is_stuffing());
        // Spread over so many prefixes that none stands out.
        (0..200).for_each(|number| fail(&mut logins, number, number << 8, 1));
        assert!(logins.is_stuffing());
        let reason = LoginReason::Stuffing { failures: 206, logins: 206, limit_percent: 60 };
        assert_eq!(logins.check(99, address(5 << 16), NONE, NOW), LoginAnswer::Challenge(reason));
        assert_eq!(reason.to_string(), "206 of 206 logins failed; limit: 60 %");
        (0..400).for_each(|_| logins.passed(NOW));
        assert!(logins.is_stuffing(), "a third of all is above half of the limit");
        (0..400).for_each(|_| logins.passed(NOW));
        assert!(!logins.is_stuffing());
        logins.passed(NOW + 2 * WINDOW);
        assert_eq!(logins.check(99, address(1), NONE, NOW + 2 * WINDOW), LoginAnswer::Allow);
    }

    #[test]
    fn a_site_is_challenged_before_it_waits() {
        let mut logins = logins();
        (0..120).for_each(|number| fail(&mut logins, number / 4, number / 2, 1));
        assert!(matches!(
            logins.check(999, address(200), NONE, NOW),
            LoginAnswer::Challenge(LoginReason::Prefix { failures: 120, limit: 120, .. })
        ));
        assert_eq!(logins.check(999, address(200), SOLVED, NOW), LoginAnswer::Allow);
    }
}
