//! Clients that are slow, that send too much, or that are too many.

use std::time::Duration;

use serde_json::json;
use server::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Setup, Site, within};

/// Sends bytes as they are and gives all that comes back until the server closes.
async fn raw(site: &Site, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = Vec::new();
    // A server that closes while bytes are on their way resets; what came before that counts.
    let _ = within("the server closes", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post_head(length: &str) -> Vec<u8> {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{length}\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn a_head_that_never_ends_and_a_connection_that_idles_are_closed() {
    let short = Duration::from_millis(100);
    let site = Setup::with(|settings| {
        settings.head_timeout = short;
        settings.connections.first_byte_timeout = short;
        settings.connections.idle_timeout = short;
    })
    .serve()
    .await;
    assert_eq!(raw(&site, &[b"GET /healthz HT"]).await, "");
    assert_eq!(raw(&site, &[]).await, "");
    let answer = raw(&site, &[b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let site = Site::new().await;
    // Just as much as the server reads: what it leaves unread would reset the connection, and the answer with it.
    let mut long = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ".to_vec();
    long.resize(Settings::default().head_bytes_max, b'y');
    let answer = raw(&site, &[&long]).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    let answer = raw(&site, &[many.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(site.client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_no_harm() {
    let site = Site::new().await;
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"hello\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let answer = raw(&site, &[nonsense]).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(site.client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let site = Setup::with(|settings| settings.body_timeout = Duration::from_millis(100)).serve().await;
    let answer = raw(&site, &[&post_head("content-length: 100"), b"{\"model\""]).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_too_slow"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let site = Setup::with(|settings| settings.body_bytes_max = 2000).serve().await;
    let check = |answer: String| {
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("body_too_large") && answer.contains("2000"), "{answer}");
    };
    // Announced and sent; announced only, as those who expect a 100 do; in chunks of which nobody knows how many.
    let body = vec![b' '; 2001];
    check(raw(&site, &[&post_head("content-length: 2001"), &body]).await);
    let mut chunks = post_head("transfer-encoding: chunked");
    for _ in 0..50 {
        chunks.extend_from_slice(b"64\r\n");
        chunks.extend_from_slice(&[b' '; 100]);
        chunks.extend_from_slice(b"\r\n");
    }
    check(raw(&site, &[&chunks]).await);
    // Exactly as large as is allowed is read.
    let mut asked =
        serde_json::to_vec(&json!({"model": "nobody", "messages": [{"role": "user", "content": "x"}]}))
            .unwrap();
    asked.resize(2000, b' ');
    let headers = [("content-type", "application/json")];
    let reply = site.client.request("POST", "/v1/chat/completions", &headers, asked).await;
    reply.is_error(404, "model_not_found");
}

#[tokio::test]
async fn bodies_together_have_a_limit_too() {
    let site = Setup::with(|settings| {
        settings.body_bytes_max = 4096;
        settings.bodies_bytes_max = 4096;
    })
    .serve()
    .await;
    // One that has come in almost whole holds all the room.
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    slow.write_all(&post_head("content-length: 4096")).await.unwrap();
    slow.write_all(&[b' '; 4095]).await.unwrap();
    let asked = json!({"model": "nobody", "messages": [{"role": "user", "content": "x"}]});
    let refused = async || {
        let reply = site.client.post("/v1/chat/completions", &asked).await;
        reply.status == 503 && reply.json()["error"]["code"] == "too_many_bodies"
    };
    crate::support::eventually("there is no room", refused).await;
    drop(slow);
    crate::support::eventually("there is room again", async || !refused().await).await;
}

#[tokio::test]
async fn a_body_takes_its_room_until_the_model_has_the_prompt() {
    let site = Setup::with(|settings| {
        settings.body_bytes_max = 4096;
        settings.bodies_bytes_max = 4096;
    })
    .serve()
    .await;
    // Read, and waiting for a model to be loaded: it holds all the room.
    site.models.loading.allow(0);
    let asked = |text: &str| json!({"model": "plain", "messages": [{"role": "user", "content": text}]});
    let (client, large) = (site.client.clone(), asked(&"x".repeat(4000)));
    let first = tokio::spawn(async move { client.post("/v1/chat/completions", &large).await });
    let refused = async || {
        let reply = site.client.post("/api/conversations", &json!({"model": "plain"})).await;
        reply.status == 503 && reply.json()["error"]["code"] == "too_many_bodies"
    };
    let loads = std::sync::Arc::clone(&site.models.loads);
    let loading = async || loads.load(std::sync::atomic::Ordering::SeqCst) == 1;
    crate::support::eventually("the model is being loaded", loading).await;
    assert!(refused().await, "there is no room");
    site.models.loading.open();
    // Its text is longer than the model's context; that is said once the model is there.
    within("the first is answered", first).await.unwrap().is_error(400, "context_length_exceeded");
    assert!(!refused().await, "the room is free again");
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_their_turn() {
    let site = Setup::with(|settings| {
        settings.connections_max = 2;
        settings.connections.reserved_percent = 0;
    })
    .serve()
    .await;
    let first = TcpStream::connect(site.address).await.unwrap();
    let second = TcpStream::connect(site.address).await.unwrap();
    let client = site.client;
    let waiting = tokio::spawn(async move { client.get("/healthz").await.status });
    // The two that do nothing are too new to make room; the third is answered as soon as one of them goes.
    let mut waiting = waiting;
    let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "the third was answered while two were open: {early:?}");
    drop(first);
    assert_eq!(within("the third is answered", waiting).await.unwrap(), 200);
    drop(second);
}
