//! What every request goes through, from the outside in: observation, headers, the guard of hosts and origins.

pub(crate) mod anthropic;
mod guard;
mod headers;
mod observe;

pub(crate) use guard::{guard, is_asked_as_local, refuse_other_sites};
pub(crate) use headers::headers;
pub(crate) use observe::{CallerClass, observe};
