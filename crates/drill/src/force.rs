//! How much of each attack there is.

use serde::Serialize;

use crate::attack::{HELD_MAX, IN_FLIGHT_MAX};
use crate::calibrate::Capacity;
use crate::kind::{Kind, Resource};
use crate::plan::Plan;

/// No more than a core could send.
const REQUESTS_PER_SECOND_MAX: f64 = 200_000.0;
const HASHES_PER_SECOND_MAX: f64 = 20_000.0;
const CHATS_PER_SECOND_MAX: f64 = 1000.0;
/// Pulses stay just under what the server can serve.
const PULSE: f64 = 0.8;
/// Connections that send header blocks without end: one that the server doesn't mind would be too many.
const CONTINUERS: f64 = 8.0;
/// Open files besides those of attackers.
const OTHER_FILES: u64 = 1024;

/// A kind of attack and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Force {
    pub(crate) kind: Kind,
    /// Requests, hashes or chats a second, or connections at once.
    pub(crate) rate: f64,
    /// Why it can't be run against this server, if so.
    pub(crate) not_applicable: Option<String>,
}

/// The forces of a plan against a server of this capacity, which may not speak HTTP/2.
pub(crate) fn forces(plan: &Plan, capacity: &Capacity, no_http2: Option<&str>) -> Vec<Force> {
    let why_not = |kind: Kind| no_http2.filter(|_| kind.needs_http2()).map(str::to_owned);
    let mut applicable = plan.clone();
    applicable.attacks.retain(|kind| why_not(*kind).is_none());
    let of = |kind: Kind| {
        let much = plan.strength * applicable.share(kind);
        let rate = match (kind, kind.resource()) {
            (Kind::Continuation, _) => CONTINUERS,
            (Kind::Pulses, _) => PULSE * capacity.hashes_per_second,
            (_, Resource::Requests) => (much * capacity.requests_per_second).min(REQUESTS_PER_SECOND_MAX),
            (_, Resource::Hashes) => (much * capacity.hashes_per_second).min(HASHES_PER_SECOND_MAX),
            (_, Resource::Connections) => (much * capacity.connections as f64).min(HELD_MAX as f64),
            (_, Resource::Chats) => (much * capacity.chats_per_second).min(CHATS_PER_SECOND_MAX),
            (_, Resource::Nothing) => 0.0,
        };
        Force { kind, rate, not_applicable: why_not(kind) }
    };
    plan.attacks.iter().copied().map(of).collect()
}

/// Open files that a drill needs at once, with a server that takes so many connections.
pub fn descriptors_needed(plan: &Plan, connections_max: u64) -> u64 {
    let of = |kind: &Kind| match kind.resource() {
        Resource::Connections if *kind == Kind::Continuation => CONTINUERS as u64,
        Resource::Connections => {
            let much = plan.strength * plan.share(*kind) * connections_max as f64;
            much.min(HELD_MAX as f64) as u64
        }
        Resource::Nothing => 0,
        _ => IN_FLIGHT_MAX as u64,
    };
    plan.attacks.iter().map(of).sum::<u64>() + OTHER_FILES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Choices;

    const CAPACITY: Capacity = Capacity {
        requests_per_second: 5000.0,
        hashes_per_second: 30.0,
        chats_per_second: 3.0,
        connections: 1024,
    };

    fn plan(attacks: Vec<Kind>) -> Plan {
        Plan::new(Choices { attacks, server_cores: 1, ..Choices::default() }).unwrap()
    }

    #[test]
    fn strength_is_a_multiple_of_what_was_measured() {
        let check = |attacks: &[Kind], no_http2: Option<&str>, expected: &[f64]| {
            let found: Vec<_> =
                forces(&plan(attacks.to_vec()), &CAPACITY, no_http2).iter().map(|it| it.rate).collect();
            assert_eq!(found, expected);
        };
        check(&[Kind::RegistrationFlood], None, &[300.0]);
        check(&[Kind::RegistrationFlood, Kind::CredentialStuffing], None, &[150.0, 150.0]);
        check(&[Kind::HttpFlood, Kind::RapidReset], None, &[25_000.0, 25_000.0]);
        // What can't be run takes nothing from the others.
        check(&[Kind::HttpFlood, Kind::RapidReset], Some("HTTP/1 only"), &[50_000.0, 50_000.0]);
        check(&[Kind::Slowloris], None, &[4096.0]);
        check(&[Kind::Pulses], None, &[24.0]);
        check(&[Kind::SseHoarding, Kind::Continuation], None, &[8.0, 4096.0]);
    }

    #[test]
    fn what_a_server_does_not_speak_is_not_applicable() {
        let all = forces(&plan(Vec::new()), &CAPACITY, Some("HTTP/1 only"));
        let not: Vec<_> =
            all.iter().filter(|force| force.not_applicable.is_some()).map(|it| it.kind).collect();
        assert_eq!(not, [Kind::RapidReset, Kind::Continuation]);
    }

    #[test]
    fn files_grow_with_what_is_held() {
        let of = |attacks: &[Kind]| descriptors_needed(&plan(attacks.to_vec()), 1024);
        assert_eq!(of(&[Kind::Viral]), OTHER_FILES);
        assert_eq!(of(&[Kind::Slowloris]), OTHER_FILES + 4096);
        assert_eq!(of(&[Kind::HttpFlood]), OTHER_FILES + 512);
    }
}
