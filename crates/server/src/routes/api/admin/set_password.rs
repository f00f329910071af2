use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::end_sessions;
use super::{OfUser, given_or_random};
use crate::accounts::{Operator, Password, Standing};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminSetPasswordAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NewPassword)]
pub(crate) struct Set {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    password: Option<String>,
    /// Sessions that were ended.
    sessions: usize,
}

/// Another password; the user is signed out everywhere. Where none is given, one
/// is made, which this answer alone shows.
#[utoipa::path(
    post,
    path = "/api/admin/users/{id}/password",
    operation_id = "admin_set_password",
    tag = "admin",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = Set)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    OfUser(id): OfUser,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<Set>, ApiError> {
    let user = app.store.user(id).await?;
    operator.may_look_after(&user)?;
    operator.must_be_another(id)?;
    let (chosen, shown) = given_or_random(&app, asked.password, &user.name);
    let hash = app.accounts.hasher.hash(chosen, app.random_bytes(), Standing::MACHINE).await?;
    let worker = App::clone(&app);
    let sessions = app
        .detached(async move {
            worker.store.set_password(id, hash).await?;
            let ended = worker.store.revoke_sessions(id, None).await?;
            end_sessions(&worker, &ended);
            worker.audit_by(&operator, "password_reset", Some(id)).await;
            Ok(ended.len())
        })
        .await?;
    Ok(Json(Set { password: shown, sessions }))
}
