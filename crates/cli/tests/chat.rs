//! `cachalot chat` and `cachalot up` as a person or a script runs them, with a real model.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use common::{Cachalot, Up, model, text};

impl Cachalot {
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs `chat` with the test model.
    fn chat(&self, arguments: &[&str]) -> Output {
        let model = model();
        let mut all = vec!["chat", model.to_str().expect("a path in UTF-8")];
        all.extend(arguments);
        self.run(&all)
    }
}

#[track_caller]
fn check_answer(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer = text(&output.stdout).to_owned();
    assert!(answer.trim().len() > 1 && answer.ends_with('\n'), "{answer:?}");
    assert!(!answer.contains("<|im_"), "{answer:?}");
    answer
}

#[track_caller]
fn check_refused(output: &Output, status: i32, expected: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
    assert!(output.stdout.is_empty(), "{:?}", text(&output.stdout));
}

#[test]
fn greedy_answers_are_right_and_the_same_every_time() {
    let cachalot = Cachalot::new();
    let question = ["-p", "What is the capital of France?", "--temperature", "0", "--max-tokens", "24"];
    let first = check_answer(&cachalot.chat(&question));
    assert!(first.contains("Paris"), "{first}");
    let threads = [&question[..], &["--threads", "1"]].concat();
    assert_eq!(check_answer(&cachalot.chat(&threads)), first, "one thread must give what two give");
    let piped = cachalot.piped(
        &["chat", model().to_str().unwrap(), "--temperature", "0", "--max-tokens", "24"],
        b"What is the capital of France?",
    );
    assert_eq!(check_answer(&piped), first, "a pipe must give what -p gives");
}

#[test]
fn a_seed_makes_sampled_answers_reproducible() {
    let cachalot = Cachalot::new();
    let ask = |seed| {
        let options =
            ["-p", "Tell me a story.", "--temperature", "1.5", "--max-tokens", "16", "--seed", seed];
        check_answer(&cachalot.chat(&options))
    };
    let first = ask("7");
    assert_eq!(ask("7"), first);
    assert_ne!(ask("8"), first);
}

#[test]
fn limits_stops_and_instructions_are_obeyed() {
    let cachalot = Cachalot::new();
    let ask = |options: &[&str]| cachalot.chat(&[&["--temperature", "0"], options].concat());
    let cut = ask(&["-p", "Count from one to a hundred.", "--max-tokens", "5"]);
    check_answer(&cut);
    assert!(text(&cut.stderr).contains("[cut: the token limit"), "{}", text(&cut.stderr));
    let stats = ask(&["-p", "Hi", "--max-tokens", "5", "--stats"]);
    assert!(text(&stats.stderr).contains(", 5 out, first after "), "{}", text(&stats.stderr));
    let france = ["-p", "What is the capital of France?", "--max-tokens", "24"];
    let stopped = check_answer(&ask(&[&france[..], &["--stop", "Paris"]].concat()));
    assert!(!stopped.contains("Paris") && stopped.contains("capital"), "{stopped}");
    let tokens_in = |options: &[&str]| {
        let stats = text(&ask(&[&france[..], &["--stats"], options].concat()).stderr).to_owned();
        let number = stats.split(" tokens in").next().and_then(|head| head.split_whitespace().last());
        number
            .and_then(|number| number.trim_start_matches('[').parse::<u32>().ok())
            .unwrap_or_else(|| panic!("no count in {stats:?}"))
    };
    let instructed = tokens_in(&["--system", &"Answer as a pirate would. ".repeat(20)]);
    assert!(instructed > tokens_in(&[]) + 40, "instructions must reach the model");
}

#[test]
fn bad_arguments_are_refused_before_a_model_is_loaded() {
    let cachalot = Cachalot::new();
    let refuse = |arguments: &[&str], status, expected| {
        check_refused(&cachalot.run(&[&["chat", "no-such-model"], arguments].concat()), status, expected);
    };
    refuse(&["-p", "x", "--temperature", "3"], 2, "allowed are numbers between 0 and 2");
    refuse(&["-p", "x", "--temperature", "-1"], 2, "allowed are numbers between 0 and 2");
    refuse(&["-p", "x", "--temperature", "nan"], 2, "allowed are numbers between 0 and 2");
    refuse(&["-p", "x", "--top-p", "1.5"], 2, "allowed are numbers between 0 and 1");
    refuse(&["-p", "x", "--max-tokens", "0"], 2, "--max-tokens");
    refuse(&["-p", "x", "--threads", "0"], 2, "--threads");
    refuse(&["-p", "x", "--seed", "x"], 2, "--seed");
    refuse(&["-p", "x", "--think", "--no-think"], 2, "cannot be used with");
    refuse(&["-p", "x", "--stop", ""], 1, "stop must be strings of 1 to 1024 bytes");
    refuse(&["-p", "  "], 1, "the question is empty");
    refuse(&[], 1, "the question is empty");
    refuse(
        &["-p", "x"],
        1,
        "\"no-such-model\" is neither an installed model nor a file nor in the catalogue",
    );
    let model = ["chat", "no-such-model"];
    check_refused(&cachalot.piped(&model, b"\xff\xfe"), 1, "standard input is not UTF-8 text");
}

#[test]
fn what_a_model_can_not_do_is_refused() {
    let cachalot = Cachalot::new();
    check_refused(&cachalot.chat(&["-p", "x", "--think"]), 1, "does not think");
    let long = "word ".repeat(20_000);
    let model = model();
    let model = model.to_str().unwrap();
    check_refused(&cachalot.piped(&["chat", model], long.as_bytes()), 1, "but the context holds 8192 in all");
    check_refused(
        &cachalot.chat(&["-p", "x", "--max-tokens", "9000"]),
        1,
        "9000 tokens of answer were asked for",
    );
    let not_a_model = cachalot.home.path().join("text.gguf");
    std::fs::write(&not_a_model, "not a model").unwrap();
    let output = cachalot.run(&["chat", not_a_model.to_str().unwrap(), "-p", "x"]);
    check_refused(&output, 1, "text.gguf can't be loaded");
}

#[test]
fn an_error_does_not_command_the_terminal() {
    let cachalot = Cachalot::new();
    let path = cachalot.home.path().join("evil\u{1b}[2J.gguf");
    std::fs::write(&path, "not a model").unwrap();
    let output = cachalot.run(&["chat", path.to_str().unwrap(), "-p", "x"]);
    check_refused(&output, 1, "evil\\u{1b}[2J.gguf can't be loaded");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let cachalot = Cachalot::new();
    let model = model();
    let mut child = cachalot
        .command(&["chat", model.to_str().unwrap(), "-p", "Tell me a long story.", "--temperature", "0"])
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0];
    stdout.read_exact(&mut first).expect("an answer begins");
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

impl Up {
    fn post(&self, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let (host, length) = (self.address, body.len());
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
        BufReader::new(stream)
    }

    /// The next line that it logs.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn up_answers_and_ends_answers_in_flight() {
    let cachalot = Cachalot::new();
    let mut up = Up::start(&cachalot, &["--drain-seconds", "300"]);
    let request = r#"{"model":"SmolLM2-135M-Instruct.Q4_1","stream":true,"temperature":0,"max_tokens":64,
        "logit_bias":{"2":-100,"0":-100},"messages":[{"role":"user","content":"Count from one to a hundred in words."}]}"#;
    let name = model().file_stem().unwrap().to_str().unwrap().to_owned();
    let mut answer = up.post(&request.replace("SmolLM2-135M-Instruct.Q4_1", &name));
    let mut text = String::new();
    while !text.contains("\"delta\":{\"content\":") && answer.read_line(&mut text).unwrap() > 0 {}
    up.signal("TERM");
    assert!(up.hear().starts_with("stopping"));
    answer.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"finish_reason\":\"length\"") && text.contains("data: [DONE]"), "{text}");
    assert!(up.child.wait().unwrap().success());
}

#[test]
fn a_second_signal_cuts_answers_with_a_last_event() {
    let cachalot = Cachalot::new();
    let mut up = Up::start(&cachalot, &["--drain-seconds", "300"]);
    let name = model().file_stem().unwrap().to_str().unwrap().to_owned();
    let request = format!(
        r#"{{"model":"{name}","stream":true,"temperature":0,"logit_bias":{{"2":-100,"0":-100}},
        "messages":[{{"role":"user","content":"Count from one to a hundred in words."}}]}}"#
    );
    let mut answer = up.post(&request);
    let mut text = String::new();
    while !text.contains("\"delta\":{\"content\":") && answer.read_line(&mut text).unwrap() > 0 {}
    up.signal("INT");
    assert!(up.hear().starts_with("stopping"));
    up.signal("INT");
    assert!(up.hear().starts_with("cutting"));
    answer.read_to_string(&mut text).unwrap();
    assert!(text.contains("insufficient_system_resource") && text.contains("data: [DONE]"), "{text}");
    assert!(up.child.wait().unwrap().success());
}

#[test]
fn a_new_home_is_its_owner_s_alone_whoever_makes_it() {
    let model = model();
    let arguments: [&[&str]; 4] =
        [&["list"], &["rm", "nothing"], &["show", "nothing"], &["chat", model.to_str().unwrap(), "-p", "Hi"]];
    for arguments in arguments {
        let cachalot = Cachalot::new();
        let home = cachalot.home.path().join("of/mine");
        let output = cachalot.command(arguments).env("CACHALOT_HOME", &home).output().unwrap();
        let facts =
            std::fs::metadata(&home).unwrap_or_else(|error| panic!("{arguments:?}: {error}, {output:?}"));
        assert_eq!(facts.permissions().mode() & 0o777, 0o700, "{arguments:?}");
    }
}

#[test]
fn up_says_why_it_can_not_listen() {
    let cachalot = Cachalot::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_refused(&cachalot.run(&["up", "--listen", &address]), 1, "is in use: is another cachalot running?");
    let open = cachalot.run(&["up", "--listen", "0.0.0.0:0"]);
    check_refused(&open, 1, "without TLS whoever is on the way reads every password");
    check_refused(&cachalot.run(&["up", "--listen", "here"]), 1, "must be addresses and ports such as");
}

#[test]
fn accounts_are_looked_after_while_the_server_is_stopped() {
    let cachalot = Cachalot::new();
    check_refused(&cachalot.run(&["user", "list"]), 1, "no server has been started");
    // The database as a server leaves it.
    std::fs::write(cachalot.home.path().join("cachalot.db"), "").unwrap();
    let password = b"krill at four hundred fathoms\n";
    let added = cachalot.piped(&["user", "add", "Ahab"], password);
    assert!(text(&added.stdout).contains("Ahab can sign in (admin)"), "{}", text(&added.stderr));
    let added = cachalot.piped(&["user", "add", "Ishmael"], password);
    assert!(text(&added.stdout).contains("Ishmael can sign in (user)"), "{}", text(&added.stderr));
    check_refused(&cachalot.piped(&["user", "add", "ISHMAEL"], password), 1, "taken");
    check_refused(&cachalot.piped(&["user", "add", "Starbuck"], b"password\n"), 1, "password");
    check_refused(&cachalot.piped(&["user", "add", "a@b"], password), 1, "@");
    check_refused(&cachalot.run(&["user", "rm", "ahab"]), 1, "last administrator");
    check_refused(&cachalot.run(&["user", "rm", "nobody"]), 1, "no user");
    for order in [["role", "ishmael", "admin"], ["role", "ahab", "user"]] {
        let done = cachalot.run(&[&["user"], &order[..]].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    assert!(cachalot.run(&["user", "disable", "ahab"]).status.success());
    let listed = cachalot.run(&["user", "list"]);
    let lines: Vec<Vec<_>> =
        text(&listed.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["Ahab", "user", "-", "disabled"], vec!["Ishmael", "admin", "-"]]);
    assert!(cachalot.run(&["user", "enable", "ahab"]).status.success());
    assert!(cachalot.piped(&["user", "password", "ahab"], b"another one, far longer\n").status.success());
    assert!(cachalot.run(&["user", "rm", "ahab"]).status.success());
    assert_eq!(text(&cachalot.run(&["user", "list"]).stdout).lines().count(), 1);
}
