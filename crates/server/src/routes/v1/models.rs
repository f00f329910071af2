//! `GET /v1/models`: the models that can be asked, which are those that are installed and, for whoever is signed in or
//! has a key, that their groups, and the key, let them use.

use axum::Json;
use axum::extract::State;
use wire::{Model, ModelList};

use crate::accounts::Client;
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(State(app): State<App>, client: Client) -> Result<Json<ModelList>, ApiError> {
    let names = usable(&app, &client).await?;
    Ok(Json(ModelList::new(names.into_iter().map(|name| Model::new(name, 0)).collect())))
}

/// The names of the models that somebody can ask.
pub(super) async fn usable(app: &App, client: &Client) -> Result<Vec<String>, ApiError> {
    let grant = match client.user() {
        Some(user) => Some(app.store.grant(user).await?),
        None => None,
    };
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let allowed = |name: &str| grant.as_ref().is_none_or(|grant| grant.allows(name)) && client.allows(name);
    let usable = listed
        .into_iter()
        .filter(|listing| (listing.model.installed || listing.loaded) && allowed(&listing.model.name));
    Ok(usable.map(|listing| listing.model.name).collect())
}
