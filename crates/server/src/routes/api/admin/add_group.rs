//! `POST /api/admin/groups`: a new group without members. It has all models and no limits unless the body says which.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use store::{GroupLimits, NewGroup};

use super::views::GroupView;
use super::{AskedLimits, check_models};
use crate::accounts::{Admin, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    name: String,
    models: Option<Vec<String>>,
    #[serde(default)]
    limits: AskedLimits,
}

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
