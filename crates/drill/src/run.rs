//! A drill from its beginning to its end.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Clock;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::attack::{Army, Orders, Tallies, speaks_http2};
use crate::calibrate::calibrate;
use crate::costs::cost_of_each;
use crate::force::{Force, forces};
use crate::http::Pass;
use crate::kind::Kind;
use crate::machine::Cores;
use crate::people::{Accounts, Administrator, Failed, World, receive};
use crate::plan::Plan;
use crate::record::Recorder;
use crate::report::{Attack, Report};
use crate::sample::Sampler;
use crate::schedule::{Phase, arrivals};
use crate::stats::{OfPhase, Summary, Unmeasured, moves};
use crate::target::{Admin, Target};
use crate::timer::Timer;

/// How long the accounts of before may take.
const SETUP_MAX: Duration = Duration::from_secs(120);
/// How long the drill waits at its end for those who came in recovery.
const LINGER: Duration = Duration::from_secs(2);
/// How long taking the accounts away again may take.
const CLEANING_MAX: Duration = Duration::from_secs(120);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The server doesn't do what the drill needs.
    #[error("the drill could not begin: {0}")]
    Setup(String),
    /// Attackers' threads.
    #[error("the attackers could not begin: {0}")]
    Attackers(std::io::Error),
    /// Whoever began it ended it.
    #[error("the drill was interrupted")]
    Interrupted,
    /// The server is somebody's, and the drill could not take away what it made there.
    #[error("accounts whose names begin with {prefix:?} are left on the server: {why}")]
    LeftBehind {
        /// What their names begin with.
        prefix: String,
        /// Why.
        why: String,
    },
}

/// Where a drill happens.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub target: Target,
    /// What the server is, for the report.
    pub about: String,
    /// Its settings that were declared for the drill, for the report.
    pub settings: BTreeMap<String, String>,
    /// Connections that it takes at once.
    pub connections_max: u64,
    /// Whose the cores are.
    pub cores: Cores,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Runs a drill, and says on the way how far it is. Ready early when `stop` is; whatever was made on a server that is
/// somebody's is taken away in any case.
///
/// # Errors
/// When the server can't be used, or the drill was stopped.
pub async fn run(
    plan: Plan,
    site: Site,
    stop: impl Future<Output = ()>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Report, DrillError> {
    let timer = Timer::new(Arc::clone(&site.clock));
    let stop = std::pin::pin!(stop);
    let administrator = Mutex::new(None);
    let work = conduct(plan, &site, timer, &administrator, progress);
    let ended = tokio::select! {
        ended = work => ended,
        () = stop => Err(DrillError::Interrupted),
    };
    let signed_in = administrator.into_inner().unwrap_or_else(PoisonError::into_inner);
    clean(&site, signed_in).await?;
    ended
}

/// A server that is the drill's own is thrown away whole.
async fn clean(site: &Site, signed_in: Option<Administrator>) -> Result<(), DrillError> {
    let (Admin::Login { .. }, Some(administrator)) = (&site.target.admin, signed_in) else { return Ok(()) };
    let why = match timeout(CLEANING_MAX, administrator.remove_all()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failed)) => failed.to_string(),
        Err(_) => format!("deleting them took longer than {} s", CLEANING_MAX.as_secs()),
    };
    Err(DrillError::LeftBehind { prefix: administrator.prefix, why })
}

fn setup(failed: Failed) -> DrillError {
    DrillError::Setup(failed.to_string())
}

async fn conduct(
    plan: Plan,
    site: &Site,
    timer: Timer,
    signed_in: &Mutex<Option<Administrator>>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Report, DrillError> {
    let target = &site.target;
    progress("setup: accounts of those who were there before");
    let making = async {
        let administrator = Administrator::sign_in(target, &plan).await?;
        // Known from here on, so that what is made is taken away whatever happens.
        *signed_in.lock().unwrap_or_else(PoisonError::into_inner) = Some(administrator.clone());
        let accounts = Accounts::make(&administrator, &plan, &timer).await?;
        Ok((administrator, Arc::new(accounts)))
    };
    let late = || DrillError::Setup(format!("the accounts took longer than {} s", SETUP_MAX.as_secs()));
    let (administrator, accounts) = timeout(SETUP_MAX, making).await.map_err(|_| late())?.map_err(setup)?;
    let plan = Arc::new(plan);
    let world = World {
        target: target.clone(),
        plan: Arc::clone(&plan),
        accounts: Arc::clone(&accounts),
        timer: timer.clone(),
        recorder: Recorder::default(),
        visits: Arc::new(AtomicUsize::new(0)),
    };
    progress("calibration: what the server can serve");
    let capacity = calibrate(&world, site.connections_max).await;
    progress(&format!("calibration: {}", capacity.in_words()));
    let http2 = speaks_http2(target).await;
    let forces = forces(&plan, &capacity, http2.as_ref().err().map(String::as_str));

    let course = Course { world: &world, site, pass: administrator.pass(), forces: &forces, progress };
    let (phases, tallies, sampler, army_cpu) = course.phases().await?;
    let mut unmeasured = Unmeasured::new();
    let counted = administrator.count_of_attackers().await;
    // What follows is measured by itself and is no part of the course.
    let until = phases.last().map_or(Duration::ZERO, |of| of.ended);
    let (samples, gate) = (sampler.samples(until), sampler.gate());
    drop(sampler);
    let costs = cost_of_each(&world, site, &forces, progress).await?;
    let records = world.recorder.all();
    let mut summary = Summary::of_people(plan.seed, &phases, &records, &plan.targets, &mut unmeasured);
    match counted {
        Ok(count) => summary.attacker_accounts = Some(count),
        Err(failed) => drop(unmeasured.insert("attacker_accounts", failed.to_string())),
    }
    summary.add_gate(&phases, &samples, gate.as_ref().err().map(String::as_str), &mut unmeasured);
    let watched = phases.iter().filter(|of| of.phase != Phase::Calm).map(|of| of.ended - of.began).sum();
    match gate.and_then(|gate| gate.budget_over(watched)) {
        Ok(budget) => summary.account_budget = Some(budget),
        Err(why) => drop(unmeasured.insert("account_budget", why)),
    }
    let attacks = attacks(&plan, &forces, &phases, &tallies);
    Ok(Report {
        summary,
        unmeasured,
        about: site.about.clone(),
        settings: site.settings.clone(),
        plan: Plan::clone(&plan),
        cores: site.cores.clone(),
        capacity,
        phases,
        gate_moves: moves(&samples),
        attackers_cpu_seconds: army_cpu,
        attacks,
        costs,
        chats: records.chats.iter().map(Into::into).collect(),
        samples,
    })
}

fn attacks(plan: &Plan, forces: &[Force], phases: &[OfPhase], tallies: &Tallies) -> Vec<Attack> {
    let attacked =
        phases.iter().find(|of| of.phase == Phase::Attack).map_or(plan.attack, |of| of.ended - of.began);
    let of = |force: &Force| Attack::new(force, tallies.of(force.kind).count(), attacked);
    // The crowd is in the figures of people.
    forces.iter().filter(|force| force.kind != Kind::Viral).map(of).collect()
}

/// The three phases.
struct Course<'a> {
    world: &'a World,
    site: &'a Site,
    /// As whom the gate is watched.
    pass: &'a Pass,
    forces: &'a [Force],
    progress: &'a (dyn Fn(&str) + Sync),
}

impl Course<'_> {
    async fn phases(&self) -> Result<(Vec<OfPhase>, Arc<Tallies>, Sampler, f64), DrillError> {
        let World { timer, plan, recorder, .. } = self.world;
        let tallies = Arc::<Tallies>::default();
        let kinds: Vec<Kind> = self.forces.iter().map(|force| force.kind).collect();
        let sampler =
            Sampler::begin((&self.world.target, self.pass), timer.clone(), kinds, Arc::clone(&tallies));
        let mut visits = JoinSet::new();
        let mut spans = Vec::new();

        self.say(Phase::Calm, plan.calm, "people only");
        let began = timer.now();
        let calm = arrivals(plan, Phase::Calm, plan.calm);
        receive(self.world, Phase::Calm, began, calm, &mut visits).await;
        timer.sleep_until(began + plan.calm).await;
        // Those of calm are let end in peace: what follows is not to count against it.
        while visits.join_next().await.is_some() {}
        spans.push((Phase::Calm, began, timer.now(), 0));

        self.say(Phase::Attack, plan.attack, &self.in_words());
        let began = timer.now();
        let army = Army::begin(self.orders(), Arc::clone(&tallies), timer.clone());
        let army = army.map_err(DrillError::Attackers)?;
        let attack = arrivals(plan, Phase::Attack, plan.attack);
        receive(self.world, Phase::Attack, began, attack, &mut visits).await;
        timer.sleep_until(began + plan.attack).await;
        let army_cpu = army.cpu_seconds();
        tokio::task::block_in_place(|| army.end());
        let ended = timer.now();
        spans.push((Phase::Attack, began, ended, 0));

        self.say(Phase::Recovery, plan.recovery, "people only");
        let mut late = JoinSet::new();
        tokio::select! {
            () = receive(self.world, Phase::Recovery, ended, arrivals(plan, Phase::Recovery, plan.reopen_max), &mut late) => {
                timer.sleep_until(ended + plan.reopen_max).await;
            }
            () = self.reopened(ended, &sampler) => {}
        }
        spans.push((Phase::Recovery, ended, timer.now(), 0));
        while visits.join_next().await.is_some() {}
        let linger = async { while late.join_next().await.is_some() {} };
        // Who is not done by then is said to be unfinished.
        let _ = timeout(LINGER, linger).await;
        let unfinished = late.len();
        drop(late);
        let records = recorder.all();
        let of = |(phase, began, ended, _): (Phase, Duration, Duration, usize)| {
            let unfinished = if phase == Phase::Recovery { unfinished } else { 0 };
            OfPhase::new((phase, began, ended), unfinished, &records, &plan.targets)
        };
        Ok((spans.into_iter().map(of).collect(), tallies, sampler, army_cpu))
    }

    /// Ready when recovery has lasted as long as planned and a sample knows that the gate is open, or none knows it.
    async fn reopened(&self, ended: Duration, sampler: &Sampler) {
        let World { timer, plan, .. } = self.world;
        timer.sleep_until(ended + plan.recovery).await;
        while !sampler.ends_open() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn say(&self, phase: Phase, length: Duration, what: &str) {
        (self.progress)(&format!("{}: {} s, {what}", phase.name(), length.as_secs_f64()));
    }

    fn in_words(&self) -> String {
        let World { plan, .. } = self.world;
        let attacking = |force: &&Force| force.not_applicable.is_none() && force.kind != Kind::Viral;
        let names: Vec<_> = self.forces.iter().filter(attacking).map(|force| force.kind.name()).collect();
        let mut words = Vec::new();
        if !names.is_empty() {
            words.push(format!("{} at {} times capacity", names.join(", "), plan.strength));
        }
        if plan.is_viral() {
            words.push(format!("a crowd of {} times the newcomers", plan.people.viral_factor));
        }
        words.join("; ")
    }

    fn orders(&self) -> Orders {
        orders(self.world, self.site, self.forces)
    }
}

/// What attackers of these forces are told.
pub(crate) fn orders(world: &World, site: &Site, forces: &[Force]) -> Orders {
    let World { target, plan, accounts, .. } = world;
    Orders {
        target: target.clone(),
        seed: plan.seed,
        addresses: plan.addresses,
        prefix: accounts.prefix.clone(),
        known_names: accounts.returning.iter().map(|user| user.name.clone()).collect(),
        sleeper_keys: accounts.sleepers.iter().map(|sleeper| sleeper.key.clone()).collect(),
        model: accounts.model.clone(),
        cores: site.cores.load.clone(),
        forces: forces.iter().filter(|it| it.not_applicable.is_none()).map(|it| (it.kind, it.rate)).collect(),
    }
}
