//! Whose account here somebody from a provider is.

use defence::registration::PlaceId;
use store::{Identity, NewUser, StoreError, User, UserId, UserRole};

use super::name::candidates;
use super::{Refusal, Who};
use crate::accounts::{Peer, check_email};
use crate::app::App;
use crate::gate::Turned;
use crate::settings::Provider;

impl Who {
    fn identity(&self, provider: &Provider) -> Identity {
        Identity {
            provider: provider.id.clone(),
            issuer: provider.issuer.to_string(),
            subject: self.subject.clone(),
        }
    }

    /// The address, if the provider says that it is theirs. What it has not seen proven is nobody's.
    fn verified_email(&self) -> Option<String> {
        let (email, verified) = self.email.as_ref()?;
        check_email(Some(email)).ok().flatten().filter(|_| *verified)
    }

    /// Whether the provider's address for them is of a domain that may sign in.
    fn check_domain(&self, provider: &Provider) -> Result<(), Refusal> {
        if provider.email_domains.is_empty() {
            return Ok(());
        }
        let email = self.verified_email();
        let domain = email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
        let allowed = domain.is_some_and(|domain| {
            provider.email_domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain))
        });
        if allowed { Ok(()) } else { Err(Refusal::Domain) }
    }
}

/// Their account, which is made if there is none and the provider's settings say so. An account with their address is
/// never taken for theirs: whoever has it must link it.
pub(crate) async fn user_of(
    app: &App,
    provider: &Provider,
    who: &Who,
    peer: Peer,
    place: Option<PlaceId>,
) -> Result<User, Refusal> {
    who.check_domain(provider)?;
    if let Some(user) = app.store.user_by_identity(who.identity(provider)).await.map_err(failed)? {
        return match user.disabled_ms {
            Some(_) => Err(Refusal::Failed),
            None => Ok(user),
        };
    }
    if !provider.creates_accounts || app.accounts.setup.is_open() {
        return Err(Refusal::Unknown);
    }
    if let Some(email) = who.verified_email()
        && app.store.user_by_login(email).await.map_err(failed)?.is_some()
    {
        return Err(Refusal::EmailTaken);
    }
    let pass = app.pass_of_provider(place, peer);
    // To the end, even if their browser goes away meanwhile.
    let (worker, provider, who) = (App::clone(app), provider.clone(), who.clone());
    let made = app.detached(async move {
        if let Err(refused) = worker.take_account(&pass, peer).await {
            return Ok(Err(turned(refused)));
        }
        let made = make(&worker, &provider, &who).await;
        if made.is_err() {
            worker.give_back_account(&pass).await;
        }
        Ok(made)
    });
    let user = made.await.map_err(|_| Refusal::Failed)??;
    app.welcome(user.id).await;
    app.audit("provider_sign_up", Some(user.id), peer).await;
    Ok(user)
}

async fn make(app: &App, provider: &Provider, who: &Who) -> Result<User, Refusal> {
    for name in candidates(who, &app.random_name()[..7]) {
        let new = NewUser {
            name,
            email: who.verified_email(),
            role: UserRole::User,
            password_hash: None,
            first: false,
        };
        match app.store.add_verified_user(new, Some(who.identity(provider))).await {
            Ok(user) => return Ok(user),
            Err(StoreError::Taken { what: "name" }) => {}
            Err(StoreError::Taken { what: "email address" }) => return Err(Refusal::EmailTaken),
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Refusal::Failed)
}

/// What the page is told of somebody for whom there is no account yet.
fn turned(turned: Turned) -> Refusal {
    match turned {
        Turned::Waiting(waiting) => Refusal::Waiting(waiting.id()),
        Turned::NoPlace { .. } => Refusal::NoPlace,
        // A provider's word is as good as an answer.
        Turned::Challenge { .. } => Refusal::Failed,
        Turned::Error(error) => {
            if let Some(error) = error.into_note() {
                tracing::error!(error, "an account could not be taken from the budget");
            }
            Refusal::Failed
        }
    }
}

/// Lets a user sign in with what the provider knows them as.
pub(crate) async fn link_to(
    app: &App,
    provider: &Provider,
    who: &Who,
    user: UserId,
    peer: Peer,
) -> Result<(), Refusal> {
    who.check_domain(provider)?;
    match app.store.add_link(user, who.identity(provider)).await {
        Ok(_) => {
            app.audit("provider_linked", Some(user), peer).await;
            Ok(())
        }
        Err(StoreError::Taken { .. }) => Err(Refusal::Taken),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: StoreError) -> Refusal {
    tracing::error!(%error, "a login by a provider could not be looked up or kept");
    Refusal::Failed
}
