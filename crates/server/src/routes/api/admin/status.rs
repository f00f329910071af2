use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerStatus)]
pub(crate) struct Status {
    version: &'static str,
    started_ms: i64,
    users: u64,
    /// Devices that are signed in.
    sessions: u64,
    /// Being written.
    answers: usize,
    connections: usize,
    /// Those that are on this machine.
    models: Vec<Model>,
    database_bytes: u64,
    /// Whether strangers may make an account.
    sign_up: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerModel)]
struct Model {
    name: String,
    loaded: bool,
}

/// How the server is.
#[utoipa::path(
    get,
    path = "/api/admin/status",
    operation_id = "admin_status",
    tag = "admin",
    responses((status = 200, body = Status)),
)]
pub(crate) async fn handle(State(app): State<App>, _operator: Operator) -> Result<Json<Status>, ApiError> {
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let here = listed.into_iter().filter(|listing| listing.loaded || listing.model.installed);
    let models = here.map(|listing| Model { loaded: listing.loaded, name: listing.model.name });
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        started_ms: app.started_ms,
        users: app.store.users_count().await?,
        sessions: app.store.sessions_count().await?,
        answers: app.answers.len(),
        connections: app.metrics.connections(),
        models: models.collect(),
        database_bytes: app.store.bytes().await?,
        sign_up: app.settings.sign_up,
    }))
}
