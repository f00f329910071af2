//! `DELETE /api/conversations/{id}`: gone with all its messages; what is being written in it ends.

use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::id;
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    Path(conversation): Path<String>,
) -> Result<StatusCode, ApiError> {
    let conversation = id(&conversation, "conversation")?;
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.delete_conversation(conversation).await?;
        worker.answers.stop_all(conversation).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
