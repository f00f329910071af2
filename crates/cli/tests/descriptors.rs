//! A server that has no file descriptors left.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use common::{Cachalot, Up};

impl Up {
    fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count() as u64
    }

    /// Time on a core so far, in the kernel's ticks (of which a second has 100).
    fn ticks(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = text.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    fn limit(&self, descriptors: u64) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        let limit = Rlimit { current: Some(descriptors), maximum: Some(descriptors) };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    }

    fn healthz(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn it_goes_on_and_burns_no_core() {
    let cachalot = Cachalot::new();
    let mut up = Up::start(&cachalot, &[]);
    assert!(up.healthz().starts_with("HTTP/1.1 200"));
    // Fewer than it was told when it started: the system says no where it did not expect it.
    up.limit(up.descriptors() + 8);
    let idle: Vec<_> = (0..60).map(|_| TcpStream::connect(up.address).unwrap()).collect();
    let before = up.ticks();
    std::thread::sleep(Duration::from_secs(2));
    let burnt = up.ticks() - before;
    assert!(burnt < 100, "{burnt} ticks in two seconds");
    // Strangers who say nothing make room, one after the other.
    assert!(up.healthz().starts_with("HTTP/1.1 200"));
    drop(idle);
    up.signal("TERM");
    let mut log = String::new();
    up.stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains("a connection could not be accepted"), "{log}");
    assert!(up.child.wait().unwrap().success(), "{log}");
}

#[test]
fn it_raises_its_limit_and_says_when_that_is_too_low() {
    let cachalot = Cachalot::new();
    let shell = |limits: &str| {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_cachalot");
        command.args(["-c", &format!("{limits} && exec \"$0\" \"$@\""), program]);
        command
    };
    let up = Up::start_by(shell("ulimit -S -n 300 && ulimit -H -n 8000"), &cachalot, &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", up.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["8000", "8000"]);
    drop(up);

    let mut up = Up::start_by(shell("ulimit -n 300"), &cachalot, &[]);
    assert!(up.healthz().starts_with("HTTP/1.1 200"));
    up.signal("TERM");
    let mut log = String::new();
    up.stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains("fewer connections than are allowed") && log.contains("room=150"), "{log}");
}
