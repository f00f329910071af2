use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vault_error;
use crate::accounts::Admin;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminRotateKeyAsked)]
pub(crate) struct Asked {}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub(crate) struct RotationView {
    generation: u32,
    rewrapped: u64,
    /// Generations that whoever gives the keys from outside may take away now.
    removable: Vec<u32>,
}

/// Another master key, under which every user's key is wrapped anew. Backups of before
/// need the key of before.
#[utoipa::path(
    post,
    path = "/api/admin/rotate-key",
    operation_id = "admin_rotate_key",
    tag = "admin",
    request_body = Asked,
    responses((status = 200, body = RotationView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    body::Json(Asked {}, _room): body::Json<Asked>,
) -> Result<Json<RotationView>, ApiError> {
    let worker = App::clone(&app);
    // What is begun is ended, whether or not the client waits for it.
    app.detached(async move {
        let rotation = worker.store.rotate_keys().await.map_err(vault_error)?;
        worker.audit_by(&operator, "master_key_rotated", None).await;
        let store::Rotation { generation, rewrapped, removable } = rotation;
        Ok(Json(RotationView { generation, rewrapped, removable }))
    })
    .await
}
