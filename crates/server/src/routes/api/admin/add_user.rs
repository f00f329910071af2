use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store::{NewUser, UserRole};
use utoipa::ToSchema;

use super::super::words::Role;
use super::views::UserCardView;
use super::{check_groups, given_or_random, of_groups};
use crate::accounts::{Admin, Password, Standing, check_email, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminAddUserAsked)]
pub(crate) struct Asked {
    name: String,
    email: Option<String>,
    role: Option<Role>,
    password: Option<Password>,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AddedAccount)]
pub(crate) struct Made {
    user: UserCardView,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    password: Option<String>,
}

/// A new account. Where no password is given, one is made, which this answer alone shows.
#[utoipa::path(
    post,
    path = "/api/admin/users",
    operation_id = "admin_add_user",
    tag = "admin",
    request_body = Asked,
    responses((status = 201, body = Made)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<Made>), ApiError> {
    let name = check_name(&asked.name)?;
    let email = check_email(asked.email.as_deref())?;
    let groups = check_groups(&asked.groups)?;
    let (chosen, shown) = given_or_random(&app, asked.password, &name);
    let password_hash = Some(app.accounts.hasher.hash(chosen, app.random_bytes(), Standing::MACHINE).await?);
    // Only the machine comes here while there is nobody.
    let first = app.store.users_count().await? == 0;
    let role = if first { UserRole::Admin } else { asked.role.map_or(UserRole::User, Into::into) };
    let new = NewUser { name, email, role, password_hash, first };
    let worker = App::clone(&app);
    let card = app
        .detached(async move {
            let card = worker.store.add_user_to(new, groups).await.map_err(of_groups)?;
            if first {
                worker.accounts.setup.close();
            }
            worker.welcome(card.user.id).await;
            worker.audit_by(&operator, "user_added", Some(card.user.id)).await;
            Ok(card)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Made { user: card.into(), password: shown })))
}
