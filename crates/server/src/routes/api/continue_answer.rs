//! `POST /api/conversations/{id}/messages/{message}/continue`: an answer that was cut goes on, in its place.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::views::MessageView;
use super::{OfMessage, check_model};
use crate::accounts::Caller;
use crate::answers::{Plan, spawn};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    assistant: MessageView,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfMessage(conversation_id, id): OfMessage,
    body::Json(Asked {}, _room): body::Json<Asked>,
) -> Result<Json<Answer>, ApiError> {
    let conversation = app.store.conversation(caller.user, conversation_id).await?;
    let answer = app.store.message(caller.user, conversation_id, id).await?;
    // Who said the first part says the rest.
    let model = answer.model.unwrap_or(conversation.model);
    check_model(&app, &model).await?;
    let plan = Plan { model, system: conversation.system, thinking: None };

    let place = app.answers.reserve()?;
    let worker = App::clone(&app);
    let assistant = app
        .detached(async move {
            let _starting = worker.answers.starting().await;
            let assistant = worker.store.resume_answer(caller.user, conversation_id, id).await?;
            spawn(&worker, place, caller.user, assistant.clone(), plan);
            Ok(assistant)
        })
        .await?;
    Ok(Json(Answer { assistant: assistant.into() }))
}
