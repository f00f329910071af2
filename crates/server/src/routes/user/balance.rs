use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::{Balance, Nanos};
use utoipa::ToSchema;

use crate::accounts::Client;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserBalance)]
pub(crate) struct BalanceView {
    /// Whether there is enough to ask.
    is_available: bool,
    balance_infos: [BalanceInfo; 1],
}

/// Amounts in units of the currency, as decimal texts.
#[derive(Debug, Serialize, ToSchema)]
struct BalanceInfo {
    currency: String,
    total_balance: String,
    granted_balance: String,
    topped_up_balance: String,
}

/// What the user of a key has to spend, in `DeepSeek`'s form.
///
/// A program on this machine, which nothing is taken from, has nothing and needs nothing.
#[utoipa::path(
    get,
    path = "/user/balance",
    operation_id = "user_balance",
    tag = "programs",
    responses((status = 200, body = BalanceView)),
)]
pub(crate) async fn handle(State(app): State<App>, client: Client) -> Result<Json<BalanceView>, ApiError> {
    let balance = match client.user() {
        Some(user) => app.store.balance(user).await?,
        None => Balance::default(),
    };
    let needs_none = client.user().is_none() || app.settings.prices.are_free();
    Ok(Json(BalanceView {
        is_available: needs_none || balance.available() > Nanos::ZERO,
        balance_infos: [BalanceInfo {
            currency: app.settings.prices.currency.clone(),
            total_balance: balance.available().to_string(),
            granted_balance: balance.granted.to_string(),
            topped_up_balance: balance.topped_up.to_string(),
        }],
    }))
}
