use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::dialogue::Dialogue;
use crate::profile::Thinking;

/// A model that a source knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelListing {
    /// The name to ask for it by.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Weights; 0 where it isn't known.
    pub parameters: u64,
    /// Longest context in tokens; 0 where it isn't known.
    pub context: usize,
    /// Whether it thinks.
    pub thinking: Thinking,
    /// Whether its file is on this machine.
    pub installed: bool,
}

/// Where models come from.
pub trait ModelSource: Send + Sync {
    /// Every model that there is, installed or not.
    fn list(&self) -> Vec<ModelListing>;

    /// Loads an installed model. May take long; called on a thread of its own, never twice at once for one name.
    ///
    /// # Errors
    /// A text for people that says why not.
    fn load(&self, name: &str) -> Result<Dialogue, String>;
}

/// Sizes of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// The model for those who name none.
    pub default_model: String,
    /// Most models in memory, at least 1.
    pub loaded_max: usize,
}

/// A model of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubListing {
    /// What the source says, and the model itself once it is loaded.
    pub model: ModelListing,
    /// Whether it is in memory.
    pub loaded: bool,
}

/// Why a hub gives no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// There is no such model.
    #[error("there is no model {name:?}; installed are: {}", list_or_none(installed))]
    NotFound {
        /// What was asked for.
        name: String,
        /// What could have been.
        installed: Vec<String>,
    },
    /// The model's file is not on this machine.
    #[error("the model {name:?} is not installed; `cachalot pull {name}` fetches it")]
    NotInstalled {
        /// What was asked for.
        name: String,
    },
    /// The model's file can't be used.
    #[error("the model {name:?} could not be loaded: {reason}")]
    Load {
        /// What was asked for.
        name: String,
        /// Why not.
        reason: String,
    },
    /// There is no room for another model.
    #[error("{loaded} models are loaded and in use, at most {loaded_max} may be; try again later")]
    Busy {
        /// Models loaded or being loaded.
        loaded: usize,
        /// Most that may be.
        loaded_max: usize,
    },
    /// The hub is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

fn list_or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The models that a server serves. Loads each on first use, and unloads the one whose last use is longest ago when
/// there would be too many, if nobody uses it. A handle: clones share the models.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    source: Box<dyn ModelSource>,
    config: HubConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    models: BTreeMap<String, Slot>,
    /// Counts uses; the slot with the smallest `used` was used longest ago.
    uses: u64,
    closed: bool,
}

struct Slot {
    used: u64,
    stage: Stage,
}

/// Weak, so that an outcome which nobody has taken yet doesn't count as use.
type Outcome = Result<Weak<Dialogue>, HubError>;

enum Stage {
    /// Being loaded; everyone who wants it waits for one outcome.
    Loading(watch::Receiver<Option<Outcome>>),
    Loaded(Arc<Dialogue>),
}

enum Step {
    Ready(Arc<Dialogue>),
    Wait(watch::Receiver<Option<Outcome>>),
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub over a source. Nothing is loaded yet.
    pub fn new(source: Box<dyn ModelSource>, config: HubConfig) -> Self {
        let config = HubConfig { loaded_max: config.loaded_max.max(1), ..config };
        Self { shared: Arc::new(Shared { source, config, state: Mutex::default() }) }
    }

    /// The model for those who name none.
    pub fn default_model(&self) -> &str {
        &self.shared.config.default_model
    }

    /// Every model that the source knows, installed or not. A loaded one says itself whether it thinks and how much
    /// it holds. Reads the disk.
    pub fn list(&self) -> Vec<HubListing> {
        let models = self.shared.source.list();
        let state = self.shared.lock();
        let listing = |model: ModelListing| match state.models.get(&model.name) {
            Some(Slot { stage: Stage::Loaded(dialogue), .. }) => {
                let (context, thinking) = (dialogue.context(), dialogue.thinking());
                HubListing { loaded: true, model: ModelListing { context, thinking, ..model } }
            }
            _ => HubListing { loaded: false, model },
        };
        models.into_iter().map(listing).collect()
    }

    /// The models in memory, by name.
    pub fn loaded(&self) -> Vec<Arc<Dialogue>> {
        let state = self.shared.lock();
        let loaded = state.models.values().filter_map(|slot| match &slot.stage {
            Stage::Loaded(dialogue) => Some(Arc::clone(dialogue)),
            Stage::Loading(_) => None,
        });
        loaded.collect()
    }

    /// The model of this name, if it is in memory.
    pub fn find(&self, name: &str) -> Option<Arc<Dialogue>> {
        match &self.shared.lock().models.get(name)?.stage {
            Stage::Loaded(dialogue) => Some(Arc::clone(dialogue)),
            Stage::Loading(_) => None,
        }
    }

    /// The model of this name, loaded if it isn't yet. Callers at the same time share one loading, which goes on
    /// when they go away. Keep what is returned while it is used: a model that is kept is not unloaded.
    ///
    /// # Errors
    /// When there is no such model, its file is not here or not usable, every loaded model is in use and there may
    /// be no more, or the hub is shutting down.
    pub async fn get(&self, name: &str) -> Result<Arc<Dialogue>, HubError> {
        let lost =
            || HubError::Load { name: name.to_owned(), reason: "the loading was abandoned".to_owned() };
        loop {
            let mut outcome = match self.begin(name)? {
                Step::Ready(dialogue) => return Ok(dialogue),
                Step::Wait(outcome) => outcome,
            };
            let outcome = outcome.wait_for(Option::is_some).await.map_err(|_| lost())?.clone();
            // Others may have had it unloaded again by now.
            if let Some(dialogue) = outcome.ok_or_else(lost)??.upgrade() {
                return Ok(dialogue);
            }
        }
    }

    /// Refuses new requests from now on, lets answers go on for at most `deadline`, then cuts them. Returns at
    /// once. A second call may only shorten the deadline.
    pub fn shutdown(&self, deadline: Duration) {
        self.shared.lock().closed = true;
        for dialogue in self.loaded() {
            dialogue.shutdown(deadline);
        }
    }

    /// Blocks until every answer of every model has its last event. Only after [`shutdown`](Self::shutdown); not
    /// for async code.
    pub fn wait_stopped(&self) {
        for dialogue in self.loaded() {
            dialogue.wait_stopped();
        }
    }

    fn begin(&self, name: &str) -> Result<Step, HubError> {
        if let Some(step) = self.shared.lock().look_up(name)? {
            return Ok(step);
        }
        // Reads the disk, so not under the lock.
        self.check_installed(name)?;
        let mut state = self.shared.lock();
        if let Some(step) = state.look_up(name)? {
            return Ok(step);
        }
        let unloaded = state.make_room(self.shared.config.loaded_max)?;
        let used = state.next_use();
        let (sender, receiver) = watch::channel(None);
        state.models.insert(name.to_owned(), Slot { used, stage: Stage::Loading(receiver.clone()) });
        drop(state);
        let loading = Loading { shared: Arc::clone(&self.shared), name: name.to_owned(), sender };
        let thread = std::thread::Builder::new().name("load-model".to_owned());
        let spawned = thread.spawn(move || loading.run(unloaded));
        // A thread that wasn't to be had drops its closure, and so says what became of the loading.
        spawned.map_err(|error| HubError::Load { name: name.to_owned(), reason: error.to_string() })?;
        Ok(Step::Wait(receiver))
    }

    fn check_installed(&self, name: &str) -> Result<(), HubError> {
        let models = self.shared.source.list();
        match models.iter().find(|model| model.name == name) {
            Some(model) if model.installed => Ok(()),
            Some(_) => Err(HubError::NotInstalled { name: name.to_owned() }),
            None => {
                let installed = models.into_iter().filter(|model| model.installed).map(|model| model.name);
                Err(HubError::NotFound { name: name.to_owned(), installed: installed.collect() })
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code between lock and unlock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn look_up(&mut self, name: &str) -> Result<Option<Step>, HubError> {
        if self.closed {
            return Err(HubError::ShuttingDown);
        }
        let used = self.next_use();
        let Some(slot) = self.models.get_mut(name) else { return Ok(None) };
        slot.used = used;
        Ok(Some(match &slot.stage {
            Stage::Loading(outcome) => Step::Wait(outcome.clone()),
            Stage::Loaded(dialogue) => Step::Ready(Arc::clone(dialogue)),
        }))
    }

    /// Takes out idle models, longest unused first, until one more may be loaded.
    fn make_room(&mut self, loaded_max: usize) -> Result<Vec<Arc<Dialogue>>, HubError> {
        let mut unloaded = Vec::new();
        while self.models.len() >= loaded_max {
            let idle = self.models.iter().filter(|(_, slot)| slot.is_idle());
            let Some(name) = idle.min_by_key(|(_, slot)| slot.used).map(|(name, _)| name.clone()) else {
                return Err(HubError::Busy { loaded: self.models.len(), loaded_max });
            };
            if let Some(Slot { stage: Stage::Loaded(dialogue), .. }) = self.models.remove(&name) {
                unloaded.push(dialogue);
            }
        }
        Ok(unloaded)
    }
}

impl Slot {
    /// Whether nobody has it and nothing is being answered.
    fn is_idle(&self) -> bool {
        match &self.stage {
            Stage::Loading(_) => false,
            Stage::Loaded(dialogue) => {
                let stats = dialogue.stats();
                Arc::strong_count(dialogue) == 1 && stats.running + stats.waiting == 0
            }
        }
    }
}

/// A model being loaded. However it ends, those who wait are told and the slot doesn't stay "loading".
struct Loading {
    shared: Arc<Shared>,
    name: String,
    sender: watch::Sender<Option<Outcome>>,
}

impl Loading {
    fn run(self, unloaded: Vec<Arc<Dialogue>>) {
        for dialogue in unloaded {
            tracing::info!(model = dialogue.name(), "unloading");
            dialogue.shutdown(Duration::ZERO);
            dialogue.wait_stopped();
        }
        tracing::info!(model = self.name, "loading");
        let loaded = self.shared.source.load(&self.name);
        let mut state = self.shared.lock();
        let closed = state.closed;
        let outcome = match (loaded, state.models.get_mut(&self.name)) {
            (Ok(_), _) if closed => Err(HubError::ShuttingDown),
            (Ok(dialogue), Some(slot)) => {
                let dialogue = Arc::new(dialogue);
                let outcome = Ok(Arc::downgrade(&dialogue));
                slot.stage = Stage::Loaded(dialogue);
                outcome
            }
            (Ok(_), None) => Err(self.failed("its place was taken away")),
            (Err(reason), _) => Err(self.failed(&reason)),
        };
        if outcome.is_err() {
            state.models.remove(&self.name);
        }
        drop(state);
        self.sender.send_replace(Some(outcome));
    }

    fn failed(&self, reason: &str) -> HubError {
        HubError::Load { name: self.name.clone(), reason: reason.to_owned() }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if self.sender.borrow().is_none() {
            self.shared.lock().models.remove(&self.name);
        }
    }
}
