use std::time::Duration;

use axum::http::StatusCode;
use dialogue::Cost;
use store::{Held, HoldId, KeyId, Nanos, NewHold, StoreError, UserId};
use tokio::runtime::Handle;

use super::Open;
use super::price::{Rate, Tokens};
use crate::app::{App, State};
use crate::error::ApiError;

/// Fewest tokens that an answer is cut down to for want of credit: fewer are no answer.
const TOKENS_LEAST: u64 = 16;
/// Others may take of the credit between two looks at it.
const TRIES: u32 = 4;

/// What is held for a request, which is free again when this is dropped before it was settled.
pub(crate) struct Hold {
    id: HoldId,
    settled: bool,
    open: Open,
}

impl Hold {
    pub(crate) fn id(&self) -> HoldId {
        self.id
    }

    /// There is nothing to free.
    pub(crate) fn is_settled(&mut self) {
        self.settled = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        // Without a runtime the program ends, and what is held is free when the store is opened again.
        let Ok(runtime) = Handle::try_current() else { return };
        let (open, id) = (Open::new(&self.open.0), self.id);
        runtime.spawn(async move { release(&open, id).await });
    }
}

async fn release(open: &Open, id: HoldId) {
    const PAUSE: Duration = Duration::from_millis(100);
    for tried in 1..=TRIES {
        match open.0.store.release(id).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => return,
            Err(StoreError::Busy(_)) if tried < TRIES => tokio::time::sleep(PAUSE * tried).await,
            Err(error) => {
                tracing::error!(%error, "what was held for a request could not be freed before the next start");
                return;
            }
        }
    }
}

/// Holds the most that a request can cost at this rate, which is not free. See [`Metered::hold`](super::Metered::hold).
pub(super) async fn hold(
    app: &App,
    who: (UserId, Option<KeyId>),
    rate: Rate,
    cost: Cost,
    shared_by: Option<usize>,
) -> Result<(Hold, Option<usize>), ApiError> {
    let most = Tokens {
        miss: cost.prompt_tokens as u64,
        output: cost.completion_tokens_max as u64,
        ..Tokens::default()
    };
    let mut asked = most;
    for _ in 0..TRIES {
        let amount = rate.cost(asked);
        let (hold, held) = try_hold(app, who, amount).await?;
        let (available, is_key) = match held {
            Held::Held => {
                let shrunk = (asked.output < most.output).then_some(asked.output as usize);
                return Ok((hold, shrunk));
            }
            Held::Empty { available, .. } => (available, false),
            Held::KeySpent { available, .. } => (available, true),
        };
        match shared_by.and_then(|answers| affordable(rate, most, available, answers)) {
            Some(output) => asked.output = output.min(asked.output),
            None => return Err(empty(app, available, rate.cost(most), is_key)),
        }
    }
    Err(ApiError::busy("balance_busy", "too many requests take of the credit at once; try again"))
}

/// One try. It runs to its end even if the client goes away: what it holds is then freed by the guard.
async fn try_hold(
    app: &App,
    (user, key): (UserId, Option<KeyId>),
    amount: Nanos,
) -> Result<(Hold, Held), ApiError> {
    let worker = App::clone(app);
    app.detached(async move {
        let (id, created_ms) = (worker.meter.id(), worker.clock.unix_ms());
        let mut hold = Hold { id, settled: false, open: Open::new(&worker) };
        let held = worker.store.hold(NewHold { id, user, key, amount, created_ms }).await.map_err(gone)?;
        if held != Held::Held {
            hold.is_settled();
        }
        Ok((hold, held))
    })
    .await
}

/// Whoever asks was let in a moment ago.
fn gone(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } => {
            let message = "the API key was revoked, or its user is gone";
            ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
        }
        error => error.into(),
    }
}

/// How many tokens an amount pays for after the prompt; none if those are too few for so many answers.
fn affordable(rate: Rate, most: Tokens, available: Nanos, answers: usize) -> Option<u64> {
    let left = available.saturating_sub(rate.cost(Tokens { output: 0, ..most }));
    let tokens = match u64::try_from(rate.output.0).ok().filter(|price| *price > 0) {
        // Those cost nothing; it is the prompt that is too dear, if anything is.
        None => most.output,
        Some(price) => u64::try_from(left.0).unwrap_or(0) / price,
    };
    let least = TOKENS_LEAST.saturating_mul(answers as u64).min(most.output);
    (left >= Nanos::ZERO && tokens >= least).then_some(tokens)
}

/// There is no credit at all.
pub(super) fn nothing_left(app: &State, available: Nanos) -> ApiError {
    let message = format!(
        "Insufficient Balance: available are {available} {}, and this model costs",
        app.settings.prices.currency
    );
    ApiError::new(StatusCode::PAYMENT_REQUIRED, "insufficient_balance", message)
}

fn empty(app: &App, available: Nanos, needed: Nanos, is_key: bool) -> ApiError {
    let currency = &app.settings.prices.currency;
    let (code, whose) = if is_key {
        ("key_spend_limit", "the API key may still spend")
    } else {
        ("insufficient_balance", "available are")
    };
    let message = format!(
        "Insufficient Balance: {whose} {available} {currency}, and this request may cost up to {needed} {currency}; a \
         smaller max_tokens needs less"
    );
    ApiError::new(StatusCode::PAYMENT_REQUIRED, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_amount_pays_for() {
        let rate = Rate { hit: Nanos(2), miss: Nanos(2), output: Nanos(10) };
        let most = Tokens { miss: 100, output: 1000, ..Tokens::default() };
        let check = |available: i64, expected: Option<u64>| {
            assert_eq!(affordable(rate, most, Nanos(available), 1), expected, "{available}");
        };
        check(200 + 10 * 999, Some(999));
        check(200 + 10 * 999 + 9, Some(999));
        check(200 + 10 * 16, Some(16));
        check(200 + 10 * 16 - 1, None);
        check(200, None);
        check(0, None);
        let several = |available: i64| affordable(rate, most, Nanos(available), 4);
        assert_eq!((several(200 + 10 * 63), several(200 + 10 * 64)), (None, Some(64)));
        let few = Tokens { output: 3, ..most };
        assert_eq!(affordable(rate, few, Nanos(229), 1), None);
        assert_eq!(affordable(rate, few, Nanos(230), 1), Some(3));
        let free = Rate { output: Nanos(0), ..rate };
        assert_eq!(
            (affordable(free, most, Nanos(200), 1), affordable(free, most, Nanos(199), 1)),
            (Some(1000), None)
        );
    }
}
