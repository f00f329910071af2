//! `GET /v1/models`: the models that can be asked, which are those that are installed and, for whoever is signed in, that
//! their groups let them use.

use axum::Json;
use axum::extract::State;
use wire::{Model, ModelList};

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
) -> Result<Json<ModelList>, ApiError> {
    let grant = match caller {
        Ok(caller) => Some(app.store.grant(caller.user).await?),
        Err(_) => None,
    };
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let allowed = |name: &str| grant.as_ref().is_none_or(|grant| grant.allows(name));
    let usable = listed
        .into_iter()
        .filter(|listing| (listing.model.installed || listing.loaded) && allowed(&listing.model.name));
    Ok(Json(ModelList::new(usable.map(|listing| Model::new(listing.model.name, 0)).collect())))
}
