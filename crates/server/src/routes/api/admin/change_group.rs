use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use store::GroupChange;
use utoipa::ToSchema;

use super::views::GroupView;
use super::{AskedLimits, OfGroup, check_models};
use crate::accounts::{Admin, check_name};
use crate::app::App;
use crate::body::{self, Given};
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminChangeGroupAsked)]
pub(crate) struct Asked {
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    models: Given<Vec<String>>,
    limits: Option<AskedLimits>,
}

/// Another name, other models or limits. Counts at the next answer of its members.
#[utoipa::path(
    patch,
    path = "/api/admin/groups/{id}",
    operation_id = "admin_change_group",
    tag = "admin",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = GroupView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfGroup(id): OfGroup,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<GroupView>, ApiError> {
    let before = app.store.group(id).await?;
    let change = GroupChange {
        name: asked.name.as_deref().map(check_name).transpose()?,
        models: match asked.models {
            Given::Absent => None,
            Given::Null => Some(None),
            Given::Value(models) => Some(Some(check_models(models)?)),
        },
        limits: asked.limits.map(|limits| limits.over(before.limits)).transpose()?,
    };
    let worker = App::clone(&app);
    let changed = app
        .detached(async move {
            let changed = worker.store.change_group(id, change).await?;
            worker.audit_by(&operator, "group_changed", None).await;
            Ok(changed)
        })
        .await?;
    Ok(Json(changed.into()))
}
