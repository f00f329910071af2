//! What every request goes through, from the outside in: observation, headers, the guard of loopback.

mod guard;
mod headers;
mod observe;

pub(crate) use guard::guard;
pub(crate) use headers::headers;
pub(crate) use observe::observe;
