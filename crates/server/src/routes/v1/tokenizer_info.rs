use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use wire::tokens::TokenizerInfo;

use crate::accounts::Client;
use crate::app::App;
use crate::error::ApiError;
use crate::generation::lend;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The model whose tokenizer it is; the server's default if not set.
    model: Option<String>,
}

/// What a model's tokenizer writes by name, and its chat template, in `vLLM`'s form.
#[utoipa::path(
    get,
    path = "/tokenizer_info",
    operation_id = "tokenizer_info",
    tag = "programs",
    params(Asked),
    responses((status = 200, body = TokenizerInfo)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<TokenizerInfo>, ApiError> {
    let Query(asked) = asked.map_err(|error| {
        ApiError::invalid("model", format!("the query takes one model: {}", error.body_text()))
    })?;
    let model = asked.model.unwrap_or_else(|| app.hub.default_model().to_owned());
    let dialogue = lend(&app, &client, &model).await?;
    let specials = dialogue.special_texts();
    Ok(Json(TokenizerInfo {
        vocab_size: dialogue.info().vocab_size,
        model_max_length: dialogue.context(),
        bos_token: specials.bos,
        eos_token: specials.eos,
        pad_token: specials.padding,
        unk_token: specials.unknown,
        chat_template: dialogue.template_source().map(str::to_owned),
        model,
    }))
}
