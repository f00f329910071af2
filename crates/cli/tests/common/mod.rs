//! The program and its server, as tests run them with the real model.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use tempfile::TempDir;

const FETCH: &str = "run `make test`, or: cargo run -p cachalot -- pull smollm2-135m && \
                     export CACHALOT_TEST_MODEL=\"$(cargo run -p cachalot -- show smollm2-135m --path)\"";

/// SmolLM2-135M-Instruct in GGUF.
pub(crate) fn model() -> PathBuf {
    let path = std::env::var_os("CACHALOT_TEST_MODEL")
        .unwrap_or_else(|| panic!("CACHALOT_TEST_MODEL must name the test model's file: {FETCH}"));
    let path = PathBuf::from(path);
    assert!(path.is_file(), "{} is not there: {FETCH}", path.display());
    path
}

/// The program with an empty home of its own, in which a server may run.
pub(crate) struct Cachalot {
    pub(crate) home: TempDir,
}

impl Cachalot {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_cachalot")), arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("CACHALOT_HOME", self.home.path()).env_remove("CACHALOT_LOG");
        // Homes of tests last for a test: what would be kept is in nobody's way but the disk's.
        command.env("CACHALOT_PACK_CACHE_GIB", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command with this on standard input.
    pub(crate) fn piped(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A program that refuses its arguments doesn't read.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("the program ends")
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// A server on a port of its own, which ends when this is dropped.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) stderr: BufReader<ChildStderr>,
}

impl Up {
    pub(crate) fn start(cachalot: &Cachalot, arguments: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_cachalot")), cachalot, arguments)
    }

    /// Starts it by a command that takes its arguments.
    pub(crate) fn start_by(command: Command, cachalot: &Cachalot, arguments: &[&str]) -> Self {
        let model = model();
        let fixed = ["up", "--listen", "127.0.0.1:0", "--model", model.to_str().unwrap()];
        let mut command = cachalot.prepared(command, &[&fixed[..], arguments].concat());
        let mut child = command.spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = line.trim_end().strip_suffix('/').and_then(|line| line.rsplit_once("http://"));
        let Some((_, address)) = address else {
            let mut errors = String::new();
            stderr.read_to_string(&mut errors).unwrap();
            panic!("no address in {line:?}; {errors}");
        };
        Self { address: address.parse().unwrap(), child, stderr }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
