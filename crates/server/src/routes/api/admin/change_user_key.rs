use axum::Json;
use axum::extract::State;

use super::super::key::{AskedKey, KeyView, change_key};
use super::OfUserKey;
use crate::accounts::Admin;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

/// Another name, expiry or scope of a user's key.
#[utoipa::path(
    patch,
    path = "/api/admin/users/{id}/keys/{key}",
    operation_id = "admin_change_user_key",
    tag = "admin",
    params(("id" = String, Path), ("key" = String, Path)),
    request_body = AskedKey,
    responses((status = 200, body = KeyView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfUserKey(user, key): OfUserKey,
    body::Json(asked, _room): body::Json<AskedKey>,
) -> Result<Json<KeyView>, ApiError> {
    let worker = App::clone(&app);
    app.detached(async move {
        let changed = change_key(&worker, user, key, asked).await?;
        worker.audit_by(&operator, "key_changed", Some(user)).await;
        Ok(Json(changed))
    })
    .await
}
