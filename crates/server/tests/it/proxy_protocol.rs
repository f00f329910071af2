//! Behind proxies that pass connections on (the PROXY protocol), and how many come through proxies of both kinds.

use std::net::SocketAddr;

use serde_json::json;
use server::{ForwardedHeader, PrefixCaps, Proxy, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, Setup, Site, eventually, within};

const NAME: &str = "chat.example.org";

/// Behind proxies of these networks. Nobody is signed in.
async fn behind(networks: &[&str], protocol: bool, change: impl FnOnce(&mut Settings)) -> Site {
    let trusted = networks.iter().map(|network| network.parse().unwrap()).collect();
    let mut setup = Setup::with(|settings| {
        settings.proxy = Some(Proxy { trusted, header: ForwardedHeader::XForwardedFor, protocol });
        settings.public_url = Some(format!("https://{NAME}/").parse().unwrap());
        change(settings);
    });
    setup.administrator = false;
    setup.serve().await
}

fn v1(source: &str) -> Vec<u8> {
    let address: SocketAddr = source.parse().unwrap();
    let (family, here) = if address.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "fd00::1") };
    format!("PROXY {family} {} {here} {} 443\r\n", address.ip(), address.port()).into_bytes()
}

fn v2(source: &str) -> Vec<u8> {
    let address: SocketAddr = source.parse().unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let source_port = address.port().to_be_bytes();
    let addresses = match address {
        SocketAddr::V4(address) => {
            header.push(0x11);
            [&address.ip().octets()[..], &[10, 0, 0, 1], &source_port, &[1, 187]].concat()
        }
        SocketAddr::V6(address) => {
            header.push(0x21);
            [&address.ip().octets()[..], &[0xfd; 16], &source_port, &[1, 187]].concat()
        }
    };
    header.extend_from_slice(&(addresses.len() as u16).to_be_bytes());
    header.extend_from_slice(&addresses);
    header
}

/// A failed login, with these fields.
fn guess(fields: &str) -> Vec<u8> {
    let body = json!({"login": "nobody", "password": "wrong, but long"}).to_string();
    format!(
        "POST /api/login HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n{fields}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What is answered to these bytes, until the connection ends.
async fn answer(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes while bytes are on their way resets; what came before that counts.
    let _ = stream.write_all(bytes).await;
    let _ = within("the server closes", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The address under which the last event was noted.
async fn noted(site: &Site) -> String {
    site.store.audit_entries(None, 1).await.unwrap()[0].address.clone()
}

#[tokio::test]
async fn a_declared_proxy_says_from_where_a_connection_comes() {
    let site = behind(&["127.0.0.0/8"], true, |_| {}).await;
    for header in [v1, v2] {
        for (source, expected) in [("203.0.113.7:4711", "203.0.113.7"), ("[2001:db8::7]:4711", "2001:db8::7")]
        {
            let answer = answer(&site, &[header(source), guess("")].concat()).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            assert_eq!(noted(&site).await, expected);
        }
        // What the client says of others is nothing, as the proxy did not read it.
        let sent = guess("x-forwarded-for: 198.51.100.1\r\nx-request-id: of-a-stranger\r\n");
        let answer = answer(&site, &[header("203.0.113.8:1"), sent].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("of-a-stranger"), "{answer}");
        assert_eq!(noted(&site).await, "203.0.113.8");
    }
}

#[tokio::test]
async fn nobody_is_this_machine_by_a_proxy_s_word() {
    let site = behind(&["127.0.0.0/8"], true, |_| {}).await;
    let ask = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    for header in [v1("127.0.0.1:9"), v2("[::1]:9"), b"PROXY UNKNOWN\r\n".to_vec()] {
        let answer = answer(&site, &[header, ask.into()].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

#[tokio::test]
async fn without_a_header_there_is_no_answer() {
    let site = behind(&["127.0.0.0/8"], true, |settings| {
        settings.connections.handshake_timeout = std::time::Duration::from_millis(150);
    })
    .await;
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    for bytes in [
        &guess("")[..],
        b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 99999\r\n",
        b"PROXY TCP4 203.0.113.7",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01",
        long.as_bytes(),
        b"",
    ] {
        assert_eq!(answer(&site, bytes).await, "", "{:?}", String::from_utf8_lossy(bytes));
    }
    let answered = answer(&site, &[v1("203.0.113.7:1"), guess("")].concat()).await;
    assert!(answered.starts_with("HTTP/1.1 401"), "{answered}");
}

#[tokio::test]
async fn nobody_else_is_asked_for_a_header_or_believed() {
    let site = behind(&["10.0.0.0/8"], true, |_| {}).await;
    let answered = answer(&site, &guess("")).await;
    assert!(answered.starts_with("HTTP/1.1 401"), "{answered}");
    assert_eq!(noted(&site).await, "127.0.0.1");
    let answered = answer(&site, &[v1("203.0.113.7:1"), guess("")].concat()).await;
    assert!(answered.starts_with("HTTP/1.1 400"), "{answered}");
}

#[tokio::test]
async fn connections_are_counted_where_they_come_from() {
    let caps = PrefixCaps { narrow: 1, middle: 1, wide: 2 };
    let site = behind(&["127.0.0.0/8"], true, |settings| settings.connections.open = caps).await;
    let open = async |source: &str| {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let ask = format!("GET /healthz HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
        stream.write_all(&[v2(source), ask.into_bytes()].concat()).await.unwrap();
        let mut begin = [0; 12];
        let read = within("an answer or an end", stream.read_exact(&mut begin)).await;
        read.is_ok().then(|| assert_eq!(&begin, b"HTTP/1.1 200")).map(|()| stream)
    };
    let first = open("203.0.113.7:1").await.unwrap();
    assert!(open("203.0.113.7:2").await.is_none());
    let _second = open("203.0.113.8:1").await.unwrap();
    assert!(open("203.0.113.9:1").await.is_none());
    let _elsewhere = open("198.51.100.1:1").await.unwrap();
    drop(first);
    eventually("there is room again", async || open("203.0.113.7:2").await.is_some()).await;
}

#[tokio::test]
async fn requests_through_a_proxy_are_counted_for_whom_it_asks() {
    let caps = PrefixCaps { narrow: 1, middle: 1, wide: 2 };
    let site = behind(&["127.0.0.0/8"], false, |settings| settings.connections.open = caps).await;
    // In flight, as its body does not end. A proxy has many connections of its own.
    let busy = async |address: &str| {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let head = format!(
            "POST /api/login HTTP/1.1\r\nhost: {NAME}\r\nx-forwarded-for: {address}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        within("it waits", stream.read_exact(&mut begin)).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 100");
        stream
    };
    let ask = async |address: &str| {
        let fields = [("host", NAME), ("x-forwarded-for", address)];
        Client::new(site.address).request("GET", "/healthz", &fields, Vec::new()).await
    };
    let held = busy("203.0.113.7").await;
    ask("203.0.113.7").await.is_error(429, "too_many_requests");
    assert_eq!(ask("203.0.113.8").await.status, 200);
    let _other = busy("203.0.113.8").await;
    ask("203.0.113.9").await.is_error(429, "too_many_requests");
    assert_eq!(ask("198.51.100.1").await.status, 200);
    drop(held);
    eventually("there is room again", async || ask("203.0.113.7").await.status == 200).await;
}
