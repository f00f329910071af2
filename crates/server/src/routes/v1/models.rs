use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use dialogue::HubListing;
use utoipa::ToSchema;
use wire::anthropic::ModelPage;
use wire::{Model, ModelList};

use crate::accounts::Client;
use crate::app::App;
use crate::error::ApiError;
use crate::layers::anthropic::speaks_anthropic;
use crate::routes::anthropic::models::page;

/// A list in the form of the API that the client speaks.
#[derive(ToSchema)]
#[schema(as = ModelsInEitherForm)]
#[serde(untagged)]
#[expect(dead_code, reason = "the document's: either is made as it is")]
enum InEitherForm {
    OpenAi(ModelList),
    Anthropic(ModelPage),
}

/// The models that can be asked, which are those that are installed and, for whoever is signed in or
/// has a key, that their groups, and the key, let them use. Clients of Anthropic's API get the list in its form.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "models_of_programs",
    tag = "programs",
    responses((status = 200, body = InEitherForm)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let usable = usable(&app, &client).await?;
    if speaks_anthropic(&headers) {
        return Ok(Json(page(usable)).into_response());
    }
    let models = usable.into_iter().map(|listing| Model::new(listing.model.name, 0)).collect();
    Ok(Json(ModelList::new(models)).into_response())
}

/// The models that somebody can ask.
pub(crate) async fn usable(app: &App, client: &Client) -> Result<Vec<HubListing>, ApiError> {
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
    Ok(usable.collect())
}
