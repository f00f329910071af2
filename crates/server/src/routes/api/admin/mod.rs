//! What operators and administrators do: users, groups, the audit log, the state of the server.

pub(in crate::routes) mod add_credit;
pub(in crate::routes) mod add_group;
pub(in crate::routes) mod add_invitations;
pub(in crate::routes) mod add_user;
pub(in crate::routes) mod add_user_key;
pub(in crate::routes) mod audit;
pub(in crate::routes) mod backup;
pub(in crate::routes) mod change_group;
pub(in crate::routes) mod change_user;
pub(in crate::routes) mod change_user_key;
pub(in crate::routes) mod delete_group;
pub(in crate::routes) mod delete_user;
pub(in crate::routes) mod gate;
pub(in crate::routes) mod group;
pub(in crate::routes) mod groups;
pub(in crate::routes) mod pin_gate;
pub(in crate::routes) mod prices;
pub(in crate::routes) mod reset_factors;
pub(in crate::routes) mod revoke_user_key;
pub(in crate::routes) mod revoke_user_session;
pub(in crate::routes) mod revoke_user_sessions;
pub(in crate::routes) mod rotate_key;
pub(in crate::routes) mod set_password;
pub(in crate::routes) mod status;
pub(in crate::routes) mod usage;
pub(in crate::routes) mod usage_csv;
pub(in crate::routes) mod usage_sums;
pub(in crate::routes) mod user;
pub(in crate::routes) mod user_balance;
pub(in crate::routes) mod user_keys;
pub(in crate::routes) mod user_sessions;
pub(in crate::routes) mod users;
mod views;

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use serde::Deserialize;
use store::{GroupId, GroupLimits, KeyId, SessionId, StoreError, UserId};
use utoipa::ToSchema;

use super::id_in_path;
use crate::accounts::{Chosen, Password, random_password};
use crate::app::App;
use crate::body::Given;
use crate::error::ApiError;
use crate::routes::Audience;

/// A method of a path, and whom it answers.
pub(in crate::routes) type Endpoint = (&'static str, &'static str, Audience, MethodRouter<App>);

/// All of it, one row for each method.
pub(in crate::routes) fn endpoints() -> Vec<Endpoint> {
    use Audience::{Admin, Operator};
    let users = "/api/admin/users";
    let user = "/api/admin/users/{id}";
    let sessions = "/api/admin/users/{id}/sessions";
    let keys = "/api/admin/users/{id}/keys";
    let key = "/api/admin/users/{id}/keys/{key}";
    let groups = "/api/admin/groups";
    let group = "/api/admin/groups/{id}";
    let gate = "/api/admin/gate";
    vec![
        ("GET", users, Operator, get(users::handle)),
        ("POST", users, Admin, post(add_user::handle)),
        ("GET", user, Operator, get(user::handle)),
        ("PATCH", user, Operator, patch(change_user::handle)),
        ("DELETE", user, Admin, delete(delete_user::handle)),
        ("POST", "/api/admin/users/{id}/password", Operator, post(set_password::handle)),
        ("DELETE", "/api/admin/users/{id}/factors", Operator, delete(reset_factors::handle)),
        ("GET", sessions, Operator, get(user_sessions::handle)),
        ("DELETE", sessions, Operator, delete(revoke_user_sessions::handle)),
        ("DELETE", "/api/admin/users/{id}/sessions/{session}", Operator, delete(revoke_user_session::handle)),
        ("GET", keys, Operator, get(user_keys::handle)),
        ("POST", keys, Admin, post(add_user_key::handle)),
        ("PATCH", key, Admin, patch(change_user_key::handle)),
        ("DELETE", key, Operator, delete(revoke_user_key::handle)),
        ("GET", "/api/admin/users/{id}/balance", Operator, get(user_balance::handle)),
        ("POST", "/api/admin/users/{id}/credit", Admin, post(add_credit::handle)),
        ("GET", "/api/admin/usage", Operator, get(usage::handle)),
        ("GET", "/api/admin/usage/sums", Operator, get(usage_sums::handle)),
        ("GET", "/api/admin/usage.csv", Operator, get(usage_csv::handle)),
        ("GET", "/api/admin/prices", Operator, get(prices::handle)),
        ("GET", groups, Operator, get(groups::handle)),
        ("POST", groups, Admin, post(add_group::handle)),
        ("GET", group, Operator, get(group::handle)),
        ("PATCH", group, Admin, patch(change_group::handle)),
        ("DELETE", group, Admin, delete(delete_group::handle)),
        ("GET", gate, Operator, get(gate::handle)),
        ("PUT", gate, Operator, put(pin_gate::handle)),
        ("POST", "/api/admin/invitations", Admin, post(add_invitations::handle)),
        ("GET", "/api/admin/audit", Operator, get(audit::handle)),
        ("GET", "/api/admin/status", Operator, get(status::handle)),
        ("GET", "/api/admin/backup", Admin, get(backup::handle).head(backup::head)),
        ("POST", "/api/admin/rotate-key", Admin, post(rotate_key::handle)),
    ]
}

/// The user that a path names. Text that is no id names nobody.
pub(crate) struct OfUser(UserId);

/// The session that a path names, and the user that the path says it belongs to.
pub(crate) struct OfSession(UserId, SessionId);

/// The key that a path names, and the user that the path says it belongs to.
pub(crate) struct OfUserKey(UserId, KeyId);

/// The group that a path names.
pub(crate) struct OfGroup(GroupId);

impl FromRequestParts<App> for OfUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        id_in_path(parts, app, "user").await.map(Self)
    }
}

impl FromRequestParts<App> for OfSession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let named = Path::<(String, String)>::from_request_parts(parts, app).await.ok();
        let ids = named.and_then(|Path((user, session))| Some((user.parse().ok()?, session.parse().ok()?)));
        ids.map(|(user, session)| Self(user, session))
            .ok_or_else(|| ApiError::not_found("there is no such session"))
    }
}

impl FromRequestParts<App> for OfUserKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let named = Path::<(String, String)>::from_request_parts(parts, app).await.ok();
        let ids = named.and_then(|Path((user, key))| Some((user.parse().ok()?, key.parse().ok()?)));
        ids.map(|(user, key)| Self(user, key)).ok_or_else(|| ApiError::not_found("there is no such key"))
    }
}

impl FromRequestParts<App> for OfGroup {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        id_in_path(parts, app, "group").await.map(Self)
    }
}

const GROUPS_OF_USER_MAX: usize = 100;

/// The groups that a body names, as ids.
fn check_groups(given: &[String]) -> Result<Vec<GroupId>, ApiError> {
    if given.len() > GROUPS_OF_USER_MAX {
        let message =
            format!("groups may have at most {GROUPS_OF_USER_MAX} ids, this one has {}", given.len());
        return Err(ApiError::invalid("groups", message));
    }
    given.iter().map(|id| id.parse().map_err(|_| no_group())).collect()
}

fn no_group() -> ApiError {
    ApiError::invalid("groups", "groups must be ids of groups, and one of these is none")
}

/// A group that a body named and that is not there is the body's mistake, not the path's.
fn of_groups(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound { what: "group" } => no_group(),
        error => error.into(),
    }
}

/// The password that was given, or a new one, whose text is to be shown.
fn given_or_random(app: &App, given: Option<Password>, name: &str) -> (Chosen, Option<String>) {
    let shown = given.is_none().then(|| random_password(app.random_bytes()));
    let password = given.unwrap_or_else(|| Password::from(shown.clone().unwrap_or_default()));
    (Chosen { password, param: "password", name: name.to_owned() }, shown)
}

const MODELS_MAX: usize = 256;
const MODEL_CHARS_MAX: usize = 200;

/// Names of models. They need not be there: one may be pulled later.
pub(in crate::routes) fn check_models(given: Vec<String>) -> Result<Vec<String>, ApiError> {
    if given.len() > MODELS_MAX {
        let message = format!("models may have at most {MODELS_MAX} names, this one has {}", given.len());
        return Err(ApiError::invalid("models", message));
    }
    let good = |name: &String| {
        let chars = name.chars().count();
        (1..=MODEL_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control)
    };
    if !given.iter().all(good) {
        let message = format!("a model's name has 1 to {MODEL_CHARS_MAX} characters, none of them a control");
        return Err(ApiError::invalid("models", message));
    }
    Ok(given)
}

/// Limits as a body has them: a field that is absent stays as it is, `null` is without limit.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct AskedLimits {
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    answers_at_once: Given<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    messages_per_day: Given<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    output_tokens_max: Given<u32>,
}

/// More than any machine of today could use: what is meant by it is "without limit".
const LIMIT_MAX: u32 = 100_000_000;

impl AskedLimits {
    fn over(self, before: GroupLimits) -> Result<GroupLimits, ApiError> {
        let change = |given: Given<u32>, before, name: &str, least| match given {
            Given::Absent => Ok(before),
            Given::Null => Ok(None),
            Given::Value(value) if (least..=LIMIT_MAX).contains(&value) => Ok(Some(value)),
            Given::Value(value) => {
                let message = format!("{name} must be null or between {least} and {LIMIT_MAX}, got {value}");
                Err(ApiError::invalid("limits", message))
            }
        };
        Ok(GroupLimits {
            answers_at_once: change(self.answers_at_once, before.answers_at_once, "answers_at_once", 0)?,
            messages_per_day: change(self.messages_per_day, before.messages_per_day, "messages_per_day", 0)?,
            output_tokens_max: change(
                self.output_tokens_max,
                before.output_tokens_max,
                "output_tokens_max",
                1,
            )?,
        })
    }
}

/// What went wrong with the keys or with a copy, for an administrator, who is the one to do something about it.
fn vault_error(error: StoreError) -> ApiError {
    let status = match &error {
        StoreError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::File { .. }
        | StoreError::KeyMissing { .. }
        | StoreError::KeyExposed { .. }
        | StoreError::KeyUnusable { .. }
        | StoreError::KeyWrong { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        _ => return error.into(),
    };
    let message = error.to_string();
    ApiError::new(status, "vault_failed", message.clone()).with_note(message)
}
