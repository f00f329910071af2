use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::key::KeyView;
use super::OfUser;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminKeys)]
pub(crate) struct Keys {
    keys: Vec<KeyView>,
}

/// The keys of a user, without what makes them keys.
#[utoipa::path(
    get,
    path = "/api/admin/users/{id}/keys",
    operation_id = "admin_user_keys",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = Keys)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    OfUser(id): OfUser,
) -> Result<Json<Keys>, ApiError> {
    app.store.user(id).await?;
    let keys = app.store.keys(id).await?;
    Ok(Json(Keys { keys: keys.into_iter().map(Into::into).collect() }))
}
