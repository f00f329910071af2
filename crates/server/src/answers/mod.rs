//! Conversations' answers being written. An answer belongs to its conversation, not to a connection: it goes on when
//! the page goes away, and any number of pages can join it at any time.

mod live;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{ConversationId, Message, MessageId, Outcome, Progress, Status, StoreError, UserId};
use tokio::sync::{OwnedSemaphorePermit, RwLock, RwLockReadGuard, Semaphore, watch};

pub(crate) use live::{Live, News, Seen};
pub(crate) use write::{Plan, spawn, start};

use crate::app::App;
use crate::error::ApiError;

/// The answers being written, at most as many as there are places.
#[derive(Debug)]
pub(crate) struct Answers {
    live: Mutex<HashMap<MessageId, Arc<Live>>>,
    /// Number of `live`, for those who wait until there are none.
    count: watch::Sender<usize>,
    places: Arc<Semaphore>,
    places_max: usize,
    /// Held for reading from before an answer is stored until it is in `live`. Who holds it for writing knows that
    /// every answer that is stored as generating is in `live`, or was.
    starting: RwLock<()>,
}

/// Where an answer is.
pub(crate) enum Found {
    /// Being written.
    Live(Arc<Live>),
    /// Ended, or not an answer at all.
    Ended(Box<Message>),
}

impl Answers {
    pub(crate) fn new(places_max: usize) -> Self {
        Self {
            live: Mutex::default(),
            count: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            starting: RwLock::new(()),
        }
    }

    /// A place for one more answer, given back when dropped.
    pub(crate) fn reserve(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message =
                format!("{} answers are being written, no more may be; try again later", self.places_max);
            ApiError::busy("too_many_answers", message)
        })
    }

    /// To be held while an answer is stored and spawned.
    pub(crate) async fn starting(&self) -> RwLockReadGuard<'_, ()> {
        self.starting.read().await
    }

    /// Waits until every answer that was being started is in the table.
    async fn started(&self) {
        drop(self.starting.write().await);
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) async fn none_left(&self) {
        // The sender lives as long as we do.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// The text so far of the answers that have grown since the last call.
    pub(crate) fn take_progress(&self) -> Vec<Progress> {
        let live: Vec<_> = self.lock().values().cloned().collect();
        live.iter().filter_map(|live| live.take_progress()).collect()
    }

    /// Ends all answers of a user who is deleted.
    pub(crate) async fn stop_all_of(&self, owner: UserId) {
        self.started().await;
        for live in self.lock().values().filter(|live| live.owner() == owner) {
            live.stop();
        }
    }

    /// Ends the answers of a conversation that was deleted.
    pub(crate) async fn stop_all(&self, conversation: ConversationId) {
        self.started().await;
        for live in self.lock().values().filter(|live| live.conversation() == conversation) {
            live.stop();
        }
    }

    fn insert(&self, live: Arc<Live>) {
        self.lock().insert(live.id(), live);
        self.recount();
    }

    fn remove(&self, id: MessageId) {
        self.lock().remove(&id);
        self.recount();
    }

    fn recount(&self) {
        let count = self.len();
        self.count.send_replace(count);
    }

    fn get(&self, id: MessageId) -> Option<Arc<Live>> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Arc<Live>>> {
        // No code between lock and unlock leaves the table half-changed.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds a message of a conversation, being written or not.
pub(crate) async fn find(
    app: &App,
    owner: UserId,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Found, ApiError> {
    let is_it = |live: &Arc<Live>| live.owner() == owner && live.conversation() == conversation;
    let live = |id| app.answers.get(id).filter(is_it);
    for _ in 0..2 {
        if let Some(live) = live(id) {
            return Ok(Found::Live(live));
        }
        let message = app.store.message(owner, conversation, id).await?;
        if message.status != Status::Generating {
            return Ok(Found::Ended(Box::new(message)));
        }
        // It is about to be in the table, or ended between the two looks; both are settled at the second.
        app.answers.started().await;
    }
    // Nobody writes it: its end could not be stored. Its text is what the database has.
    let message = app.store.message(owner, conversation, id).await?;
    Ok(Found::Ended(Box::new(end_abandoned(app, owner, message).await?)))
}

async fn end_abandoned(app: &App, owner: UserId, message: Message) -> Result<Message, ApiError> {
    let outcome = Outcome {
        text: Progress {
            owner,
            id: message.id,
            content: message.content.clone(),
            reasoning: message.reasoning.clone(),
            reasoning_ms: message.reasoning_ms,
        },
        status: Status::Interrupted,
        error: None,
        usage: None,
        timing: None,
    };
    match app.store.finish(outcome).await {
        Ok(ended) => Ok(ended),
        Err(StoreError::NotFound { .. }) => {
            Ok(app.store.message(owner, message.conversation_id, message.id).await?)
        }
        Err(error) => Err(error.into()),
    }
}
