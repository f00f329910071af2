//! Who comes when: a pure function of the seed. Arrivals are open-loop (a Poisson process), so that a server that is
//! slow gets no fewer of them, and what people wait is counted from the time they were to come.

use std::time::Duration;

use base::Rng;
use serde::Serialize;

use crate::plan::Plan;

/// A part of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before.
    Calm,
    /// While it is attacked.
    Attack,
    /// Afterwards.
    Recovery,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Calm, Self::Attack, Self::Recovery];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Attack => "attack",
            Self::Recovery => "recovery",
        }
    }
}

/// What somebody comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// An established user asks something.
    Chat { user: usize, question: u64 },
    /// A returning user logs in, from an address where they never were.
    Login { user: usize },
    /// Somebody wants an account.
    SignUp { number: u64 },
}

/// Somebody comes, so long after the phase began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) errand: Errand,
}

/// The arrivals of a phase of this length, in order. Calm and attack of the same length have the same ones, so that
/// they can be compared pair by pair.
pub(crate) fn arrivals(plan: &Plan, phase: Phase, length: Duration) -> Vec<Arrival> {
    let mut rng = Rng::from_seed(plan.seed ^ 0x5ca1_ab1e);
    let (mut chats, mut logins, mut newcomers) = (rng.fork(), rng.fork(), rng.fork());
    let people = &plan.people;
    let crowd = if plan.is_viral() && phase == Phase::Attack { people.viral_factor } else { 1.0 };
    let established = people.with_cookie + people.with_key;
    let mut all = Vec::new();
    for at in times(&mut chats, people.chats_per_second, length) {
        // Each user in turn, so that nobody has two chats at once more often than chance would have it.
        let user = (all.len() + chats.below(2)) % established.max(1);
        all.push(Arrival { at, errand: Errand::Chat { user, question: chats.next_u64() } });
    }
    for (number, at) in times(&mut logins, people.logins_per_second, length).into_iter().enumerate() {
        all.push(Arrival { at, errand: Errand::Login { user: number % people.returning.max(1) } });
    }
    for at in times(&mut newcomers, people.newcomers_per_second * crowd, length) {
        // Names are taken once: those of each phase are its own.
        let number = (newcomers.next_u64() >> 2) | ((phase as u64) << 62);
        all.push(Arrival { at, errand: Errand::SignUp { number } });
    }
    all.sort_by_key(|arrival| arrival.at);
    all
}

/// Times of a Poisson process with so many events a second.
fn times(rng: &mut Rng, per_second: f64, length: Duration) -> Vec<Duration> {
    let mut times = Vec::new();
    if per_second <= 0.0 {
        return times;
    }
    let mut at = 0.0;
    loop {
        // In (0, 1], so that the logarithm is finite.
        let uniform = 1.0 - f64::from(rng.next_f32());
        at += -uniform.ln() / per_second;
        if at >= length.as_secs_f64() {
            return times;
        }
        times.push(Duration::from_secs_f64(at));
    }
}

/// What a user asks: short, different each time, and the same for the same number.
pub(crate) fn question(number: u64) -> String {
    const THINGS: [&str; 8] = ["whales", "ships", "rivers", "bread", "clocks", "storms", "maps", "salt"];
    format!("Write about {} ({}).", THINGS[(number % 8) as usize], number >> 44)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::plan::Choices;

    fn plan(seed: u64, attacks: Vec<Kind>) -> Plan {
        Plan::new(Choices { seed, attacks, server_cores: 1, ..Choices::default() }).unwrap()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_decides_who_comes_when() {
        let of = |seed| arrivals(&plan(seed, Vec::new()), Phase::Calm, MINUTE);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!(
            of(7).is_sorted_by_key(|arrival| arrival.at) && of(7).iter().all(|arrival| arrival.at < MINUTE)
        );
    }

    #[test]
    fn calm_and_attack_are_paired() {
        let plan = plan(3, Vec::new());
        let known = |phase| {
            let mut all = arrivals(&plan, phase, MINUTE);
            all.retain(|arrival| !matches!(arrival.errand, Errand::SignUp { .. }));
            all
        };
        assert_eq!(known(Phase::Calm), known(Phase::Attack));
        let names = |phase| {
            arrivals(&plan, phase, MINUTE).into_iter().filter_map(|arrival| match arrival.errand {
                Errand::SignUp { number } => Some(number),
                _ => None,
            })
        };
        assert_eq!(names(Phase::Calm).count(), names(Phase::Attack).count());
        assert!(names(Phase::Calm).all(|number| names(Phase::Attack).all(|other| other != number)));
    }

    #[test]
    fn rates_are_as_planned_and_a_crowd_is_a_multiple() {
        let long = Duration::from_secs(2000);
        let count = |attacks, phase| {
            let all = arrivals(&plan(1, attacks), phase, long);
            all.iter().filter(|arrival| matches!(arrival.errand, Errand::SignUp { .. })).count() as f64
        };
        let (usual, crowd) = (count(Vec::new(), Phase::Attack), count(vec![Kind::Viral], Phase::Attack));
        assert!((usual / 2000.0 - 0.8).abs() < 0.08, "{usual}");
        assert!((crowd / usual - 5.0).abs() < 0.5, "{crowd} {usual}");
        assert!((count(vec![Kind::Viral], Phase::Calm) - usual).abs() < 1e-9);
    }
}
