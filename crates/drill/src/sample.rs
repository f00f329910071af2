//! The course of things: the server's process, its gate, and the attackers' counters, again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::AbortHandle;

use crate::attack::{Count, Tallies};
use crate::http::Pass;
use crate::kind::Kind;
use crate::machine::{Usage, stored_in, usage_of};
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
    /// What its files hold, if they may be looked at.
    pub stored_bytes: Option<u64>,
    /// The gate's level, if the server says it.
    pub level: Option<String>,
    /// What attackers sent and got so far.
    pub attacks: BTreeMap<Kind, Count>,
}

/// Takes samples until it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    tasks: [AbortHandle; 2],
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Sample>,
    /// The last gate that was seen.
    gate: Option<Gate>,
    /// Its level, if it was seen since the last sample.
    level: Option<String>,
    /// Why none was.
    why_not: Option<String>,
}

impl Seen {
    fn look(&mut self, looked: Result<Gate, String>) {
        match looked {
            Ok(gate) => {
                self.level = Some(gate.level.clone());
                self.gate = Some(gate);
            }
            Err(why) => self.why_not = Some(why),
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // It holds good values whoever panicked.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    pub(crate) fn begin(
        (target, pass): (&Target, &Pass),
        timer: Timer,
        kinds: Vec<Kind>,
        tallies: Arc<Tallies>,
    ) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let looking = tokio::spawn(keep_looking(Watch::new(target, pass), timer.clone(), Arc::clone(&seen)));
        let (noted, process, folder) = (Arc::clone(&seen), target.process, target.folder.clone());
        // By itself: a server that doesn't say its level in time is watched nevertheless.
        let sampling = tokio::spawn(async move {
            let mut next = timer.now();
            loop {
                timer.sleep_until(next).await;
                let (at, server) = (timer.now(), process.and_then(usage_of));
                let stored_bytes = folder.as_deref().and_then(stored_in);
                let attacks = kinds.iter().map(|kind| (*kind, tallies.of(*kind).count())).collect();
                let mut seen = lock(&noted);
                let level = seen.level.take();
                seen.samples.push(Sample { at, server, stored_bytes, level, attacks });
                next = at + EVERY;
            }
        });
        Self { tasks: [looking.abort_handle(), sampling.abort_handle()], seen }
    }

    /// Those taken by then.
    pub(crate) fn samples(&self, until: Duration) -> Vec<Sample> {
        lock(&self.seen).samples.iter().filter(|sample| sample.at <= until).cloned().collect()
    }

    /// Whether the gate is open by the last sample that knows it, or by none.
    pub(crate) fn ends_open(&self) -> bool {
        let seen = lock(&self.seen);
        seen.samples.iter().rev().find(|sample| sample.level.is_some()).is_none_or(Sample::is_open)
    }

    /// The last gate that was seen; why there was none, if there never was.
    pub(crate) fn gate(&self) -> Result<Gate, String> {
        let seen = lock(&self.seen);
        let why = || seen.why_not.clone().unwrap_or_else(|| "the server was not asked yet".to_owned());
        seen.gate.clone().ok_or_else(why)
    }
}

async fn keep_looking(mut watch: Watch, timer: Timer, seen: Arc<Mutex<Seen>>) {
    loop {
        let next = timer.now() + EVERY;
        let looked = watch.look().await;
        lock(&seen).look(looked);
        timer.sleep_until(next).await;
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
