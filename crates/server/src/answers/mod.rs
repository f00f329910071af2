//! Conversations' answers being written. An answer belongs to its conversation, not to a connection: it goes on when
//! the page goes away, and any number of pages can join it at any time.

mod admit;
mod live;
mod write;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{ConversationId, Message, MessageId, Outcome, Progress, Status, StoreError, UserId};
use tokio::sync::{OwnedSemaphorePermit, RwLock, RwLockReadGuard, Semaphore, watch};

pub(crate) use admit::{Admission, admit, admit_to_conversation, check_allowed, check_model, default_model};
pub(crate) use live::{Live, News, Seen};
pub(crate) use write::{Plan, StartError, spawn};

use crate::app::App;
use crate::bulwark::{Counts, fair_part};
use crate::error::ApiError;

/// The answers being written, at most as many as there are places.
#[derive(Debug)]
pub(crate) struct Answers {
    live: Mutex<HashMap<MessageId, Arc<Live>>>,
    /// Number of `live`, for those who wait until there are none.
    count: watch::Sender<usize>,
    places: Arc<Semaphore>,
    places_max: usize,
    /// Places that are taken, by whose they are.
    taken: Arc<Mutex<HashMap<UserId, u32>>>,
    /// Held for reading from before an answer is stored until it is in `live`. Who holds it for writing knows that
    /// every answer that is stored as generating is in `live`, or was.
    starting: RwLock<()>,
}

/// After so many seconds an answer may have ended.
const RETRY_S: u64 = 5;

/// A place for an answer, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    owner: UserId,
    taken: Arc<Mutex<HashMap<UserId, u32>>>,
    _permit: OwnedSemaphorePermit,
    /// That it is under way, whoever still listens.
    counts: Option<Counts>,
}

impl Place {
    /// It counts as under way while it is held.
    fn counts(&mut self, counts: Counts) {
        self.counts = Some(counts);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut theirs) = lock(&self.taken).entry(self.owner) {
            *theirs.get_mut() -= 1;
            if *theirs.get() == 0 {
                theirs.remove();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code between lock and unlock leaves a table half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            taken: Arc::default(),
            starting: RwLock::new(()),
        }
    }

    /// A place for one more answer of a user who may have `at_once`.
    pub(crate) fn reserve(&self, owner: UserId, at_once: Option<u32>) -> Result<Place, ApiError> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message =
                format!("{} answers are being written, no more may be; try again later", self.places_max);
            ApiError::busy("too_many_answers", message)
        })?;
        let mut taken = lock(&self.taken);
        let theirs = taken.get(&owner).copied().unwrap_or_default();
        if let Some(at_once) =
            at_once.into_iter().chain(self.fair(theirs, taken.len())).find(|max| theirs >= *max)
        {
            let message = format!("{theirs} of your answers are being written, {at_once} may be at once");
            return Err(ApiError::too_many("too_many_answers_at_once", message, RETRY_S));
        }
        taken.insert(owner, theirs + 1);
        Ok(Place { owner, taken: Arc::clone(&self.taken), _permit: permit, counts: None })
    }

    /// What a user may have who has `theirs` and is one of so many with any, however much their groups give: not what
    /// others need.
    fn fair(&self, theirs: u32, users: usize) -> Option<u32> {
        let is_alone = users <= usize::from(theirs > 0);
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        (!is_alone).then(|| fair_part(free))
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
        lock(&self.live)
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
        metered: None,
    };
    match app.store.finish(outcome).await {
        Ok(ended) => Ok(ended),
        Err(StoreError::NotFound { .. }) => {
            Ok(app.store.message(owner, message.conversation_id, message.id).await?)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_places_to_others_who_have_some() {
        let answers = Answers::new(40);
        let (one, other) = (UserId::from([1; 16]), UserId::from([2; 16]));
        let fill = |user| std::iter::from_fn(|| answers.reserve(user, None).ok()).collect::<Vec<_>>();
        assert_eq!(fill(one).len(), 40, "there is nobody else");
        let _theirs = answers.reserve(other, None).unwrap();
        let ours = fill(one);
        assert_eq!(ours.len(), 13, "half of what is then left");
        assert!(answers.reserve(other, None).is_ok());
        drop(ours);
    }

    #[test]
    fn places_are_counted_by_whose_they_are_and_leave_nothing_behind() {
        let answers = Answers::new(4);
        let (one, other) = (UserId::from([1; 16]), UserId::from([2; 16]));
        let first = answers.reserve(one, Some(2)).unwrap();
        let second = answers.reserve(one, Some(2)).unwrap();
        assert!(answers.reserve(one, Some(2)).is_err() && answers.reserve(other, Some(0)).is_err());
        let theirs = answers.reserve(other, Some(1)).unwrap();
        let unlimited = answers.reserve(one, None).unwrap();
        assert!(answers.reserve(other, None).is_err(), "four of four");
        drop(first);
        // A refusal held no place of the four.
        let first = answers.reserve(other, Some(2)).unwrap();
        drop((first, second, theirs, unlimited));
        assert!(lock(&answers.taken).is_empty());
        assert_eq!(answers.places.available_permits(), 4);
    }
}
