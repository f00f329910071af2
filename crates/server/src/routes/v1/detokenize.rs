use axum::Json;
use axum::extract::State;
use wire::tokens::{DetokenizeRequest, TokensText};

use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::generation::{check, lend};

/// The text of tokens, special ones spelled out, in `vLLM`'s form.
#[utoipa::path(
    post,
    path = "/detokenize",
    operation_id = "detokenize",
    tag = "programs",
    request_body = wire::bodies::DetokenizeBody,
    responses((status = 200, body = TokensText)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, room): JsonBytes,
) -> Result<Json<TokensText>, ApiError> {
    let DetokenizeRequest { model, tokens } = DetokenizeRequest::from_json(&body)?;
    drop(body);
    let model = model.unwrap_or_else(|| app.hub.default_model().to_owned());
    let dialogue = lend(&app, &client, &model).await?;
    let bytes = size_of_val(&*tokens);
    let work = move |dialogue: &dialogue::Dialogue| {
        let _room = room;
        dialogue.text_of_tokens(&tokens)
    };
    Ok(Json(TokensText { prompt: check(&app, &dialogue, standing, bytes, work).await? }))
}
