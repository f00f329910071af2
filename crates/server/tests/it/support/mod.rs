//! A server to be asked, and a client to ask it.

mod client;
mod models;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{ManualClock, Rng};
use dialogue::{Hub, HubConfig};
use server::{Parts, ServeError, Server, Settings};
use store::{SqliteStore, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use client::{Client, Event, Streaming};
pub(crate) use models::{Gate, Models};

/// Longest that anything is waited for before a test is believed to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to set a server up.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) models: Models,
    pub(crate) default_model: &'static str,
    /// The folder of the database; a new one if not set.
    pub(crate) folder: Option<Arc<TempDir>>,
}

impl Default for Setup {
    fn default() -> Self {
        let settings = Settings {
            keep_alive: Duration::from_millis(40),
            progress_interval: Duration::from_millis(10),
            ..Settings::default()
        };
        Self { settings, models: Models::default(), default_model: "plain", folder: None }
    }
}

/// A server that serves.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) models: Models,
    pub(crate) hub: Hub,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) folder: Arc<TempDir>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Setup {
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.settings);
        setup
    }

    pub(crate) async fn serve(self) -> Site {
        let folder = self.folder.unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let clock = Arc::new(ManualClock::new());
        let path: PathBuf = folder.path().join("chats.db");
        let store = SqliteStore::open(&path, clock.clone(), Rng::from_os().unwrap()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let config = HubConfig { default_model: self.default_model.to_owned(), loaded_max: 8 };
        let hub = Hub::new(Box::new(self.models.clone()), config);
        let server = Server::new(Parts {
            settings: self.settings,
            hub: hub.clone(),
            store: Arc::clone(&store),
            clock: clock.clone(),
            rng: Rng::from_seed(2),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(listener, async {
            // A site that is dropped stops too.
            let _ = stopped.await;
        }));
        let client = Client { address };
        Site { address, client, models: self.models, hub, store, clock, folder, stop, served }
    }
}

impl Site {
    pub(crate) async fn new() -> Self {
        Setup::default().serve().await
    }

    /// Sequences that a loaded model holds.
    pub(crate) fn running(&self, model: &str) -> usize {
        let loaded = self.hub.loaded();
        let stats = loaded.iter().find(|dialogue| dialogue.name() == model).map(|dialogue| dialogue.stats());
        stats.map_or(0, |stats| stats.running + stats.waiting)
    }

    /// Begins the shutdown; the future is ready when the server has ended.
    pub(crate) fn shut_down(self) -> impl Future<Output = Result<(), ServeError>> {
        self.stop.send(()).unwrap();
        let served = self.served;
        async move { served.await.unwrap() }
    }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, wait).await;
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(tokio::time::error::Elapsed { .. }) => panic!("waited in vain: {what}"),
    }
}
