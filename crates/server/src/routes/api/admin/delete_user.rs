use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use super::OfUser;
use crate::accounts::Admin;
use crate::app::App;
use crate::error::ApiError;

/// The account is gone, with its conversations and the key that could read them.
#[utoipa::path(
    delete,
    path = "/api/admin/users/{id}",
    operation_id = "admin_delete_user",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfUser(id): OfUser,
) -> Result<StatusCode, ApiError> {
    operator.must_be_another(id)?;
    let worker = App::clone(&app);
    app.detached(async move {
        let now_ms = worker.clock.unix_ms();
        worker.store.delete_user(id).await?;
        // All that the store ended, one that began a moment ago included.
        worker.accounts.load(&*worker.store, now_ms, Duration::ZERO).await?;
        worker.answers.stop_all_of(id).await;
        worker.audit_by(&operator, "user_deleted", Some(id)).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
