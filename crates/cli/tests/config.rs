//! `cachalot config` as a person or a script runs it.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(home: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachalot"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CACHALOT_")) {
        command.env_remove(name);
    }
    command.args(arguments).env("CACHALOT_HOME", home).envs(environment.iter().copied());
    command.stdin(Stdio::null()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_says_what_is_in_force_or_every_mistake_and_up_says_the_same() {
    let home = tempfile::tempdir().unwrap();
    let check = |environment: &[(&str, &str)]| run(home.path(), &["config", "check"], environment);
    let good = check(&[]);
    assert!(good.status.success(), "{good:?}");
    assert!(text(&good.stdout).contains("there is no configuration file"), "{good:?}");

    let file = home.path().join("cachalot.toml");
    std::fs::write(&file, "listen = \"[::1]:7000\"\n[sign_up]\nopen = false\n").unwrap();
    let good = check(&[("CACHALOT_PUBLIC_URL", "https://chat.example.org")]);
    assert!(good.status.success(), "{good:?}");
    let said = text(&good.stdout);
    for part in
        ["is in order", "listens on: [::1]:7000", "https://chat.example.org/", "sign-up: closed", "warning: "]
    {
        assert!(said.contains(part), "{said} should say {part}");
    }

    std::fs::write(&file, "listen = \"here\"\n\n[mali]\nport = = 1\n").unwrap();
    let bad = check(&[("CACHALOT_THREADS", "none")]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let said = text(&bad.stderr);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    assert!(lines[0].contains("there are 4 mistakes"), "{said}");
    for (line, part) in lines[1..].iter().zip([
        "cachalot.toml:1: listen must be addresses and ports such as",
        "cachalot.toml:3: unknown section [mali]; did you mean [mail]?",
        "cachalot.toml:4: this is no TOML",
        "CACHALOT_THREADS: threads must be a whole number from 1 to 4096, got \"none\"",
    ]) {
        assert!(line.contains(part), "{line} should say {part}");
    }
    let up = run(home.path(), &["up"], &[("CACHALOT_THREADS", "none")]);
    assert_eq!(up.status.code(), Some(1), "{up:?}");
    assert_eq!(text(&up.stderr), said);
}

#[test]
fn explain_shows_one_setting_or_all_and_makes_a_file() {
    let home = tempfile::tempdir().unwrap();
    let one = run(home.path(), &["config", "explain", "mail.port"], &[("CACHALOT_MAIL_PORT", "2525")]);
    assert!(one.status.success(), "{one:?}");
    assert!(text(&one.stdout).contains("#port = 2525"), "{one:?}");
    let unknown = run(home.path(), &["config", "explain", "mail.prot"], &[]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("did you mean mail.port?"), "{unknown:?}");

    let all = run(home.path(), &["config", "explain"], &[]);
    let file = home.path().join("begun.toml");
    std::fs::write(&file, &all.stdout).unwrap();
    let check = run(home.path(), &["config", "check", "--config", file.to_str().unwrap()], &[]);
    assert!(check.status.success(), "{check:?}");
    let missing = run(home.path(), &["config", "check"], &[("CACHALOT_CONFIG", "/no/such/file.toml")]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(text(&missing.stderr).contains("/no/such/file.toml can't be read"), "{missing:?}");
}
