use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::{Credit, CreditPageRequest, UserId};
use utoipa::ToSchema;

use super::words::CreditKind;
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

/// The newest that are shown.
const CREDITS: u32 = 50;

/// Amounts are decimal texts, in units of the currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Balance)]
pub(crate) struct BalanceView {
    currency: String,
    granted: String,
    topped_up: String,
    /// For requests that go on.
    held: String,
    available: String,
    /// Whether nothing costs anything, so that nobody needs a balance.
    free: bool,
    credits: Vec<CreditView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credit)]
struct CreditView {
    id: String,
    at_ms: i64,
    kind: CreditKind,
    amount: String,
    note: String,
}

impl From<Credit> for CreditView {
    fn from(credit: Credit) -> Self {
        Self {
            id: credit.id.to_string(),
            at_ms: credit.at_ms,
            kind: credit.kind.into(),
            amount: credit.amount.to_string(),
            note: credit.note,
        }
    }
}

/// What the caller has to spend, and what they got and lost.
#[utoipa::path(
    get,
    path = "/api/balance",
    operation_id = "balance",
    tag = "chat",
    responses((status = 200, body = BalanceView)),
)]
pub(crate) async fn handle(State(app): State<App>, caller: Caller) -> Result<Json<BalanceView>, ApiError> {
    let user = caller.account(&app).await?;
    Ok(Json(of_user(&app, user.id).await?))
}

/// What a user has.
pub(crate) async fn of_user(app: &App, user: UserId) -> Result<BalanceView, ApiError> {
    let balance = app.store.balance(user).await?;
    let page = app.store.credits(CreditPageRequest { user, before: None, limit: CREDITS }).await?;
    Ok(BalanceView {
        currency: app.settings.prices.currency.clone(),
        granted: balance.granted.to_string(),
        topped_up: balance.topped_up.to_string(),
        held: balance.held.to_string(),
        available: balance.available().to_string(),
        free: app.settings.prices.are_free(),
        credits: page.credits.into_iter().map(Into::into).collect(),
    })
}
