//! What is looked at again and again: how long a task waits for a core, and what is asked of models.

use std::time::Duration;

use base::{Clock as _, SystemClock};
use defence::Class;

use crate::app::App;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks as long as the server runs.
pub(crate) async fn keep_bulwark(app: App) {
    // As the timers do, whatever the rest goes by.
    let time = SystemClock::new();
    loop {
        let asked = time.monotonic();
        tokio::time::sleep(INTERVAL).await;
        let late = time.monotonic().saturating_sub(asked).saturating_sub(INTERVAL);
        look(&app, late);
    }
}

fn look(app: &App, late: Duration) {
    let (bulwark, now) = (&app.bulwark, app.clock.monotonic());
    bulwark.turnstile.waited(late, now);
    bulwark.strangers.waited(late, now);
    let dimness = bulwark.dim(now);
    let metrics = &app.metrics;
    metrics.brownout(dimness);
    metrics.requests_limit(bulwark.turnstile.limit());
    metrics.password_queue(app.accounts.hasher.waiting());
    for (class, writes) in super::lanes::counted(app.store.writes_by_lane()) {
        metrics.writes_of(class, writes);
    }
    for class in Class::ALL {
        metrics.answers_of(class, bulwark.berths.held(class));
    }
}
