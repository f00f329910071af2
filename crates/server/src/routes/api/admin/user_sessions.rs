//! `GET /api/admin/users/{id}/sessions`: the devices on which a user is signed in.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::OfUser;
use super::views::SessionView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize)]
pub(crate) struct Sessions {
    sessions: Vec<SessionView>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    OfUser(id): OfUser,
) -> Result<Json<Sessions>, ApiError> {
    app.store.user(id).await?;
    let sessions = app.store.sessions(id).await?;
    Ok(Json(Sessions { sessions: sessions.into_iter().map(Into::into).collect() }))
}
