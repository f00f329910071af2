use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::OfUser;
use super::views::SessionView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminDevices)]
pub(crate) struct Sessions {
    sessions: Vec<SessionView>,
}

/// The devices on which a user is signed in.
#[utoipa::path(
    get,
    path = "/api/admin/users/{id}/sessions",
    operation_id = "admin_user_sessions",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = Sessions)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    OfUser(id): OfUser,
) -> Result<Json<Sessions>, ApiError> {
    app.store.user(id).await?;
    let sessions = app.store.sessions(id).await?;
    Ok(Json(Sessions { sessions: sessions.into_iter().map(Into::into).collect() }))
}
