//! The attack drill over the real program and the test model.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

#[expect(dead_code, reason = "the drill starts its server itself")]
mod common;

use std::path::Path;
use std::process::Output;

use common::{Cachalot, model, text};
use serde_json::Value;

/// Temporary homes of drills in this folder.
fn left_behind(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("cachalot-drill-"))
        .collect()
}

/// Programs that have this text in their environment, as the drill's server has its temporary home.
fn programs_with(needle: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(needle)
    });
    ours.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

fn drill(cachalot: &Cachalot, folder: &Path, arguments: &[&str]) -> std::process::Child {
    let model = model();
    let mut command = cachalot.command(&["drill", "--model", model.to_str().unwrap(), "--seed", "5"]);
    command.args(arguments).env("TMPDIR", folder);
    command.spawn().expect("the program starts")
}

#[test]
fn a_short_drill_reports_and_leaves_nothing_behind() {
    let cachalot = Cachalot::new();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let html = page.to_str().unwrap();
    let saved = folder.path().join("all.json");
    let all = saved.to_str().unwrap();
    let arguments =
        ["--quick", "--json", "--duration", "3", "--strength", "2", "--html", html, "--save", all];
    let Output { status, stdout, stderr } =
        drill(&cachalot, folder.path(), &arguments).wait_with_output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
    let lines: Vec<_> = text(&stdout).lines().collect();
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    let summary: Value = serde_json::from_str(line).unwrap();
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
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(summary["seed"], 5);
    assert!(summary["attacker_accounts"].is_u64(), "{summary}");
    // What is null has its reason.
    let said = text(&stderr);
    for (name, value) in summary.as_object().unwrap() {
        assert!(!value.is_null() || said.contains(&format!("{name} is null: ")), "{name}: {said}");
    }
    for phase in ["setup", "calibration", "calm", "attack", "recovery"] {
        assert!(said.contains(&format!("s  {phase}: ")), "{phase}: {said}");
    }
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(saved).unwrap()).unwrap();
    assert!(saved["phases"].as_array().is_some_and(|phases| phases.len() == 3), "{saved}");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
    assert_eq!(programs_with(folder.path().to_str().unwrap()), Vec::<String>::new());
}

#[test]
fn an_interrupted_drill_leaves_nothing_behind() {
    let cachalot = Cachalot::new();
    let folder = tempfile::tempdir().unwrap();
    let mut child = drill(&cachalot, folder.path(), &["--duration", "60"]);
    // In the middle of it: there is a home, and a server of which the drill has said what it can serve.
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("calm: ") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut line).unwrap(), 0, "the drill ended");
    }
    assert_eq!(left_behind(folder.path()).len(), 1);
    assert!(programs_with(folder.path().to_str().unwrap()).len() >= 2);
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(rest.contains("the drill was interrupted"), "{rest}");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
    assert_eq!(programs_with(folder.path().to_str().unwrap()), Vec::<String>::new());
}

#[test]
fn what_is_no_drill_is_refused_before_anything_starts() {
    let cachalot = Cachalot::new();
    for (arguments, expected) in [
        (&["--url", "http://192.0.2.1:80", "--admin", "a"][..], "servers on this machine only"),
        (&["--strength", "0"], "at most 1000 times"),
        (&["--duration", "1"], "2 to 600 seconds, got 1"),
        (&["--ablate", "walls"], "defences that can be switched off"),
        (&["--attack", "ddos"], "allowed are http-flood"),
        (&["--html", "/nowhere/page.html"], "can't be written"),
    ] {
        let Output { status, stdout, stderr } = cachalot.piped(&[&["drill"], arguments].concat(), b"");
        assert!(!status.success() && stdout.is_empty(), "{arguments:?}");
        assert!(text(&stderr).contains(expected), "{arguments:?}: {}", text(&stderr));
    }
}
