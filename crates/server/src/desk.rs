use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use base::{Clock, Rng};
use dialogue::{Dialogue, Hub, HubConfig, ModelListing, ModelSource};
use store::Store;
use tower::ServiceExt as _;

use crate::accounts::Machine;
use crate::app::State;
use crate::routes;
use crate::serve::Parts;
use crate::settings::Settings;

/// What a desk is made of.
pub struct DeskParts {
    /// As the server's: what a password's hash costs is among them.
    pub settings: Settings,
    /// Where users are kept.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for salts and passwords.
    pub rng: Rng,
    /// As the server's: it signs keys.
    pub cookie_key: [u8; 32],
}

/// The operators' API while no server runs: the server's own endpoints over the store, asked by whoever has the
/// machine, without a network and without models.
#[derive(Debug)]
pub struct Desk {
    router: Router,
}

impl Desk {
    /// A desk. It closes nothing: the store is still its owner's.
    pub fn new(parts: DeskParts) -> Self {
        let app = State::new(Parts {
            settings: parts.settings,
            hub: Hub::new(Box::new(NoModels), HubConfig { default_model: String::new(), loaded_max: 1 }),
            store: parts.store,
            clock: parts.clock,
            rng: parts.rng,
            cookie_key: parts.cookie_key,
            setup_token: None,
        });
        Self { router: routes::router(&app) }
    }

    /// Answers a request as a server answers one that comes over its control socket.
    pub async fn ask(&self, request: Request<impl Into<Body>>) -> Response<Body> {
        let mut request = request.map(Into::into);
        Machine::mark(&mut request);
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

struct NoModels;

impl ModelSource for NoModels {
    fn list(&self) -> Vec<ModelListing> {
        Vec::new()
    }

    fn load(&self, _name: &str) -> Result<Dialogue, String> {
        Err("no server runs".to_owned())
    }
}
