//! From what was noted to the figures that count. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::plan::Targets;
use crate::record::{Chat, End, Got, Login, Records, SignUp};
use crate::sample::Sample;
use crate::schedule::Phase;

/// Goodput that counts as restored, as a part of what it was in calm.
const RESTORED: f64 = 0.95;
/// Fewer chats than this say nothing about whether it is.
const RESTORED_CHATS_MIN: usize = 3;

/// Times of a class of people, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

impl Times {
    /// Nothing where nobody came.
    fn of(times: impl Iterator<Item = Duration>) -> Option<Self> {
        // Microseconds, with four digits; it grows as far as it must.
        let mut histogram = Histogram::<u64>::new(4).ok()?;
        for time in times {
            histogram.record(time.as_micros() as u64).ok()?;
        }
        let milliseconds = |micros: u64| micros as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50_ms: milliseconds(histogram.value_at_quantile(0.5)),
            p99_ms: milliseconds(histogram.value_at_quantile(0.99)),
            max_ms: milliseconds(histogram.max()),
        })
    }
}

/// Chats of established users.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chats {
    /// That were to begin.
    pub came: usize,
    /// That were as fast as they should be, and whole.
    pub good: usize,
    /// Whose answer began.
    pub begun: usize,
    /// Of those, whose answer was whole.
    pub complete: usize,
    /// Who were asked for proof of something.
    pub challenged: usize,
    /// Who were turned away: challenged, refused or without a connection.
    pub blocked: usize,
    /// From the scheduled time to the first token. Who saw none counts as having waited as long as people wait, so that
    /// with any of those the figure is the least that it can be.
    pub ttft: Option<Times>,
    /// How they ended.
    pub ends: BTreeMap<String, usize>,
}

/// Logins with the right password from new addresses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Logins {
    /// That were tried.
    pub came: usize,
    /// That led to a session.
    pub ok: usize,
    /// How long they took, from the scheduled time.
    pub took: Option<Times>,
    /// How they ended.
    pub ends: BTreeMap<String, usize>,
}

/// Honest people who wanted an account.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Newcomers {
    /// Who came.
    pub came: usize,
    /// Who have an account.
    pub accounts: usize,
    /// Who have a place in the queue.
    pub places: usize,
    /// Who had to solve something.
    pub challenged: usize,
    /// How long it took, from the scheduled time.
    pub took: Option<Times>,
    /// How it ended.
    pub ends: BTreeMap<String, usize>,
}

/// What became of people in one phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfPhase {
    /// Which.
    pub phase: Phase,
    /// When it began, since the drill did.
    #[serde(rename = "began_seconds", serialize_with = "crate::plan::seconds")]
    pub began: Duration,
    /// When it ended.
    #[serde(rename = "ended_seconds", serialize_with = "crate::plan::seconds")]
    pub ended: Duration,
    /// Established users.
    pub chats: Chats,
    /// Returning users.
    pub logins: Logins,
    /// Newcomers.
    pub newcomers: Newcomers,
    /// Visits of the phase that were still going on when the drill ended: they are in no other figure.
    pub unfinished: usize,
}

impl OfPhase {
    pub(crate) fn new(
        (phase, began, ended): (Phase, Duration, Duration),
        unfinished: usize,
        records: &Records,
        targets: &Targets,
    ) -> Self {
        let chats: Vec<_> = records.chats.iter().filter(|chat| chat.phase == phase).collect();
        let logins: Vec<_> = records.logins.iter().filter(|login| login.phase == phase).collect();
        let newcomers: Vec<_> = records.sign_ups.iter().filter(|sign_up| sign_up.phase == phase).collect();
        Self {
            phase,
            began,
            ended,
            chats: Chats::of(&chats, targets),
            logins: Logins::of(&logins),
            newcomers: Newcomers::of(&newcomers),
            unfinished,
        }
    }
}

impl Chats {
    fn of(chats: &[&Chat], targets: &Targets) -> Self {
        let count = |wanted: &dyn Fn(&Chat) -> bool| chats.iter().filter(|chat| wanted(chat)).count();
        Self {
            came: chats.len(),
            good: count(&|chat| chat.is_good(targets)),
            begun: count(&|chat| chat.ttft.is_some()),
            complete: count(&|chat| chat.ttft.is_some() && chat.end == End::Done),
            challenged: count(&|chat| chat.end == End::Challenged),
            blocked: count(&|chat| chat.end.is_blocked()),
            ttft: Times::of(chats.iter().map(|chat| chat.waited(targets))),
            ends: tally(chats.iter().map(|chat| chat.end.name())),
        }
    }

    fn goodput(&self) -> Option<f64> {
        ratio(self.good, self.came)
    }
}

impl Logins {
    fn of(logins: &[&Login]) -> Self {
        Self {
            came: logins.len(),
            ok: logins.iter().filter(|login| login.end == End::Done).count(),
            took: Times::of(logins.iter().map(|login| login.waited)),
            ends: tally(logins.iter().map(|login| login.end.name())),
        }
    }
}

impl Newcomers {
    fn of(sign_ups: &[&SignUp]) -> Self {
        let count = |got: Got| sign_ups.iter().filter(|sign_up| sign_up.got == got).count();
        let name = |got: &Got| match got {
            Got::Account => "account".to_owned(),
            Got::Place => "place".to_owned(),
            Got::Letter => "letter".to_owned(),
            Got::Nothing(end) => end.name(),
        };
        Self {
            came: sign_ups.len(),
            accounts: count(Got::Account),
            places: count(Got::Place),
            challenged: sign_ups.iter().filter(|sign_up| sign_up.challenges > 0).count(),
            took: Times::of(sign_ups.iter().map(|sign_up| sign_up.waited)),
            ends: tally(sign_ups.iter().map(|sign_up| name(&sign_up.got))),
        }
    }
}

fn tally(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for name in names {
        *all.entry(name).or_default() += 1;
    }
    all
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The figures that a drill is about. What could not be measured is null, and [`crate::Report::unmeasured`] says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Goodput of established users in the attack, as a part of that in calm.
    pub goodput_ratio: Option<f64>,
    /// Their 99th percentile of the time to the first token in the attack, as a multiple of that in calm.
    pub ttft_p99_ratio: Option<f64>,
    /// Of their answers that began in the attack, how many were whole.
    pub streams_complete_ratio: Option<f64>,
    /// Logins with the right password from new addresses in the attack that worked.
    pub logins_ok_ratio: Option<f64>,
    /// Established users that were asked for proof of something, in attack and recovery.
    pub established_challenged: Option<u64>,
    /// Established users' chats in attack and recovery that were turned away.
    pub established_blocked_ratio: Option<f64>,
    /// Honest newcomers in the attack who got an account or a place in the queue in time.
    pub newcomers_served_ratio: Option<f64>,
    /// Accounts that attackers made.
    pub attacker_accounts: Option<u64>,
    /// Accounts that the server's budget allowed from the attack's beginning to the drill's end.
    pub account_budget: Option<u64>,
    /// From the attack's beginning until the gate moved.
    pub detect_seconds: Option<f64>,
    /// From the attack's beginning until goodput was and stayed at 95 % of calm; 0 if it never was lower.
    pub restore_seconds: Option<f64>,
    /// From the attack's end until the gate was open and stayed so.
    pub reopen_seconds: Option<f64>,
    /// Decides everything.
    pub seed: u64,
}

/// Why figures are null, by their names.
pub type Unmeasured = BTreeMap<&'static str, String>;

/// Notes a figure's reason if there is no figure.
fn or_why<T>(unmeasured: &mut Unmeasured, name: &'static str, found: Result<T, String>) -> Option<T> {
    found.map_err(|why| unmeasured.insert(name, why)).ok()
}

impl Summary {
    /// What people's figures say; the gate's are added by [`Summary::add_gate`].
    pub(crate) fn of_people(
        seed: u64,
        phases: &[OfPhase],
        records: &Records,
        targets: &Targets,
        unmeasured: &mut Unmeasured,
    ) -> Self {
        let of = |phase: Phase| phases.iter().find(|of| of.phase == phase);
        let (Some(calm), Some(attack)) = (of(Phase::Calm), of(Phase::Attack)) else {
            return Self { seed, ..Self::default() };
        };
        let after: Vec<_> = phases.iter().filter(|of| of.phase != Phase::Calm).map(|of| &of.chats).collect();
        let nobody = |who: &str| format!("{who} came in the attack");
        let goodput = match (attack.chats.goodput(), calm.chats.goodput()) {
            (Some(attack), Some(calm)) if calm > 0.0 => Ok(attack / calm),
            (_, Some(_)) => Err("no chat was good even in calm".to_owned()),
            _ => Err(nobody("no established user")),
        };
        let ttft = match (attack.chats.ttft, calm.chats.ttft) {
            (Some(attack), Some(calm)) if calm.p99_ms > 0.0 => Ok(attack.p99_ms / calm.p99_ms),
            _ => Err(nobody("no established user")),
        };
        let streams = ratio(attack.chats.complete, attack.chats.begun);
        let logins = ratio(attack.logins.ok, attack.logins.came);
        let newcomers = &attack.newcomers;
        let served = ratio(newcomers.accounts + newcomers.places, newcomers.came);
        let blocked = ratio(after.iter().map(|it| it.blocked).sum(), after.iter().map(|it| it.came).sum());
        let restored = restored(attack, calm, &records.chats, targets);
        Self {
            goodput_ratio: or_why(unmeasured, "goodput_ratio", goodput),
            ttft_p99_ratio: or_why(unmeasured, "ttft_p99_ratio", ttft),
            streams_complete_ratio: or_why(
                unmeasured,
                "streams_complete_ratio",
                streams.ok_or_else(|| "no answer of an established user began in the attack".to_owned()),
            ),
            logins_ok_ratio: or_why(
                unmeasured,
                "logins_ok_ratio",
                logins.ok_or_else(|| nobody("no returning user")),
            ),
            established_challenged: Some(after.iter().map(|it| it.challenged as u64).sum()),
            established_blocked_ratio: or_why(
                unmeasured,
                "established_blocked_ratio",
                blocked.ok_or_else(|| nobody("no established user")),
            ),
            newcomers_served_ratio: or_why(
                unmeasured,
                "newcomers_served_ratio",
                served.ok_or_else(|| nobody("no newcomer")),
            ),
            restore_seconds: or_why(unmeasured, "restore_seconds", restored),
            seed,
            ..Self::default()
        }
    }

    /// What the gate's moves say; `why_not` where the server doesn't say its level.
    pub(crate) fn add_gate(
        &mut self,
        phases: &[OfPhase],
        samples: &[Sample],
        why_not: Option<&str>,
        unmeasured: &mut Unmeasured,
    ) {
        let of = |phase: Phase| phases.iter().find(|of| of.phase == phase);
        let (Some(attack), Some(recovery)) = (of(Phase::Attack), of(Phase::Recovery)) else { return };
        let (detected, reopened) = match why_not {
            Some(why) => (Err(why.to_owned()), Err(why.to_owned())),
            None => (detected(samples, attack), reopened(samples, attack, recovery)),
        };
        self.detect_seconds = or_why(unmeasured, "detect_seconds", detected);
        self.reopen_seconds = or_why(unmeasured, "reopen_seconds", reopened);
    }
}

/// The first moment of the attack from which on chats are as good as in calm.
fn restored(attack: &OfPhase, calm: &OfPhase, chats: &[Chat], targets: &Targets) -> Result<f64, String> {
    let wanted = calm.chats.goodput().unwrap_or_default() * RESTORED;
    let mut of_attack: Vec<_> = chats.iter().filter(|chat| chat.phase == Phase::Attack).collect();
    of_attack.sort_by_key(|chat| chat.at);
    let mut first = None;
    let mut good = 0;
    for (behind, chat) in of_attack.iter().rev().enumerate() {
        good += usize::from(chat.is_good(targets));
        let enough = good as f64 >= wanted * (behind + 1) as f64;
        if behind + 1 >= RESTORED_CHATS_MIN && enough {
            first = Some(of_attack.len() - 1 - behind);
        } else if !enough && first.is_some() {
            break;
        }
    }
    match first {
        // From the last chat before it that was not.
        Some(0) => Ok(0.0),
        Some(first) => Ok(of_attack[first].at.saturating_sub(attack.began).as_secs_f64()),
        None => Err("goodput was not restored while the attack lasted".to_owned()),
    }
}

fn detected(samples: &[Sample], attack: &OfPhase) -> Result<f64, String> {
    let level = |sample: &Sample| sample.level.clone();
    let before = samples.iter().rev().filter(|sample| sample.at < attack.began).find_map(level);
    let mut within = samples.iter().filter(|sample| (attack.began..attack.ended).contains(&sample.at));
    let moved = within.find(|sample| sample.level.is_some() && sample.level != before);
    let moved = moved.ok_or_else(|| "the gate did not move while the attack lasted".to_owned())?;
    Ok((moved.at - attack.began).as_secs_f64())
}

fn reopened(samples: &[Sample], attack: &OfPhase, recovery: &OfPhase) -> Result<f64, String> {
    let known: Vec<_> = samples.iter().filter(|sample| sample.level.is_some()).collect();
    let moved = known.iter().any(|it| it.at >= attack.began && it.at < attack.ended && !it.is_open());
    let after: Vec<_> =
        known.into_iter().filter(|it| it.at >= attack.ended && it.at <= recovery.ended).collect();
    let closed = after.iter().rposition(|sample| !sample.is_open());
    match closed.map_or(after.first(), |last| after.get(last + 1)) {
        Some(_) if !moved && closed.is_none() => Err("the gate never closed".to_owned()),
        Some(open) => Ok((open.at - attack.ended).as_secs_f64()),
        None => Err("the gate did not reopen while it was watched".to_owned()),
    }
}

impl Sample {
    pub(crate) fn is_open(&self) -> bool {
        self.level.as_deref() == Some("open")
    }
}

/// How often the gate changed its level.
pub(crate) fn moves(samples: &[Sample]) -> usize {
    let known: Vec<_> = samples.iter().filter_map(|sample| sample.level.as_deref()).collect();
    known.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stages;

    const SECOND: Duration = Duration::from_secs(1);

    fn chat(phase: Phase, at: u32, ttft_ms: Option<u64>, end: End) -> Chat {
        let ttft = ttft_ms.map(Duration::from_millis);
        let at = SECOND * at;
        let (inter_token, stall) = (SECOND / 100, SECOND / 50);
        Chat { phase, at, with_key: true, ttft, inter_token, stall, stages: Stages::default(), end }
    }

    fn phases(records: &Records) -> Vec<OfPhase> {
        let of = |phase, began: u32| {
            let span = (phase, SECOND * began, SECOND * (began + 10));
            OfPhase::new(span, 0, records, &Targets::default())
        };
        vec![of(Phase::Calm, 0), of(Phase::Attack, 10), of(Phase::Recovery, 20)]
    }

    fn summary(records: &Records) -> (Summary, Unmeasured) {
        let mut unmeasured = Unmeasured::new();
        let summary = Summary::of_people(5, &phases(records), records, &Targets::default(), &mut unmeasured);
        (summary, unmeasured)
    }

    fn records(attack: &[(Option<u64>, End)]) -> Records {
        let calm = (0..10).map(|at| chat(Phase::Calm, at, Some(500), End::Done));
        let attack = (10..).zip(attack).map(|(at, (ttft, end))| chat(Phase::Attack, at, *ttft, end.clone()));
        Records { chats: calm.chain(attack).collect(), ..Records::default() }
    }

    fn check(attack: &[(Option<u64>, End)], goodput: f64, ttft: f64, restored: Option<f64>) {
        let (summary, _) = summary(&records(attack));
        assert_eq!(summary.goodput_ratio, Some(goodput));
        let found = summary.ttft_p99_ratio.unwrap();
        assert!((found / ttft - 1.0).abs() < 0.01, "{found} {ttft}");
        assert_eq!(summary.restore_seconds, restored);
    }

    #[test]
    fn goodput_and_latency_are_those_of_the_attack_over_calm() {
        let of = |kinds: &str| -> Vec<_> {
            let one = |kind| match kind {
                'g' => (Some(500), End::Done),
                's' => (Some(3000), End::Done),
                _ => (None, End::Unreachable),
            };
            kinds.chars().map(one).collect()
        };
        check(&of("gggggggggg"), 1.0, 1.0, Some(0.0));
        check(&of("ssssssssss"), 0.0, 6.0, None);
        // Who sees nothing counts as having waited for as long as people wait.
        check(&of("----------"), 0.0, 12.0, None);
        // Two bad seconds, then as before.
        check(&of("ssgggggggg"), 0.8, 6.0, Some(2.0));
        // Good at the beginning is not good in the end.
        check(&of("gggggsssss"), 0.5, 6.0, None);
        // One of them at the end would be chance.
        check(&of("sssssssssg"), 0.1, 6.0, None);
    }

    #[test]
    fn who_is_turned_away_is_counted_and_who_waits_is_not() {
        let ends = [
            End::Done,
            End::Broken,
            End::Challenged,
            End::Refused(429, String::new()),
            End::Unreachable,
            End::GaveUp,
        ];
        let (summary, _) = summary(&records(&ends.map(|end| (Some(500), end))));
        assert_eq!(summary.established_challenged, Some(1));
        assert_eq!(summary.established_blocked_ratio, Some(0.5));
        assert_eq!(summary.streams_complete_ratio, Some(1.0 / 6.0));
    }

    #[test]
    fn what_was_not_measured_is_null_and_says_why() {
        let (mut summary, mut unmeasured) = summary(&Records::default());
        summary.add_gate(&phases(&Records::default()), &[], Some("no /status"), &mut unmeasured);
        let null = serde_json::to_value(&summary).unwrap();
        for name in ["goodput_ratio", "logins_ok_ratio", "newcomers_served_ratio", "detect_seconds"] {
            assert!(null[name].is_null() && unmeasured.contains_key(name), "{name}");
        }
        assert_eq!(unmeasured["reopen_seconds"], "no /status");
    }

    fn levels(of: &[(u32, &str)]) -> Vec<Sample> {
        let sample = |(at, level): &(u32, &str)| Sample {
            at: SECOND * *at,
            server: None,
            stored_bytes: None,
            level: Some((*level).to_owned()).filter(|level| level != "?"),
            attacks: BTreeMap::new(),
        };
        of.iter().map(sample).collect()
    }

    #[test]
    fn the_gate_is_watched_from_the_attack_s_beginning_and_end() {
        let all = phases(&Records::default());
        let check = |of: &[(u32, &str)], detect: Option<f64>, reopen: Option<f64>| {
            let (mut summary, mut unmeasured) = (Summary::default(), Unmeasured::new());
            summary.add_gate(&all, &levels(of), None, &mut unmeasured);
            assert_eq!((summary.detect_seconds, summary.reopen_seconds), (detect, reopen), "{unmeasured:?}");
        };
        check(&[(5, "open"), (12, "waiting_list"), (21, "waiting_list"), (24, "open")], Some(2.0), Some(4.0));
        check(
            &[(5, "open"), (11, "?"), (12, "waiting_list"), (22, "open"), (23, "challenge")],
            Some(2.0),
            None,
        );
        check(
            &[(5, "open"), (12, "waiting_list"), (20, "open"), (23, "waiting_list"), (26, "open")],
            Some(2.0),
            Some(6.0),
        );
        check(&[(5, "open"), (12, "open"), (22, "open")], None, None);
        assert_eq!(
            moves(&levels(&[(1, "open"), (2, "?"), (3, "waiting_list"), (4, "waiting_list"), (5, "open")])),
            2
        );
    }
}
