//! `GET /api/models`: every model that there is, installed or not.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize)]
pub(crate) struct Models {
    models: Vec<Model>,
    default: String,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    title: String,
    installed: bool,
    loaded: bool,
    context: usize,
    thinking: &'static str,
    parameters: u64,
    bytes: u64,
}

pub(crate) async fn handle(State(app): State<App>, _caller: Caller) -> Result<Json<Models>, ApiError> {
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let models = listed.into_iter().map(|listing| Model {
        installed: listing.model.installed,
        loaded: listing.loaded,
        context: listing.model.context,
        thinking: listing.model.thinking.name(),
        parameters: listing.model.parameters,
        bytes: listing.model.bytes,
        name: listing.model.name,
        title: listing.model.title,
    });
    Ok(Json(Models { models: models.collect(), default: app.hub.default_model().to_owned() }))
}
