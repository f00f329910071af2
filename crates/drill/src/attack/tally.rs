//! What attackers sent and got.

use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::kind::Kind;

/// How something that an attacker sent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    /// The server ended the connection, or took none.
    Cut,
    /// Nothing came in the time that attackers wait.
    Silent,
    /// The drill had no socket or address left: the server saw nothing.
    Unable,
}

const STATUSES: usize = 600;

/// Counters of one kind.
#[derive(Debug)]
pub(crate) struct Tally {
    sent: AtomicU64,
    held_back: AtomicU64,
    cut: AtomicU64,
    silent: AtomicU64,
    unable: AtomicU64,
    statuses: [AtomicU64; STATUSES],
    /// Connections that are held at this moment.
    pub(crate) held: AtomicU64,
    /// Challenges solved.
    pub(crate) solved: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            sent: zero(),
            held_back: zero(),
            cut: zero(),
            silent: zero(),
            unable: zero(),
            statuses: array::from_fn(|_| zero()),
            held: zero(),
            solved: zero(),
        }
    }
}

/// A count at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Requests, streams or connections that were begun.
    pub sent: u64,
    /// Those that the schedule wanted and the drill had no room for: the server was not asked.
    pub held_back: u64,
    /// Answered as asked (2xx, 3xx).
    pub served: u64,
    /// Refused: any other status, or the connection ended.
    pub refused: u64,
    /// Of those, connections that the server ended or did not take.
    pub cut: u64,
    /// Still without an answer when attackers gave up.
    pub silent: u64,
    /// Not sent for want of a socket.
    pub unable: u64,
    /// Connections that were held at this moment.
    pub held: u64,
    /// Challenges solved.
    pub solved: u64,
    /// By status.
    pub statuses: BTreeMap<u16, u64>,
}

impl Tally {
    pub(crate) fn begin(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn hold_back(&self, count: u64) {
        self.held_back.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Status(status) => &self.statuses[usize::from(status).min(STATUSES - 1)],
            Outcome::Cut => &self.cut,
            Outcome::Silent => &self.silent,
            Outcome::Unable => &self.unable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> Count {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let statuses: BTreeMap<u16, u64> = (0_u16..)
            .zip(&self.statuses)
            .map(|(status, counter)| (status, get(counter)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let sum = |served: bool| {
            let wanted = statuses.iter().filter(|(status, _)| (200..400).contains(*status) == served);
            wanted.map(|(_, count)| count).sum::<u64>()
        };
        let cut = get(&self.cut);
        Count {
            sent: get(&self.sent),
            held_back: get(&self.held_back),
            served: sum(true),
            refused: sum(false) + cut,
            cut,
            silent: get(&self.silent),
            unable: get(&self.unable),
            held: get(&self.held),
            solved: get(&self.solved),
            statuses,
        }
    }
}

/// Counters of all kinds.
#[derive(Debug, Default)]
pub(crate) struct Tallies([Tally; Kind::ALL.len()]);

impl Tallies {
    pub(crate) fn of(&self, kind: Kind) -> &Tally {
        &self.0[kind.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_from_what_is_served() {
        let tallies = Tallies::default();
        let tally = tallies.of(Kind::HttpFlood);
        tally.begin(6);
        let outcomes = [Outcome::Status(200), Outcome::Status(303), Outcome::Status(429), Outcome::Cut];
        for outcome in outcomes {
            tally.end(outcome);
        }
        let early = tally.count();
        assert_eq!((early.sent, early.served, early.refused, early.cut), (6, 2, 2, 1));
        assert_eq!(early.statuses, BTreeMap::from([(200, 1), (303, 1), (429, 1)]));
        for outcome in [Outcome::Silent, Outcome::Unable, Outcome::Status(429)] {
            tally.end(outcome);
        }
        let late = tally.count();
        assert_eq!((late.served, late.refused, late.silent, late.unable), (2, 3, 1, 1));
        assert_eq!(tallies.of(Kind::Slowloris).count(), Count::default());
    }
}
