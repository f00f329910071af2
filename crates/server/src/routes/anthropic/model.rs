//! `GET /anthropic/v1/models/{id}`: one of the models that can be asked.

use axum::Json;
use axum::extract::{Path, State};
use dialogue::HubError;
use wire::anthropic::ModelEntry;

use super::models::entry;
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::routes::v1::models::usable;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    Path(id): Path<String>,
) -> Result<Json<ModelEntry>, ApiError> {
    let listed = usable(&app, caller.ok()).await?;
    let names = listed.iter().map(|listing| listing.model.name.clone()).collect();
    match listed.into_iter().find(|listing| listing.model.name == id) {
        Some(listing) => Ok(Json(entry(listing))),
        None => Err(HubError::NotFound { name: id, installed: names }.into()),
    }
}
