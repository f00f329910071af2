use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::attack::Count;
use crate::machine::Usage;
use crate::plan::Choices;
use crate::record::{End, Got, Login, Records, SignUp, Stages};
use crate::schedule::Phase;

const SECOND: Duration = Duration::from_secs(1);

/// Ten chats in each phase; in the attack three fail.
fn records() -> Records {
    let chat = |phase: Phase, number: u32| Chat {
        phase,
        at: SECOND * (phase as u32 * 10 + number),
        with_key: number.is_multiple_of(2),
        ttft: (phase != Phase::Attack || number >= 3)
            .then_some(Duration::from_millis(400 + u64::from(number) * 10)),
        inter_token: Duration::from_millis(12),
        stall: Duration::from_millis(30),
        stages: Stages::default(),
        end: if phase == Phase::Attack && number < 3 { End::Unreachable } else { End::Done },
    };
    let chats = Phase::ALL.into_iter().flat_map(|phase| (0..10).map(move |number| chat(phase, number)));
    let logins =
        Phase::ALL.into_iter().map(|phase| Login { phase, at: SECOND, waited: SECOND / 8, end: End::Done });
    let sign_ups = Phase::ALL.into_iter().map(|phase| SignUp {
        phase,
        at: SECOND,
        waited: SECOND / 4,
        challenges: 1,
        got: if phase == Phase::Attack { Got::Place } else { Got::Account },
    });
    Records { chats: chats.collect(), logins: logins.collect(), sign_ups: sign_ups.collect() }
}

fn sample(at: u32, level: &str) -> Sample {
    let count = Count { sent: u64::from(at) * 1000, refused: u64::from(at) * 900, ..Count::default() };
    let usage =
        Usage { cpu_seconds: f64::from(at) / 2.0, resident_bytes: 200 << 20, descriptors: 40, threads: 9 };
    Sample {
        at: SECOND * at,
        server: Some(usage),
        stored_bytes: Some(1 << 20),
        level: Some(level.to_owned()),
        attacks: BTreeMap::from([(Kind::HttpFlood, count)]),
    }
}

fn report() -> Report {
    let choices = Choices { quick: true, seed: 7, server_cores: 1, ..Choices::default() };
    let plan = Plan::new(choices).unwrap();
    let records = records();
    let span = |phase: Phase| (phase, SECOND * (phase as u32 * 10), SECOND * (phase as u32 * 10 + 10));
    let phases: Vec<_> =
        Phase::ALL.into_iter().map(|phase| OfPhase::new(span(phase), 0, &records, &plan.targets)).collect();
    let mut samples: Vec<_> = (0..12).map(|at| sample(at, "open")).collect();
    samples.extend((12..24).map(|at| sample(at, "waiting_list")));
    samples.extend((24..30).map(|at| sample(at, "open")));
    let mut unmeasured = Unmeasured::new();
    let mut summary = Summary::of_people(plan.seed, &phases, &records, &plan.targets, &mut unmeasured);
    summary.add_gate(&phases, &samples, None, &mut unmeasured);
    summary.attacker_accounts = Some(31);
    unmeasured.insert("account_budget", "GET /status says no budget of accounts a minute".to_owned());
    let counted = samples[20].attacks[&Kind::HttpFlood].clone();
    let force = |kind, not_applicable: Option<&str>| Force {
        kind,
        rate: 1000.0,
        not_applicable: not_applicable.map(str::to_owned),
    };
    let attacks = vec![
        Attack::new(&force(Kind::HttpFlood, None), counted, SECOND * 10),
        Attack::new(
            &force(Kind::RapidReset, Some("the server speaks <HTTP/1>")),
            Count::default(),
            SECOND * 10,
        ),
    ];
    let cost = Cost {
        kind: Kind::HttpFlood,
        refused: 1000,
        served: 0,
        statuses: BTreeMap::from([(401, 10), (503, 900)]),
        server_micros_per_answer: Some(21.4),
        server_micros_per_refusal: Some(21.4),
        spare_micros_per_answer: Some(8.6),
        attacker_micros_per_answer: Some(30.0),
        why_not: None,
    };
    Report {
        summary,
        unmeasured,
        about: "Cachalot, in a test".to_owned(),
        settings: BTreeMap::from([("threads".to_owned(), "1".to_owned())]),
        cores: Cores { server: vec![0], load: vec![1] },
        capacity: Capacity {
            requests_per_second: 5000.0,
            hashes_per_second: 30.0,
            chats_per_second: 3.0,
            connections: 1024,
        },
        gate_moves: crate::stats::moves(&samples),
        attackers_cpu_seconds: 9.0,
        attacks,
        costs: vec![cost],
        chats: records.chats.iter().map(Into::into).collect(),
        phases,
        samples,
        plan,
    }
}

#[test]
fn the_table() {
    insta::assert_snapshot!(report().to_table());
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let page = report().to_html();
    insta::assert_snapshot!(page.replace('>', ">\n"));
    for asked in ["<script", "http://", "https://", "url(", "@import", "src="] {
        assert!(!page.contains(asked), "{asked}");
    }
    assert!(page.contains("the server speaks &lt;HTTP/1&gt;"));
    for element in ["svg", "table", "figure", "main", "div"] {
        let (open, close) = (format!("<{element}"), format!("</{element}>"));
        assert_eq!(page.matches(&open).count(), page.matches(&close).count(), "{element}");
    }
}

#[test]
fn the_summary_has_its_keys_and_no_others() {
    let summary: serde_json::Value = serde_json::from_str(&report().summary_json()).unwrap();
    let keys: Vec<_> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "goodput_ratio",
        "ttft_p99_ratio",
        "streams_complete_ratio",
        "logins_ok_ratio",
        "established_challenged",
        "established_blocked_ratio",
        "newcomers_served_ratio",
        "attacker_accounts",
        "account_budget",
        "detect_seconds",
        "restore_seconds",
        "reopen_seconds",
        "seed",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let whole: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
    assert_eq!(whole["summary"], summary);
    assert!(whole["unmeasured"]["account_budget"].is_string());
    assert_eq!(whole["attacks"][1]["not_applicable"], "the server speaks <HTTP/1>");
}
