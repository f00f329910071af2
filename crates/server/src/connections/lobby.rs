//! What all connections share: the book of them, and what its moves mean for sockets and metrics.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Clock as _, SystemClock};
use defence::Class;
use store::UserId;
use tokio::sync::Notify;

use super::activity::Activity;
use super::doorman::{self, Seen};
use super::roster::{Counts, Id, Refusal, Room, Roster, Shown};
use super::transport::reset;
use super::watch::{Deadlines, Reason};
use super::{PrefixCaps, descriptors};
use crate::accounts::Standing;
use crate::app::App;
use crate::bulwark::Errand;

/// What came of looking at a connection before it is in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It was not looked at.
    None,
    /// It was not, as there are few, and would have been otherwise.
    Unpressed,
    /// There was nothing to be seen yet.
    Later,
    /// A stranger's, whose first request is counted.
    Counted(Errand, Standing),
    /// A user's.
    Known(Standing),
    /// The answer has been given.
    TurnedAway,
}

impl Look {
    pub(super) fn shown(self) -> Shown {
        match self {
            Self::None | Self::TurnedAway => Shown::Nothing,
            Self::Later | Self::Counted(Errand::Visit | Errand::Http2 | Errand::Excess, _) => Shown::Visit,
            Self::Unpressed | Self::Counted(Errand::SignIn | Errand::SignUp, _) => Shown::Errand,
            Self::Known(_) => Shown::Account,
        }
    }

    /// Whose it is, where that was seen.
    pub(super) fn standing(self) -> Option<Standing> {
        match self {
            Self::Counted(_, standing) | Self::Known(standing) => Some(standing),
            Self::None | Self::Unpressed | Self::Later | Self::TurnedAway => None,
        }
    }
}

pub(super) struct Lobby {
    pub(super) app: App,
    roster: Mutex<Roster<UserId, Arc<Activity>>>,
    /// Requests in flight through declared proxies, by what these say for whom.
    through: Mutex<Counts>,
    /// Somebody has left.
    freed: Notify,
    /// What sockets' deadlines are measured by, as their timers are: real time, whatever the rest goes by.
    time: SystemClock,
}

impl Lobby {
    pub(super) fn new(app: &App) -> Arc<Self> {
        let max = descriptors::connections_max(app.settings.connections_max);
        let roster = Roster::new(max, app.settings.connections, &mut app.fork_rng());
        Arc::new(Self {
            app: Arc::clone(app),
            roster: Mutex::new(roster),
            through: Mutex::default(),
            freed: Notify::new(),
            time: SystemClock::new(),
        })
    }

    fn roster(&self) -> MutexGuard<'_, Roster<UserId, Arc<Activity>>> {
        // No step of the book panics.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.time.monotonic()
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        let limits = self.app.settings.connections;
        Deadlines {
            handshake: limits.handshake_timeout,
            first_byte: limits.first_byte_timeout,
            head: self.app.settings.head_timeout,
            idle: limits.idle_timeout,
            lifetime: limits.lifetime,
            resets: limits.resets,
        }
    }

    /// Whether another connection can be accepted now.
    pub(super) fn has_room(&self) -> bool {
        matches!(self.roster().room(self.app.clock.monotonic()), Room::Now)
    }

    /// Ready when another connection can be accepted.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            let room = self.roster().room(self.app.clock.monotonic());
            match room {
                Room::Now => return,
                // What the book goes by may stand still, as in tests: then somebody has to leave.
                Room::In(wait) => {
                    let _ = tokio::time::timeout(wait.max(Duration::from_millis(10)), freed).await;
                }
                Room::Later => freed.await,
            }
        }
    }

    /// Takes a connection in, with the mark by which it leaves.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        shown: Shown,
        is_proxy: bool,
    ) -> Result<Place, Refusal> {
        let activity = Arc::new(Activity::new(self.deadlines(), self.now()));
        let now = self.app.clock.monotonic();
        let admitted = {
            let mut roster = self.roster();
            let handle = Arc::clone(&activity);
            if is_proxy {
                roster.admit_proxy(address, handle, now)
            } else {
                roster.admit(address, shown, handle, now)
            }
        };
        let (id, evicted) = admitted.inspect_err(|refusal| self.refused(*refusal))?;
        tell(evicted);
        self.app.metrics.connection_accepted();
        Ok(Place { lobby: Arc::clone(self), id, activity, is_proxy })
    }

    /// Counts a connection, and says whether so many come that each is to be looked at.
    pub(super) fn is_pressed_by_one_more(&self) -> bool {
        self.app.bulwark.strangers.is_pressed_by_one_more(self.app.clock.monotonic())
    }

    /// Whether connections are looked at when many come.
    pub(super) fn looks(&self) -> bool {
        self.app.settings.defence.request_rates
    }

    /// Looks at what has come of a connection.
    pub(super) fn see(&self, stream: impl AsFd, address: SocketAddr) -> Seen {
        doorman::look(&self.app, stream, address)
    }

    /// Lets a connection in by what was seen of it; turns strangers away of whom there are too many.
    pub(super) fn judge(&self, stream: impl AsFd, seen: Seen) -> Look {
        let (app, now) = (&self.app, self.app.clock.monotonic());
        match seen {
            Seen::Nothing => Look::Later,
            Seen::Known(standing) => Look::Known(standing),
            Seen::Stranger(standing, errand, toll) => {
                let (strangers, class) = (&app.bulwark.strangers, standing.class);
                let is_paid = || toll.as_ref().is_some_and(|toll| app.is_paid(toll));
                if strangers.take(class, errand, now).is_ok() || is_paid() {
                    return Look::Counted(errand, standing);
                }
                app.metrics.refused(class, "request_rate");
                match toll {
                    Some(toll) if strangers.may_challenge(now) => {
                        doorman::challenge(&stream, &app.ask_toll(&toll));
                    }
                    None if strangers.may_answer(standing.who, now) => doorman::turn_away(&stream),
                    _ => reset(&stream),
                }
                Look::TurnedAway
            }
        }
    }

    fn refused(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::Open(_) => "prefix_open",
            Refusal::New(_) => "prefix_new",
            Refusal::Rush => "strangers_new",
            Refusal::Full => "full",
        };
        self.app.metrics.connection_refused(reason);
        tracing::debug!(?refusal, "a connection was refused");
    }

    /// Makes room because the system has none.
    pub(super) fn make_room(&self) {
        let evicted = self.roster().evict(self.app.clock.monotonic());
        tell(evicted);
    }

    /// Counts a request through a declared proxy for an address, until what is returned is dropped.
    pub(super) fn through(self: &Arc<Self>, address: IpAddr) -> Option<Through> {
        let caps: PrefixCaps = self.app.settings.connections.open;
        let mut counts = self.through.lock().unwrap_or_else(PoisonError::into_inner);
        counts.check(address, caps).ok()?;
        counts.add(address);
        Some(Through { lobby: Arc::clone(self), address })
    }

    fn note_users(&self, roster: &Roster<UserId, Arc<Activity>>) {
        self.app.metrics.connections_of_users(roster.users());
    }
}

/// Has the connection close that makes room. It counts as closed when it is.
fn tell(evicted: Option<Arc<Activity>>) {
    if let Some(activity) = evicted {
        activity.close(Reason::Evicted);
    }
}

/// A request through a proxy that is in flight.
pub(super) struct Through {
    lobby: Arc<Lobby>,
    address: IpAddr,
}

impl Drop for Through {
    fn drop(&mut self) {
        self.lobby.through.lock().unwrap_or_else(PoisonError::into_inner).remove(self.address);
    }
}

/// A connection's place in the book, until it is dropped.
pub(super) struct Place {
    pub(super) lobby: Arc<Lobby>,
    id: Id,
    pub(super) activity: Arc<Activity>,
    /// Whether it is a declared proxy's.
    pub(super) is_proxy: bool,
}

impl Place {
    /// Counts a proxy's connection for the address that the proxy says it comes from.
    pub(super) fn comes_from(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let placed = self.lobby.roster().place(self.id, address, self.lobby.app.clock.monotonic());
        let evicted = placed.inspect_err(|refusal| self.lobby.refused(*refusal))?;
        tell(evicted);
        self.is_proxy = false;
        Ok(())
    }

    pub(super) fn busy(&self) {
        self.lobby.roster().busy(self.id);
    }

    pub(super) fn idle(&self) {
        self.lobby.roster().idle(self.id, self.lobby.app.clock.monotonic());
        // Somebody may go now who could not before.
        self.lobby.freed.notify_one();
    }

    /// Notes that a request on it has shown whose it is. Whether it counts as theirs.
    pub(super) fn recognise(&self, user: UserId, class: Class) -> bool {
        let mut roster = self.lobby.roster();
        let is_theirs = roster.recognise(self.id, (user, class), self.lobby.app.clock.monotonic());
        self.lobby.note_users(&roster);
        is_theirs
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut roster = self.lobby.roster();
        roster.leave(self.id);
        self.lobby.note_users(&roster);
        drop(roster);
        self.lobby.freed.notify_one();
    }
}
