use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use store::UserSearch;
use utoipa::{IntoParams, ToSchema};

use super::super::page_limit;
use super::views::UserCardView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// Longer than any name and any address.
const TEXT_BYTES_MAX: usize = 512;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    q: Option<String>,
    after: Option<String>,
    limit: Option<String>,
    login: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountPage)]
pub(crate) struct Page {
    users: Vec<UserCardView>,
    next: Option<String>,
    total: u64,
}

/// A page of the users whose name or address holds a text, by name; with
/// `?login`, the one who would sign in with it, if anybody.
#[utoipa::path(
    get,
    path = "/api/admin/users",
    operation_id = "admin_users",
    tag = "admin",
    params(Asked),
    responses((status = 200, body = Page)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    let Query(asked) = asked.map_err(|error| {
        let message =
            format!("the query takes one q, one after and one limit, or one login: {}", error.body_text());
        ApiError::invalid("q", message)
    })?;
    if let Some(login) = check_bytes("login", asked.login)? {
        let user = match app.store.user_by_login(login).await? {
            Some(user) => Some(app.store.user_card(user.id).await?),
            None => None,
        };
        let users: Vec<UserCardView> = user.into_iter().map(Into::into).collect();
        return Ok(Json(Page { total: users.len() as u64, users, next: None }));
    }
    let search = UserSearch {
        holding: check_bytes("q", asked.q)?.unwrap_or_default(),
        limit: page_limit(&app, asked.limit.as_deref())?,
        after: check_bytes("after", asked.after)?.filter(|after| !after.is_empty()),
    };
    let page = app.store.search_users(search).await?;
    Ok(Json(Page {
        users: page.users.into_iter().map(Into::into).collect(),
        next: page.next,
        total: page.total,
    }))
}

fn check_bytes(param: &'static str, given: Option<String>) -> Result<Option<String>, ApiError> {
    match given {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            let message =
                format!("{param} may have at most {TEXT_BYTES_MAX} bytes, this one has {}", text.len());
            Err(ApiError::invalid(param, message))
        }
        given => Ok(given),
    }
}
