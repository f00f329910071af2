use axum::Json;
use axum::extract::State;
use dialogue::DialogueError;
use wire::anthropic::{CountTokensRequest, InputTokens};

use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::bulwark::Wish;
use crate::error::ApiError;
use crate::generation::{check, lend};

/// How many tokens a conversation has, as the model would be shown it. Nothing
/// is generated, and nothing is counted to anybody.
#[utoipa::path(
    post,
    path = "/anthropic/v1/messages/count_tokens",
    operation_id = "anthropic_count_tokens",
    tag = "programs",
    request_body = wire::bodies::CountTokensBody,
    responses((status = 200, body = InputTokens)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, _room): JsonBytes,
) -> Result<Json<InputTokens>, ApiError> {
    let request = CountTokensRequest::from_json(&body)?;
    drop(body);
    let dialogue = lend(&app, &client, &request.model).await?;
    let asked = super::asked(request);
    let bytes = Wish::of_chat(&asked, None).text_bytes;
    let count = move |dialogue: &dialogue::Dialogue| match dialogue.check(&asked) {
        Ok(prompt) => Ok(prompt.cost().prompt_tokens),
        // That it doesn't fit is what somebody counts for.
        Err(DialogueError::TooLong { prompt_tokens, .. }) => Ok(prompt_tokens),
        Err(error) => Err(error),
    };
    let input_tokens = check(&app, &dialogue, standing, bytes, count).await?;
    Ok(Json(InputTokens { input_tokens }))
}
