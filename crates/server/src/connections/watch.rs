//! How long a connection may stay as it is: a pure automaton. What happens on the connection goes in, with the time;
//! what to do about it comes out.

use std::time::Duration;

use crate::accounts::Allowance;

/// Time for the last words of a connection that was told to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes of HTTP/2 that belong to no request: a burst, and how many more each second. Frames that do nothing (PING,
/// SETTINGS, PRIORITY, empty DATA) cost us more than they cost their sender, who rarely has a reason to send many.
const UNCLAIMED_BYTES_MAX: u64 = 1 << 20;
const UNCLAIMED_BYTES_PER_SECOND: u64 = 64 << 10;
/// What the head of a request claims.
const HEAD_BYTES: u64 = 4 << 10;

/// Longest times, and how many streams may be given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) handshake: Duration,
    pub(super) first_byte: Duration,
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) lifetime: Duration,
    pub(super) resets: Allowance,
}

/// Why a connection was closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No PROXY header, or no TLS handshake, in time.
    Handshake,
    /// No byte of a request in time.
    FirstByte,
    /// A head that did not end in time.
    Head,
    /// No request for too long.
    Idle,
    /// Old enough.
    Lifetime,
    /// Too many streams given up by the client.
    Resets,
    /// Too much that belongs to no request.
    Flood,
    /// Another needed the room.
    Evicted,
    /// Its client took nothing of what was written.
    WriteStall,
    /// No header of the PROXY protocol, or none that can be read.
    ProxyHeader,
    /// Too many, or too often, from where a proxy says that it comes from.
    Refused,
}

impl Reason {
    /// Whether it ends with a reset instead of in peace: what we still had to say is of no use.
    pub(super) fn is_abrupt(self) -> bool {
        !matches!(self, Self::Idle | Self::Lifetime)
    }
}

/// What to do with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing until then.
    Wait(Duration),
    /// Say that it ends, and let what is in flight end; look again then.
    End(Reason, Duration),
    /// Close it at once.
    Close(Reason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the first byte of HTTP can come.
    Handshake,
    FirstByte,
    Head,
    /// A request is in flight: who is waited for is not known here.
    Busy,
    Idle,
}

#[derive(Debug)]
pub(super) struct Watch {
    deadlines: Deadlines,
    phase: Phase,
    /// When the phase began.
    since: Duration,
    opened: Duration,
    in_flight: usize,
    is_http2: bool,
    /// When it was told to end.
    ended: Option<(Duration, Reason)>,
    /// Why it must close at once.
    closed: Option<Reason>,
    /// When the allowance of resets is full again.
    resets_full_at: Duration,
    /// Bytes that belong to no request, and when they were counted.
    unclaimed: (u64, Duration),
}

impl Watch {
    pub(super) fn new(deadlines: Deadlines, now: Duration) -> Self {
        Self {
            deadlines,
            phase: Phase::Handshake,
            since: now,
            opened: now,
            in_flight: 0,
            is_http2: false,
            ended: None,
            closed: None,
            resets_full_at: now,
            unclaimed: (0, now),
        }
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.since = now;
    }

    /// HTTP may come from now on.
    pub(super) fn open(&mut self, now: Duration) {
        self.enter(Phase::FirstByte, now);
    }

    pub(super) fn received(&mut self, bytes: u64, now: Duration) {
        if self.is_http2 {
            // Whatever comes on it, a connection without a request is idle.
            self.unclaim(bytes, now);
        } else if matches!(self.phase, Phase::FirstByte | Phase::Idle) {
            self.enter(Phase::Head, now);
        }
    }

    fn unclaim(&mut self, bytes: u64, now: Duration) {
        let (unclaimed, counted) = self.unclaimed;
        let passed = now.saturating_sub(counted).as_millis() as u64;
        // What less than a byte leaks in is not lost: the time counts on.
        let leaked = passed.saturating_mul(UNCLAIMED_BYTES_PER_SECOND) / 1000;
        let counted = if leaked == 0 { counted } else { now };
        self.unclaimed = (unclaimed.saturating_sub(leaked).saturating_add(bytes), counted);
        if self.unclaimed.0 > UNCLAIMED_BYTES_MAX {
            self.close(Reason::Flood);
        }
    }

    /// Bytes that were received belong to the body of a request.
    pub(super) fn claimed(&mut self, bytes: u64) {
        self.unclaimed.0 = self.unclaimed.0.saturating_sub(bytes);
    }

    /// A request has come. Whether it is the only one.
    pub(super) fn began(&mut self, is_http2: bool, now: Duration) -> bool {
        self.is_http2 = is_http2;
        self.claimed(HEAD_BYTES);
        self.in_flight += 1;
        self.enter(Phase::Busy, now);
        self.in_flight == 1
    }

    /// A request has been answered, or given up by the client. Whether it was the last one.
    pub(super) fn ended(&mut self, given_up: bool, now: Duration) -> bool {
        if given_up && self.is_http2 {
            self.reset(now);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.enter(Phase::Idle, now);
        }
        self.in_flight == 0
    }

    fn reset(&mut self, now: Duration) {
        let Allowance { burst, interval } = self.deadlines.resets;
        self.resets_full_at = self.resets_full_at.max(now) + interval;
        if self.resets_full_at - now > interval * burst {
            self.end(Reason::Resets, now);
        }
    }

    fn end(&mut self, reason: Reason, now: Duration) {
        self.ended.get_or_insert((now, reason));
    }

    pub(super) fn close(&mut self, reason: Reason) {
        self.closed.get_or_insert(reason);
    }

    /// Why we closed it, or had it end.
    pub(super) fn closed(&self) -> Option<Reason> {
        self.closed.or(self.ended.map(|(_, reason)| reason))
    }

    /// What is to be done at `now`, if nothing happens before the time that it says.
    pub(super) fn verdict(&mut self, now: Duration) -> Verdict {
        if let Some(reason) = self.closed {
            return Verdict::Close(reason);
        }
        let Deadlines { handshake, first_byte, head, idle, lifetime, .. } = self.deadlines;
        let limit = match self.phase {
            Phase::Handshake => Some((handshake, Reason::Handshake)),
            Phase::FirstByte => Some((first_byte, Reason::FirstByte)),
            Phase::Head => Some((head, Reason::Head)),
            Phase::Idle => Some((idle, Reason::Idle)),
            Phase::Busy => None,
        };
        let mut next = self.opened.saturating_add(lifetime);
        if now >= next {
            self.end(Reason::Lifetime, now);
            next = Duration::MAX;
        }
        if let Some((limit, reason)) = limit {
            let at = self.since.saturating_add(limit);
            if now < at {
                next = next.min(at);
            } else if reason == Reason::Idle {
                self.end(reason, now);
            } else {
                return Verdict::Close(reason);
            }
        }
        match self.ended {
            None => Verdict::Wait(next),
            // Who floods is not waited for, nor is who has nothing in flight.
            Some((at, reason)) if reason == Reason::Resets || self.in_flight == 0 => {
                let at = if reason == Reason::Resets { at } else { at.max(self.since) };
                let farewell = at.saturating_add(FAREWELL);
                if now < farewell { Verdict::End(reason, farewell) } else { Verdict::Close(reason) }
            }
            Some((_, reason)) => Verdict::End(reason, Duration::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Watch {
        let deadlines = Deadlines {
            handshake: 2 * SECOND,
            first_byte: 3 * SECOND,
            head: 5 * SECOND,
            idle: 60 * SECOND,
            lifetime: 1000 * SECOND,
            resets: Allowance { burst: 3, interval: 10 * SECOND },
        };
        Watch::new(deadlines, SECOND)
    }

    /// What happens if nothing does: each end with its time, by jumping from one time to the next.
    #[track_caller]
    fn left_alone(mut watch: Watch, now: Duration, expected: &[(u64, Verdict)]) {
        let (mut now, mut found) = (now, Vec::new());
        for _ in 0..20 {
            let verdict = watch.verdict(now);
            let next = match verdict {
                Verdict::Wait(next) | Verdict::End(_, next) => next,
                Verdict::Close(_) => Duration::MAX,
            };
            if !matches!(verdict, Verdict::Wait(_)) {
                found.push((now.as_secs(), verdict));
            }
            if next == Duration::MAX {
                assert_eq!(found, expected);
                return;
            }
            assert!(next > now, "time goes on");
            now = next;
        }
        panic!("it never ends: {found:?}");
    }

    #[test]
    fn each_phase_has_its_deadline() {
        let mut watch = watch();
        left_alone(self::watch(), SECOND, &[(3, Verdict::Close(Reason::Handshake))]);
        watch.open(2 * SECOND);
        assert_eq!(watch.verdict(3 * SECOND), Verdict::Wait(5 * SECOND));
        assert_eq!(watch.verdict(5 * SECOND), Verdict::Close(Reason::FirstByte));
        watch.received(1, 4 * SECOND);
        // More of the same head does not give it more time.
        watch.received(1, 8 * SECOND);
        assert_eq!(watch.verdict(8 * SECOND), Verdict::Wait(9 * SECOND));
        assert_eq!(watch.verdict(9 * SECOND), Verdict::Close(Reason::Head));
        assert!(watch.began(false, 8 * SECOND));
        watch.received(1, 9 * SECOND);
        assert_eq!(watch.verdict(900 * SECOND), Verdict::Wait(1001 * SECOND), "who answers has time");
        assert!(watch.ended(false, 10 * SECOND));
        assert_eq!(watch.verdict(11 * SECOND), Verdict::Wait(70 * SECOND));
        left_alone(
            watch,
            11 * SECOND,
            &[(70, Verdict::End(Reason::Idle, 72 * SECOND)), (72, Verdict::Close(Reason::Idle))],
        );
    }

    #[test]
    fn the_head_of_a_second_request_has_a_deadline_too() {
        let mut watch = watch();
        watch.began(false, 2 * SECOND);
        watch.ended(false, 3 * SECOND);
        watch.received(1, 30 * SECOND);
        assert_eq!(watch.verdict(31 * SECOND), Verdict::Wait(35 * SECOND));
        assert_eq!(watch.verdict(35 * SECOND), Verdict::Close(Reason::Head));
    }

    #[test]
    fn frames_keep_no_http2_connection_alive() {
        let mut watch = watch();
        watch.began(true, 2 * SECOND);
        watch.ended(false, 3 * SECOND);
        watch.received(17, 60 * SECOND);
        assert_eq!(watch.verdict(60 * SECOND), Verdict::Wait(63 * SECOND));
        assert!(matches!(watch.verdict(63 * SECOND), Verdict::End(Reason::Idle, _)));
    }

    #[test]
    fn an_old_connection_ends_when_its_requests_have() {
        let mut watch = watch();
        watch.began(true, 2 * SECOND);
        watch.began(true, 2 * SECOND);
        let ends = Verdict::End(Reason::Lifetime, Duration::MAX);
        assert_eq!(watch.verdict(1001 * SECOND), ends);
        assert!(!watch.ended(false, 2000 * SECOND));
        assert_eq!(watch.verdict(2000 * SECOND), ends);
        assert!(watch.ended(false, 3000 * SECOND));
        left_alone(
            watch,
            3000 * SECOND,
            &[
                (3000, Verdict::End(Reason::Lifetime, 3002 * SECOND)),
                (3002, Verdict::Close(Reason::Lifetime)),
            ],
        );
    }

    #[test]
    fn streams_that_are_given_up_have_an_allowance() {
        let mut watch = watch();
        let give_up = |watch: &mut Watch, now| {
            watch.began(true, now);
            watch.ended(true, now);
        };
        for _ in 0..3 {
            give_up(&mut watch, 2 * SECOND);
        }
        assert!(matches!(watch.verdict(2 * SECOND), Verdict::Wait(_)));
        give_up(&mut watch, 12 * SECOND);
        assert!(matches!(watch.verdict(12 * SECOND), Verdict::Wait(_)));
        give_up(&mut watch, 13 * SECOND);
        // What is in flight does not hold it up.
        watch.began(true, 13 * SECOND);
        left_alone(
            watch,
            13 * SECOND,
            &[(13, Verdict::End(Reason::Resets, 15 * SECOND)), (15, Verdict::Close(Reason::Resets))],
        );
    }

    #[test]
    fn what_belongs_to_no_request_has_an_allowance() {
        let mut watch = watch();
        watch.began(true, 2 * SECOND);
        // A body of any size, in frames of which the heads belong to nothing.
        for _ in 0..10_000 {
            watch.received(9 + 16_384, 2 * SECOND);
            watch.claimed(16_384);
        }
        assert!(matches!(watch.verdict(2 * SECOND), Verdict::Wait(_)));
        watch.received(UNCLAIMED_BYTES_MAX, 2 * SECOND);
        assert_eq!(watch.verdict(2 * SECOND), Verdict::Close(Reason::Flood));

        let mut watch = self::watch();
        watch.began(true, 2 * SECOND);
        for second in 0..100 {
            watch.received(UNCLAIMED_BYTES_PER_SECOND, second * SECOND);
        }
        assert!(matches!(watch.verdict(100 * SECOND), Verdict::Wait(_)), "as much as leaks away");
        for millisecond in 0..1100 {
            watch.received(
                10 * UNCLAIMED_BYTES_PER_SECOND / 600,
                100 * SECOND + Duration::from_millis(millisecond),
            );
        }
        assert_eq!(watch.verdict(102 * SECOND), Verdict::Close(Reason::Flood));
    }

    #[test]
    fn the_first_reason_counts() {
        let mut watch = watch();
        watch.close(Reason::Evicted);
        watch.close(Reason::WriteStall);
        assert_eq!(watch.verdict(SECOND), Verdict::Close(Reason::Evicted));
    }
}
