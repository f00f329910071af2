//! The drill's time, which begins at zero.

use std::sync::Arc;
use std::time::Duration;

use base::Clock;

/// A clock that began with the drill.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    clock: Arc<dyn Clock>,
    origin: Duration,
}

impl Timer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let origin = clock.monotonic();
        Self { clock, origin }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.origin)
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep(at.saturating_sub(self.now())).await;
    }
}
