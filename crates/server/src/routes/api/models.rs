use axum::Json;
use axum::extract::State;
use dialogue::Thinking;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Caller;
use crate::answers::default_model;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatModels)]
pub(crate) struct Models {
    models: Vec<Model>,
    default: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatModel)]
struct Model {
    name: String,
    title: String,
    installed: bool,
    loaded: bool,
    context: usize,
    thinking: ModelThinking,
    parameters: u64,
    bytes: u64,
}

/// Whether a model thinks before it answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModelThinking {
    None,
    Always,
    Switchable,
}

impl From<Thinking> for ModelThinking {
    fn from(thinking: Thinking) -> Self {
        match thinking {
            Thinking::None => Self::None,
            Thinking::Always => Self::Always,
            Thinking::Switchable => Self::Switchable,
        }
    }
}

/// Every model that there is and that the caller may use, installed or not.
#[utoipa::path(
    get,
    path = "/api/models",
    operation_id = "models",
    tag = "chat",
    responses((status = 200, body = Models)),
)]
pub(crate) async fn handle(State(app): State<App>, caller: Caller) -> Result<Json<Models>, ApiError> {
    let grant = app.store.grant(caller.user).await?;
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    let default = default_model(&app, &listed, &grant);
    let models =
        listed.into_iter().filter(|listing| grant.allows(&listing.model.name)).map(|listing| Model {
            installed: listing.model.installed,
            loaded: listing.loaded,
            context: listing.model.context,
            thinking: listing.model.thinking.into(),
            parameters: listing.model.parameters,
            bytes: listing.model.bytes,
            name: listing.model.name,
            title: listing.model.title,
        });
    Ok(Json(Models { models: models.collect(), default }))
}
