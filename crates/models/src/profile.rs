//! Where the time of a forward pass goes: for each operation how long it took, what it read and what it computed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Clock;

/// What an operation has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// How often it ran.
    pub calls: u64,
    /// How long it took, all calls together.
    pub time: Duration,
    /// Bytes of weights or of the KV cache that it had to read.
    pub bytes: u64,
    /// Multiplications and additions of its products.
    pub operations: u64,
}

/// Adds up the costs of a model's operations. Kept by who loads the model, see [`crate::LoadOptions`].
#[derive(Debug)]
pub struct Profiler {
    clock: Arc<dyn Clock>,
    /// In order of first use; a handful.
    costs: Mutex<Vec<(&'static str, Cost)>>,
}

impl Profiler {
    /// One that has seen nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, costs: Mutex::default() }
    }

    /// The costs since the last call, in the order in which a forward pass meets the operations.
    pub fn take(&self) -> Vec<(&'static str, Cost)> {
        std::mem::take(&mut self.costs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` as the operation `name`, which reads `bytes` and makes `operations`.
    pub(crate) fn time<T>(
        &self,
        name: &'static str,
        (bytes, operations): (usize, usize),
        work: impl FnOnce() -> T,
    ) -> T {
        let start = self.clock.monotonic();
        let result = work();
        let time = self.clock.monotonic().saturating_sub(start);
        let mut costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = costs.iter().position(|&(known, _)| known == name);
        let index = known.unwrap_or_else(|| {
            costs.push((name, Cost::default()));
            costs.len() - 1
        });
        let cost = &mut costs[index].1;
        cost.calls += 1;
        cost.time += time;
        cost.bytes += bytes as u64;
        cost.operations += operations as u64;
        result
    }
}

#[cfg(test)]
mod tests {
    use base::ManualClock;

    use super::*;

    #[test]
    fn costs_add_up_by_operation_and_are_taken_once() {
        let clock = Arc::new(ManualClock::new());
        let profiler = Profiler::new(Arc::clone(&clock) as Arc<dyn Clock>);
        for (name, seconds) in [("norm", 1), ("product", 5), ("norm", 2)] {
            let result = profiler.time(name, (10, 100), || {
                clock.advance(Duration::from_secs(seconds));
                seconds
            });
            assert_eq!(result, seconds);
        }
        let cost = |calls, seconds| Cost {
            calls,
            time: Duration::from_secs(seconds),
            bytes: 10 * calls,
            operations: 100 * calls,
        };
        assert_eq!(profiler.take(), [("norm", cost(2, 3)), ("product", cost(1, 5))]);
        assert_eq!(profiler.take(), []);
    }
}
