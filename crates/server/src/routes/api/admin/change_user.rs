use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use store::{UserCard, UserChange};
use utoipa::ToSchema;

use super::super::words::Role;
use super::views::UserCardView;
use super::{OfUser, check_groups, of_groups};
use crate::accounts::{Operator, check_email, check_name};
use crate::app::App;
use crate::body::{self, Given};
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminChangeUserAsked)]
pub(crate) struct Asked {
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    email: Given<String>,
    role: Option<Role>,
    disabled: Option<bool>,
    groups: Option<Vec<String>>,
}

impl Asked {
    /// Whether it is nothing that needs an administrator.
    fn is_light(&self) -> bool {
        let Self { name, email, role, disabled: _, groups } = self;
        name.is_none() && matches!(email, Given::Absent) && role.is_none() && groups.is_none()
    }

    fn check(self, before: &UserCard, now_ms: i64) -> Result<UserChange, ApiError> {
        let since_ms = before.user.disabled_ms.unwrap_or(now_ms);
        Ok(UserChange {
            name: self.name.as_deref().map(check_name).transpose()?,
            email: match self.email {
                Given::Absent => None,
                Given::Null => Some(None),
                Given::Value(email) => Some(check_email(Some(&email))?),
            },
            role: self.role.map(Into::into),
            disabled_ms: self.disabled.map(|disabled| disabled.then_some(since_ms)),
            groups: self.groups.as_deref().map(check_groups).transpose()?,
        })
    }
}

/// Another name, address or role, other groups, or disabled or not. Operators may only
/// do the last, and only to plain users.
#[utoipa::path(
    patch,
    path = "/api/admin/users/{id}",
    operation_id = "admin_change_user",
    tag = "admin",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = UserCardView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    OfUser(id): OfUser,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<UserCardView>, ApiError> {
    if !asked.is_light() {
        operator.must_be_admin()?;
    }
    let before = app.store.user_card(id).await?;
    operator.may_look_after(&before.user)?;
    let now_ms = app.clock.unix_ms();
    let change = asked.check(&before, now_ms)?;
    let worker = App::clone(&app);
    let after = app
        .detached(async move {
            let after = worker.store.change_user(id, change).await.map_err(of_groups)?;
            if after.user.disabled_ms.is_some() {
                worker.accounts.load(&*worker.store, now_ms, Duration::ZERO).await?;
                worker.answers.stop_all_of(id).await;
            }
            for event in events(&before, &after) {
                worker.audit_by(&operator, event, Some(id)).await;
            }
            Ok(after)
        })
        .await?;
    Ok(Json(after.into()))
}

/// What has happened, in the audit's words.
fn events(before: &UserCard, after: &UserCard) -> Vec<&'static str> {
    let mut events = Vec::new();
    if (&before.user.name, &before.user.email) != (&after.user.name, &after.user.email) {
        events.push("user_renamed");
    }
    if before.user.role != after.user.role {
        events.push("role_changed");
    }
    match (before.user.disabled_ms, after.user.disabled_ms) {
        (None, Some(_)) => events.push("user_disabled"),
        (Some(_), None) => events.push("user_enabled"),
        _ => {}
    }
    if before.groups != after.groups {
        events.push("groups_changed");
    }
    events
}
