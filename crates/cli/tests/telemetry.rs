//! Spans of requests, as a collector gets them from the real program.

#![allow(clippy::unwrap_used, reason = "a test helper that can't go on fails the test")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{Cachalot, Up, model};

const PROMPT: &str = "krakatoa-zanzibar";

/// What one request to the collector was: its first line and its body.
type Sent = (String, Vec<u8>);

/// A collector that answers everything well.
fn collector() -> (String, Receiver<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            // One connection may be used again and again.
            while let Some(request) = read_request(&mut stream) {
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                if sent.send(request).is_err() {
                    return;
                }
            }
        }
    });
    (address, received)
}

fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Sent> {
    let mut first = String::new();
    if stream.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some((first.trim_end().to_owned(), body))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_collector_gets_a_span_of_each_request_and_nothing_of_its_prompt() {
    let (address, received) = collector();
    let cachalot = Cachalot::new();
    let config = format!(
        "[telemetry]\notlp_endpoint = \"{address}\"\n[log]\nformat = \"json\"\nfilter = \"server=debug\"\n"
    );
    std::fs::write(cachalot.home.path().join("cachalot.toml"), config).unwrap();
    let mut up = Up::start(&cachalot, &[]);
    let name = model().file_stem().unwrap().to_str().unwrap().to_owned();
    let body = format!(
        r#"{{"model":"{name}","stream":true,"max_tokens":4,"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
    );
    let mut stream = TcpStream::connect(up.address).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        up.address,
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("data: [DONE]"), "{answer}");
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("a name").to_owned();

    // What waits is sent before the program ends.
    up.signal("TERM");
    let mut log = String::new();
    up.stderr.read_to_string(&mut log).unwrap();
    assert!(up.child.wait().unwrap().success(), "{log}");
    let mut spans = Vec::new();
    while let Ok((first, body)) = received.recv_timeout(Duration::from_secs(1)) {
        assert_eq!(first, "POST /v1/traces HTTP/1.1");
        spans.extend(body);
    }
    for text in [id.as_str(), "POST /v1/chat/completions", "http.response.status_code", "cachalot", "local"] {
        assert!(holds(&spans, text), "{text} is not in {}", String::from_utf8_lossy(&spans));
    }
    assert!(!holds(&spans, PROMPT) && !log.contains(PROMPT), "{log}");
    // The log's lines are objects, and know the request.
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_request = lines.iter().filter(|line| line["span"]["request_id"] == id.as_str());
    assert!(of_request.clone().any(|line| line["message"] == "answered"), "{log}");
}

#[test]
fn a_collector_that_is_gone_is_said_once_and_holds_nothing_up() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cachalot = Cachalot::new();
    let config = format!("[telemetry]\notlp_endpoint = \"http://{gone}\"\n");
    std::fs::write(cachalot.home.path().join("cachalot.toml"), config).unwrap();
    let mut up = Up::start(&cachalot, &[]);
    let mut stream = TcpStream::connect(up.address).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", up.address).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    up.signal("TERM");
    let mut log = String::new();
    up.stderr.read_to_string(&mut log).unwrap();
    assert!(up.child.wait().unwrap().success(), "{log}");
    assert_eq!(log.matches("the OpenTelemetry collector can't be asked").count(), 1, "{log}");
}
