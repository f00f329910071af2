//! When attackers begin, how fast they go, and how all of it ends.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::mob::Mob;
use super::tally::{Outcome, Tallies};
use super::{flood, hold, http2};
use crate::kind::Kind;
use crate::machine;
use crate::target::Target;
use crate::timer::Timer;

/// How long attackers that are in the middle of something are waited for at the end.
const END_MAX: Duration = Duration::from_millis(500);
/// How often a flood looks at the clock.
const BEAT: Duration = Duration::from_millis(2);
/// Requests of one kind that may be on their way at once.
pub(crate) const IN_FLIGHT_MAX: usize = 512;

/// What attackers are told.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) target: Target,
    pub(crate) seed: u64,
    /// Addresses to come from.
    pub(crate) addresses: u32,
    /// What names of theirs begin with.
    pub(crate) prefix: String,
    /// Names of accounts of before, to try passwords of.
    pub(crate) known_names: Vec<String>,
    /// Keys of accounts of before that are theirs.
    pub(crate) sleeper_keys: Vec<String>,
    pub(crate) model: String,
    pub(crate) cores: Vec<usize>,
    /// Each kind and how much of it: requests, hashes, or chats a second, or connections at once.
    pub(crate) forces: Vec<(Kind, f64)>,
}

/// What all attackers share while they attack.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) orders: Orders,
    pub(super) tallies: Arc<Tallies>,
    pub(super) timer: Timer,
    pub(super) mob: Mob,
    /// For what runs on a thread and can't be dropped.
    pub(super) stopped: AtomicBool,
}

impl Field {
    /// The randomness of a kind: the same for the same seed.
    pub(super) fn rng(&self, kind: Kind) -> Rng {
        Rng::from_seed(self.orders.seed ^ (0xa77a_c000 + kind.index() as u64))
    }
}

/// Attackers that attack until they are told to stop, or dropped.
#[derive(Debug)]
pub(crate) struct Army {
    stop: watch::Sender<bool>,
    field: Arc<Field>,
    thread: Option<JoinHandle<()>>,
    /// Threads of the system, for what they cost.
    threads: Arc<Mutex<Vec<i32>>>,
}

impl Army {
    pub(crate) fn begin(orders: Orders, tallies: Arc<Tallies>, timer: Timer) -> std::io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let field =
            Arc::new(Field { orders, tallies, timer, mob: Mob::default(), stopped: AtomicBool::new(false) });
        let threads = Arc::new(Mutex::new(Vec::new()));
        let (cores, noted) = (field.orders.cores.clone(), Arc::clone(&threads));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.len().max(1))
            .max_blocking_threads(cores.len().max(1))
            .enable_all()
            .on_thread_start(move || {
                // What the system refuses here is seen in the report: attackers then delay people.
                let _ = machine::pin(&cores);
                machine::give_way();
                let thread = rustix::thread::gettid().as_raw_nonzero().get();
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            })
            .build()?;
        let all = Arc::clone(&field);
        let thread = thread::Builder::new().name("attackers".to_owned()).spawn(move || {
            machine::give_way();
            runtime.block_on(attack(all, stopping));
            runtime.shutdown_timeout(END_MAX);
        })?;
        Ok(Self { stop, field, thread: Some(thread), threads })
    }

    /// Seconds that the attackers' threads have run.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().filter_map(|thread| machine::thread_cpu_seconds(*thread)).sum()
    }

    /// Ends all attacks. Takes at most a second or so.
    pub(crate) fn end(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.field.stopped.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed; what was measured until then is still true.
            let _ = thread.join();
        }
    }
}

impl Drop for Army {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

async fn attack(field: Arc<Field>, mut stopping: watch::Receiver<bool>) {
    let mut attacks = JoinSet::new();
    for (kind, force) in field.orders.forces.clone() {
        let field = Arc::clone(&field);
        // On the attackers' threads, which `block_on` is not.
        attacks.spawn(async move {
            match kind {
                Kind::HttpFlood => flood::http(&field, force).await,
                Kind::RegistrationFlood => flood::sign_ups(&field, kind, Rate::Steady(force)).await,
                Kind::CredentialStuffing => flood::logins(&field, force).await,
                Kind::Pulses => flood::sign_ups(&field, kind, Rate::Pulses(force)).await,
                Kind::Slowloris => hold::slowloris(&field, force).await,
                Kind::SlowRead => hold::slow_read(&field, force).await,
                Kind::SseHoarding => hold::streams(&field, force).await,
                Kind::RapidReset => http2::rapid_reset(&field, force).await,
                Kind::Continuation => http2::continuation(&field, force).await,
                Kind::ExpensivePrompts => flood::expensive_prompts(&field, force).await,
                Kind::Sleepers => flood::sleepers(&field, force).await,
                Kind::Viral => {}
            }
        });
    }
    // The sender lives as long as the army.
    let _ = stopping.wait_for(|stop| *stop).await;
    // Dropping the tasks ends their connections.
}

/// How fast something is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rate {
    /// So many a second.
    Steady(f64),
    /// So many a second in the first of every four seconds.
    Pulses(f64),
}

impl Rate {
    /// How many are due after so many seconds.
    fn due(self, seconds: f64) -> f64 {
        match self {
            Self::Steady(rate) => rate * seconds,
            Self::Pulses(rate) => rate * ((seconds / 4.0).floor() + (seconds % 4.0).min(1.0)),
        }
    }
}

/// Begins work at a rate, each piece by itself, whatever becomes of those before. `each` is how many requests a piece
/// is.
pub(super) async fn pace<F>(field: &Field, kind: Kind, rate: Rate, each: u64, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tally = field.tallies.of(kind);
    let began = field.timer.now();
    let mut in_flight = JoinSet::new();
    let mut passed = 0_u64;
    loop {
        let due = rate.due((field.timer.now() - began).as_secs_f64()) as u64 / each;
        while passed < due {
            while in_flight.try_join_next().is_some() {}
            if in_flight.len() >= IN_FLIGHT_MAX {
                tally.hold_back((due - passed) * each);
                passed = due;
                break;
            }
            tally.begin(each);
            in_flight.spawn(begin());
            passed += 1;
            if passed.is_multiple_of(64) {
                // Those that were begun get their turn although more are due.
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(BEAT).await;
        while in_flight.try_join_next().is_some() {}
    }
}

/// Keeps so many connections held, opening them over two seconds and again as they end.
pub(super) async fn keep<F>(field: &Field, kind: Kind, count: f64, mut hold: impl FnMut() -> F)
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let tally = field.tallies.of(kind);
    let wanted = (count as usize).clamp(1, HELD_MAX);
    let began = field.timer.now();
    let mut held = JoinSet::new();
    loop {
        while let Some(ended) = held.try_join_next() {
            if let Ok(outcome) = ended {
                tally.end(outcome);
            }
        }
        let ramp = ((field.timer.now() - began).as_secs_f64() / 2.0).min(1.0);
        let now = (wanted as f64 * ramp) as usize;
        // No more than a few hundred a second, so that a server which refuses them all is not flooded instead.
        for _ in 0..now.saturating_sub(held.len()).min(64) {
            tally.begin(1);
            held.spawn(hold());
        }
        tally.held.store(held.len() as u64, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Most connections that one kind holds.
pub(crate) const HELD_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulses_take_a_second_in_four() {
        let due = |seconds| Rate::Pulses(100.0).due(seconds) as u64;
        assert_eq!([0.0, 0.5, 1.0, 3.9, 4.5, 8.0].map(due), [0, 50, 100, 100, 150, 200]);
        assert_eq!(Rate::Steady(100.0).due(2.5) as u64, 250);
    }
}
