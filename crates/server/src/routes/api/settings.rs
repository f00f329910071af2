use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::UserSettings;
use utoipa::ToSchema;

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountSettings)]
pub(crate) struct SettingsView {
    /// Days after its last change after which a conversation is deleted; null for never.
    retention_days: Option<u32>,
    /// The server's own; the shorter of the two holds.
    retention_days_max: Option<u32>,
}

impl SettingsView {
    pub(super) fn of(app: &App, settings: UserSettings) -> Self {
        Self { retention_days: settings.retention_days, retention_days_max: app.settings.retention_days_max }
    }
}

/// What the caller chose.
#[utoipa::path(
    get,
    path = "/api/account/settings",
    operation_id = "settings",
    tag = "account",
    responses((status = 200, body = SettingsView)),
)]
pub(crate) async fn handle(State(app): State<App>, caller: Caller) -> Result<Json<SettingsView>, ApiError> {
    let user = caller.account(&app).await?;
    let settings = app.store.user_settings(user.id).await?;
    Ok(Json(SettingsView::of(&app, settings)))
}
