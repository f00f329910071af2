//! What a refused request costs the server, and its sender: each kind alone, for a moment.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::attack::{Army, Tallies};
use crate::force::Force;
use crate::kind::Kind;
use crate::machine::usage_of;
use crate::people::World;
use crate::run::{DrillError, Site, orders};

/// What the server does when nobody asks is measured for as long.
const IDLE_FOR: Duration = Duration::from_millis(1000);
/// Where more than this part of the answers were served, the cost of refusing can't be told from theirs.
const SERVED_MAX: f64 = 0.1;
/// Pause between kinds, for what is left of the one before.
const PAUSE: Duration = Duration::from_millis(500);

/// What one kind cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Which.
    pub kind: Kind,
    /// Refused while it was measured.
    pub refused: u64,
    /// Served while it was measured.
    pub served: u64,
    /// The server's processor time for each answer, served or refused, in microseconds, less what it takes when idle.
    pub server_micros_per_answer: Option<f64>,
    /// The same for each that was refused, where few enough were served to tell.
    pub server_micros_per_refusal: Option<f64>,
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
    let idle = idle_cores(world, site).await;
    for force in forces.iter().filter(|force| force.kind != Kind::Viral) {
        progress(&format!("costs: {} alone", force.kind));
        costs.push(measure(world, site, force, idle).await?);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(costs)
}

/// Cores that the server keeps busy with nothing to do.
async fn idle_cores(world: &World, site: &Site) -> f64 {
    let cpu = || site.target.process.and_then(usage_of).map_or(0.0, |usage| usage.cpu_seconds);
    let (before, began) = (cpu(), world.timer.now());
    tokio::time::sleep(IDLE_FOR).await;
    (cpu() - before) / (world.timer.now() - began).as_secs_f64()
}

async fn measure(world: &World, site: &Site, force: &Force, idle: f64) -> Result<Cost, DrillError> {
    let none = |why: &str| Cost {
        kind: force.kind,
        refused: 0,
        served: 0,
        server_micros_per_answer: None,
        server_micros_per_refusal: None,
        attacker_micros_per_answer: None,
        why_not: Some(why.to_owned()),
    };
    if let Some(why) = &force.not_applicable {
        return Ok(none(&format!("not applicable: {why}")));
    }
    let Some(process) = site.target.process else {
        return Ok(none("the server's process is not the drill's to watch"));
    };
    let cpu = || usage_of(process).map(|usage| usage.cpu_seconds);
    let tallies = Arc::<Tallies>::default();
    let (before, began) = (cpu(), world.timer.now());
    let army = Army::begin(
        orders(world, site, std::slice::from_ref(force)),
        Arc::clone(&tallies),
        world.timer.clone(),
    );
    let army = army.map_err(DrillError::Attackers)?;
    tokio::time::sleep(world.plan.cost_of_each).await;
    let (after, took) = (cpu(), world.timer.now() - began);
    let (count, theirs) = (tallies.of(force.kind).count(), army.cpu_seconds());
    tokio::task::block_in_place(|| army.end());
    let (Some(before), Some(after)) = (before, after) else { return Ok(none("the server ended")) };
    let answered = (count.refused + count.served) as f64;
    if answered == 0.0 {
        return Ok(none("nothing was answered"));
    }
    let each = |seconds: f64| Some(seconds.max(0.0) * 1e6 / answered);
    let per_answer = each(after - before - idle * took.as_secs_f64());
    let is_told = count.served as f64 <= SERVED_MAX * answered;
    let why_not = (!is_told).then(|| format!("{} of {answered} were served", count.served));
    Ok(Cost {
        kind: force.kind,
        refused: count.refused,
        served: count.served,
        server_micros_per_answer: per_answer,
        server_micros_per_refusal: per_answer.filter(|_| is_told),
        attacker_micros_per_answer: each(theirs),
        why_not,
    })
}
