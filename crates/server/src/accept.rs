//! The accept loop: hyper with the timers and caps that a server in the open needs.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tower::ServiceExt as _;

use crate::accounts::{Machine, Peer};
use crate::app::App;
use crate::forwarded::Proxy;
use crate::tls::Handshakes;

/// Pause after a failed accept: with no file descriptor left, trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections over the control socket at once; more wait in its queue.
const CONTROL_CONNECTIONS_MAX: usize = 64;

/// Header fields of a request; more are refused with 431.
const FIELDS_MAX: usize = 100;

/// The other end of a connection, which each of its requests is marked with. Requests that came over the network never
/// get the mark of the machine, whatever they say.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Network { address: SocketAddr, tls: bool },
    Control,
}

impl Origin {
    fn mark<B>(self, proxy: Option<&Proxy>, request: &mut Request<B>) {
        match self {
            Self::Network { address, tls } => {
                let peer = Peer::new(address, tls, proxy, request.headers());
                request.extensions_mut().insert(peer);
            }
            Self::Control => Machine::mark(request),
        }
    }
}

/// Connections that are open.
#[derive(Debug)]
pub(crate) struct Connections(JoinSet<()>);

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until the last has ended.
    pub(crate) async fn ended(&mut self) {
        while self.0.join_next().await.is_some() {}
    }

    pub(crate) async fn abort(&mut self) {
        self.0.shutdown().await;
    }
}

/// Where connections come from, and what is spoken on them.
pub(crate) struct Entrance {
    /// At least one.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) tls: Option<Arc<Handshakes>>,
    /// Where whoever asks has the machine.
    pub(crate) control: Option<UnixListener>,
}

/// Accepts until `shutdown` is ready. The connections returned have been told to end when their response in flight
/// has.
pub(crate) async fn run(
    app: &App,
    entrance: Entrance,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> Connections {
    let slots = Arc::new(Semaphore::new(app.settings.connections_max));
    let control_slots = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut turn = 0;
    loop {
        turn += 1;
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&entrance.listeners, turn, &slots) => accepted.map(|(stream, address, slot)| {
                let opened = Opened { app: Arc::clone(app), router: router.clone() };
                let tls = entrance.tls.clone();
                connections.spawn(async move {
                    opened.serve(stream, address, tls.as_deref()).await;
                    drop(slot);
                });
            }),
            accepted = accept_control(entrance.control.as_ref(), &control_slots) => accepted.map(|(stream, slot)| {
                let opened = Opened { app: Arc::clone(app), router: router.clone() };
                connections.spawn(async move {
                    opened.serve_control(stream).await;
                    drop(slot);
                });
            }),
        };
        while connections.try_join_next().is_some() {}
        if let Err(error) = accepted {
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(ACCEPT_PAUSE).await;
        }
    }
    app.draining.send_replace(true);
    Connections(connections)
}

/// Takes a slot before a connection, so that those above the cap wait in the kernel's queue and cost nothing. The
/// listeners take turns at being asked first.
async fn accept(
    listeners: &[TcpListener],
    turn: usize,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let accepted = poll_fn(|context| {
        let (later, first) = listeners.split_at(turn % listeners.len().max(1));
        let ready = first.iter().chain(later).map(|listener| listener.poll_accept(context));
        ready.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
    });
    let (stream, address) = accepted.await?;
    // Each event of a stream goes out by itself.
    stream.set_nodelay(true)?;
    Ok((stream, address, slot))
}

/// As [`accept`]; never where there is no control socket.
async fn accept_control(
    listener: Option<&UnixListener>,
    slots: &Arc<Semaphore>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let Some(listener) = listener else { return std::future::pending().await };
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

/// A connection that was accepted.
struct Opened {
    app: App,
    router: Router,
}

impl Opened {
    async fn serve_control(self, stream: UnixStream) {
        let _open = self.app.metrics.connection_opened();
        let stream = WriteDeadline::new(stream, self.app.settings.write_timeout);
        self.speak(stream, Origin::Control).await;
    }

    async fn serve(self, stream: TcpStream, address: SocketAddr, tls: Option<&Handshakes>) {
        let _open = self.app.metrics.connection_opened();
        let stream = WriteDeadline::new(stream, self.app.settings.write_timeout);
        let Some(tls) = tls else { return self.speak(stream, Origin::Network { address, tls: false }).await };
        let mut draining = self.app.draining.subscribe();
        let handshake = tokio::select! {
            handshake = timeout(self.app.settings.head_timeout, tls.accept(stream)) => handshake,
            () = told_to_end(&mut draining) => return,
        };
        match handshake {
            Ok(Ok(Some(stream))) => self.speak(stream, Origin::Network { address, tls: true }).await,
            Ok(Ok(None)) => tracing::info!("the ACME server has seen that a name is ours"),
            // The client's doing, as are the other ways for a connection to end.
            Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
            Err(_) => tracing::debug!("a handshake took too long"),
        }
    }

    /// Speaks HTTP to the end of the connection.
    async fn speak<S>(self, stream: S, origin: Origin)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { app, router } = self;
        let (settings, of_requests) = (&app.settings, Arc::clone(&app));
        let service = router.map_request(move |mut request: Request<Incoming>| {
            origin.mark(of_requests.settings.proxy.as_ref(), &mut request);
            request.map(Body::new)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.head_timeout)
            .max_buf_size(settings.head_bytes_max)
            .max_headers(FIELDS_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        let mut draining = app.draining.subscribe();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told_to_end(&mut draining) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // The client's doing: it went away, was too slow or sent no HTTP.
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

async fn told_to_end(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// A stream whose writes fail when the other side takes nothing for too long.
struct WriteDeadline<S> {
    stream: S,
    timeout: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, deadline: None }
    }

    fn check<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.check(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn only_the_control_socket_marks_the_machine() {
        let marked = |origin: Origin| {
            let mut request = Request::new(());
            origin.mark(None, &mut request);
            Machine::made(&request)
        };
        assert!(marked(Origin::Control));
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        assert!([false, true].into_iter().all(|tls| !marked(Origin::Network { address, tls })));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = WriteDeadline::new(stream, Duration::from_millis(50));
        let piece = vec![0; 1 << 20];
        // The kernel takes some of it; when its buffers are full, nothing moves any more.
        let error = loop {
            if let Err(error) = stream.write_all(&piece).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
