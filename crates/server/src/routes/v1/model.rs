//! `GET /v1/models/{id}`: one of the models that can be asked.

use axum::Json;
use axum::extract::{Path, State};
use dialogue::HubError;
use wire::Model;

use super::models::usable;
use crate::accounts::Client;
use crate::app::App;
use crate::error::{ApiError, shortened};

pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    Path(id): Path<String>,
) -> Result<Json<Model>, ApiError> {
    let names = usable(&app, &client).await?;
    if names.contains(&id) {
        return Ok(Json(Model::new(id, 0)));
    }
    Err(HubError::NotFound { name: shortened(&id).to_owned(), installed: names }.into())
}
