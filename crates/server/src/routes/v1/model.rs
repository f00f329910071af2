use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use dialogue::{HubError, HubListing};
use utoipa::ToSchema;
use wire::Model;
use wire::anthropic::ModelEntry;

use super::models::usable;
use crate::accounts::Client;
use crate::app::App;
use crate::error::{ApiError, shortened};
use crate::layers::anthropic::speaks_anthropic;
use crate::routes::anthropic::models::entry;

/// A model in the form of the API that the client speaks.
#[derive(ToSchema)]
#[schema(as = ModelInEitherForm)]
#[serde(untagged)]
#[expect(dead_code, reason = "the document's: either is made as it is")]
enum InEitherForm {
    OpenAi(Model),
    Anthropic(ModelEntry),
}

/// One of the models that can be asked, in the form of the API that the client speaks.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "model_of_programs",
    tag = "programs",
    params(("id" = String, Path)),
    responses((status = 200, body = InEitherForm)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let listing = find(&app, &client, &id).await?;
    Ok(if speaks_anthropic(&headers) {
        Json(entry(listing)).into_response()
    } else {
        Json(Model::new(id, 0)).into_response()
    })
}

/// A model that somebody can ask.
pub(crate) async fn find(app: &App, client: &Client, id: &str) -> Result<HubListing, ApiError> {
    let listed = usable(app, client).await?;
    let installed = listed.iter().map(|listing| listing.model.name.clone()).collect();
    let found = listed.into_iter().find(|listing| listing.model.name == id);
    found.ok_or_else(|| HubError::NotFound { name: shortened(id).to_owned(), installed }.into())
}
