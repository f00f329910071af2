//! What a refused request costs the server, and its sender: each kind alone, for a moment, once it has had what there
//! is for everybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::attack::{Army, Tallies};
use crate::force::Force;
use crate::kind::Kind;
use crate::machine::{threads_of, usage_of};
use crate::people::World;
use crate::run::{DrillError, Site, orders};

/// The server is at rest when it keeps no more than this of a core busy for as long, its model aside; what it does then is
/// taken off.
const REST: f64 = 0.05;
const REST_FOR: Duration = Duration::from_millis(500);
/// How long it may take to come to rest after what went before, such as hashes in the queue.
const REST_WITHIN: Duration = Duration::from_secs(60);
/// Where more than this part of the answers were served, the cost of refusing can't be told from theirs.
const SERVED_MAX: f64 = 0.1;

/// What the names of the threads begin with that run the server's models.
const MODEL_THREADS: &[&str] = &["engine", "kernel"];
/// What the names of the threads begin with that are there for one hash of a password, or one long prompt, and stand back
/// behind the others.
const SPARE_THREADS: &[&str] = &["password", "prompt"];

/// What one kind cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Which.
    pub kind: Kind,
    /// Refused while it was measured.
    pub refused: u64,
    /// Served while it was measured.
    pub served: u64,
    /// Answers by status while it was measured: a wrong password that was hashed (401) takes a thousand times what a
    /// challenge does (428).
    pub statuses: BTreeMap<u16, u64>,
    /// The server's processor time for each answer, served or refused, in microseconds, less what it takes when idle and
    /// what the model took: to generate is no part of refusing others.
    pub server_micros_per_answer: Option<f64>,
    /// The same for each that was refused, where few enough were served to tell. Where they weren't, a refusal takes at
    /// most what an answer does.
    pub server_micros_per_refusal: Option<f64>,
    /// The part of the server's time for each answer that threads took which stand back: hashes of passwords, as many as
    /// there are places for, and reading long prompts. It is none of what those cost that were not let in.
    pub spare_micros_per_answer: Option<f64>,
    /// The attackers' processor time for each answer, in microseconds.
    pub attacker_micros_per_answer: Option<f64>,
    /// Why the cost of refusing is not known.
    pub why_not: Option<String>,
}

pub(crate) async fn cost_of_each(
    world: &World,
    site: &Site,
    forces: &[Force],
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Cost>, DrillError> {
    let mut costs = Vec::new();
    if world.plan.cost_of_each.is_zero() {
        return Ok(costs);
    }
    for force in forces.iter().filter(|force| force.kind != Kind::Viral) {
        progress(&format!("costs: {} alone", force.kind));
        costs.push(measure(world, site, force).await?);
    }
    Ok(costs)
}

/// What the server's process has used up to a moment.
struct Look {
    cpu_seconds: f64,
    threads: BTreeMap<u32, (String, f64)>,
}

/// What it used between two moments, in seconds.
struct Used {
    /// All but what its models took: an answer that somebody is still written is no part of what others cost.
    without_model: f64,
    /// What threads took that stand back.
    spare: f64,
}

impl Look {
    /// Nothing if the process has ended.
    fn at(process: u32) -> Option<Self> {
        let cpu_seconds = usage_of(process)?.cpu_seconds;
        Some(Self { cpu_seconds, threads: threads_of(process) })
    }

    fn used_since(&self, before: &Self) -> Used {
        let (mut model, mut others) = (0.0, 0.0);
        for (number, (name, seconds)) in &self.threads {
            let used = seconds - before.threads.get(number).map_or(0.0, |(_, seconds)| *seconds);
            let is = |names: &[&str]| names.iter().any(|begins| name.starts_with(begins));
            if is(MODEL_THREADS) {
                model += used;
            } else if !is(SPARE_THREADS) {
                others += used;
            }
        }
        // Threads that are gone are only in the sum of all, and those that stand back are gone when they are done.
        let without_model = (self.cpu_seconds - before.cpu_seconds - model).max(0.0);
        Used { without_model, spare: (without_model - others).max(0.0) }
    }
}

/// Waits until the server is at rest, and says how much of a core it keeps busy then; or how much it still does.
async fn rest(world: &World, process: u32) -> Result<f64, f64> {
    let since = world.timer.now();
    loop {
        let (before, began) = (Look::at(process), world.timer.now());
        tokio::time::sleep(REST_FOR).await;
        let used = Look::at(process).zip(before).map(|(after, before)| after.used_since(&before));
        let busy = used.map_or(0.0, |used| used.without_model) / (world.timer.now() - began).as_secs_f64();
        if busy <= REST {
            return Ok(busy);
        }
        if world.timer.now() - since > REST_WITHIN {
            return Err(busy);
        }
    }
}

async fn measure(world: &World, site: &Site, force: &Force) -> Result<Cost, DrillError> {
    let none = |why: &str| Cost {
        kind: force.kind,
        refused: 0,
        served: 0,
        statuses: BTreeMap::new(),
        server_micros_per_answer: None,
        server_micros_per_refusal: None,
        spare_micros_per_answer: None,
        attacker_micros_per_answer: None,
        why_not: Some(why.to_owned()),
    };
    if let Some(why) = &force.not_applicable {
        return Ok(none(&format!("not applicable: {why}")));
    }
    let Some(process) = site.target.process else {
        return Ok(none("the server's process is not the drill's to watch"));
    };
    let idle = match rest(world, process).await {
        Ok(idle) => idle,
        Err(busy) => {
            let within = REST_WITHIN.as_secs();
            return Ok(none(&format!("after {within} s the server still kept {busy:.2} cores busy")));
        }
    };
    let tallies = Arc::<Tallies>::default();
    let army = Army::begin(
        orders(world, site, std::slice::from_ref(force)),
        Arc::clone(&tallies),
        world.timer.clone(),
    );
    let army = army.map_err(DrillError::Attackers)?;
    let look = || (Look::at(process), world.timer.now(), tallies.of(force.kind).count(), army.cpu_seconds());
    // In its first moments a kind gets places and accounts that there are: what is refused comes after them.
    tokio::time::sleep(world.plan.cost_of_each).await;
    let (before, began, count_before, theirs_before) = look();
    tokio::time::sleep(world.plan.cost_of_each).await;
    let (after, ended, mut count, theirs) = look();
    tokio::task::block_in_place(|| army.end());
    let (Some(before), Some(after)) = (before, after) else { return Ok(none("the server ended")) };
    count.refused -= count_before.refused;
    count.served -= count_before.served;
    for (status, answers) in &mut count.statuses {
        *answers -= count_before.statuses.get(status).copied().unwrap_or_default();
    }
    count.statuses.retain(|_, answers| *answers > 0);
    let (took, theirs) = (ended - began, theirs - theirs_before);
    let answered = (count.refused + count.served) as f64;
    if answered == 0.0 {
        return Ok(none("nothing was answered"));
    }
    let each = |seconds: f64| Some(seconds.max(0.0) * 1e6 / answered);
    let used = after.used_since(&before);
    let per_answer = each(used.without_model - idle * took.as_secs_f64());
    let is_told = count.served as f64 <= SERVED_MAX * answered;
    let why_not = (!is_told).then(|| format!("{} of {answered} were served", count.served));
    Ok(Cost {
        kind: force.kind,
        refused: count.refused,
        served: count.served,
        statuses: count.statuses,
        server_micros_per_answer: per_answer,
        server_micros_per_refusal: per_answer.filter(|_| is_told),
        spare_micros_per_answer: each(used.spare),
        attacker_micros_per_answer: each(theirs),
        why_not,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_took_that_are_gone_stood_back() {
        let look = |cpu_seconds, threads: &[(u32, &str, f64)]| {
            let named = threads.iter().map(|&(number, name, seconds)| (number, (name.to_owned(), seconds)));
            Look { cpu_seconds, threads: named.collect() }
        };
        let before = look(10.0, &[(1, "requests", 2.0), (2, "engine-0", 5.0), (3, "password", 0.5)]);
        let after = look(
            14.0,
            // One hash has ended and another is computed; a thread for requests is new.
            &[(1, "requests", 2.5), (2, "engine-0", 6.0), (4, "password", 0.25), (5, "requests", 0.5)],
        );
        let Used { without_model, spare } = after.used_since(&before);
        assert!((without_model - 3.0).abs() < 1e-9, "{without_model}");
        assert!((spare - 2.0).abs() < 1e-9, "{spare}");
        // The sum of all has ticks of 10 ms; threads are known better.
        let none = look(14.0, &[(1, "requests", 2.509)]).used_since(&look(14.0, &[(1, "requests", 2.5)]));
        assert!(none.without_model == 0.0 && none.spare == 0.0);
    }
}
