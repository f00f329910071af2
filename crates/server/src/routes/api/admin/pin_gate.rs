use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::views::GateView;
use crate::accounts::Operator;
use crate::app::App;
use crate::body::{self, Given};
use crate::error::{ApiError, shortened};
use crate::gate::{LevelName, level_named};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminPinGateAsked)]
pub(crate) struct Asked {
    /// One of the levels; null lets the gate run by itself.
    #[serde(default)]
    #[schema(value_type = Option<LevelName>)]
    level: Given<String>,
    /// For the audit log.
    reason: Option<String>,
}

/// Longest reason.
const REASON_CHARS_MAX: usize = 200;

/// Holds the registration gate at a level, until it is said otherwise, over restarts too; or lets it run.
#[utoipa::path(
    put,
    path = "/api/admin/gate",
    operation_id = "admin_pin_gate",
    tag = "admin",
    request_body = Asked,
    responses((status = 200, body = GateView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<GateView>, ApiError> {
    let level = match asked.level {
        Given::Null => None,
        Given::Value(word) => {
            Some(level_named(&word).ok_or_else(|| no_level(&format!("{:?}", shortened(&word))))?)
        }
        Given::Absent => return Err(no_level("nothing")),
    };
    let reason = asked.reason.map(check_reason).transpose()?.filter(|reason| !reason.is_empty());
    let worker = App::clone(&app);
    app.detached(async move { worker.pin_gate(level, reason, &operator).await }).await?;
    GateView::of(&app).await.map(Json)
}

fn no_level(given: &str) -> ApiError {
    let message = format!(
        "level must be null, open, challenge, email_first, waiting_list, invite_only or suspended, got {given}"
    );
    ApiError::invalid("level", message)
}

fn check_reason(given: String) -> Result<String, ApiError> {
    let chars = given.chars().count();
    if chars > REASON_CHARS_MAX || given.chars().any(char::is_control) {
        let message = format!(
            "reason may have {REASON_CHARS_MAX} characters, none of them a control; this one has {chars}"
        );
        return Err(ApiError::invalid("reason", message));
    }
    Ok(given.trim().to_owned())
}
