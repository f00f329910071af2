use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use store::{AuditEntry, User, UserId, UserRole};

use super::{Caller, Peer};
use crate::app::{App, State};
use crate::error::ApiError;

/// Left in the requests of whoever has the machine: those over the control socket, which only the server's own user
/// may open, and those of commands that run while no server does. Whoever can make these can read the database too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine(());

impl Machine {
    /// Marks a request that did not come over the network.
    pub(crate) fn mark<B>(request: &mut Request<B>) {
        request.extensions_mut().insert(Self(()));
    }

    pub(crate) fn made<B>(request: &Request<B>) -> bool {
        request.extensions().get::<Self>().is_some()
    }
}

/// Somebody who looks after the server: an operator, an administrator, or the machine, which may all that
/// administrators may. Roles are those of the store, not those of when the cookie was issued.
#[derive(Debug)]
pub(crate) struct Operator {
    who: Who,
    peer: Peer,
}

#[derive(Debug)]
enum Who {
    User(Box<User>),
    Machine,
}

/// An administrator, or the machine.
#[derive(Debug)]
pub(crate) struct Admin(pub(crate) Operator);

impl Operator {
    /// Who it is; nobody for the machine.
    pub(crate) fn user(&self) -> Option<UserId> {
        match &self.who {
            Who::User(user) => Some(user.id),
            Who::Machine => None,
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        match &self.who {
            Who::User(user) => user.role == UserRole::Admin,
            Who::Machine => true,
        }
    }

    pub(crate) fn must_be_admin(&self) -> Result<(), ApiError> {
        if self.is_admin() { Ok(()) } else { Err(not_allowed("only administrators may do this")) }
    }

    /// Operators look after plain users; administrators after everybody.
    pub(crate) fn may_look_after(&self, user: &User) -> Result<(), ApiError> {
        if user.role == UserRole::User || self.is_admin() {
            Ok(())
        } else {
            Err(not_allowed("only administrators may do this to operators and administrators"))
        }
    }

    /// For what one's own account page asks one's password for.
    pub(crate) fn must_be_another(&self, user: UserId) -> Result<(), ApiError> {
        if self.user() == Some(user) {
            Err(not_allowed("your own account is changed on its page"))
        } else {
            Ok(())
        }
    }
}

fn not_allowed(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "not_allowed", message)
}

impl FromRequestParts<App> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = Peer::from_request_parts(parts, app).await?;
        if parts.extensions.get::<Machine>().is_some() {
            return Ok(Self { who: Who::Machine, peer });
        }
        let user = Caller::from_request_parts(parts, app).await?.account(app).await?;
        match user.role {
            UserRole::User => Err(not_allowed("only operators and administrators may do this")),
            UserRole::Operator | UserRole::Admin => Ok(Self { who: Who::User(Box::new(user)), peer }),
        }
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let operator = Operator::from_request_parts(parts, app).await?;
        operator.must_be_admin()?;
        Ok(Self(operator))
    }
}

impl State {
    /// Notes what an operator did, and to whom.
    pub(crate) async fn audit_by(&self, operator: &Operator, event: &'static str, about: Option<UserId>) {
        self.audit_with(operator, event, about, None).await;
    }

    /// The same with what they wrote about it.
    pub(crate) async fn audit_with(
        &self,
        operator: &Operator,
        event: &'static str,
        about: Option<UserId>,
        note: Option<String>,
    ) {
        let address = match operator.who {
            Who::User(_) => operator.peer.ip().to_string(),
            Who::Machine => "this machine".to_owned(),
        };
        self.note(AuditEntry {
            at_ms: self.clock.unix_ms(),
            user_id: about,
            by: operator.user(),
            event: event.to_owned(),
            address,
            note,
        })
        .await;
    }
}
