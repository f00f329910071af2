use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::App;
use crate::error::ApiError;

/// The other end of a connection. Put into each request by the accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(SocketAddr);

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    pub(crate) fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

impl FromRequestParts<App> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        // Without an accept loop, as in a test of one route, there is nobody to tell apart.
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self(nobody)))
    }
}
