//! Who may try a password: what [`defence::Logins`] decides, with what a request shows around it.

use std::sync::Mutex;
use std::time::Duration;

use base::Rng;
use defence::{Class, LoginAnswer, LoginLimits, LoginProof, LoginReason, Logins};
use store::{User, login_key};

use super::device::Device;
use super::{Peer, Standing, lock, too_many_attempts};
use crate::app::{App, State};
use crate::error::ApiError;
use crate::gate::{Action, Turned};

/// Failures of logins, and whether they are looked at.
#[derive(Debug)]
pub(super) struct LoginBook {
    logins: Mutex<Logins>,
    is_on: bool,
}

impl LoginBook {
    pub(super) fn new(limits: LoginLimits, is_on: bool, rng: &mut Rng) -> Self {
        Self { logins: Mutex::new(Logins::new(limits, rng)), is_on }
    }

    fn check(&self, login: &str, peer: Peer, proof: LoginProof, now: Duration) -> LoginAnswer {
        if !self.is_on {
            return LoginAnswer::Allow;
        }
        lock(&self.logins).check(login_key(login).as_str(), peer.ip(), proof, now)
    }

    fn failed(&self, login: &str, peer: Peer, proof: LoginProof, now: Duration) {
        lock(&self.logins).failed(login_key(login).as_str(), peer.ip(), proof, now);
    }

    fn passed(&self, now: Duration) {
        lock(&self.logins).passed(now);
    }
}

/// What comes with a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried<'a> {
    pub(crate) login: &'a str,
    pub(crate) peer: Peer,
    pub(crate) standing: Standing,
    /// Somebody has signed in with it before.
    pub(crate) device: Option<Device>,
    /// The solution of a challenge.
    pub(crate) challenge: Option<&'a str>,
}

/// A login that may be tried: whose it would be, and what was shown.
#[derive(Debug)]
pub(crate) struct LoginTry {
    /// The account, if there is one.
    pub(crate) user: Option<User>,
    /// In whose turn the password is hashed.
    pub(crate) standing: Standing,
    proof: LoginProof,
}

impl State {
    /// Whether a password may be tried. Nothing about the answer depends on whether there is such an account, but for
    /// whoever has signed in to it with this device; before that nothing is asked of the database.
    ///
    /// # Errors
    /// [`Turned::Challenge`] where one comes first; an error where it has to wait.
    pub(crate) async fn try_login(&self, tried: Tried<'_>) -> Result<LoginTry, Turned> {
        let Tried { login, peer, standing, device, challenge } = tried;
        let mut proof = LoginProof::default();
        // Also where none is asked for any more: in whose turn the password is hashed goes by it.
        if let Some(shown) = challenge {
            proof.challenge = self.is_solved(shown, Action::SignIn, peer).await?;
        }
        let mut answer = self.login_answer(login, peer, proof);
        let mut user = None;
        if answer != LoginAnswer::Allow && device.is_some() {
            user = self.store.user_by_login(login.to_owned()).await?;
            proof.known_device = known(device, user.as_ref());
            answer = self.login_answer(login, peer, proof);
        }
        match answer {
            LoginAnswer::Allow => {}
            LoginAnswer::Delay { retry_after, reason } => {
                self.metrics.refused(standing.class, "login_delay");
                tracing::debug!(%reason, "a login has to wait");
                return Err(too_many_attempts(retry_after).into());
            }
            LoginAnswer::Challenge(reason) => {
                self.metrics.refused(standing.class, "login_challenge");
                tracing::debug!(%reason, "a login takes a challenge");
                return Err(self.challenged(peer, Action::SignIn, challenge.is_some()));
            }
        }
        if user.is_none() {
            user = self.store.user_by_login(login.to_owned()).await?;
            proof.known_device = known(device, user.as_ref());
        }
        let class = match proof {
            LoginProof { known_device: Some(_), .. } => Class::Established,
            // Before all who come for an account, whatever these have shown.
            LoginProof { challenge: true, .. } => Class::New,
            LoginProof { .. } => Class::Unknown,
        };
        Ok(LoginTry { user, standing: standing.at_least(class), proof })
    }

    /// What the book says; a challenge where others wait for their passwords to be hashed, and nothing was shown that
    /// comes before them.
    fn login_answer(&self, login: &str, peer: Peer, proof: LoginProof) -> LoginAnswer {
        let book = &self.accounts.logins;
        let answer = book.check(login, peer, proof, self.clock.monotonic());
        if !book.is_on || answer != LoginAnswer::Allow || proof != LoginProof::default() {
            return answer;
        }
        match self.accounts.hasher.crowd() {
            Some((waiting, limit)) => LoginAnswer::Challenge(LoginReason::Crowd { waiting, limit }),
            None => answer,
        }
    }

    /// Notes what came of it.
    pub(crate) fn login_tried(&self, login: &str, peer: Peer, tried: &LoginTry, passed: bool) {
        let now = self.clock.monotonic();
        if passed {
            self.accounts.logins.passed(now);
        } else {
            self.accounts.logins.failed(login, peer, tried.proof, now);
        }
        self.gatehouse.login(passed);
    }
}

fn known(device: Option<Device>, user: Option<&User>) -> Option<u64> {
    let user = user?.id;
    device.filter(|device| device.user == user).map(|device| device.number)
}

/// Whether the password of somebody who is signed in may be tried once more: a stolen session must not be good for
/// guessing it. What others do is no matter.
pub(crate) fn check_guess(app: &App, name: &str, session: [u8; 16], peer: Peer) -> Result<(), ApiError> {
    match app.accounts.logins.check(name, peer, of_session(session), app.clock.monotonic()) {
        LoginAnswer::Delay { retry_after, .. } => Err(too_many_attempts(retry_after)),
        LoginAnswer::Allow | LoginAnswer::Challenge(_) => Ok(()),
    }
}

/// Notes a wrong guess.
pub(crate) fn guessed_wrong(app: &App, name: &str, session: [u8; 16], peer: Peer) {
    app.accounts.logins.failed(name, peer, of_session(session), app.clock.monotonic());
}

fn of_session(session: [u8; 16]) -> LoginProof {
    let number = session.first_chunk::<8>().copied().map(u64::from_be_bytes);
    LoginProof { known_device: number, ..LoginProof::default() }
}
