use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use store::{GroupLimits, NewGroup};
use utoipa::ToSchema;

use super::views::GroupView;
use super::{AskedLimits, check_models};
use crate::accounts::{Admin, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminAddGroupAsked)]
pub(crate) struct Asked {
    name: String,
    models: Option<Vec<String>>,
    #[serde(default)]
    limits: AskedLimits,
}

/// A new group without members. It has all models and no limits unless the body says which.
#[utoipa::path(
    post,
    path = "/api/admin/groups",
    operation_id = "admin_add_group",
    tag = "admin",
    request_body = Asked,
    responses((status = 201, body = GroupView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<GroupView>), ApiError> {
    let new = NewGroup {
        name: check_name(&asked.name)?,
        models: asked.models.map(check_models).transpose()?,
        limits: asked.limits.over(GroupLimits::default())?,
    };
    let worker = App::clone(&app);
    let made = app
        .detached(async move {
            let made = worker.store.add_group(new).await?;
            worker.audit_by(&operator, "group_added", None).await;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}
