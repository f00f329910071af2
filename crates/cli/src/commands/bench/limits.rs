use std::time::Duration;

use base::Clock;
use kernels::limits::{Effort, Rate as Spread, bytes_per_second, f32_ops_per_second, int8_ops_per_second};
use kernels::{Isa, Pool};

/// What this machine can do at most with some threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Size of the cache that the threads share.
    pub(crate) cache_bytes: usize,
    pub(crate) memory_bytes_s: Spread,
    pub(crate) cache_bytes_s: Spread,
    pub(crate) int8_ops_s: Spread,
    pub(crate) f32_ops_s: Spread,
}

const EFFORT: Effort = Effort { repetition: Duration::from_millis(40), repetitions: 5 };
/// The last cache where the system doesn't say.
const CACHE_BYTES_DEFAULT: usize = 8 << 20;
/// Bytes that memory is measured over: several times any common cache.
const MEMORY_BYTES: usize = 256 << 20;

pub(crate) fn measure(isa: Isa, threads: usize, clock: &dyn Clock) -> Limits {
    let pool = Pool::new(threads);
    let cache_bytes = cache_bytes().unwrap_or(CACHE_BYTES_DEFAULT);
    Limits {
        cache_bytes,
        memory_bytes_s: bytes_per_second(isa, &pool, clock, MEMORY_BYTES.max(4 * cache_bytes), EFFORT),
        // A half of it, as others use it too.
        cache_bytes_s: bytes_per_second(isa, &pool, clock, cache_bytes / 2, EFFORT),
        int8_ops_s: int8_ops_per_second(isa, &pool, clock, EFFORT),
        f32_ops_s: f32_ops_per_second(isa, &pool, clock, EFFORT),
    }
}

/// Size of the first core's largest cache, as Linux has it: `32768K`.
fn cache_bytes() -> Option<usize> {
    let size = |index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        kibibytes(&std::fs::read_to_string(path).ok()?)
    };
    (0..5).filter_map(size).max()
}

fn kibibytes(text: &str) -> Option<usize> {
    text.trim().strip_suffix('K')?.parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn sizes_are_read_as_linux_writes_them() {
        assert_eq!(kibibytes("32768K\n"), Some(32 << 20));
        assert_eq!(kibibytes("32M"), None);
        assert_eq!(kibibytes(""), None);
    }
}
