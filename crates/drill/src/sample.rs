//! The course of things: the server's process, its gate, and the attackers' counters, again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::AbortHandle;

use crate::attack::{Count, Tallies};
use crate::kind::Kind;
use crate::machine::{Usage, usage_of};
use crate::plan::seconds;
use crate::status::{Gate, Watch};
use crate::target::Target;
use crate::timer::Timer;

/// Time between two samples.
const EVERY: Duration = Duration::from_millis(250);

/// One moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Since the drill began.
    #[serde(rename = "at_seconds", serialize_with = "seconds")]
    pub at: Duration,
    /// The server's process, if it may be watched.
    pub server: Option<Usage>,
    /// The gate's level, if the server says it.
    pub level: Option<String>,
    /// What attackers sent and got so far.
    pub attacks: BTreeMap<Kind, Count>,
}

impl Seen {
    fn add(&mut self, sample: Sample, gate: Result<Gate, String>) {
        self.samples.push(sample);
        match gate {
            Ok(gate) => self.gate = Some(gate),
            Err(why) => self.why_not = Some(why),
        }
    }
}

/// Takes samples until it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    task: AbortHandle,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Sample>,
    /// The last gate that was seen.
    gate: Option<Gate>,
    /// Why none was.
    why_not: Option<String>,
}

impl Sampler {
    pub(crate) fn begin(target: &Target, timer: Timer, kinds: Vec<Kind>, tallies: Arc<Tallies>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (noted, process, mut watch) = (Arc::clone(&seen), target.process, Watch::new(target));
        let work = async move {
            loop {
                let at = timer.now();
                let gate = watch.look().await;
                let attacks = kinds.iter().map(|kind| (*kind, tallies.of(*kind).count())).collect();
                let level = gate.as_ref().ok().map(|gate| gate.level.clone());
                let sample = Sample { at, server: process.and_then(usage_of), level, attacks };
                noted.lock().unwrap_or_else(PoisonError::into_inner).add(sample, gate);
                timer.sleep_until(at + EVERY).await;
            }
        };
        Self { task: tokio::spawn(work).abort_handle(), seen }
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).samples.clone()
    }

    /// The last gate that was seen; why there was none, if there never was.
    pub(crate) fn gate(&self) -> Result<Gate, String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let why = || seen.why_not.clone().unwrap_or_else(|| "the server was not asked yet".to_owned());
        seen.gate.clone().ok_or_else(why)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}
