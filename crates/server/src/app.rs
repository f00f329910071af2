use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base::{Clock, Rng};
use defence::Moment;
use dialogue::Hub;
use store::{IdMaker, Store};
use tokio::sync::{Semaphore, watch};
use tracing::{Instrument as _, Span};

use crate::accounts::{Accounts, Start};
use crate::answers::Answers;
use crate::bulwark::Bulwark;
use crate::data::Places;
use crate::error::ApiError;
use crate::gate::Gatehouse;
use crate::letters::Letters;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::oidc::Providers;
use crate::serve::Parts;
use crate::settings::Settings;
use crate::webapp::WebApp;

/// Exports under way at once, and files that are being imported. One takes the room of a conversation, some megabytes as a rule.
const TRANSFERS_MAX: usize = 4;
/// Imports under way at once, most of which come in or wait, on disk, for their turn.
const UPLOADS_MAX: usize = 32;

/// What every endpoint is given.
pub(crate) type App = Arc<State>;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) hub: Hub,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) accounts: Accounts,
    /// The way in for new users.
    pub(crate) gatehouse: Gatehouse,
    /// What stands between a flood and the users.
    pub(crate) bulwark: Bulwark,
    /// Letters to users, where there is a mail server.
    pub(crate) letters: Option<Letters>,
    /// Where else users may have an account to sign in with.
    pub(crate) providers: Providers,
    /// Conversations' answers being written.
    pub(crate) answers: Answers,
    pub(crate) meter: Meter,
    /// Users who search, at most one search each.
    pub(crate) searches: Arc<Places>,
    /// Users whose data is being exported.
    pub(crate) exports: Arc<Places>,
    /// Users whose data is being imported.
    pub(crate) imports: Arc<Places>,
    /// Files that may be imported at once when they have come in.
    pub(crate) reading: Arc<Semaphore>,
    pub(crate) web: WebApp,
    /// Kibibytes of request bodies that may be held.
    pub(crate) bodies_kib: Arc<Semaphore>,
    /// Unix milliseconds.
    pub(crate) started_ms: i64,
    /// Whether the server is shutting down.
    pub(crate) draining: watch::Sender<bool>,
    /// Names of requests and answers.
    names: Mutex<Rng>,
    /// Salts. A stream of their own, so that names, which are seen, have nothing to do with them.
    salts: Mutex<Rng>,
    /// Whether what still runs must end now, without waiting for a model.
    pub(crate) cut: watch::Sender<bool>,
}

impl State {
    pub(crate) fn new(mut parts: Parts) -> App {
        let settings = parts.settings;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let start = Start {
            settings: &settings,
            cores,
            cookie_key: &parts.cookie_key,
            setup_token: parts.setup_token,
        };
        // What is seen of randomness has nothing to do with what must not be guessed.
        let mut decoy_salt = [0; 16];
        parts.rng.fill(&mut decoy_salt);
        let of_meter = parts.rng.fork();
        let mut salts = parts.rng.fork();
        Arc::new(Self {
            accounts: Accounts::new(&start, &decoy_salt, &mut salts.fork()),
            letters: Letters::new(&settings),
            providers: Providers::new(&settings),
            metrics: Metrics::new(),
            answers: Answers::new(settings.answers_max),
            meter: Meter::new(IdMaker::new(Arc::clone(&parts.clock), of_meter)),
            // Each keeps a core busy; the others are left to answers.
            searches: Places::of_searches(cores.div_ceil(2)),
            exports: Places::of_exports(TRANSFERS_MAX),
            imports: Places::of_imports(UPLOADS_MAX),
            reading: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            web: WebApp::embedded(),
            bodies_kib: Arc::new(Semaphore::new(
                settings.bodies_bytes_max.max(settings.body_bytes_max).div_ceil(1024),
            )),
            bulwark: Bulwark::new(&settings.defence, cores, parts.clock.monotonic(), salts.fork()),
            gatehouse: Gatehouse::new(&settings, Moment::now(&*parts.clock), &mut salts.fork()),
            started_ms: parts.clock.unix_ms(),
            draining: watch::Sender::new(false),
            salts: Mutex::new(salts),
            names: Mutex::new(parts.rng),
            cut: watch::Sender::new(false),
            hub: parts.hub,
            store: parts.store,
            clock: parts.clock,
            settings,
        })
    }

    /// 16 hexadecimal digits that nobody has seen before.
    pub(crate) fn random_name(&self) -> String {
        let mut rng = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{:016x}", rng.next_u64())
    }

    /// A stream of randomness of its own.
    pub(crate) fn fork_rng(&self) -> Rng {
        self.salts.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Bytes that nobody can guess.
    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.salts.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
        bytes
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Ready when what still runs must end now. Cancel-safe.
    pub(crate) async fn cut_off(&self) {
        // The sender lives as long as we do.
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }

    /// Runs `work` to its end even if the caller, whose client may go away, is dropped. Its writes stay in the caller's place.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        match tokio::spawn(store::in_place(store::place(), work).in_current_span()).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::internal("a detached task panicked")),
        }
    }

    /// Runs `work`, which blocks or computes, on a thread where that is no harm.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let span = Span::current();
        tokio::task::spawn_blocking(move || span.in_scope(work))
            .await
            .map_err(|_| ApiError::internal("a blocking task panicked"))
    }
}
