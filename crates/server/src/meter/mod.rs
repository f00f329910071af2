//! What requests take, what they cost, and who may still ask: keys' scopes and quotas, the hold before a request, and the
//! row of usage after it. Everything that a model generates for somebody comes through [`Metered`]: the endpoints of
//! programs by way of [`generation`](crate::generation), conversations by way of [`answers`](crate::answers).

mod hold;
mod permit;
mod price;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dialogue::Cost;
use store::{CreditKind, HoldId, IdMaker, KeyId, Nanos, NewCredit, StoreError, UsageRow, UserId};
use tokio::sync::watch;

pub(crate) use hold::Hold;
use permit::KeyPlace;
pub(crate) use permit::check_scope;
pub(crate) use price::Tokens;
pub use price::{Hours, Price, Prices, Rate};

use crate::accounts::Client;
use crate::app::{App, State};
use crate::error::ApiError;
use crate::metrics::Generated;

/// The state of the meter that is not in the store.
#[derive(Debug)]
pub(crate) struct Meter {
    ids: IdMaker,
    /// Requests going on, by key.
    by_key: Arc<Mutex<HashMap<KeyId, u32>>>,
    /// Requests that have not been settled.
    open: watch::Sender<usize>,
}

impl Meter {
    pub(crate) fn new(ids: IdMaker) -> Self {
        Self { ids, by_key: Arc::default(), open: watch::Sender::new(0) }
    }

    /// Waits until what every request took is noted.
    pub(crate) async fn none_left(&self) {
        // The sender lives as long as we do.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// A new id of a key, a row or a hold.
    pub(crate) fn id<Id: From<[u8; 16]>>(&self) -> Id {
        self.ids.next()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code between lock and unlock leaves a table half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request as not settled until it is dropped.
struct Open(App);

impl Open {
    fn new(app: &App) -> Self {
        app.meter.open.send_modify(|open| *open += 1);
        Self(App::clone(app))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meter.open.send_modify(|open| *open -= 1);
    }
}

/// A request that was let in: who pays for it, what is held for it, and the place of its key. To be settled; what is held
/// for one that is dropped is free again.
pub(crate) struct Metered {
    open: Open,
    user: Option<UserId>,
    key: Option<KeyId>,
    class: &'static str,
    endpoint: &'static str,
    model: String,
    hold: Option<Hold>,
    /// Whether a model was asked: it leaves a row from then on.
    begun: bool,
    _key_place: Option<KeyPlace>,
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metered")
            .field("endpoint", &self.endpoint)
            .field("model", &self.model)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

/// What a request took, and how it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) tokens: Tokens,
    /// In the queue.
    pub(crate) queued: Duration,
    /// Until the first token, if there was one.
    pub(crate) first_token: Option<Duration>,
    /// Until the end.
    pub(crate) total: Duration,
    /// A word of ours.
    pub(crate) outcome: &'static str,
}

/// What failed on our side costs nothing.
pub(crate) const FAILED: &str = "failed";
/// The class of those who are signed in.
pub(crate) const SESSION: &str = "session";

/// That somebody who is signed in has any credit, where a model costs any: before anything is stored for an answer.
pub(crate) async fn has_credit(app: &State, user: UserId, model: &str) -> Result<(), ApiError> {
    if app.settings.prices.dearest(model, SESSION).is_free() {
        return Ok(());
    }
    let available = app.store.balance(user).await?.available();
    if available > Nanos::ZERO { Ok(()) } else { Err(hold::nothing_left(app, available)) }
}

impl Metered {
    /// Lets a client in: a key must be for this model, and have requests and tokens left. What groups give is asked for elsewhere.
    pub(crate) async fn ask(
        app: &App,
        client: &Client,
        endpoint: &'static str,
        model: &str,
    ) -> Result<Self, ApiError> {
        client.is_still_good(app)?;
        let key_place = match client.key() {
            Some(key) => Some(permit::permit(app, key, model).await?),
            None => None,
        };
        Ok(Self {
            open: Open::new(app),
            user: client.user(),
            key: client.key().map(|key| key.id),
            class: client.class(),
            endpoint,
            model: model.to_owned(),
            hold: None,
            begun: false,
            _key_place: key_place,
        })
    }

    /// For an answer in a conversation, for which [`answers::admit`](crate::answers) has let in.
    pub(crate) fn of_conversation(app: &App, user: UserId, model: &str) -> Self {
        Self {
            open: Open::new(app),
            user: Some(user),
            key: None,
            class: SESSION,
            endpoint: "chat",
            model: model.to_owned(),
            hold: None,
            begun: false,
            _key_place: None,
        }
    }

    /// Holds the most that a request can cost, if it can cost anything. Where the client has set no number of tokens and
    /// the credit is for less, as much is held as there is, and how many tokens that pays for is returned: the answers
    /// that it is `shared_by` may have no more together. They are at least a few for each.
    pub(crate) async fn hold(
        &mut self,
        cost: Cost,
        shared_by: Option<usize>,
    ) -> Result<Option<usize>, ApiError> {
        let app = &self.open.0;
        let rate = app.settings.prices.dearest(&self.model, self.class);
        let Some(user) = self.user.filter(|_| !rate.is_free()) else { return Ok(None) };
        let (hold, shrunk) = hold::hold(app, (user, self.key), rate, cost, shared_by).await?;
        self.hold = Some(hold);
        Ok(shrunk)
    }

    /// Notes what it took, and takes what that costs.
    pub(crate) async fn settle(mut self, took: Took) {
        let app = App::clone(&self.open.0);
        let hold = self.hold.take();
        let usage = self.usage(took);
        settle_row(&app, hold, usage).await;
    }

    /// A model is asked.
    pub(crate) fn begins(&mut self) {
        self.begun = true;
    }

    /// What it took, if a model was asked, to be noted by somebody else with the hold, which is theirs to settle.
    pub(crate) fn usage_and_hold(mut self, took: Took) -> Option<(Option<Hold>, UsageRow)> {
        let hold = self.hold.take();
        self.begun.then(|| (hold, self.usage(took)))
    }

    /// The row of usage, once: with it the request is counted.
    fn usage(&self, took: Took) -> UsageRow {
        let app = &self.open.0;
        let Took { tokens, .. } = took;
        let now_ms = app.clock.unix_ms();
        let rate = app.settings.prices.rate(&self.model, self.class, now_ms);
        let is_paid = self.user.is_some() && took.outcome != FAILED;
        app.metrics.generated(&Generated {
            endpoint: self.endpoint,
            class: self.class,
            model: &self.model,
            outcome: took.outcome,
            prompt_tokens: tokens.hit.saturating_add(tokens.miss),
            generation_tokens: tokens.output,
            total: took.total,
        });
        if let Some(user) = self.user {
            let asked = tokens.miss.saturating_add(tokens.output);
            app.gatehouse.generated(user, asked, took.queued, app.moment());
        }
        UsageRow {
            id: app.meter.id(),
            at_ms: now_ms,
            user: self.user,
            key: self.key,
            endpoint: self.endpoint.into(),
            model: self.model.clone(),
            class: self.class.to_owned(),
            hit: tokens.hit,
            miss: tokens.miss,
            output: tokens.output,
            reasoning: tokens.reasoning,
            cost: if is_paid { rate.cost(tokens) } else { Nanos::ZERO },
            queued_ms: millis(took.queued),
            ttft_ms: took.first_token.map(millis),
            total_ms: millis(took.total),
            outcome: took.outcome.to_owned(),
        }
    }
}

impl State {
    /// Gives a new user what new users are given. That it can't be given keeps nobody from their account.
    pub(crate) async fn welcome(&self, user: UserId) {
        let amount = self.settings.sign_up_credit;
        if amount <= Nanos::ZERO {
            return;
        }
        let (note, at_ms) = ("sign-up".to_owned(), self.clock.unix_ms());
        let new = NewCredit { user, kind: CreditKind::Grant, amount, by: None, note, at_ms };
        if let Err(error) = self.store.add_credit(new).await {
            tracing::error!(%error, "a new user's credit could not be given");
        }
    }
}

/// Notes a row, with what is held for it. Tried again while the database is busy.
pub(crate) async fn settle_row(app: &State, mut hold: Option<Hold>, usage: UsageRow) {
    const TRIES: u32 = 4;
    const PAUSE: Duration = Duration::from_millis(100);
    let id: Option<HoldId> = hold.as_ref().map(Hold::id);
    for tried in 1..=TRIES {
        match app.store.settle(id, usage.clone()).await {
            // The last try was noted after all, or whoever had to pay is gone, and their hold with them.
            Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Conflict(_)) => {
                if let Some(hold) = &mut hold {
                    hold.is_settled();
                }
                return;
            }
            Err(StoreError::Busy(_)) if tried < TRIES => tokio::time::sleep(PAUSE * tried).await,
            Err(error) => {
                tracing::error!(%error, usage = %usage.id, "what a request took could not be noted");
                return;
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
