//! `POST /api/conversations/{id}/messages/{message}/regenerate`: another answer to the same question.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store::NewAnswer;

use super::views::MessageView;
use super::{OfMessage, check_model};
use crate::accounts::Caller;
use crate::answers::{Plan, spawn};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    model: Option<String>,
    thinking: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    assistant: MessageView,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfMessage(conversation_id, beside): OfMessage,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<Answer>), ApiError> {
    let conversation = app.store.conversation(caller.user, conversation_id).await?;
    let model = asked.model.unwrap_or(conversation.model);
    check_model(&app, &model).await?;
    let plan = Plan { model: model.clone(), system: conversation.system, thinking: asked.thinking };
    let answer = NewAnswer { conversation_id, beside, model, limits: app.settings.conversation };

    let place = app.answers.reserve()?;
    let worker = App::clone(&app);
    let assistant = app
        .detached(async move {
            let _starting = worker.answers.starting().await;
            let assistant = worker.store.add_answer(caller.user, answer).await?;
            spawn(&worker, place, caller.user, assistant.clone(), plan);
            Ok(assistant)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Answer { assistant: assistant.into() })))
}
