use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store::NewAnswer;
use utoipa::ToSchema;

use super::OfMessage;
use super::views::MessageView;
use crate::accounts::{Caller, Standing};
use crate::answers::{Plan, admit_to_conversation, spawn};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RegenerateAsked)]
pub(crate) struct Asked {
    model: Option<String>,
    thinking: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OtherAnswer)]
pub(crate) struct Answer {
    assistant: MessageView,
}

/// Another answer to the same question.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/messages/{message}/regenerate",
    operation_id = "regenerate",
    tag = "chat",
    params(("id" = String, Path), ("message" = String, Path)),
    request_body = Asked,
    responses((status = 201, body = Answer)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    standing: Standing,
    OfMessage(conversation_id, beside): OfMessage,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<Answer>), ApiError> {
    let conversation = app.store.conversation(caller.user, conversation_id).await?;
    let model = asked.model.unwrap_or(conversation.model);
    let answer =
        NewAnswer { conversation_id, beside, model: model.clone(), limits: app.settings.conversation };

    let worker = App::clone(&app);
    let assistant = app
        .detached(async move {
            let admitted = admit_to_conversation(&worker, (caller.user, standing), &model).await?;
            let tokens_max = admitted.tokens_max;
            let plan =
                Plan { model, system: conversation.system, thinking: asked.thinking, tokens_max, standing };
            let _starting = worker.answers.starting().await;
            let added = worker.store.add_answer(caller.user, answer).await;
            let assistant = admitted.begun(&worker, added).await?;
            spawn(&worker, admitted.place, caller.user, assistant.clone(), plan);
            Ok(assistant)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Answer { assistant: assistant.into() })))
}
