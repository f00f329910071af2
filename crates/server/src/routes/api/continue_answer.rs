use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OfMessage;
use super::views::MessageView;
use crate::accounts::{Caller, Standing};
use crate::answers::{Plan, admit_to_conversation, spawn};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ContinueAnswerAsked)]
pub(crate) struct Asked {}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ContinuedAnswer)]
pub(crate) struct Answer {
    assistant: MessageView,
}

/// An answer that was cut goes on, in its place.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/messages/{message}/continue",
    operation_id = "continue_answer",
    tag = "chat",
    params(("id" = String, Path), ("message" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = Answer)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    standing: Standing,
    OfMessage(conversation_id, id): OfMessage,
    body::Json(Asked {}, _room): body::Json<Asked>,
) -> Result<Json<Answer>, ApiError> {
    let conversation = app.store.conversation(caller.user, conversation_id).await?;
    let answer = app.store.message(caller.user, conversation_id, id).await?;
    // Who said the first part says the rest.
    let model = answer.model.unwrap_or(conversation.model);

    let worker = App::clone(&app);
    let assistant = app
        .detached(async move {
            let admitted = admit_to_conversation(&worker, (caller.user, standing), &model).await?;
            let tokens_max = admitted.tokens_max;
            let plan = Plan { model, system: conversation.system, thinking: None, tokens_max, standing };
            let _starting = worker.answers.starting().await;
            let resumed = worker.store.resume_answer(caller.user, conversation_id, id).await;
            let assistant = admitted.begun(&worker, resumed).await?;
            spawn(&worker, admitted.place, caller.user, assistant.clone(), plan);
            Ok(assistant)
        })
        .await?;
    Ok(Json(Answer { assistant: assistant.into() }))
}
