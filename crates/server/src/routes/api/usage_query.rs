//! What a query may say of usage, and how rows of it look.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};
use store::{
    KeyId, UsageOf, UsagePage, UsagePeriod, UsageRequest, UsageRow, UsageSum, UsageSumRequest, UserId,
};
use utoipa::{IntoParams, ToSchema};

use super::page_limit;
use crate::app::App;
use crate::error::{ApiError, shortened};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Sums in one answer, for each model.
const PERIODS_MAX: i64 = 1000;
/// Days for which sums are given if nothing is said.
const DAYS: i64 = 30;
/// Clocks in the world are at most so far from UTC.
const ZONE_MINUTES_MAX: i32 = 14 * 60;

/// Which usage. Empty fields are as good as none.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AskedUsage {
    /// Operators may ask for one user's; others have their own.
    user: Option<String>,
    key: Option<String>,
    /// Unix milliseconds.
    since: Option<String>,
    /// Unix milliseconds, not included.
    until: Option<String>,
    before: Option<String>,
    limit: Option<String>,
    /// `day` or `hour`.
    by: Option<String>,
    /// Minutes by which clocks are ahead of UTC.
    zone: Option<String>,
}

/// A query as the extractor gives it.
pub(crate) type UsageQuery = Result<Query<AskedUsage>, QueryRejection>;

pub(crate) fn asked(query: UsageQuery) -> Result<AskedUsage, ApiError> {
    query.map(|Query(asked)| asked).map_err(|error| {
        let message = format!(
            "the query takes one each of key, since, until, before, limit, by and zone: {}",
            error.body_text()
        );
        ApiError::invalid("since", message)
    })
}

/// A field that is given, read.
fn given<T>(
    param: &'static str,
    text: Option<&str>,
    allowed: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = || ApiError::invalid(param, format!("{param} must be {allowed}, got {:?}", shortened(text)));
    read(text).map(Some).ok_or_else(wrong)
}

fn time(param: &'static str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    given(param, text, "Unix milliseconds", |text| text.parse().ok().filter(|ms| *ms >= 0))
}

impl AskedUsage {
    fn key(&self) -> Result<Option<KeyId>, ApiError> {
        given("key", self.key.as_deref(), "the id of a key", |text| text.parse().ok())
    }

    fn user(&self) -> Result<Option<UserId>, ApiError> {
        given("user", self.user.as_deref(), "the id of a user", |text| text.parse().ok())
    }

    fn range(&self) -> Result<(Option<i64>, Option<i64>), ApiError> {
        Ok((time("since", self.since.as_deref())?, time("until", self.until.as_deref())?))
    }

    /// A user's own, or of one of their keys.
    pub(crate) fn own(&self, user: UserId) -> Result<UsageOf, ApiError> {
        Ok(self.key()?.map_or(UsageOf::User(user), |key| UsageOf::Key(user, key)))
    }

    /// Anybody's.
    pub(crate) fn anybody(&self) -> Result<UsageOf, ApiError> {
        match (self.user()?, self.key()?) {
            (Some(user), Some(key)) => Ok(UsageOf::Key(user, key)),
            (Some(user), None) => Ok(UsageOf::User(user)),
            (None, None) => Ok(UsageOf::Everybody),
            (None, Some(_)) => Err(ApiError::invalid("user", "user must be given with key")),
        }
    }

    /// A page of rows.
    pub(crate) fn page(&self, app: &App, of: UsageOf) -> Result<UsageRequest, ApiError> {
        let (since_ms, until_ms) = self.range()?;
        let allowed = "the `next` of an earlier page";
        Ok(UsageRequest {
            of,
            since_ms: since_ms.unwrap_or(0),
            until_ms: until_ms.unwrap_or(i64::MAX),
            limit: page_limit(app, self.limit.as_deref())?,
            before: given("before", self.before.as_deref(), allowed, |text| text.parse().ok())?,
        })
    }

    /// Sums; the newest days if nothing is said.
    pub(crate) fn sums(&self, app: &App, of: UsageOf) -> Result<UsageSumRequest, ApiError> {
        let by = given("by", self.by.as_deref(), "day or hour", |text| match text {
            "day" => Some(UsagePeriod::Day),
            "hour" => Some(UsagePeriod::Hour),
            _ => None,
        })?
        .unwrap_or(UsagePeriod::Day);
        let zone = given(
            "zone",
            self.zone.as_deref(),
            "minutes from -840 to 840, in whole quarters of an hour",
            |text| {
                let minutes: i32 = text.parse().ok()?;
                (minutes.abs() <= ZONE_MINUTES_MAX && minutes % 15 == 0).then_some(minutes)
            },
        )?;
        let (since, until) = self.range()?;
        let until_ms = until.unwrap_or_else(|| app.clock.unix_ms().saturating_add(1));
        let since_ms = since.unwrap_or_else(|| until_ms.saturating_sub(DAYS * DAY_MS).max(0));
        let length_ms = if by == UsagePeriod::Day { DAY_MS } else { HOUR_MS };
        // With a part at each end.
        let periods = until_ms.saturating_sub(since_ms) / length_ms + 2;
        if periods > PERIODS_MAX {
            let message = format!(
                "since and until may be at most {PERIODS_MAX} days or hours apart, these are {periods}"
            );
            return Err(ApiError::invalid("since", message));
        }
        Ok(UsageSumRequest { of, since_ms, until_ms, by, zone_minutes: zone.unwrap_or(0) })
    }

    /// All rows within a time: at most as many days as sums may be of.
    pub(crate) fn all(&self, app: &App, of: UsageOf) -> Result<UsageRequest, ApiError> {
        let sums = self.sums(app, of)?;
        Ok(UsageRequest { of, since_ms: sums.since_ms, until_ms: sums.until_ms, limit: 0, before: None })
    }
}

/// Amounts are decimal texts, in units of the currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsagePage)]
pub(crate) struct UsagePageView {
    rows: Vec<UsageRowView>,
    next: Option<String>,
    currency: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageRow)]
struct UsageRowView {
    id: String,
    at_ms: i64,
    user_id: Option<String>,
    key_id: Option<String>,
    endpoint: String,
    model: String,
    class: String,
    hit_tokens: u64,
    miss_tokens: u64,
    output_tokens: u64,
    reasoning_tokens: u64,
    cost: String,
    queued_ms: i64,
    ttft_ms: Option<i64>,
    total_ms: i64,
    outcome: String,
}

impl From<UsageRow> for UsageRowView {
    fn from(row: UsageRow) -> Self {
        Self {
            id: row.id.to_string(),
            at_ms: row.at_ms,
            user_id: row.user.map(|id| id.to_string()),
            key_id: row.key.map(|id| id.to_string()),
            endpoint: row.endpoint.into_owned(),
            model: row.model,
            class: row.class,
            hit_tokens: row.hit,
            miss_tokens: row.miss,
            output_tokens: row.output,
            reasoning_tokens: row.reasoning,
            cost: row.cost.to_string(),
            queued_ms: row.queued_ms,
            ttft_ms: row.ttft_ms,
            total_ms: row.total_ms,
            outcome: row.outcome,
        }
    }
}

impl UsagePageView {
    pub(crate) fn new(app: &App, page: UsagePage) -> Self {
        Self {
            rows: page.rows.into_iter().map(Into::into).collect(),
            next: page.next.map(|next| next.to_string()),
            currency: app.settings.prices.currency.clone(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageSums {
    sums: Vec<UsageSumView>,
    since_ms: i64,
    until_ms: i64,
    currency: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSum)]
struct UsageSumView {
    from_ms: i64,
    model: String,
    requests: u64,
    hit_tokens: u64,
    miss_tokens: u64,
    output_tokens: u64,
    reasoning_tokens: u64,
    cost: String,
}

impl From<UsageSum> for UsageSumView {
    fn from(sum: UsageSum) -> Self {
        Self {
            from_ms: sum.from_ms,
            model: sum.model,
            requests: sum.requests,
            hit_tokens: sum.hit,
            miss_tokens: sum.miss,
            output_tokens: sum.output,
            reasoning_tokens: sum.reasoning,
            cost: sum.cost.to_string(),
        }
    }
}

/// The sums that a request asks for.
pub(crate) async fn sums(app: &App, request: UsageSumRequest) -> Result<UsageSums, ApiError> {
    let sums = app.store.usage_sums(request).await?;
    Ok(UsageSums {
        sums: sums.into_iter().map(Into::into).collect(),
        since_ms: request.since_ms,
        until_ms: request.until_ms,
        currency: app.settings.prices.currency.clone(),
    })
}
