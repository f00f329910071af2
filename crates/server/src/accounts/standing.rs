//! How far somebody who asks is trusted: from the first header, by signatures alone.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use defence::{Class, Credential, Prefix};
use store::{User, UserId, UserRole};

use super::client::account_shown;
use super::device::device_shown;
use super::{Machine, Peer, Way};
use crate::app::{App, State};
use crate::layers::is_asked_as_local;

/// In whose name places are taken: a user's, a network's of strangers, or this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    User(UserId),
    /// Programs and people at this machine who have shown no account.
    Machine,
    Network(Prefix),
}

/// Who asks, and of what class they are. Put into each request by the accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) class: Class,
    pub(crate) who: Who,
}

impl Standing {
    /// Whoever has the machine.
    pub(crate) const MACHINE: Self = Self { class: Class::Established, who: Who::Machine };

    /// Whoever asks with these fields. An account is trusted by its age against the onset of the incident that goes on;
    /// those who look after the server, and whoever is at this machine, always are.
    pub(crate) fn of(app: &State, peer: Peer, headers: &HeaderMap) -> Self {
        let shown = account_shown(app, headers);
        let is_here = peer.way() == Way::Local && is_asked_as_local(headers);
        let who = match &shown {
            Some(account) => Who::User(account.user),
            None if is_here => Who::Machine,
            None => Who::Network(Prefix::narrow(peer.ip())),
        };
        if is_here || shown.as_ref().is_some_and(|account| account.role != UserRole::User) {
            return Self { class: Class::Established, who };
        }
        let credential = match shown {
            Some(account) => Some(Credential::Account {
                issued_ms: account.issued_ms,
                since_ms: Some(account.user_since_ms),
            }),
            None => device_shown(app, headers).map(|_| Credential::Guest),
        };
        let onset_ms = app.gatehouse.onset_ms();
        let class = app.settings.defence.trust.class(credential, onset_ms, app.clock.unix_ms());
        Self { class, who }
    }

    /// The class of an account of which somebody has just shown that it is theirs.
    pub(crate) fn class_of(app: &State, user: &User) -> Class {
        let now_ms = app.clock.unix_ms();
        let shown = Credential::Account { issued_ms: now_ms, since_ms: Some(user.created_ms) };
        app.settings.defence.trust.class(Some(shown), app.gatehouse.onset_ms(), now_ms)
    }

    /// Somebody who has shown that an account is theirs.
    pub(crate) fn of_user(user: UserId) -> Self {
        Self { class: Class::New, who: Who::User(user) }
    }

    /// The same, with so much shown besides.
    pub(crate) fn at_least(self, class: Class) -> Self {
        Self { class: self.class.max(class), ..self }
    }

    pub(crate) fn user(self) -> Option<UserId> {
        match self.who {
            Who::User(user) => Some(user),
            Who::Machine | Who::Network(_) => None,
        }
    }

    /// As the accept loop noted it.
    pub(crate) fn noted(extensions: &Extensions) -> Self {
        match extensions.get::<Self>() {
            Some(standing) => *standing,
            None if extensions.get::<Machine>().is_some() => Self::MACHINE,
            None => {
                Self { class: Class::Unknown, who: Who::Network(Prefix::narrow(Peer::of(extensions).ip())) }
            }
        }
    }
}

impl FromRequestParts<App> for Standing {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::noted(&parts.extensions))
    }
}
