//! HTTP/2: as browsers speak it, and as those do who want harm.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use server::{Allowance, Settings};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::{Http2, Raw, Setup, Site, eventually, frame, within};

const SHORT: Duration = Duration::from_millis(150);

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

async fn site(change: impl FnOnce(&mut Settings)) -> Site {
    Setup::with(change).serve().await
}

fn url(site: &Site, path: &str) -> String {
    format!("http://{}{path}", site.address)
}

fn streaming(site: &Site, model: &str) -> Request<Full<Bytes>> {
    let asked = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    Request::post(url(site, "/v1/chat/completions"))
        .header("content-type", "application/json")
        .header("cookie", site.client.cookie.as_ref().unwrap())
        .body(Full::new(Bytes::from(serde_json::to_vec(&asked).unwrap())))
        .unwrap()
}

#[tokio::test]
async fn many_streams_on_one_connection() {
    let site = Site::new().await;
    let client = Http2::new(site.address).await;
    let ask = async |number: usize| {
        let model = if number.is_multiple_of(2) { "plain" } else { "thinker" };
        let mut stream = client.open(streaming(&site, model)).await;
        assert_eq!(stream.status, 200);
        let events = stream.rest().await;
        assert_eq!(events.last().unwrap().data, "[DONE]");
        events.len()
    };
    // Its settings are here now.
    assert_eq!(client.get(&url(&site, "/healthz")).await.status, 200);
    // More than may be open at once: the others wait.
    let lengths = join_all((0..150).map(ask)).await;
    assert!(lengths.iter().all(|length| *length > 3), "{lengths:?}");
    assert_eq!(client.get(&url(&site, "/healthz")).await.status, 200);
    let metrics = client.get(&url(&site, "/metrics")).await;
    // This one, and the client's.
    assert!(metrics.text().contains("cachalot_http_connections_accepted_total 2"), "{}", metrics.text());
}

#[tokio::test]
async fn a_response_of_any_size_is_whole() {
    let site = Site::new().await;
    let client = Http2::new(site.address).await;
    for path in ["/openapi.json", "/", "/healthz", "/no/such/path.html"] {
        let (plain, two) = (site.client.get(path).await, client.get(&url(&site, path)).await);
        assert_eq!((plain.status, &plain.body), (two.status, &two.body), "{path}");
        assert_eq!(plain.header("content-length"), two.header("content-length"), "{path}");
    }
    let head = client.open(Request::head(url(&site, "/openapi.json")).body(Full::default()).unwrap()).await;
    assert_eq!((head.status, head.whole().await.body.len()), (200, 0));
    // A body of a request, larger than the windows.
    let asked = json!({"prompt": "deep ".repeat(12_000)});
    let request = Request::post(url(&site, "/tokenize"))
        .header("content-type", "application/json")
        .header("cookie", site.client.cookie.as_ref().unwrap())
        .body(Full::new(Bytes::from(serde_json::to_vec(&asked).unwrap())))
        .unwrap();
    let counted = client.open(request).await.whole().await;
    assert_eq!(counted.json()["count"], 60_000, "{}", counted.text());
}

#[tokio::test]
async fn who_is_asked_is_guarded_as_ever() {
    let site = Site::new().await;
    let client = Http2::new(site.address).await;
    client.get("http://evil.example/api/models").await.is_error(403, "forbidden_host");
    let with_host =
        |host: &str| Request::get(url(&site, "/healthz")).header("host", host).body(Full::default()).unwrap();
    let same = client.open(with_host(&site.address.to_string())).await;
    assert_eq!(same.status, 200);
    let other = client.open(with_host("evil.example")).await.whole().await;
    other.is_error(400, "invalid_host");
}

#[tokio::test]
async fn streams_at_once_have_a_cap() {
    let site = site(|settings| settings.connections.streams_max = 3).await;
    let mut raw = Raw::new(site.address).await;
    let settings = raw.until(SETTINGS).await.unwrap();
    let told = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(told[2..], [0, 0, 0, 3]);
    // Three heads whose bodies do not come, and one more.
    for stream in [1, 3, 5, 7] {
        let mut block = vec![0x83, 0x86, 0x04, 10];
        block.extend_from_slice(b"/api/login");
        block.extend_from_slice(&[0x01, 9]);
        block.extend_from_slice(b"localhost");
        block.extend_from_slice(&[0x0f, 0x10, 16]);
        block.extend_from_slice(b"application/json");
        assert!(raw.write(&frame(1, 0x04, stream, &block)).await);
    }
    let reset = raw.until(RST_STREAM).await.unwrap();
    assert_eq!(reset, [0, 0, 0, 7], "REFUSED_STREAM");
}

#[tokio::test]
async fn pings_keep_no_connection_that_is_not_used() {
    let site = Site::strict(|settings| settings.connections.idle_timeout = SHORT).await;
    let mut raw = Raw::new(site.address).await;
    assert!(raw.write(&Raw::get_healthz(1)).await);
    raw.until(DATA).await.unwrap();
    let (read, mut write) = raw.0.into_split();
    let pinging = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while write.write_all(&frame(PING, 0, 0, &[7; 8])).await.is_ok() {
            sleep(SHORT / 10).await;
        }
    });
    // The server says that it ends, and does.
    let mut read = read;
    let mut rest = Vec::new();
    let _ = within("the server closes", tokio::io::AsyncReadExt::read_to_end(&mut read, &mut rest)).await;
    let mut frames = &rest[..];
    let mut kinds = Vec::new();
    while frames.len() >= 9 {
        let length = u32::from_be_bytes([0, frames[0], frames[1], frames[2]]) as usize;
        kinds.push(frames[3]);
        frames = &frames[9 + length..];
    }
    assert!(kinds.contains(&GOAWAY), "{kinds:?}");
    drop(read);
    within("nobody reads any more", pinging).await.unwrap();
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed() {
    let site = Site::strict(|settings| settings.head_timeout = SHORT).await;
    let mut raw = Raw::new(site.address).await;
    assert!(raw.write(&frame(1, 0x00, 1, &[0x82])).await);
    raw.closed().await;
    site.has_closed_for("head_timeout").await;
}

#[tokio::test]
async fn streams_given_up_one_after_the_other_end_the_connection() {
    let site = site(|settings| {
        settings.connections.resets = Allowance { burst: 10, interval: Duration::from_secs(1000) };
    })
    .await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (mut sender, connection) = client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut given_up = 0;
    // Slowly enough for each to be seen: what h2 itself counts is those that are not.
    loop {
        let request = Request::post(url(&site, "/api/login")).header("content-type", "application/json");
        let Ok(ready) = sender.ready().await else { break };
        sender = ready;
        let Ok((response, mut body)) = sender.send_request(request.body(()).unwrap(), false) else { break };
        let in_flight = async || site.control.get("/metrics").await.text().contains("requests_in_flight 2");
        if connection.is_finished() {
            break;
        }
        eventually("it is in flight", async || connection.is_finished() || in_flight().await).await;
        body.send_reset(h2::Reason::CANCEL);
        drop(response);
        given_up += 1;
        let over = async || !site.control.get("/metrics").await.text().contains("requests_in_flight 2");
        eventually("it is over", over).await;
        assert!(given_up < 50, "the server never minds");
    }
    assert!((10..=12).contains(&given_up), "{given_up}");
    site.has_closed_for("resets").await;
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    let site = Site::new().await;
    let mut raw = Raw::new(site.address).await;
    let mut burst = Vec::new();
    for number in 0..10_000_u32 {
        burst.extend_from_slice(&Raw::get_healthz(1 + 2 * number));
        burst.extend_from_slice(&frame(RST_STREAM, 0, 1 + 2 * number, &[0, 0, 0, 8]));
    }
    raw.write(&burst).await;
    raw.closed().await;
    // Others don't notice.
    assert_eq!(Http2::new(site.address).await.get(&url(&site, "/healthz")).await.status, 200);
}

#[tokio::test]
async fn continuations_without_end_are_bounded() {
    let site = Site::new().await;
    // Empty ones, and large ones of a field that is thrown away.
    // RFC 7541: a literal with a name of 1 byte and a value of 16,378.
    let mut field = vec![0x00, 0x01, b'x', 0x7f, 0xfb, 0x7e];
    field.resize(16_384, b'y');
    for (payload, count) in [(&[][..], 1000), (&field[..], 200)] {
        let mut raw = Raw::new(site.address).await;
        let mut flood = frame(1, 0x00, 1, &[0x82]);
        for _ in 0..count {
            flood.extend_from_slice(&frame(9, 0x00, 1, payload));
        }
        raw.write(&flood).await;
        if let Some(goaway) = raw.until(GOAWAY).await {
            // PROTOCOL_ERROR or ENHANCE_YOUR_CALM, as it is the list that is too long or the frames that are too many.
            assert!([0x1, 0xb].contains(&goaway[7]), "{goaway:?}");
        }
        raw.closed().await;
    }
    assert_eq!(site.client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_flood_of_frames_that_do_nothing_ends_the_connection() {
    let site = Site::new().await;
    for nothing in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[]), frame(2, 0, 1, &[0, 0, 0, 0, 16])]
    {
        let mut raw = Raw::new(site.address).await;
        assert!(raw.write(&Raw::get_healthz(1)).await);
        raw.until(DATA).await.unwrap();
        let (mut read, mut write) = raw.0.into_split();
        let reading = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
        let flood = nothing.repeat(1000);
        let mut sent = 0;
        while tokio::io::AsyncWriteExt::write_all(&mut write, &flood).await.is_ok() {
            sent += flood.len();
            assert!(sent < 64 << 20, "the server never minds");
        }
        let _ = within("it is reset", reading).await.unwrap();
    }
    let line = "cachalot_http_connections_closed_total{reason=\"flood\"} 3";
    let metrics = site.client.get("/metrics").await;
    assert!(metrics.text().lines().any(|found| found == line), "{}", metrics.text());
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_is_reset_and_the_others_go_on() {
    let site = Site::strict(|settings| settings.write_timeout = SHORT).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (sender, connection) =
        client::Builder::new().initial_window_size(1000).handshake::<_, Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let get = |path: &str| Request::get(url(&site, path)).body(()).unwrap();
    let (stalled, _) = sender.send_request(get("/openapi.json"), true).unwrap();
    let mut stalled = within("its head", stalled).await.unwrap().into_body();
    // What the window takes comes, and then an error instead of more.
    let error = loop {
        match within("a piece or an error", stalled.data()).await.unwrap() {
            Ok(data) => assert!(data.len() <= 1000),
            Err(error) => break error,
        }
    };
    assert!(error.is_reset(), "{error}");
    let (after, _) = sender.send_request(get("/healthz"), true).unwrap();
    assert_eq!(within("another answer", after).await.unwrap().status(), 200);
    assert!(!connection.is_finished());
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_model() {
    let site = Site::new().await;
    // So that it is not done before it is looked at.
    let drip = site.models.gate.drip();
    let client = Http2::new(site.address).await;
    let mut stream = client.open(streaming(&site, "endless")).await;
    stream.named().await.unwrap();
    assert_eq!(site.running("endless"), 1);
    // Only this stream, not the connection.
    drop(stream);
    eventually("it is cancelled", async || site.running("endless") == 0).await;
    assert_eq!(client.get(&url(&site, "/healthz")).await.status, 200);
    let mut stream = client.open(streaming(&site, "endless")).await;
    stream.named().await.unwrap();
    drop((stream, client));
    eventually("it is cancelled with its connection", async || site.running("endless") == 0).await;
    drop(drip);
    site.models.gate.open();
}

#[tokio::test]
async fn the_end_of_the_server_lets_streams_end_first() {
    let site = Site::new().await;
    site.models.gate.allow(1);
    let client = Http2::new(site.address).await;
    let mut asked =
        json!({"model": "endless", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    asked["max_tokens"] = json!(5);
    let request = Request::post(url(&site, "/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(&asked).unwrap())))
        .unwrap();
    let mut stream = client.open(request).await;
    stream.named().await.unwrap();
    let (gate, address) = (site.models.gate.clone(), site.address);
    let ended = tokio::spawn(site.shut_down());
    eventually("nobody new is let in", async || TcpStream::connect(address).await.is_err()).await;
    gate.open();
    let events = stream.rest().await;
    assert_eq!(events.last().unwrap().data, "[DONE]");
    client.ended().await;
    within("the server ends", ended).await.unwrap().unwrap();
}
