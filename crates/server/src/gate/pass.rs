//! What somebody shows who asks for an account, and what it is good for.

use std::time::Duration;

use axum::http::StatusCode;
use defence::registration::{PlaceId, Turn};
use defence::{Answer, Level, Prefix, Proof};
use serde::{Deserialize, Serialize};

use super::Action;
use super::turned::{Turned, WaitingView};
use crate::accounts::Peer;
use crate::app::State;
use crate::error::ApiError;

/// What the body of a sign-up has besides who it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shown<'a> {
    /// The solution of a challenge.
    pub(crate) challenge: Option<&'a str>,
    /// A place in the waiting list.
    pub(crate) place: Option<&'a str>,
    /// An invitation.
    pub(crate) invitation: Option<&'a str>,
}

const PLACE: &str = "place";
/// How long the ticket of a place is good; each time that its holder asks, they get another.
const PLACE_LIFETIME: Duration = Duration::from_hours(24);
const INVITATION: &str = "invitation";

/// What the ticket of a place says: which it is, and for whom it is good.
#[derive(Debug, Serialize, Deserialize)]
struct PlaceTicket {
    held: HeldPlace,
    /// Whoever takes the ticket to another network has no place there.
    prefix: String,
}

/// A place, and all that it takes to put it back after a restart.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct HeldPlace {
    id: u64,
    round: u64,
    sequence: u64,
    /// The one that knows it.
    process: u64,
}

/// What the ticket of an invitation says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Invitation {
    id: [u8; 16],
    /// Unix milliseconds; until then it must be remembered that it was used.
    expires_ms: i64,
}

/// What was shown and is good. An invitation is used up when the account is made, the rest before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass {
    pub(crate) proof: Proof,
    pub(crate) invitation: Option<Invitation>,
}

impl State {
    /// What somebody shows is good for. The challenge, if there is one, is used up.
    ///
    /// # Errors
    /// [`Turned::Challenge`] where one is asked for and there is nothing in its place.
    pub(crate) async fn check_shown(&self, shown: &Shown<'_>, peer: Peer) -> Result<Pass, Turned> {
        let level = self.gatehouse.level();
        let invitation = self.check_invitation(shown.invitation, level).await?;
        let place = shown.place.and_then(|ticket| self.open_place(ticket, peer));
        let challenge = match shown.challenge {
            None => false,
            Some(answer) => self.is_solved(answer, Action::SignUp, peer).await?,
        };
        let asked_for = level >= Level::Challenge;
        if shown.challenge.is_some() && !challenge && asked_for {
            return Err(self.challenged_sign_up(peer, true));
        }
        let proof = Proof { challenge, email: false, invitation: invitation.is_some(), place };
        if !challenge && place.is_none() && invitation.is_none() {
            self.gatehouse.attempted(peer.ip(), self.moment());
            if asked_for {
                return Err(self.challenged_sign_up(peer, false));
            }
        }
        Ok(Pass { proof, invitation })
    }

    /// Whether an answer is one to a challenge that was given for this, and right. It is used up.
    pub(crate) async fn is_solved(&self, answer: &str, action: Action, peer: Peer) -> Result<bool, ApiError> {
        let asked = (Prefix::wide(peer.ip()), action);
        let Ok(claim) = self.gatehouse.claim(answer, asked, self.moment()) else { return Ok(false) };
        let right = self.blocking(move || claim.is_right()).await?;
        if action == Action::SignUp {
            self.gatehouse.solved(right);
        }
        Ok(right)
    }

    fn challenged_sign_up(&self, peer: Peer, failed: bool) -> Turned {
        self.metrics.registration(if failed { "challenge_failed" } else { "challenge_required" });
        self.challenged(peer, Action::SignUp, failed)
    }

    /// Asks for the answer to a challenge; again, if what was shown is none.
    pub(crate) fn challenged(&self, peer: Peer, action: Action, failed: bool) -> Turned {
        let challenge = self.gatehouse.issue(Prefix::wide(peer.ip()), action, self.moment());
        Turned::Challenge { failed, action, challenge: Box::new(challenge) }
    }

    /// What somebody shows who has read a letter, and solved a challenge before it was sent if one was asked for.
    pub(crate) async fn pass_of_letter(
        &self,
        place: Option<PlaceId>,
        invitation: Option<&str>,
    ) -> Result<Pass, ApiError> {
        let invitation = self.check_invitation(invitation, self.gatehouse.level()).await?;
        let proof = Proof { challenge: true, email: true, invitation: invitation.is_some(), place };
        Ok(Pass { proof, invitation })
    }

    /// What somebody shows for whom a provider vouches: as good as a solved challenge and a letter.
    pub(crate) fn pass_of_provider(&self, place: Option<PlaceId>, peer: Peer) -> Pass {
        if place.is_none() {
            self.gatehouse.attempted(peer.ip(), self.moment());
        }
        Pass { proof: Proof { challenge: true, email: true, invitation: false, place }, invitation: None }
    }

    /// Where an invitation matters, one that is not good is said to be so; elsewhere it is as good as none.
    async fn check_invitation(
        &self,
        ticket: Option<&str>,
        level: Level,
    ) -> Result<Option<Invitation>, ApiError> {
        let Some(ticket) = ticket else { return Ok(None) };
        let good = match self.open_ticket::<Invitation>(INVITATION, ticket) {
            Ok(invitation) if self.store.is_invitation_taken(invitation.id).await? => None,
            opened => opened.ok(),
        };
        if good.is_none() && level >= Level::WaitingList { Err(invitation_gone()) } else { Ok(good) }
    }

    /// Whether a letter may be sent that makes the account when it is read.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_letter(&self, pass: &Pass, peer: Peer) -> Result<(), Turned> {
        let answer = self.gatehouse.register_by_letter(peer.ip(), pass.proof, self.moment());
        match answer {
            Answer::Make | Answer::ShowEmail => {
                self.metrics.registration("letter");
                Ok(())
            }
            other => Err(self.turned(other, peer)),
        }
    }

    /// Takes one account of the budget, and the invitation if there is one: from here on it may be made. To be asked
    /// when nothing else can fail but what is rare; then see [`give_back_account`](Self::give_back_account).
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn take_account(&self, pass: &Pass, peer: Peer) -> Result<(), Turned> {
        // Before the budget, so that many who come with one invitation use up one account.
        if let Some(invitation) = pass.invitation
            && !self.store.take_invitation(invitation.id, invitation.expires_ms).await?
        {
            return Err(invitation_gone().into());
        }
        match self.gatehouse.register(peer.ip(), pass.proof, self.moment()) {
            Answer::Make => {
                self.metrics.registration("made");
                Ok(())
            }
            other => {
                self.give_back_invitation(pass).await;
                Err(self.turned(other, peer))
            }
        }
    }

    /// An account could not be made that was taken: its part of the budget is another's, and whoever was invited or called
    /// up may try again.
    pub(crate) async fn give_back_account(&self, pass: &Pass) {
        self.metrics.registration("failed");
        self.gatehouse.give_back(pass.proof.place, self.moment());
        self.give_back_invitation(pass).await;
    }

    async fn give_back_invitation(&self, pass: &Pass) {
        if let Some(invitation) = pass.invitation
            && let Err(error) = self.store.give_back_invitation(invitation.id).await
        {
            tracing::error!(%error, "an invitation that made no account could not be given back");
        }
    }

    /// Where an address is asked for before anything else, one must be given; what is no address is looked at later.
    pub(crate) fn check_address_given(&self, email: Option<&str>) -> Result<(), ApiError> {
        let is_missing = email.is_none_or(|email| email.trim().is_empty());
        if is_missing && self.gatehouse.level() >= Level::EmailFirst {
            return Err(self.email_required());
        }
        Ok(())
    }

    fn email_required(&self) -> ApiError {
        self.metrics.registration("email_required");
        let message = "new accounts take an email address first, to which a letter is sent";
        ApiError::unprocessable("email_required", message).with_param("email")
    }

    fn turned(&self, answer: Answer, peer: Peer) -> Turned {
        match answer {
            Answer::SolveChallenge => self.challenged_sign_up(peer, false),
            Answer::Make | Answer::ShowEmail => Turned::Error(self.email_required()),
            Answer::Wait { .. } => {
                self.metrics.registration("waiting");
                match self.waiting(answer, peer) {
                    Ok(Some(waiting)) => Turned::Waiting(waiting),
                    Ok(None) => Turned::Error(ApiError::internal("a place is none")),
                    Err(error) => Turned::Error(error),
                }
            }
            Answer::Refuse { reason, retry_after } => {
                self.metrics.registration("no_place");
                Turned::NoPlace { reason, retry_after }
            }
        }
    }

    /// Where a place stands, with a ticket for whoever asks from here.
    pub(crate) fn waiting(&self, answer: Answer, peer: Peer) -> Result<Option<WaitingView>, ApiError> {
        let Answer::Wait { place, standing, about, ask_again } = answer else { return Ok(None) };
        let ticket = self.place_ticket(place, peer)?;
        let now = self.clock.monotonic();
        let about = Some(about).filter(|_| self.gatehouse.level() <= Level::WaitingList);
        Ok(Some(WaitingView::new((place, ticket), standing, about, ask_again, now)))
    }

    pub(crate) fn place_ticket(&self, place: PlaceId, peer: Peer) -> Result<String, ApiError> {
        // Whoever just heard of it may have used it elsewhere meanwhile.
        let held = self.held_place(place).ok_or_else(place_gone)?;
        let content = PlaceTicket { held, prefix: Prefix::wide(peer.ip()).to_string() };
        self.ticket(PLACE, &content, PLACE_LIFETIME)
    }

    /// What is to be kept of a place by whoever holds it.
    pub(crate) fn held_place(&self, place: PlaceId) -> Option<HeldPlace> {
        let (Turn { round, sequence }, process) = self.gatehouse.turn(place)?;
        Some(HeldPlace { id: place.0, round, sequence, process })
    }

    /// The place that somebody holds who asks from here. One of before a restart is put back into the list.
    pub(crate) fn take_place(&self, held: HeldPlace, peer: Peer) -> PlaceId {
        let HeldPlace { id, round, sequence, process } = held;
        let (place, prefix) = (PlaceId(id), Prefix::wide(peer.ip()));
        self.gatehouse.restore(place, (Turn { round, sequence }, process), prefix, self.moment());
        place
    }

    /// The place that a ticket is for, if it is one for whoever asks from here.
    pub(crate) fn open_place(&self, ticket: &str, peer: Peer) -> Option<PlaceId> {
        let content: PlaceTicket = self.open_ticket(PLACE, ticket).ok()?;
        let is_theirs = content.prefix == Prefix::wide(peer.ip()).to_string();
        is_theirs.then(|| self.take_place(content.held, peer))
    }

    /// An invitation that makes one account within `lifetime`.
    pub(crate) fn invite(&self, lifetime: Duration) -> Result<String, ApiError> {
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = self.clock.unix_ms().saturating_add(lifetime_ms);
        self.ticket(INVITATION, &Invitation { id: self.random_bytes(), expires_ms }, lifetime)
    }
}

/// One text for a place that was used or lost, and for one that is another's.
pub(crate) fn place_gone() -> ApiError {
    let message =
        "this place in the waiting list is gone, or was given out elsewhere; sign up again for another";
    ApiError::new(StatusCode::GONE, "place_gone", message)
}

fn invitation_gone() -> ApiError {
    let message = "this invitation was used, is too old or is none of this server's";
    ApiError::new(StatusCode::GONE, "invitation_gone", message).with_param("invitation")
}
