//! The accept loop.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::converse::Opened;
use super::door::Door;
use super::doorman::Seen;
use super::lobby::{Lobby, Look};
use super::transport::reset;
use crate::app::App;
use crate::tls::Handshakes;

/// Pauses after an accept that failed for want of something: trying again at once would only burn a core.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// While very many come, so many are looked at before the strangers among them are judged: to look takes a quarter of
/// what it takes to turn somebody away, and a user who came after them is let in first.
const LOOKED_AT_ONCE: usize = 64;

/// Connections over the control socket at once; more wait in its queue.
const CONTROL_CONNECTIONS_MAX: usize = 64;

/// What the kernel holds of what a connection was sent and has not taken. It is told of the socket's progress when a
/// third of it is gone, so this is also what the deadline for writes is about: who takes less than some kilobytes a
/// second is too slow.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// Time without a word after which the kernel asks whether the other side is still there, and between its questions.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);
const PROBES_MAX: u32 = 4;

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
    doors: Vec<Door>,
    tls: Option<Arc<Handshakes>>,
    /// Where whoever asks has the machine.
    control: Option<UnixListener>,
}

impl Entrance {
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        tls: Option<Arc<Handshakes>>,
        control: Option<UnixListener>,
    ) -> io::Result<Self> {
        Ok(Self { doors: listeners.into_iter().map(Door::new).collect::<io::Result<_>>()?, tls, control })
    }
}

/// Accepts until `shutdown` is ready. The connections returned have been told to end when their response in flight
/// has.
pub(crate) async fn run(
    app: &App,
    entrance: Entrance,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> Connections {
    let lobby = Lobby::new(app);
    entrance.doors.iter().for_each(|door| prepare(door.listener()));
    let control_slots = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut pause = Pause::default();
    let mut shutdown = pin!(shutdown);
    let mut turn = 0;
    let mut is_kept_back = false;
    loop {
        turn += 1;
        // The machine's own comes first: a flood must not keep its operator out.
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept_control(entrance.control.as_ref(), &control_slots) => match accepted {
                Ok((stream, slot)) => {
                    let opened = Opened { lobby: Arc::clone(&lobby), router: router.clone(), look: Look::None };
                    connections.spawn(async move {
                        opened.serve_control(stream).await;
                        drop(slot);
                    });
                }
                Err(error) => pause.after(&error, &lobby).await,
            },
            accepted = accept(&entrance.doors, turn, &lobby) => match accepted {
                Ok(accepted) => {
                    pause.over();
                    let mut reception = Reception {
                        lobby: &lobby,
                        router: &router,
                        tls: entrance.tls.as_ref(),
                        connections: &mut connections,
                        strangers: Vec::new(),
                    };
                    let is_pressed = reception.receive(accepted);
                    if is_kept_back != (is_pressed && lobby.looks()) {
                        is_kept_back = !is_kept_back;
                        entrance.doors.iter().for_each(|door| door.keep_silent_back(is_kept_back));
                    }
                    if is_pressed {
                        reception.receive_more(&entrance.doors);
                    }
                    reception.judge_strangers();
                }
                Err(error) => pause.after(&error, &lobby).await,
            },
        }
        while connections.try_join_next().is_some() {}
    }
    app.draining.send_replace(true);
    Connections(connections)
}

/// Sets what the sockets of a listener's connections begin with. Where a system knows none of it, connections are as it
/// makes them.
fn prepare(listener: &StdListener) {
    let _ = sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES);
    let _ = sockopt::set_socket_keepalive(listener, true);
    let _ = sockopt::set_tcp_keepidle(listener, PROBE_INTERVAL);
    let _ = sockopt::set_tcp_keepintvl(listener, PROBE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(listener, PROBES_MAX);
}

/// Takes connections in or resets them: before TLS, and before anything is read or written.
struct Reception<'a> {
    lobby: &'a Arc<Lobby>,
    router: &'a Router,
    tls: Option<&'a Arc<Handshakes>>,
    connections: &'a mut JoinSet<()>,
    /// Those that are not taken in yet, with what was seen of them.
    strangers: Vec<(StdStream, SocketAddr, Seen)>,
}

impl Reception<'_> {
    /// Takes a connection in, or puts it with the strangers; whether very many come.
    fn receive(&mut self, (stream, address): (StdStream, SocketAddr)) -> bool {
        let (lobby, ip) = (self.lobby, address.ip().to_canonical());
        let is_pressed = lobby.is_pressed_by_one_more();
        let is_proxy = lobby.app.settings.proxy.as_ref().is_some_and(|proxy| proxy.is_trusted(ip));
        // What TLS hides is seen later, and a proxy's connections are no strangers'.
        let look = match (lobby.looks() && self.tls.is_none() && !is_proxy, is_pressed) {
            (false, _) => Look::None,
            (true, false) => Look::Unpressed,
            (true, true) => match lobby.see(&stream, address) {
                Seen::Known(standing) => Look::Known(standing),
                seen => {
                    self.strangers.push((stream, address, seen));
                    return is_pressed;
                }
            },
        };
        self.admit(stream, address, look, is_proxy);
        is_pressed
    }

    /// The same with those that wait in the kernel, as far as there is room for them.
    fn receive_more(&mut self, doors: &[Door]) {
        let mut received = 0;
        for door in doors {
            while received < LOOKED_AT_ONCE && self.lobby.has_room() {
                let Some(accepted) = door.accept_now() else { break };
                self.receive(accepted);
                received += 1;
            }
        }
    }

    fn judge_strangers(mut self) {
        for (stream, address, seen) in std::mem::take(&mut self.strangers) {
            let look = self.lobby.judge(&stream, seen);
            if look != Look::TurnedAway {
                self.admit(stream, address, look, false);
            }
        }
    }

    fn admit(&mut self, stream: StdStream, address: SocketAddr, look: Look, is_proxy: bool) {
        let (lobby, ip) = (self.lobby, address.ip().to_canonical());
        let Ok(place) = lobby.admit(ip, look.shown(), is_proxy) else { return reset(&stream) };
        // Each event of a stream goes out by itself. Who can't be watched is let go.
        let watched = || {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)
        };
        let Ok(stream) = watched() else { return };
        let opened = Opened { lobby: Arc::clone(lobby), router: self.router.clone(), look };
        self.connections.spawn(opened.serve(stream, address, place, self.tls.cloned()));
    }
}

/// Accepts when there is room, so that those beyond wait in the kernel's queue and cost nothing. The listeners take
/// turns at being asked first.
async fn accept(doors: &[Door], turn: usize, lobby: &Lobby) -> io::Result<(StdStream, SocketAddr)> {
    lobby.room().await;
    poll_fn(|context| {
        let (later, first) = doors.split_at(turn % doors.len().max(1));
        let ready = first.iter().chain(later).map(|door| door.poll_accept(context));
        ready.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
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

/// What an accept that failed is followed by.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// It was about the connection that would have been accepted: on to the next.
    Next,
    /// There was too little of something.
    Pause(Duration),
}

/// How long to wait after accepts that failed, one after the other.
#[derive(Debug, Default)]
struct Pause(Duration);

impl Pause {
    /// One did not fail.
    fn over(&mut self) {
        self.0 = Duration::ZERO;
    }

    fn next(&mut self, error: &io::Error) -> After {
        match Errno::from_io_error(error) {
            Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR | Errno::PROTO | Errno::TIMEDOUT) => {
                After::Next
            }
            _ => {
                self.0 = (2 * self.0).clamp(PAUSE_MIN, PAUSE_MAX);
                After::Pause(self.0)
            }
        }
    }

    /// Makes room, and waits a while.
    async fn after(&mut self, error: &io::Error, lobby: &Lobby) {
        let first = self.0.is_zero();
        let After::Pause(pause) = self.next(error) else { return };
        if first {
            tracing::warn!(%error, "a connection could not be accepted");
        }
        lobby.app.metrics.connection_refused("system");
        lobby.make_room();
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_makes_it_wait_longer_and_longer() {
        let mut pause = Pause::default();
        let mut after = |error: Errno| pause.next(&error.into());
        assert_eq!(after(Errno::CONNABORTED), After::Next);
        for milliseconds in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert_eq!(after(Errno::MFILE), After::Pause(Duration::from_millis(milliseconds)));
            assert_eq!(after(Errno::CONNABORTED), After::Next);
        }
        pause.over();
        assert_eq!(pause.next(&Errno::NFILE.into()), After::Pause(PAUSE_MIN));
    }
}
