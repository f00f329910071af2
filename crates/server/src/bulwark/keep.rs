//! What is looked at again and again: how long a task waits for a core, and what is asked of models.

use std::time::Duration;

use base::{Clock as _, SystemClock};
use defence::Class;
use rustix::time::{ClockId, clock_gettime};

use crate::app::App;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks as long as the server runs.
pub(crate) async fn keep_bulwark(app: App) {
    // As the timers do, whatever the rest goes by.
    let time = SystemClock::new();
    let cores = app.bulwark.cores as f64;
    let mut worked = cpu_time();
    loop {
        let asked = time.monotonic();
        tokio::time::sleep(INTERVAL).await;
        let passed = time.monotonic().saturating_sub(asked);
        let now = cpu_time();
        let used = now.saturating_sub(worked).as_secs_f64() / (passed.as_secs_f64().max(1e-3) * cores);
        worked = now;
        look(&app, passed.saturating_sub(INTERVAL), used);
    }
}

/// How long the threads of this program have run.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

fn look(app: &App, late: Duration, used: f64) {
    let (bulwark, now) = (&app.bulwark, app.clock.monotonic());
    bulwark.turnstile.waited(late, now);
    bulwark.strangers.waited(late, used, now);
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
