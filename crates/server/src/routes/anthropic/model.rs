use axum::Json;
use axum::extract::{Path, State};
use wire::anthropic::ModelEntry;

use super::models::entry;
use crate::accounts::Client;
use crate::app::App;
use crate::error::ApiError;
use crate::routes::v1::model::find;

/// One of the models that can be asked, in Anthropic's form.
#[utoipa::path(
    get,
    path = "/anthropic/v1/models/{id}",
    operation_id = "anthropic_model",
    tag = "programs",
    params(("id" = String, Path)),
    responses((status = 200, body = ModelEntry)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    Path(id): Path<String>,
) -> Result<Json<ModelEntry>, ApiError> {
    Ok(Json(entry(find(&app, &client, &id).await?)))
}
