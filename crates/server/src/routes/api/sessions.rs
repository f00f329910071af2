use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Devices)]
pub(crate) struct Sessions {
    sessions: Vec<SessionView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
struct SessionView {
    id: String,
    created_ms: i64,
    seen_ms: i64,
    agent: String,
    address: String,
    current: bool,
}

/// The devices on which the caller is signed in.
#[utoipa::path(
    get,
    path = "/api/sessions",
    operation_id = "sessions",
    tag = "account",
    responses((status = 200, body = Sessions)),
)]
pub(crate) async fn handle(State(app): State<App>, caller: Caller) -> Result<Json<Sessions>, ApiError> {
    let sessions = app.store.sessions(caller.user).await?;
    let sessions = sessions.into_iter().map(|session| SessionView {
        current: session.id == caller.session,
        id: session.id.to_string(),
        created_ms: session.created_ms,
        seen_ms: session.seen_ms,
        agent: session.agent,
        address: session.address,
    });
    Ok(Json(Sessions { sessions: sessions.collect() }))
}
