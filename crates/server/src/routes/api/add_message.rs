use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store::{NewTurn, ParentChoice};
use utoipa::ToSchema;

use super::OfConversation;
use super::views::MessageView;
use crate::accounts::{Caller, Standing};
use crate::answers::{Plan, admit_to_conversation, spawn};
use crate::app::App;
use crate::body::{self, Given};
use crate::error::ApiError;

/// Characters of the question that make the title of a conversation without one.
const TITLE_CHARS: usize = 60;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddMessageAsked)]
pub(crate) struct Asked {
    content: String,
    /// Absent: under the newest message. `null`: a new first message.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    parent_id: Given<String>,
    thinking: Option<bool>,
    model: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Turn {
    user: MessageView,
    assistant: MessageView,
}

/// A question, and its answer, which begins to be written.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/messages",
    operation_id = "add_message",
    tag = "chat",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 201, body = Turn)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    standing: Standing,
    OfConversation(conversation_id): OfConversation,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<Turn>), ApiError> {
    check_content(&app, &asked.content)?;
    let conversation = app.store.conversation(caller.user, conversation_id).await?;
    let model = asked.model.unwrap_or(conversation.model);
    let turn = NewTurn {
        conversation_id,
        parent: match asked.parent_id {
            Given::Absent => ParentChoice::Newest,
            Given::Null => ParentChoice::Root,
            Given::Value(parent) => ParentChoice::Message(
                parent.parse().map_err(|_| ApiError::not_found("there is no such message"))?,
            ),
        },
        title_if_none: title(&asked.content),
        content: asked.content,
        model: model.clone(),
        limits: app.settings.conversation,
    };

    let worker = App::clone(&app);
    let turn = app
        .detached(async move {
            let admitted = admit_to_conversation(&worker, (caller.user, standing), &model).await?;
            let tokens_max = admitted.tokens_max;
            let plan =
                Plan { model, system: conversation.system, thinking: asked.thinking, tokens_max, standing };
            let starting = worker.answers.starting().await;
            let added = worker.store.add_turn(caller.user, turn).await;
            let turn = admitted.begun(&worker, added).await?;
            // The model begins while the disk is waited for: what is acknowledged is on it.
            spawn(&worker, admitted.place, caller.user, turn.assistant.clone(), plan);
            drop(starting);
            worker.store.on_disk().await?;
            Ok(turn)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Turn { user: turn.user.into(), assistant: turn.assistant.into() })))
}

fn check_content(app: &App, content: &str) -> Result<(), ApiError> {
    if content.trim().is_empty() {
        return Err(ApiError::invalid("content", "content must not be empty"));
    }
    let (allowed, given) = (app.settings.message_bytes_max, content.len());
    if given > allowed {
        let message = format!("content may have at most {allowed} bytes, this one has {given}");
        return Err(
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "message_too_large", message).with_param("content")
        );
    }
    Ok(())
}

/// The beginning of the question, on one line, cut between words where there are any.
fn title(content: &str) -> String {
    let mut title = String::new();
    let mut chars = 0;
    for word in content.split_whitespace() {
        let room = TITLE_CHARS.saturating_sub(chars + usize::from(chars > 0));
        let given = word.chars().count();
        if given > room {
            if title.is_empty() {
                title.extend(word.chars().take(TITLE_CHARS));
            }
            title.push('…');
            break;
        }
        if chars > 0 {
            title.push(' ');
            chars += 1;
        }
        title.push_str(word);
        chars += given;
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expected: &str) {
        assert_eq!(title(content), expected);
    }

    #[test]
    fn titles_are_short_and_on_one_line() {
        check("How deep?", "How deep?");
        check("  How\n\tdeep \u{a0} do they\r\n go?  ", "How deep do they go?");
        check(
            "How deep do sperm whales dive when they hunt for giant squid in winter?",
            "How deep do sperm whales dive when they hunt for giant squid…",
        );
        check(&"抹".repeat(61), &format!("{}…", "抹".repeat(60)));
        check(&"抹".repeat(60), &"抹".repeat(60));
        check(&format!("a {}", "b".repeat(59)), "a…");
        check(&format!("a {}", "b".repeat(58)), &format!("a {}", "b".repeat(58)));
    }
}
