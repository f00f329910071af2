//! What requests take and cost, and what users have to pay it with.
//!
//! Before a request whose price is not nothing, an upper bound of its cost is held; after it what it did cost, at most
//! what was held, is taken, and the rest is free again. So no balance is ever negative, however many ask at once. What
//! is taken, the row that says for what, and the sums over such rows are written in one transaction.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Debug;
use std::str::FromStr;

use crate::rows::word_type;
use crate::{CreditId, HoldId, KeyId, Nanos, ParseIdError, StoreFuture, UsageId, UserId};

/// What a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// Given to them; taken from first.
    pub granted: Nanos,
    /// Paid for.
    pub topped_up: Nanos,
    /// Of both together, what is held for requests that go on.
    pub held: Nanos,
}

impl Balance {
    /// What may still be held.
    #[must_use]
    pub fn available(&self) -> Nanos {
        self.total().saturating_sub(self.held)
    }

    /// What they have, held or not.
    #[must_use]
    pub fn total(&self) -> Nanos {
        self.granted.saturating_add(self.topped_up)
    }
}

word_type! {
    /// Where credit comes from.
    CreditKind {
        /// It was given.
        Grant = "grant",
        /// It was paid for.
        TopUp = "top_up",
    }
}

/// Credit that a user gets or loses.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCredit {
    /// Whose it is.
    pub user: UserId,
    /// Where it comes from.
    pub kind: CreditKind,
    /// How much; less than nothing takes back, as far as there is credit of this kind that is not held.
    pub amount: Nanos,
    /// The operator who does it, if it is one.
    pub by: Option<UserId>,
    /// Why. The first 200 characters are kept, sealed.
    pub note: String,
    /// Unix milliseconds.
    pub at_ms: i64,
}

impl Debug for NewCredit {
    /// Without the note: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCredit")
            .field("user", &self.user)
            .field("kind", &self.kind)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

/// Credit that a user got or lost. Goes with them when they are deleted.
#[derive(Clone, PartialEq, Eq)]
pub struct Credit {
    /// Its id.
    pub id: CreditId,
    /// Whose it is.
    pub user: UserId,
    /// Where it came from.
    pub kind: CreditKind,
    /// How much it really was; less than nothing was taken back.
    pub amount: Nanos,
    /// The operator who did it, if it was one; they may be gone.
    pub by: Option<UserId>,
    /// Why.
    pub note: String,
    /// Unix milliseconds.
    pub at_ms: i64,
}

impl Debug for Credit {
    /// Without the note: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credit")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("kind", &self.kind)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

/// Which part of what a user got and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditPageRequest {
    /// Whose.
    pub user: UserId,
    /// Only moves with smaller numbers; `None` for the first page.
    pub before: Option<i64>,
    /// Most moves to return.
    pub limit: u32,
}

/// A part of what a user got and lost, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditPage {
    /// At most `limit` of them.
    pub credits: Vec<Credit>,
    /// The number before which the next page begins; `None` if this is the last.
    pub next: Option<i64>,
}

/// An upper bound of what a request will cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// Its id. Made by whoever holds, who can so release it when they don't know whether they hold it.
    pub id: HoldId,
    /// Who asks.
    pub user: UserId,
    /// With which key, if with one.
    pub key: Option<KeyId>,
    /// How much, not less than nothing.
    pub amount: Nanos,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// What became of a [`NewHold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is held until it is settled or released, or the program ends.
    Held,
    /// The user has less. Nothing is held.
    Empty {
        /// What may still be held.
        available: Nanos,
        /// What was to be.
        asked: Nanos,
    },
    /// The key may be used for less. Nothing is held.
    KeySpent {
        /// What it may still be used for.
        available: Nanos,
        /// What was to be held.
        asked: Nanos,
    },
}

/// What a request took and costs. Nothing that anybody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Its id.
    pub id: UsageId,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Who asked, if they have an account that is still there. Who a hold is for is whoever held.
    pub user: Option<UserId>,
    /// With which key, if with one; it may be revoked. With a hold it is the one that was held for.
    pub key: Option<KeyId>,
    /// Where, as a word or a path of the program's own.
    pub endpoint: Cow<'static, str>,
    /// The model's name.
    pub model: String,
    /// The class of caller that the price was for, a word of the program's own.
    pub class: String,
    /// Tokens of the prompt that the prefix cache had.
    pub hit: u64,
    /// Tokens of the prompt that it had not.
    pub miss: u64,
    /// Tokens generated, reasoning included.
    pub output: u64,
    /// Of those, reasoning.
    pub reasoning: u64,
    /// What it costs, which is no more than was held; in a row that was kept, what was taken for it.
    pub cost: Nanos,
    /// Milliseconds in the queue.
    pub queued_ms: i64,
    /// Milliseconds from the request to the first token; `None` if there was none.
    pub ttft_ms: Option<i64>,
    /// Milliseconds from the request to the end.
    pub total_ms: i64,
    /// How it ended, a word of the program's own.
    pub outcome: String,
}

/// Whose usage is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageOf {
    /// That of all, those without an account and those who are gone included.
    Everybody,
    /// A user's.
    User(UserId),
    /// That of a user's key; of another user's there is none.
    Key(UserId, KeyId),
}

/// Which part of the rows of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRequest {
    /// Whose.
    pub of: UsageOf,
    /// Unix milliseconds from which.
    pub since_ms: i64,
    /// Unix milliseconds until which, those not included.
    pub until_ms: i64,
    /// Most rows to return.
    pub limit: u32,
    /// `None` for the first page.
    pub before: Option<UsageCursor>,
}

/// A part of the rows of usage, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePage {
    /// At most `limit` of them.
    pub rows: Vec<UsageRow>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<UsageCursor>,
}

/// A place among the rows of usage, after which the next page begins. Its text form is opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageCursor {
    pub(crate) at_ms: i64,
    pub(crate) number: i64,
}

impl fmt::Display for UsageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at_ms, self.number)
    }
}

impl FromStr for UsageCursor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (at_ms, number) = text.split_once('.').ok_or(ParseIdError)?;
        let whole = |part: &str| part.parse().map_err(|_| ParseIdError);
        Ok(Self { at_ms: whole(at_ms)?, number: whole(number)? })
    }
}

/// How long a time each sum is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsagePeriod {
    /// An hour.
    Hour,
    /// A day of 24 hours.
    Day,
}

/// Which sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageSumRequest {
    /// Whose.
    pub of: UsageOf,
    /// Unix milliseconds from which: the quarter of an hour that they are in is the first that counts.
    pub since_ms: i64,
    /// Unix milliseconds until which: no quarter of an hour that begins at or after them counts.
    pub until_ms: i64,
    /// Over how long a time each.
    pub by: UsagePeriod,
    /// By how many minutes the clocks where days and hours are counted are ahead of UTC; whole quarters of an hour, as
    /// everywhere in the world.
    pub zone_minutes: i32,
}

/// What requests to one model took in one hour or day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum {
    /// Unix milliseconds at which the hour or the day begins.
    pub from_ms: i64,
    /// The model's name.
    pub model: String,
    /// How many there were.
    pub requests: u64,
    /// Tokens of prompts that the prefix cache had.
    pub hit: u64,
    /// Tokens of prompts that it had not.
    pub miss: u64,
    /// Tokens generated, reasoning included.
    pub output: u64,
    /// Of those, reasoning.
    pub reasoning: u64,
    /// What was taken for them.
    pub cost: Nanos,
}

/// Which users' sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSumRequest {
    /// Unix milliseconds from which: the quarter of an hour that they are in is the first that counts.
    pub since_ms: i64,
    /// Unix milliseconds until which: no quarter of an hour that begins at or after them counts.
    pub until_ms: i64,
    /// Most users to return.
    pub limit: u32,
}

/// What a user's requests to all models took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSum {
    /// The user.
    pub user: UserId,
    /// Their name.
    pub name: String,
    /// How many there were.
    pub requests: u64,
    /// Tokens of prompts that the prefix cache had.
    pub hit: u64,
    /// Tokens of prompts that it had not.
    pub miss: u64,
    /// Tokens generated, reasoning included.
    pub output: u64,
    /// Of those, reasoning.
    pub reasoning: u64,
    /// What was taken for them.
    pub cost: Nanos,
}

/// How much was used since a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsedSince {
    /// Requests.
    pub requests: u64,
    /// Tokens, read and written.
    pub tokens: u64,
}

/// Users' money and what they used.
pub trait MeterStore: Send + Sync + Debug {
    /// What a user has.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) if there is no such user.
    fn balance(&self, user: UserId) -> StoreFuture<'_, Balance>;

    /// Gives or takes back credit, and notes it. What is taken back is at most what there is of its kind, and at most
    /// what is not held; nothing is noted if that is nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) if there is no such user,
    /// [`StoreError::Full`](crate::StoreError::Full) if they would have more than 1,000,000,000 units.
    fn add_credit(&self, new: NewCredit) -> StoreFuture<'_, Balance>;

    /// What a user got and lost, but for what requests cost.
    fn credits(&self, page: CreditPageRequest) -> StoreFuture<'_, CreditPage>;

    /// Holds an upper bound of what a request will cost, if the user has it and the key may be used for it. What is held
    /// when the program ends is free when the store is opened again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) for the user or the key,
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) if the id was taken or the amount is less than nothing.
    fn hold(&self, new: NewHold) -> StoreFuture<'_, Held>;

    /// Notes what a request took. With a hold, its cost is taken, from what was granted first and at most what is
    /// held, the rest of the hold is free again, and the key has spent more; without one it costs nothing. All of it or
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) if the hold is gone: it was settled or released before, or
    /// its user is deleted; [`StoreError::Conflict`](crate::StoreError::Conflict) if there is a row with this id.
    fn settle(&self, hold: Option<HoldId>, usage: UsageRow) -> StoreFuture<'_, UsageRow>;

    /// Frees what is held: nothing was used.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) if the hold is gone.
    fn release(&self, hold: HoldId) -> StoreFuture<'_, ()>;

    /// A page of the rows, the newest first.
    fn usage(&self, page: UsageRequest) -> StoreFuture<'_, UsagePage>;

    /// Sums by hour or day and by model, in their order, without those that are nothing. They outlive the rows that
    /// they are over; those of everybody outlive the users too.
    ///
    /// # Errors
    /// [`StoreError::Full`](crate::StoreError::Full) if there are more than 10,000 of them.
    fn usage_sums(&self, request: UsageSumRequest) -> StoreFuture<'_, Vec<UsageSum>>;

    /// Who used the most: sums by user, those that cost the most first, and of the same cost those of the most requests.
    /// Walks the sums of all users.
    fn usage_by_user(&self, request: UserSumRequest) -> StoreFuture<'_, Vec<UserSum>>;

    /// How many requests and tokens there were since a time, from the beginning of the quarter of an hour that it is
    /// in. Requests that go on are not among them.
    fn used_since(&self, of: UsageOf, since_ms: i64) -> StoreFuture<'_, UsedSince>;

    /// Deletes rows from before a time, at most 1,000 of them, and says how many; none when there are no more. Sums
    /// stay.
    fn prune_usage(&self, before_ms: i64) -> StoreFuture<'_, u64>;
}
