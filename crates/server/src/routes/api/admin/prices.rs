use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::Nanos;
use utoipa::ToSchema;

use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;
use crate::meter::{Hours, Price};

/// Amounts are decimal texts, in units of the currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Prices)]
pub(crate) struct PricesView {
    currency: String,
    sign_up_credit: String,
    /// The first that fits counts.
    prices: Vec<PriceView>,
}

/// Per million tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Price)]
struct PriceView {
    model: Option<String>,
    class: Option<String>,
    /// `16:30-00:30`, in UTC.
    hours: Option<String>,
    hit: String,
    miss: String,
    output: String,
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        const MILLION: u64 = 1_000_000;
        let per_million = |amount: Nanos| amount.saturating_times(MILLION).to_string();
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self {
            model: price.model.clone(),
            class: price.class.clone(),
            hours: price.hours.map(|Hours { from, until }| format!("{}-{}", time(from), time(until))),
            hit: per_million(price.rate.hit),
            miss: per_million(price.rate.miss),
            output: per_million(price.rate.output),
        }
    }
}

/// What the configuration says that requests cost.
#[utoipa::path(
    get,
    path = "/api/admin/prices",
    operation_id = "admin_prices",
    tag = "admin",
    responses((status = 200, body = PricesView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
) -> Result<Json<PricesView>, ApiError> {
    let settings = &app.settings;
    Ok(Json(PricesView {
        currency: settings.prices.currency.clone(),
        sign_up_credit: settings.sign_up_credit.to_string(),
        prices: settings.prices.rules.iter().map(Into::into).collect(),
    }))
}
