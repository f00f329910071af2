use axum::Json;
use axum::extract::State;
use dialogue::HubListing;
use wire::anthropic::{ModelEntry, ModelPage};

use crate::accounts::Client;
use crate::app::App;
use crate::error::ApiError;
use crate::routes::v1::models::usable;

/// The models that can be asked, in Anthropic's form.
#[utoipa::path(
    get,
    path = "/anthropic/v1/models",
    operation_id = "anthropic_models",
    tag = "programs",
    responses((status = 200, body = ModelPage)),
)]
pub(crate) async fn handle(State(app): State<App>, client: Client) -> Result<Json<ModelPage>, ApiError> {
    Ok(Json(page(usable(&app, &client).await?)))
}

/// All of them, on one page.
pub(crate) fn page(listed: Vec<HubListing>) -> ModelPage {
    ModelPage::new(listed.into_iter().map(entry).collect())
}

/// One of them.
pub(crate) fn entry(HubListing { model, .. }: HubListing) -> ModelEntry {
    ModelEntry::new(model.name, model.title, model.context)
}
