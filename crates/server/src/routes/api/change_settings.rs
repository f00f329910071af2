use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use store::RETENTION_DAYS_MAX;
use utoipa::ToSchema;

use super::settings::SettingsView;
use crate::accounts::Caller;
use crate::app::App;
use crate::body::{self, Given};
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeSettingsAsked)]
pub(crate) struct Asked {
    /// `null`: conversations stay for ever.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    retention_days: Given<i64>,
}

/// Another choice.
#[utoipa::path(
    patch,
    path = "/api/account/settings",
    operation_id = "change_settings",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = SettingsView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<SettingsView>, ApiError> {
    let user = caller.account(&app).await?;
    let mut settings = app.store.user_settings(user.id).await?;
    match asked.retention_days {
        Given::Absent => {}
        Given::Null => settings.retention_days = None,
        Given::Value(days) => settings.retention_days = Some(checked(days)?),
    }
    app.store.set_user_settings(user.id, settings).await?;
    Ok(Json(SettingsView::of(&app, settings)))
}

fn checked(days: i64) -> Result<u32, ApiError> {
    let days_if_good = u32::try_from(days).ok().filter(|days| (1..=RETENTION_DAYS_MAX).contains(days));
    days_if_good.ok_or_else(|| {
        let message = format!("retention_days must be null or 1 to {RETENTION_DAYS_MAX}, got {days}");
        ApiError::invalid("retention_days", message)
    })
}
