//! One connection from its first byte to its last.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::lobby::{Lobby, Look, Place};
use super::proxy_protocol;
use super::requests::{Line, Origin, Requests};
use super::streams::Streams;
use super::transport::{Noted, Socket, WriteDeadline};
use super::watch::Reason;
use crate::accounts::Arrival;
use crate::app::State;
use crate::tls::Handshakes;

/// Header fields of a request; more are refused with 431.
const FIELDS_MAX: usize = 100;

/// What may come on an HTTP/2 connection, and on one of its streams, before its reader has taken it: small, as whoever
/// opens many connections could have us hold that much of each.
const CONNECTION_WINDOW_BYTES: u32 = 128 << 10;
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// What one of its streams holds of what its client has not taken yet.
const SEND_BUFFER_BYTES: usize = 16 << 10;
/// Streams that its client may make us reset by breaking the rules, before it is told to go away.
const ERRORS_MAX: usize = 32;
/// Streams that may have been given up before we so much as looked at them.
const UNSEEN_RESETS_MAX: usize = 20;

/// Which versions of HTTP may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    One,
    Two,
    /// The first bytes say which: HTTP/2 by its preface (RFC 9113, section 3.4).
    Either,
}

/// A connection that was accepted.
pub(super) struct Opened {
    pub(super) lobby: Arc<Lobby>,
    pub(super) router: Router,
    /// What was seen of it when it was accepted.
    pub(super) look: Look,
}

impl Opened {
    pub(super) async fn serve_control(self, stream: UnixStream) {
        let _open = self.lobby.app.metrics.connection_opened();
        let stream = WriteDeadline::new(stream, self.lobby.app.settings.write_timeout, None);
        let line = Line::new(Origin::Control, None, Arc::clone(&self.lobby), false);
        self.speak(stream, line, Speaks::One).await;
    }

    pub(super) async fn serve(
        self,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
        tls: Option<Arc<Handshakes>>,
    ) {
        let lobby = Arc::clone(&self.lobby);
        let _open = lobby.app.metrics.connection_opened();
        let activity = Arc::clone(&place.activity);
        let mut draining = lobby.app.draining.subscribe();
        let reason = tokio::select! {
            biased;
            () = self.converse(stream, address, place, tls.as_deref(), &mut draining) => activity.closed(),
            reason = activity.must_close(|| lobby.now()) => Some(reason),
        };
        if let Some(reason) = reason {
            lobby.app.metrics.connection_closed(label(reason));
            tracing::debug!(?reason, "a connection was closed");
        }
    }

    /// What is said on it, in the turn of whose it is where very many come at once.
    async fn converse(
        mut self,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
        tls: Option<&Handshakes>,
        draining: &mut watch::Receiver<bool>,
    ) {
        if self.look == Look::Later && stream.readable().await.is_ok() {
            self.look = self.lobby.judge(&stream, self.lobby.see(&stream, address));
            if self.look == Look::TurnedAway {
                return;
            }
        }
        let mut turn = None;
        if let Some(standing) = self.look.standing()
            && stream.readable().await.is_ok()
        {
            // Where there is no place to wait in, there is nothing to wait for either.
            turn = self.lobby.app.bulwark.entries.take(standing).await.ok();
        }
        let mut rest = pin!(self.speak_all(stream, address, place, tls, draining));
        poll_fn(|context| {
            let polled = rest.as_mut().poll(context);
            // Its first request is on its way: what else it takes waits for others.
            turn = None;
            polled
        })
        .await;
    }

    /// PROXY header, TLS, HTTP, as far as there is each.
    async fn speak_all(
        self,
        stream: TcpStream,
        address: SocketAddr,
        mut place: Place,
        tls: Option<&Handshakes>,
        draining: &mut watch::Receiver<bool>,
    ) {
        let (activity, look) = (Arc::clone(&place.activity), self.look);
        let mut socket = Socket { stream, activity: Arc::clone(&activity) };
        let timeout = self.lobby.app.settings.write_timeout;
        let prepared = async {
            let arrival = arrival(&mut socket, address, &mut place).await?;
            let stream = WriteDeadline::new(socket, timeout, Some(Arc::clone(&activity)));
            match tls {
                None => Ok(Some((arrival, Prepared::Plain(stream)))),
                Some(tls) => {
                    let secured = tls.accept(stream).await?;
                    let arrival = Arrival { tls: true, ..arrival };
                    Ok(secured.map(|stream| (arrival, Prepared::Tls(Box::new(stream)))))
                }
            }
        };
        let prepared: io::Result<_> = tokio::select! {
            prepared = prepared => prepared,
            () = told_to_end(draining) => return,
        };
        let (arrival, stream) = match prepared {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return tracing::info!("the ACME server has seen that a name is ours"),
            // The client's doing, as are the other ways for a connection to end.
            Err(error) => return tracing::debug!(%error, "a handshake failed"),
        };
        let now = self.lobby.now();
        activity.note(|watch| watch.open(now));
        let line = Line::new(
            Origin::Network(arrival),
            Some(place),
            Arc::clone(&self.lobby),
            matches!(look, Look::Counted(..)),
        );
        let lobby = Arc::clone(&self.lobby);
        match stream {
            Prepared::Plain(stream) => {
                self.speak(Noted { stream, lobby, activity }, line, Speaks::Either).await;
            }
            Prepared::Tls(stream) => {
                let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let speaks = if is_two { Speaks::Two } else { Speaks::One };
                self.speak(Noted { stream: *stream, lobby, activity }, line, speaks).await;
            }
        }
    }

    /// Speaks HTTP to the end of the connection.
    async fn speak<S>(self, stream: S, line: Line, speaks: Speaks)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let app = Arc::clone(&self.lobby.app);
        let activity = line.place.as_ref().map(|place| Arc::clone(&place.activity));
        let requests = Requests { line: Arc::new(line), router: self.router };
        let mut draining = app.draining.subscribe();
        let ending = async {
            match &activity {
                Some(activity) => activity.ending().await,
                None => std::future::pending().await,
            }
        };
        let ending = async {
            tokio::select! {
                () = told_to_end(&mut draining) => {}
                () = ending => {}
            }
        };
        let (streams, _ending_streams) = Streams::new(app.settings.write_timeout);
        let ended: Result<(), Box<dyn std::error::Error + Send + Sync>> = if speaks == Speaks::One {
            let mut connection = pin!(one(&app).serve_connection(TokioIo::new(stream), requests));
            tokio::select! {
                ended = connection.as_mut() => ended.map_err(Into::into),
                () = ending => {
                    connection.as_mut().graceful_shutdown();
                    connection.await.map_err(Into::into)
                }
            }
        } else {
            let builder = either(&app, streams);
            let builder = if speaks == Speaks::Two { builder.http2_only() } else { builder };
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), requests));
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = ending => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = ended {
            // The client's doing: it went away, was too slow or sent no HTTP.
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

/// A connection on which HTTP can be spoken.
enum Prepared {
    Plain(WriteDeadline<Socket>),
    Tls(Box<tokio_rustls::server::TlsStream<WriteDeadline<Socket>>>),
}

/// From where a connection comes: as a declared proxy says, where it says it before all else.
async fn arrival(socket: &mut Socket, address: SocketAddr, place: &mut Place) -> io::Result<Arrival> {
    let lobby = Arc::clone(&place.lobby);
    let settings = &lobby.app.settings;
    let arrival = Arrival { address, tls: false, is_relayed: false };
    if !place.is_proxy || !settings.proxy.as_ref().is_some_and(|proxy| proxy.protocol) {
        return Ok(arrival);
    }
    let activity = Arc::clone(&place.activity);
    let header = proxy_protocol::read(socket).await.inspect_err(|_| activity.close(Reason::ProxyHeader))?;
    let arrival = Arrival { is_relayed: true, ..arrival };
    let Some(address) = header else { return Ok(arrival) };
    // A proxy before the proxy is one too.
    let is_proxy = settings.proxy.as_ref().is_some_and(|proxy| proxy.is_trusted(address.ip()));
    if !is_proxy && let Err(refusal) = place.comes_from(address.ip()) {
        activity.close(Reason::Refused);
        return Err(io::Error::other(format!("refused: {refusal:?}")));
    }
    Ok(Arrival { address, ..arrival })
}

fn one(app: &State) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Who is too slow is told by what is noted of the connection.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(app.settings.head_bytes_max)
        .max_headers(FIELDS_MAX);
    builder
}

fn either(app: &State, streams: Streams) -> auto::Builder<Streams> {
    let (settings, limits) = (&app.settings, app.settings.connections);
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(settings.head_bytes_max)
        .max_headers(FIELDS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_interval);
    builder
}

async fn told_to_end(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = draining.wait_for(|draining| *draining).await;
}

fn label(reason: Reason) -> &'static str {
    match reason {
        Reason::Handshake => "handshake_timeout",
        Reason::FirstByte => "first_byte_timeout",
        Reason::Head => "head_timeout",
        Reason::Idle => "idle_timeout",
        Reason::Lifetime => "lifetime",
        Reason::Resets => "resets",
        Reason::Flood => "flood",
        Reason::Evicted => "evicted",
        Reason::WriteStall => "write_timeout",
        Reason::ProxyHeader => "proxy_header",
        Reason::Refused => "refused",
    }
}
