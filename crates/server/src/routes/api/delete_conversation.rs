use axum::extract::State;
use axum::http::StatusCode;

use super::OfConversation;
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

/// Gone with all its messages; what is being written in it ends.
#[utoipa::path(
    delete,
    path = "/api/conversations/{id}",
    operation_id = "delete_conversation",
    tag = "chat",
    params(("id" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfConversation(conversation): OfConversation,
) -> Result<StatusCode, ApiError> {
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.delete_conversation(caller.user, conversation).await?;
        worker.answers.stop_all(conversation).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
