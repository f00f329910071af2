use std::time::Duration;

use crate::accounts::Allowance;

/// What a connection may do, and how many there may be from where. Together with
/// [`Settings::connections_max`](crate::Settings::connections_max) and the times for heads, bodies and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Longest time for a header of the PROXY protocol, and for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest time until the first byte of the first request.
    pub first_byte_timeout: Duration,
    /// Longest time without a request.
    pub idle_timeout: Duration,
    /// Age at which a connection takes no further requests. Those in flight end first.
    pub lifetime: Duration,
    /// How long a request's body may be behind [`body_bytes_per_second_min`](Self::body_bytes_per_second_min).
    pub body_grace: Duration,
    /// Slowest that a request's body may come.
    pub body_bytes_per_second_min: u32,
    /// Streams of one HTTP/2 connection at once.
    pub streams_max: u32,
    /// Streams of one HTTP/2 connection that its client may give up before they are answered.
    pub resets: Allowance,
    /// Pause after which an HTTP/2 connection is asked for a sign of life, and longest time for the answer.
    pub ping_interval: Duration,
    /// Connections open at once from a prefix, of callers who have not shown who they are, and requests in flight from
    /// one through a declared proxy.
    pub open: PrefixCaps,
    /// New connections from a prefix in ten seconds.
    pub new: PrefixCaps,
    /// New connections in ten seconds from all addresses together from which nobody has shown who they are: what
    /// handshakes may cost at most.
    pub new_strangers_max: u32,
    /// Connections of one user that count as theirs; more count as a stranger's.
    pub per_user_max: u32,
    /// Part of all connections, in percent, that is kept for callers who have shown who they are.
    pub reserved_percent: u32,
    /// For how long a stranger's connection must have been idle before it is closed to make room for another.
    pub eviction_age: Duration,
}

/// Caps by how wide a prefix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixCaps {
    /// For a /32 of IPv4 and a /64 of IPv6.
    pub narrow: u32,
    /// For a /56 of IPv6.
    pub middle: u32,
    /// For a /24 of IPv4 and a /48 of IPv6.
    pub wide: u32,
}

impl PrefixCaps {
    /// The cap of one prefix.
    pub(crate) fn of(self, prefix: defence::Prefix) -> u32 {
        match prefix.width() {
            defence::Width::Narrow => self.narrow,
            defence::Width::Middle => self.middle,
            defence::Width::Wide => self.wide,
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(10),
            // Longer than the minute for which proxies keep theirs, so that they are the first to close.
            idle_timeout: Duration::from_secs(75),
            lifetime: Duration::from_hours(1),
            body_grace: Duration::from_secs(10),
            body_bytes_per_second_min: 1024,
            // What clients take for granted before they are told (RFC 9113, 6.5.2).
            streams_max: 100,
            resets: Allowance { burst: 100, interval: Duration::from_secs(1) },
            ping_interval: Duration::from_secs(20),
            open: PrefixCaps { narrow: 128, middle: 256, wide: 512 },
            new: PrefixCaps { narrow: 1000, middle: 2000, wide: 4000 },
            new_strangers_max: 10_000,
            per_user_max: 256,
            reserved_percent: 50,
            // Time for a head to come, even from far away, and no more: whoever floods has new ones all the time.
            eviction_age: Duration::from_millis(300),
        }
    }
}
