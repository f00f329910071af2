use super::SqliteStore;
use crate::{
    Balance, CreditPage, CreditPageRequest, Held, HoldId, MeterStore, NewCredit, NewHold, NewUsage,
    StoreError, StoreFuture, UsageOf, UsagePage, UsageRequest, UsageRow, UsageSum, UsageSumRequest,
    UsedSince, UserId,
};

fn not_yet<T: Send + 'static>() -> StoreFuture<'static, T> {
    Box::pin(async { Err(StoreError::Conflict("nothing is metered yet")) })
}

impl MeterStore for SqliteStore {
    fn balance(&self, _: UserId) -> StoreFuture<'_, Balance> {
        not_yet()
    }

    fn add_credit(&self, _: NewCredit) -> StoreFuture<'_, Balance> {
        not_yet()
    }

    fn credits(&self, _: CreditPageRequest) -> StoreFuture<'_, CreditPage> {
        not_yet()
    }

    fn hold(&self, _: NewHold) -> StoreFuture<'_, Held> {
        not_yet()
    }

    fn settle(&self, _: Option<HoldId>, _: NewUsage) -> StoreFuture<'_, UsageRow> {
        not_yet()
    }

    fn release(&self, _: HoldId) -> StoreFuture<'_, ()> {
        not_yet()
    }

    fn usage(&self, _: UsageRequest) -> StoreFuture<'_, UsagePage> {
        not_yet()
    }

    fn usage_sums(&self, _: UsageSumRequest) -> StoreFuture<'_, Vec<UsageSum>> {
        not_yet()
    }

    fn used_since(&self, _: UsageOf, _: i64) -> StoreFuture<'_, UsedSince> {
        not_yet()
    }

    fn prune_usage(&self, _: i64) -> StoreFuture<'_, u64> {
        not_yet()
    }
}
