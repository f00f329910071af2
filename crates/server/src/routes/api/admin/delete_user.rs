//! `DELETE /api/admin/users/{id}`: the account is gone, with its conversations and the key that could read them.

use axum::extract::State;
use axum::http::StatusCode;

use super::super::end_sessions;
use super::OfUser;
use crate::accounts::Admin;
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfUser(id): OfUser,
) -> Result<StatusCode, ApiError> {
    operator.must_be_another(id)?;
    let worker = App::clone(&app);
    app.detached(async move {
        let sessions = worker.store.sessions(id).await?;
        worker.store.delete_user(id).await?;
        worker.answers.stop_all_of(id).await;
        end_sessions(&worker, &sessions.into_iter().map(|session| session.id).collect::<Vec<_>>());
        worker.audit_by(&operator, "user_deleted", Some(id)).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
