//! Conversations that nobody went on with are deleted when their time is over, as their owner or the server wants it, and
//! rows of usage as the server does.

use std::time::Duration;

use store::{AuditEntry, StoreError};
use tokio::time::MissedTickBehavior;

use crate::app::App;

/// Pause between two sweeps.
const PAUSE: Duration = Duration::from_hours(1);

/// Sweeps at the start and then every hour of the program's clock.
pub(crate) async fn keep_sweeping(app: App) {
    // The clock may be another than the machine's, so it is looked at again and again.
    let mut ticks = tokio::time::interval(app.settings.progress_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let now = app.clock.monotonic();
        if last.is_some_and(|last: Duration| now.saturating_sub(last) < PAUSE) {
            continue;
        }
        last = Some(now);
        if let Err(error) = sweep(&app).await {
            tracing::error!(%error, "conversations whose time is over could not be deleted");
        }
        if let Err(error) = prune_usage(&app).await {
            tracing::error!(%error, "rows of usage whose time is over could not be deleted");
        }
    }
}

/// Sums over them stay.
async fn prune_usage(app: &App) -> Result<(), StoreError> {
    let age = Duration::from_hours(24 * u64::from(app.settings.usage_days_max));
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let before_ms = app.clock.unix_ms().saturating_sub(age_ms);
    while app.store.prune_usage(before_ms).await? > 0 {}
    Ok(())
}

async fn sweep(app: &App) -> Result<(), StoreError> {
    let mut deleted = 0;
    let swept = loop {
        match app.store.delete_expired(app.clock.unix_ms(), app.settings.retention_days_max).await {
            Ok(0) => break Ok(()),
            Ok(more) => deleted += more,
            Err(error) => break Err(error),
        }
    };
    if deleted > 0 {
        tracing::info!(conversations = deleted, "conversations whose time is over are deleted");
        let entry = AuditEntry {
            at_ms: app.clock.unix_ms(),
            user_id: None,
            by: None,
            event: format!("conversations_expired {deleted}"),
            address: String::new(),
            note: None,
        };
        app.store.audit(entry).await?;
    }
    swept
}
