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
/// Pause between kinds, for what is left of the one before.
const PAUSE: Duration = Duration::from_millis(500);

/// What one kind cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Which.
    pub kind: Kind,
    /// Refused while it was measured.
    pub refused: u64,
    /// Served while it was measured, whose cost is in it too.
    pub served: u64,
    /// The server's processor time for each that was refused, in microseconds, less what it takes when idle.
    pub server_micros: Option<f64>,
    /// The attackers' processor time for each, in microseconds.
    pub attacker_micros: Option<f64>,
    /// Why there is no figure.
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
        server_micros: None,
        attacker_micros: None,
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
    if count.refused == 0 {
        let why =
            if count.served > 0 { "nothing was refused: all was served" } else { "nothing was answered" };
        return Ok(Cost { served: count.served, ..none(why) });
    }
    let each = |seconds: f64| Some(seconds.max(0.0) * 1e6 / count.refused as f64);
    Ok(Cost {
        kind: force.kind,
        refused: count.refused,
        served: count.served,
        server_micros: each(after - before - idle * took.as_secs_f64()),
        attacker_micros: each(theirs),
        why_not: None,
    })
}
