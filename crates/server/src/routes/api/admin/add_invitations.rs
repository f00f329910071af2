use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::Admin;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminAddInvitationsAsked)]
pub(crate) struct Asked {
    /// 1 to 100.
    count: u32,
    /// For how long they are good: 1 to 90.
    days: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AdminInvitations)]
pub(crate) struct Invitations {
    /// Links are `/sign-up#invitation=` and one of these.
    invitations: Vec<String>,
}

const COUNT_MAX: u32 = 100;
const DAYS_MAX: u32 = 90;

/// Invitations: each makes one account, also while only invited people get one. They are nowhere kept until they are
/// used.
#[utoipa::path(
    post,
    path = "/api/admin/invitations",
    operation_id = "admin_add_invitations",
    tag = "admin",
    request_body = Asked,
    responses((status = 201, body = Invitations)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<Invitations>), ApiError> {
    check("count", asked.count, COUNT_MAX)?;
    check("days", asked.days, DAYS_MAX)?;
    let lifetime = Duration::from_hours(24 * u64::from(asked.days));
    let invitations = (0..asked.count).map(|_| app.invite(lifetime)).collect::<Result<_, _>>()?;
    let note = format!("{} for {} days", asked.count, asked.days);
    app.audit_with(&operator, "invitations_made", None, Some(note)).await;
    Ok((StatusCode::CREATED, Json(Invitations { invitations })))
}

fn check(param: &'static str, given: u32, most: u32) -> Result<(), ApiError> {
    if (1..=most).contains(&given) {
        return Ok(());
    }
    Err(ApiError::invalid(param, format!("{param} must be between 1 and {most}, got {given}")))
}
