use std::time::Duration;

/// Upper bounds of the buckets of a [`LatencyHistogram`], in seconds; one more bucket holds what is above.
pub const LATENCY_BOUNDS_SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// How often a duration fell in each bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LatencyHistogram {
    /// Durations in each bucket (not cumulative): bucket `i` holds those at most
    /// [`LATENCY_BOUNDS_SECONDS`]`[i]` that no earlier one holds, the last the rest.
    pub buckets: [u64; LATENCY_BOUNDS_SECONDS.len() + 1],
    /// Durations recorded.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

impl LatencyHistogram {
    /// Records one duration.
    pub fn record(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = LATENCY_BOUNDS_SECONDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }
}

/// How sequences ended since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FinishCounts {
    /// With an end token.
    pub end_token: u64,
    /// At the token or context limit.
    pub length: u64,
    /// By their caller.
    pub cancelled: u64,
    /// By shutdown.
    pub shutting_down: u64,
    /// By a submission of a higher class, for want of room in the queue.
    pub displaced: u64,
    /// By an error.
    pub failed: u64,
}

/// A picture of the engine. Counters count since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Sequences that hold KV blocks.
    pub running: usize,
    /// Sequences accepted and not running.
    pub waiting: usize,
    /// Blocks of the KV pool, all of them.
    pub blocks_total: usize,
    /// Blocks that can be had: nothing holds them, or only the prefix cache does.
    pub blocks_free: usize,
    /// Blocks in the prefix cache, used by a sequence or not.
    pub blocks_cached: usize,
    /// Steps run.
    pub steps: u64,
    /// Prompt tokens read, again after a preemption.
    pub prompt_tokens: u64,
    /// Prompt tokens that the prefix cache had.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Times that a sequence lost its blocks to another and went back to the queue.
    pub preemptions: u64,
    /// Ends by reason.
    pub finished: FinishCounts,
    /// From submission to the start.
    pub queue: LatencyHistogram,
    /// From submission to the first token.
    pub first_token: LatencyHistogram,
    /// Between two tokens of a sequence.
    pub inter_token: LatencyHistogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_in_the_bucket_that_bounds_them() {
        let mut histogram = LatencyHistogram::default();
        for millis in [0, 1, 2, 120_000, 120_001] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut expected = [0; LATENCY_BOUNDS_SECONDS.len() + 1];
        expected[0] = 2;
        expected[1] = 1;
        expected[15] = 1;
        expected[16] = 1;
        assert_eq!(histogram.buckets, expected);
        assert_eq!(histogram.count, 5);
        assert_eq!(histogram.sum, Duration::from_millis(240_004));
    }
}
