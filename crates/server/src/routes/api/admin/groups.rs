//! `GET /api/admin/groups`: all groups, by name.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::views::GroupView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize)]
pub(crate) struct Groups {
    groups: Vec<GroupView>,
}

pub(crate) async fn handle(State(app): State<App>, _operator: Operator) -> Result<Json<Groups>, ApiError> {
    let groups = app.store.groups().await?;
    Ok(Json(Groups { groups: groups.into_iter().map(Into::into).collect() }))
}
