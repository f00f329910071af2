//! File descriptors: how many there are for connections, beside those that the rest of the server needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for everything that is no connection of a client's: listeners, the control socket's connections, the database
/// and its log, models that are being mapped, files that are being imported or exported, letters, providers, the log.
const RESERVED: u64 = 256;

/// Fewest connections, however few descriptors there are.
const CONNECTIONS_MIN: u64 = 16;

/// Raises this process's limit of open files to the most that it may have. What the limit is then; none if there is
/// none.
pub fn raise_descriptors_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // A system that doesn't let us leaves us what we had.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// How many connections may be open: as many as are `wanted`, if there are descriptors for them.
pub(super) fn connections_max(wanted: usize) -> usize {
    let room = within(wanted as u64, getrlimit(Resource::Nofile).current) as usize;
    if room < wanted {
        tracing::warn!(
            wanted,
            room,
            "there are file descriptors (ulimit -n) for fewer connections than are allowed"
        );
    }
    room
}

fn within(wanted: u64, limit: Option<u64>) -> u64 {
    let Some(limit) = limit else { return wanted };
    // Of few descriptors half are kept.
    let room = limit.saturating_sub(RESERVED.min(limit / 2));
    wanted.min(room.max(CONNECTIONS_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_the_rest() {
        assert_eq!(within(4096, None), 4096);
        assert_eq!(within(4096, Some(1 << 20)), 4096);
        assert_eq!(within(4096, Some(4096)), 3840);
        assert_eq!(within(4096, Some(1024)), 768);
        assert_eq!(within(4096, Some(100)), 50);
        assert_eq!(within(4096, Some(8)), 16);
        assert_eq!(within(2, Some(8)), 2);
    }
}
