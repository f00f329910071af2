//! Login with an account at an organisation's `OpenID` provider (`OpenID` Connect Core 1.0): the authorization code
//! flow with PKCE (RFC 7636), a nonce, and a state that the browser keeps in a sealed cookie.

mod account;
mod address;
mod flow;
mod http;
mod journey;
mod name;
mod provider;

use std::sync::Arc;

use defence::registration::PlaceId;

pub(crate) use account::{link_to, user_of};
pub(crate) use flow::{Who, begin, finish};
pub(crate) use journey::{Journey, LIFETIME as JOURNEY_LIFETIME, is_own_path};
pub(crate) use provider::Known;

use crate::error::ApiError;
use crate::settings::{Provider, Settings};

/// Why somebody is not signed in: the word that the page is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The provider, the way to it or what it said was not as it must be; the log has more.
    Failed,
    /// They said no at the provider.
    Denied,
    /// The browser came back too late, twice, or without having been sent.
    Expired,
    /// They have no account here, and none is made.
    Unknown,
    /// Their address is that of an account here, which they must sign in to and link.
    EmailTaken,
    /// Their address is not of a domain that may sign in.
    Domain,
    /// What they want to link is another account's already.
    Taken,
    /// They wait for an account in this place.
    Waiting(PlaceId),
    /// New accounts have to wait, and there is no place to wait in.
    NoPlace,
}

impl Refusal {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Failed => "oidc_failed",
            Self::Denied => "oidc_denied",
            Self::Expired => "oidc_expired",
            Self::Unknown => "oidc_unknown",
            Self::EmailTaken => "oidc_email_taken",
            Self::Domain => "oidc_domain",
            Self::Taken => "oidc_taken",
            Self::Waiting(_) => "oidc_waiting",
            Self::NoPlace => "oidc_no_place",
        }
    }
}

/// Why a provider's answer was not taken, for the log: in words of the program's own, as what a provider says may hold a
/// secret.
type Reason = std::borrow::Cow<'static, str>;

/// The providers, and what is remembered of them.
#[derive(Debug)]
pub(crate) struct Providers {
    known: Vec<Arc<Known>>,
}

impl Providers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let known = settings.public_url.iter().flat_map(|public_url| {
            settings.providers.iter().map(|provider| Arc::new(Known::new(provider, public_url)))
        });
        Self { known: known.collect() }
    }

    /// The one that a path names.
    pub(crate) fn named(&self, id: &str) -> Result<Arc<Known>, ApiError> {
        let known = self.known.iter().find(|known| known.settings.id == id);
        known.cloned().ok_or_else(|| ApiError::not_found("there is no such provider"))
    }
}

/// Looks for what can't work.
///
/// # Errors
/// What is wrong with the settings, in words for the operator.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    if !settings.providers.is_empty() && settings.public_url.is_none() {
        return Err("providers send browsers back to public_url, so it must be set".to_owned());
    }
    for (index, provider) in settings.providers.iter().enumerate() {
        let Provider { id, issuer, private, .. } = provider;
        let is_word = (1..=32).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_word {
            return Err(format!("a provider's id is 1 to 32 of a-z, 0-9 and -, not {id:?}"));
        }
        if settings.providers[..index].iter().any(|other| other.id == *id) {
            return Err(format!("two providers have the id {id}"));
        }
        let allowed = if *private { &["https", "http"][..] } else { &["https"] };
        if !allowed.contains(&issuer.scheme()) {
            return Err(format!(
                "the issuer of {id} must begin with {}, not {:?}",
                allowed.join(" or "),
                issuer.scheme()
            ));
        }
    }
    Ok(())
}
