use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::contract::Asked;
use super::within;

/// Asks a server, with a new connection for each request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// `name=value` of the session, if somebody is signed in.
    pub(crate) cookie: Option<String>,
    /// The address that it asks from, if not the usual one.
    pub(crate) from: Option<IpAddr>,
    /// Whether it knows the server as `localhost` instead of by its address.
    pub(crate) by_name: bool,
    /// Whether it sends fields that the document doesn't know.
    pub(crate) is_careless: bool,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A response that comes in pieces. Dropping it closes the connection.
pub(crate) struct Streaming {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    asked: Asked,
    body: Incoming,
    text: String,
    connection: JoinHandle<()>,
}

/// A server-sent event; comments have the name `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

fn json_body(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

impl Client {
    /// Nobody's.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, cookie: None, from: None, by_name: false, is_careless: false }
    }

    /// The same client, signed in as a response said.
    pub(crate) fn signed_in(&self, reply: &Reply) -> Self {
        let (cookie, _) = reply.header("set-cookie").split_once(';').expect("a cookie with attributes");
        Self { cookie: Some(cookie.to_owned()), ..*self }
    }

    /// The same client, from another address.
    pub(crate) fn at(&self, from: &str) -> Self {
        Self { from: Some(from.parse().unwrap()), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, body).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.request(method, path, &[("content-type", "application/json")], json_body(body)).await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let what = format!("{method} {path}");
        within(&what, async { self.open(method, path, headers, body).await.whole().await }).await
    }

    /// Sends a request and returns when the response's head is there.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Streaming {
        let stream = self.connect().await;
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.host());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie
            && !headers.iter().any(|(name, _)| *name == "cookie")
        {
            request = request.header("cookie", cookie);
        }
        let mut answer = Streaming::ask(stream, request.body(Full::new(Bytes::from(body))).unwrap()).await;
        if self.is_careless {
            answer.asked.body = None;
        }
        answer
    }

    /// What it calls the server.
    pub(crate) fn host(&self) -> String {
        if self.by_name { format!("localhost:{}", self.address.port()) } else { self.address.to_string() }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let Some(from) = self.from else { return TcpStream::connect(self.address).await.unwrap() };
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub(crate) async fn open_post(&self, path: &str, body: &Value) -> Streaming {
        self.open("POST", path, &[("content-type", "application/json")], json_body(body)).await
    }
}

/// Asks a server over its control socket.
#[derive(Debug, Clone)]
pub(crate) struct Control(pub(crate) PathBuf);

impl Control {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &Value::Null).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        let stream = UnixStream::connect(&self.0).await.unwrap();
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = if body.is_null() { Vec::new() } else { json_body(body) };
        let what = format!("{method} {path} over the control socket");
        let asked = async {
            Streaming::ask(stream, request.body(Full::new(Bytes::from(body))).unwrap()).await.whole().await
        };
        within(&what, asked).await
    }
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The body as JSON; null if it is empty.
    pub(crate) fn json_or_null(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks an error's status and code.
    pub(crate) fn is_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["error"]["code"], code, "{body}");
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        assert!(body["error"]["type"].is_string() && body["error"].get("param").is_some(), "{body}");
    }
}

impl Streaming {
    /// Sends a request over a connection of any kind and returns when the response's head is there.
    pub(crate) async fn ask(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Self {
        let asked = asked(&request).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async {
            // A server that closes early shows in the response.
            let _ = connection.await;
        });
        let response = sender.send_request(request).await.unwrap();
        Self::of(response, asked, connection)
    }

    /// A response over a connection, which ends with it.
    pub(super) fn of(response: Response<Incoming>, asked: Asked, connection: JoinHandle<()>) -> Self {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Self { status, headers, asked, body, text: String::new(), connection }
    }

    /// The next piece as it came; none at the end.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        loop {
            let frame = within("the next piece of a response", self.body.frame()).await?;
            if let Ok(data) = frame.unwrap().into_data() {
                return Some(data);
            }
        }
    }

    /// The next event or comment; none at the end.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                if event.name != ":" {
                    self.asked.check_event(&event.name, &event.data);
                }
                return Some(event);
            }
            let Some(piece) = self.piece().await else {
                assert_eq!(self.text, "", "the stream ended within an event");
                return None;
            };
            // The server cuts its writes between events, so pieces hold whole characters.
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// The next event that is no comment.
    pub(crate) async fn named(&mut self) -> Option<Event> {
        loop {
            match self.event().await {
                Some(event) if event.name == ":" => {}
                event => return event,
            }
        }
    }

    /// Every event to the end, without comments.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.named().await {
            events.push(event);
        }
        events
    }

    pub(crate) async fn whole(mut self) -> Reply {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await {
            body.extend_from_slice(&piece);
        }
        self.asked.check(self.status, &self.headers, &body);
        Reply { status: self.status, headers: self.headers.clone(), body: body.into() }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the document has to say something about.
pub(super) async fn asked(request: &Request<Full<Bytes>>) -> Asked {
    let sent = request.body().clone().collect().await.unwrap().to_bytes();
    let is_json = request.headers().get("content-type").is_some_and(|given| given == "application/json");
    let body = if is_json { serde_json::from_slice(&sent).ok() } else { None };
    Asked { method: request.method().to_string(), path: request.uri().path().to_owned(), body }
}

fn parse(block: &str) -> Event {
    let mut event = Event { name: String::new(), data: String::new() };
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("data", data)) => event.data = data.to_owned(),
            Some(("", comment)) => event = Event { name: ":".to_owned(), data: comment.to_owned() },
            _ => panic!("not a line of an event: {line:?}"),
        }
    }
    event
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {:?}", self.data))
    }
}
