//! HTTP as people's browsers and programs speak it, each from an address of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;

use crate::events::{Event, Parser};
use crate::target::Target;

/// The field that repeats the `challenge` of a body, so that it is seen before there is one: as the page sends it.
pub(crate) const CHALLENGE: &str = "x-cachalot-challenge";

/// Largest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no connection: {0}")]
    Unreachable(io::Error),
    #[error("the connection broke: {0}")]
    Cut(String),
}

/// What shows who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pass {
    None,
    /// A session's cookie, `name=value`.
    Cookie(String),
    Key(String),
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) cookie: Option<String>,
    /// Null where the answer was no JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The code of an error, or nothing.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A connection from this address.
pub(crate) async fn connect(target: &Target, source: Ipv4Addr) -> io::Result<TcpStream> {
    connect_with(target, source, None).await
}

/// The same with a receive buffer of this size, for those who read slowly.
pub(crate) async fn connect_with(
    target: &Target,
    source: Ipv4Addr,
    receive_bytes: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket.connect(target.address.into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection that asks one thing after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn open(target: &Target, source: Ipv4Addr) -> Result<Self, Trouble> {
        let stream = connect(target, source).await.map_err(Trouble::Unreachable)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(cut)?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Self { sender, host: target.host.clone(), driver })
    }

    /// Asks, and reads the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        pass: &Pass,
        body: Option<&Value>,
    ) -> Result<Answer, Trouble> {
        let response = self.send(method, path, pass, body).await?;
        read(response).await
    }

    /// Asks, and gives the answer's events as they come; the answer whole where it is none.
    pub(crate) async fn stream(
        &mut self,
        method: &str,
        path: &str,
        pass: &Pass,
        body: Option<&Value>,
    ) -> Result<Result<Events, Answer>, Trouble> {
        let response = self.send(method, path, pass, body).await?;
        let is_stream = |value: &header::HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
        if response.status() != 200 || !response.headers().get(header::CONTENT_TYPE).is_some_and(is_stream) {
            return Ok(Err(read(response).await?));
        }
        Ok(Ok(Events { body: response.into_body(), parser: Parser::default() }))
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        pass: &Pass,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, Trouble> {
        self.sender.ready().await.map_err(cut)?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        request = match pass {
            Pass::None => request,
            Pass::Cookie(cookie) => request.header(header::COOKIE, cookie),
            Pass::Key(key) => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
        };
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                if let Some(solution) = body["challenge"].as_str() {
                    request = request.header(CHALLENGE, solution);
                }
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(bytes)).map_err(|error| Trouble::Cut(error.to_string()))?;
        self.sender.send_request(request).await.map_err(cut)
    }
}

fn cut(error: hyper::Error) -> Trouble {
    Trouble::Cut(error.to_string())
}

async fn read(response: Response<Incoming>) -> Result<Answer, Trouble> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Trouble::Cut(error.to_string()))?.to_bytes();
    Ok(Answer {
        status: head.status.as_u16(),
        retry_after: text(&head.headers, &header::RETRY_AFTER)
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs),
        cookie: text(&head.headers, &header::SET_COOKIE)
            .and_then(|cookie| cookie.split(';').next())
            .map(str::to_owned),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An answer that comes in events.
#[derive(Debug)]
pub(crate) struct Events {
    body: Incoming,
    parser: Parser,
}

impl Events {
    /// The next event; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Trouble> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(cut(error)),
                Some(Ok(frame)) => {
                    let fits = frame.into_data().map_or(true, |bytes| self.parser.push(&bytes));
                    if !fits {
                        return Err(Trouble::Cut("an event without end".to_owned()));
                    }
                }
            }
        }
    }
}
