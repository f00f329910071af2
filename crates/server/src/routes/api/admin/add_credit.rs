use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use store::{Nanos, NewCredit};
use utoipa::ToSchema;

use super::super::balance::{BalanceView, of_user};
use super::super::key::check_amount;
use super::super::words::CreditKind;
use super::OfUser;
use crate::accounts::Admin;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

const NOTE_CHARS_MAX: usize = 200;

#[derive(Deserialize, ToSchema)]
#[schema(as = AdminAddCreditAsked)]
pub(crate) struct Asked {
    kind: CreditKind,
    /// In units of the currency; with `-` before it, it is taken back.
    amount: String,
    #[serde(default)]
    note: String,
}

/// Gives a user credit, or takes some back, as far as it is there and not held.
#[utoipa::path(
    post,
    path = "/api/admin/users/{id}/credit",
    operation_id = "admin_add_credit",
    tag = "admin",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = BalanceView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    Admin(operator): Admin,
    OfUser(id): OfUser,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<BalanceView>, ApiError> {
    let amount = signed_amount(&asked.amount)?;
    let chars = asked.note.chars().count();
    if chars > NOTE_CHARS_MAX {
        let message = format!("note may have at most {NOTE_CHARS_MAX} characters, this one has {chars}");
        return Err(ApiError::invalid("note", message));
    }
    let new = NewCredit {
        user: id,
        kind: asked.kind.into(),
        amount,
        by: operator.user(),
        note: asked.note,
        at_ms: app.clock.unix_ms(),
    };
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.add_credit(new).await?;
        let event = if amount < Nanos::ZERO { "credit_taken" } else { "credit_given" };
        worker.audit_by(&operator, event, Some(id)).await;
        Ok(Json(of_user(&worker, id).await?))
    })
    .await
}

/// More or less than nothing, and not more than a user may have.
fn signed_amount(given: &str) -> Result<Nanos, ApiError> {
    match given.trim().strip_prefix('-') {
        Some(less) => Ok(Nanos::ZERO.saturating_sub(check_amount("amount", less, Nanos::ZERO)?)),
        None => check_amount("amount", given, Nanos::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_sign_and_are_never_nothing() {
        assert_eq!(signed_amount("12.5").unwrap(), Nanos(12_500_000_000));
        assert_eq!(signed_amount(" -0.01 ").unwrap(), Nanos(-10_000_000));
        for wrong in ["", "0", "-0", "--1", "1e9", "1000000001", "-1000000001", "NaN", "1,5"] {
            assert!(signed_amount(wrong).is_err(), "{wrong}");
        }
    }
}
