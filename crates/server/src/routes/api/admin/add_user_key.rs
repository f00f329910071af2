use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::super::key::{AskedKey, MadeKey, add_key};
use super::OfUser;
use crate::accounts::Admin;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

/// A new key of a user, whose text this answer alone shows. With it, whoever has it asks
/// in the user's name: as after setting their password, which administrators may too, the log says who did it.
#[utoipa::path(
    post,
    path = "/api/admin/users/{id}/keys",
    operation_id = "admin_add_user_key",
    tag = "admin",
    params(("id" = String, Path)),
    request_body = AskedKey,
    responses((status = 201, body = MadeKey)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfUser(id): OfUser,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<AskedKey>,
) -> Result<(StatusCode, Json<MadeKey>), ApiError> {
    let user = app.store.user(id).await?;
    let worker = App::clone(&app);
    let made = app
        .detached(async move {
            let made = add_key(&worker, &user, asked, &headers).await?;
            worker.audit_by(&operator, "key_added", Some(id)).await;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}
