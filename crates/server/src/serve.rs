use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Rng};
use dialogue::Hub;
use store::{Store, StoreError};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, timeout};

use crate::app::{App, State};
use crate::bulwark::keep_bulwark;
use crate::connections::{self, Connections, Entrance};
use crate::data::keep_sweeping;
use crate::gate::keep_gate;
use crate::routes;
use crate::settings::Settings;
use crate::tls::Tls;
use crate::{letters, oidc};

/// What a server is made of.
pub struct Parts {
    /// Its bounds.
    pub settings: Settings,
    /// The models that it serves.
    pub hub: Hub,
    /// Where conversations are kept. Closed when the server has shut down.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for the names of requests and answers and for salts.
    pub rng: Rng,
    /// Signs session cookies and keys. Whoever has it can be anybody.
    pub cookie_key: [u8; 32],
    /// What makes the first administrator; given where there is no user yet.
    pub setup_token: Option<String>,
}

/// Why a server did not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS, whoever is on the way could read every password and conversation.
    #[error(
        "{address} can be reached from other machines: that takes TLS ([tls] in the configuration) or a declared proxy \
         that has it (proxy.trusted); without either, only loopback (127.0.0.1 or [::1]) may be listened on"
    )]
    NotLoopback {
        /// Where it would have listened.
        address: SocketAddr,
    },
    /// Which sessions were revoked can't be read, and without that none can be trusted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Letters or logins elsewhere can't work as they are set.
    #[error("{0}")]
    Settings(String),
    /// The listener is broken.
    #[error("the listening socket failed: {0}")]
    Listener(#[from] io::Error),
}

/// An HTTP server.
#[derive(Debug)]
pub struct Server {
    app: App,
    control: Option<UnixListener>,
}

impl Server {
    /// A server that listens on nothing yet.
    pub fn new(parts: Parts) -> Self {
        Self { app: State::new(parts), control: None }
    }

    /// Answers on this socket too, where whoever asks counts as an administrator: only the machine's own users who may
    /// read the database must be able to open it.
    #[must_use]
    pub fn with_control(self, listener: UnixListener) -> Self {
        Self { control: Some(listener), ..self }
    }

    /// Serves on these listeners until `shutdown` is ready, then stops accepting, lets answers in flight end, cuts
    /// those that take longer than [`Settings::drain_timeout`] with a proper last event, and closes the store.
    ///
    /// # Errors
    /// When there is no listener or one fails, or when one is not on loopback and there is neither TLS nor a proxy.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        tls: Option<Tls>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let app = self.app;
        check_listeners(&listeners, tls.is_some() || app.settings.proxy.is_some())?;
        oidc::check(&app.settings).map_err(ServeError::Settings)?;
        let post = letters::post_of(&app.settings).map_err(ServeError::Settings)?;
        let (now_ms, lifetime) = (app.clock.unix_ms(), app.settings.session_lifetime);
        app.accounts.load(&*app.store, now_ms, lifetime).await?;
        app.gatehouse.load(&*app.store, app.moment()).await?;
        app.metrics.gate_level(app.gatehouse.level());
        let gate = tokio::spawn(keep_gate(Arc::clone(&app)));
        let bulwark = tokio::spawn(keep_bulwark(Arc::clone(&app)));
        let housekeeping = tokio::spawn(keep_house(Arc::clone(&app)));
        let sweeping = tokio::spawn(keep_sweeping(Arc::clone(&app)));
        let (no_more_letters, closing) = oneshot::channel();
        let delivery = post.and_then(|post| {
            let letters = app.letters.as_ref()?;
            letters.deliver(post, app.settings.letter_pause, closing).map(tokio::spawn)
        });
        let (tls, certificate) = tls.map(|tls| tls.split(Arc::clone(&app))).unzip();
        let certificate = certificate.map(tokio::spawn);
        let entrance = Entrance::new(listeners, tls.map(Arc::new), self.control)?;
        // By whoever waits for this future, on a thread of its own: a task would save a third of what a refusal costs, but
        // stand behind all that are ready, and in a drill the slowest first tokens came twice as late.
        let connections = connections::run(&app, entrance, routes::router(&app), shutdown).await;
        if let Some(certificate) = certificate {
            certificate.abort();
        }
        // What it is at is done whole or not at all, and the next process goes on with it.
        sweeping.abort();
        gate.abort();
        bulwark.abort();
        drain(&app, connections).await;
        // Nobody is left to listen if it has ended already.
        let _ = no_more_letters.send(());
        if let Some(delivery) = delivery
            && timeout(app.settings.cut_timeout, delivery).await.is_err()
        {
            tracing::warn!("letters that waited to be sent were given up");
        }
        housekeeping.abort();
        Ok(())
    }
}

/// Refuses to be reached from other machines unless what they send is `covered`.
fn check_listeners(listeners: &[TcpListener], covered: bool) -> Result<(), ServeError> {
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is none").into());
    }
    for listener in listeners {
        let address = listener.local_addr()?;
        if !address.ip().to_canonical().is_loopback() && !covered {
            return Err(ServeError::NotLoopback { address });
        }
    }
    Ok(())
}

/// Puts the text of answers being written on disk, again and again.
async fn keep_house(app: App) {
    let mut ticks = tokio::time::interval(app.settings.progress_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick = 0_u64;
    loop {
        ticks.tick().await;
        if let Err(error) = app.store.save_progress(app.answers.take_progress()).await {
            tracing::error!(%error, "the text of answers being written could not be saved");
        }
        tick += 1;
        if tick.is_multiple_of(TICKS_PER_NOTE) {
            note_seen(&app).await;
        }
        app.metrics.upkeep();
    }
}

/// When a device was last seen matters by the minute, not by the second.
const TICKS_PER_NOTE: u64 = 64;

async fn note_seen(app: &App) {
    let seen = app.accounts.take_seen();
    if !seen.is_empty()
        && let Err(error) = app.store.touch_sessions(seen).await
    {
        tracing::error!(%error, "when sessions were last seen could not be saved");
    }
    let used = app.accounts.take_used_keys();
    if !used.is_empty()
        && let Err(error) = app.store.touch_keys(used).await
    {
        tracing::error!(%error, "when keys were last used could not be saved");
    }
}

async fn drain(app: &App, mut connections: Connections) {
    let settings = &app.settings;
    tracing::info!(connections = connections.len(), answers = app.answers.len(), "shutting down");
    // From here on models refuse requests; what they are at goes on, and is cut at the deadline.
    app.hub.shutdown(settings.drain_timeout);
    let mut all_ended = async || {
        connections.ended().await;
        app.answers.none_left().await;
        app.meter.none_left().await;
    };
    let half = settings.cut_timeout / 2;
    let mut ended = timeout(settings.drain_timeout.saturating_add(half), all_ended()).await;
    if ended.is_err() {
        // A model that is in the middle of a long step can't cut anything: it is done without it.
        app.cut.send_replace(true);
        ended = timeout(half, all_ended()).await;
    }
    if ended.is_err() {
        tracing::warn!(
            connections = connections.len(),
            answers = app.answers.len(),
            "cut off at the deadline"
        );
        connections.abort().await;
        if timeout(settings.cut_timeout.max(Duration::from_secs(1)), app.meter.none_left()).await.is_err() {
            tracing::warn!("what some requests took could not be noted");
        }
    }
    let hub = app.hub.clone();
    let stopped = tokio::task::spawn_blocking(move || hub.wait_stopped());
    if timeout(settings.cut_timeout.max(Duration::from_secs(1)), stopped).await.is_err() {
        tracing::warn!("a model did not stop in time");
    }
    note_seen(app).await;
    if let Err(error) = app.store.close().await {
        tracing::error!(%error, "the database could not be closed");
    }
}
