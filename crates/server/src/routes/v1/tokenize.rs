use axum::Json;
use axum::extract::State;
use wire::tokens::{TokenizeRequest, Tokens};

use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::generation::{check, lend};

/// The tokens of a text, in `vLLM`'s form. Names of special tokens in it are those tokens, as programs that measure models
/// expect; in prompts and messages they are plain text.
#[utoipa::path(
    post,
    path = "/tokenize",
    operation_id = "tokenize",
    tag = "programs",
    request_body = wire::bodies::TokenizeBody,
    responses((status = 200, body = Tokens)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, room): JsonBytes,
) -> Result<Json<Tokens>, ApiError> {
    let TokenizeRequest { model, prompt, add_special_tokens, return_token_strs } =
        TokenizeRequest::from_json(&body)?;
    drop(body);
    let model = model.unwrap_or_else(|| app.hub.default_model().to_owned());
    let dialogue = lend(&app, &client, &model).await?;
    let bytes = prompt.len();
    let work = move |dialogue: &dialogue::Dialogue| {
        let _room = room;
        let tokens = dialogue.tokens_of_markup(&prompt, add_special_tokens)?;
        let spelled = |tokens: &[u32]| tokens.iter().map(|&token| dialogue.spell(token).0).collect();
        Ok(Tokens {
            count: tokens.len(),
            max_model_len: dialogue.context(),
            token_strs: return_token_strs.then(|| spelled(&tokens)),
            tokens,
        })
    };
    Ok(Json(check(&app, &dialogue, standing, bytes, work).await?))
}
