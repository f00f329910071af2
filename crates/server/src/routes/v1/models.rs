//! `GET /v1/models`: the models that can be asked, which are those that are installed.

use axum::Json;
use axum::extract::State;
use wire::{Model, ModelList};

use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(State(app): State<App>) -> Result<Json<ModelList>, ApiError> {
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let usable = listed.into_iter().filter(|listing| listing.model.installed || listing.loaded);
    Ok(Json(ModelList::new(usable.map(|listing| Model::new(listing.model.name, 0)).collect())))
}
