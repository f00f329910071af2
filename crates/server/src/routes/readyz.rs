//! `GET /readyz`: requests can be answered: the database does, and the default model is loaded or can be.

use axum::extract::State;

use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.is_draining() {
        return Err(ApiError::busy("shutting_down", "the server is shutting down"));
    }
    app.store.ping().await.map_err(|error| {
        tracing::error!(%error, "the database does not answer");
        ApiError::busy("database_busy", "the database does not answer")
    })?;
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let default = app.hub.default_model();
    match listed.iter().find(|listing| listing.model.name == default) {
        Some(listing) if listing.loaded || listing.model.installed => Ok("ready\n"),
        _ => Err(ApiError::busy(
            "model_not_installed",
            format!("the default model {default:?} is not installed"),
        )),
    }
}
