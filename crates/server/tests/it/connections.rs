//! Connections that are slow, idle, too many, or closed for others.

use std::io;
use std::time::Duration;

use base::{Clock as _, SystemClock};
use server::{PrefixCaps, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::{ALL, Client, Setup, Site, eventually, within};

const SHORT: Duration = Duration::from_millis(150);

async fn site(change: impl FnOnce(&mut Settings)) -> Site {
    Setup::with(change).serve().await
}

/// What comes back until the server closes; none if it resets the connection.
async fn to_the_end(mut stream: TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    let read = within("the server closes", stream.read_to_end(&mut answer)).await;
    read.is_ok().then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// Whether a new connection from this address is taken in: what is asked on it is answered.
async fn is_taken(site: &Site, from: &str) -> io::Result<TcpStream> {
    let mut stream = Client::new(site.address).at(from).connect().await;
    ask(&mut stream, "/healthz", "").await?;
    Ok(stream)
}

/// Asks on a connection that stays open.
async fn ask(stream: &mut TcpStream, path: &str, fields: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
        let mut bytes = [0; 4096];
        let read = within("an answer", stream.read(&mut bytes)).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&bytes[..read]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A connection on which a request is in flight, as its body does not end.
async fn busy(site: &Site, from: &str) -> TcpStream {
    let mut stream = Client::new(site.address).at(from).connect().await;
    let head = "POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    // The server asks for the body: so it waits for it.
    within("it waits", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn one_that_says_nothing_is_closed() {
    let site = Site::strict(|settings| settings.connections.first_byte_timeout = SHORT).await;
    let silent = TcpStream::connect(site.address).await.unwrap();
    to_the_end(silent).await;
    site.has_closed_for("first_byte_timeout").await;
}

#[tokio::test]
async fn a_head_that_drips_has_no_longer_than_one_that_stops() {
    let site = Site::strict(|settings| settings.head_timeout = SHORT).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}", "x: y\r\n".repeat(10_000));
        for byte in head.as_bytes() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = within("the server closes", read.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
    drop(read);
    within("nobody reads any more", dripping).await.unwrap();
    site.has_closed_for("head_timeout").await;
}

/// Asks again and again for more than twice `SHORT`. Whether all was answered; none if this took a pause as long as that
/// between two requests, as on a busy machine: so the connection did idle.
async fn is_kept_while_used(stream: &mut TcpStream) -> Option<bool> {
    let clock = SystemClock::new();
    let mut asked_at = clock.monotonic();
    for _ in 0..24 {
        let is_answered = ask(stream, "/healthz", "").await.is_ok();
        sleep(SHORT / 10).await;
        let now = clock.monotonic();
        if now - asked_at >= SHORT {
            return None;
        }
        if !is_answered {
            return Some(false);
        }
        asked_at = now;
    }
    Some(true)
}

#[tokio::test]
async fn one_that_is_used_is_kept_and_one_that_idles_is_closed() {
    let (site, stream) = loop {
        let site = Site::strict(|settings| settings.connections.idle_timeout = SHORT).await;
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        match is_kept_while_used(&mut stream).await {
            Some(is_kept) => {
                assert!(is_kept);
                break (site, stream);
            }
            None => println!("this test was paused: once more"),
        }
    };
    assert_eq!(to_the_end(stream).await.as_deref(), Some(""), "in peace");
    site.has_closed_for("idle_timeout").await;
    site.metric("cachalot_http_connections 1").await;
}

#[tokio::test]
async fn an_old_one_takes_no_more_requests() {
    let site = Site::strict(|settings| settings.connections.lifetime = SHORT).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    while ask(&mut stream, "/healthz", "").await.is_ok() {
        sleep(SHORT / 10).await;
    }
    site.has_closed_for("lifetime").await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let site = Site::strict(|settings| {
        settings.connections.body_grace = SHORT;
        settings.connections.body_bytes_per_second_min = 1000;
    })
    .await;
    let stream = busy(&site, "127.0.0.1").await;
    let (mut read, mut write) = stream.into_split();
    let dripping = tokio::spawn(async move {
        // A hundred bytes a second.
        for _ in 0..99 {
            if write.write_all(b" ").await.is_err() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        write
    });
    let mut answer = Vec::new();
    let _ = within("the server closes", read.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("1000 bytes a second"), "{answer}");
    drop(within("it was told", dripping).await.unwrap());
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_reset() {
    let site = Site::strict(|settings| settings.write_timeout = SHORT).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    // More than the buffers of both sides hold: 200 times the OpenAPI document.
    let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
    stream.write_all(request.as_bytes()).await.unwrap();
    site.has_closed_for("write_timeout").await;
    assert_eq!(to_the_end(stream).await, None, "nothing is kept for it");
}

#[tokio::test]
async fn an_address_and_its_network_have_caps() {
    let site =
        site(|settings| settings.connections.open = PrefixCaps { narrow: 2, middle: 3, wide: 3 }).await;
    let first = is_taken(&site, "127.5.0.1").await.unwrap();
    let _second = is_taken(&site, "127.5.0.1").await.unwrap();
    is_taken(&site, "127.5.0.1").await.unwrap_err();
    let _third = is_taken(&site, "127.5.0.2").await.unwrap();
    is_taken(&site, "127.5.0.3").await.unwrap_err();
    let _elsewhere = is_taken(&site, "127.5.1.3").await.unwrap();
    site.metric("cachalot_http_connections_refused_total{reason=\"prefix_open\"} 2").await;
    drop(first);
    eventually("there is room again", async || is_taken(&site, "127.5.0.1").await.is_ok()).await;
}

#[tokio::test]
async fn who_has_shown_who_they_are_is_not_held_by_the_cap_of_strangers() {
    let site = site(|settings| {
        settings.connections.open = PrefixCaps { narrow: 2, middle: 2, wide: 2 };
        settings.connections.per_user_max = 4;
    })
    .await;
    let cookie = format!("cookie: {}\r\n", site.client.cookie.as_ref().unwrap());
    let mut held = Vec::new();
    // Four are theirs, two more are strangers'.
    for _ in 0..6 {
        let mut stream = Client::new(site.address).at("127.5.0.1").connect().await;
        let answer = ask(&mut stream, "/api/models", &cookie).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        held.push(stream);
    }
    is_taken(&site, "127.5.0.1").await.unwrap_err();
    let mut elsewhere = is_taken(&site, "127.6.0.1").await.unwrap();
    let metrics = site.control.get("/metrics").await;
    assert!(metrics.text().contains("cachalot_http_connections_authenticated 4"), "{}", metrics.text());
    // The others of them are used like any.
    for stream in held.iter_mut().chain([&mut elsewhere]) {
        assert!(ask(stream, "/api/models", &cookie).await.unwrap().starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn new_ones_have_a_rate() {
    let site = site(|settings| settings.connections.new = PrefixCaps { narrow: 3, middle: 3, wide: 5 }).await;
    for _ in 0..3 {
        is_taken(&site, "127.5.0.1").await.unwrap();
    }
    is_taken(&site, "127.5.0.1").await.unwrap_err();
    for _ in 0..2 {
        is_taken(&site, "127.5.0.2").await.unwrap();
    }
    is_taken(&site, "127.5.0.2").await.unwrap_err();
    is_taken(&site, "127.5.1.1").await.unwrap();
    // The machine's own way in has none.
    let metrics = site.control.get("/metrics").await;
    let counted = "cachalot_http_connections_refused_total{reason=\"prefix_new\"} 2";
    assert!(metrics.text().lines().any(|line| line == counted), "{}", metrics.text());
    site.clock.advance(Duration::from_secs(20));
    is_taken(&site, "127.5.0.1").await.unwrap();
}

#[tokio::test]
async fn strangers_who_idle_make_room_the_fullest_network_s_first() {
    let site = site(|settings| {
        settings.connections_max = 4;
        settings.connections.reserved_percent = 0;
        settings.connections.eviction_age = Duration::ZERO;
    })
    .await;
    let busy = busy(&site, "127.5.1.1").await;
    let alone = is_taken(&site, "127.5.2.1").await.unwrap();
    let first = is_taken(&site, "127.5.3.1").await.unwrap();
    let second = is_taken(&site, "127.5.3.2").await.unwrap();
    // The book has room for four: each newcomer takes the place of one.
    let _newcomer = is_taken(&site, "127.5.4.1").await.unwrap();
    to_the_end(first).await;
    let _other = is_taken(&site, "127.5.4.2").await.unwrap();
    to_the_end(alone).await;
    let mut second = second;
    ask(&mut second, "/healthz", "").await.unwrap();
    drop(busy);
}

#[tokio::test]
async fn a_part_is_kept_for_those_who_have_shown_who_they_are() {
    let site = site(|settings| settings.connections_max = 6).await;
    // The administrator has signed in from 127.0.0.1.
    assert_eq!(site.client.get("/api/models").await.status, 200);
    let _held =
        [busy(&site, "127.5.1.1").await, busy(&site, "127.5.2.1").await, busy(&site, "127.5.3.1").await];
    is_taken(&site, "127.5.4.1").await.unwrap_err();
    for _ in 0..3 {
        assert_eq!(site.client.get("/api/models").await.status, 200);
    }
    site.metric("cachalot_http_connections_refused_total{reason=\"full\"} 1").await;
}

#[tokio::test]
async fn many_addresses_come_and_go_and_nothing_is_left() {
    let site = site(|settings| settings.connections.new = ALL).await;
    for third in 0..4 {
        for fourth in 1..60 {
            is_taken(&site, &format!("127.7.{third}.{fourth}")).await.unwrap();
        }
    }
    site.metric("cachalot_http_connections 1").await;
}
