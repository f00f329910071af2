//! What operators see of users, and what they change.

use crate::{AuditEntry, GroupId, User, UserId, UserRole};

/// Which users to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserSearch {
    /// What the name or the email address holds, however it is written; empty for all.
    pub holding: String,
    /// Most users to return.
    pub limit: u32,
    /// The name after which the page begins; `None` for the first page. There need not be such a user any more.
    pub after: Option<String>,
}

/// A part of what a search finds, by folded name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSearchPage {
    /// At most `limit` of them.
    pub users: Vec<UserCard>,
    /// The name after which the next page begins; `None` if this is the last.
    pub next: Option<String>,
    /// How many the search finds on all pages.
    pub total: u64,
}

/// A user and what operators see besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCard {
    /// The user.
    pub user: User,
    /// The groups that they were put into; the one of everybody is not among them.
    pub groups: Vec<GroupId>,
    /// Whether they sign in with one-time codes besides the password.
    pub totp: bool,
    /// How many passkeys they have.
    pub passkeys: u64,
    /// With how many accounts elsewhere they sign in.
    pub links: u64,
    /// Unix milliseconds of when one of their live sessions was seen last.
    pub seen_ms: Option<i64>,
}

/// Fields to change; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The new name.
    pub name: Option<String>,
    /// The new email address; `Some(None)` takes it away.
    pub email: Option<Option<String>>,
    /// What they may do from now on.
    pub role: Option<UserRole>,
    /// Unix milliseconds since which they may not sign in; `Some(None)` lets them sign in again.
    pub disabled_ms: Option<Option<i64>>,
    /// The groups that they are in from now on.
    pub groups: Option<Vec<GroupId>>,
}

/// Which part of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPageRequest {
    /// Whom the entries concern; `None` for all and nobody.
    pub user: Option<UserId>,
    /// Only entries with smaller numbers; `None` for the first page.
    pub before: Option<i64>,
    /// Most entries to return.
    pub limit: u32,
}

/// A part of the audit log, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// At most `limit` of them.
    pub entries: Vec<AuditRow>,
    /// The number before which the next page begins; `None` if this is the last.
    pub next: Option<i64>,
}

/// An entry and the names of those in it who are still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the log.
    pub number: i64,
    /// What happened.
    pub entry: AuditEntry,
    /// Whom it concerns.
    pub user_name: Option<String>,
    /// Who did it.
    pub by_name: Option<String>,
}
