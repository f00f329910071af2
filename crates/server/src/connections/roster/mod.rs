//! Which connections are open, from where, and which of them is closed first when another needs the room. Pure: time is
//! an argument, and nothing here touches a socket.
//!
//! A connection is a *stranger's* until a request on it shows a good cookie or key; then it is its user's. Strangers are
//! counted by prefix and capped, and all of them together leave a part of the connections to users. A declared proxy's
//! own connections are neither: whoever comes through them is counted by what the proxy says.
//!
//! The book has an entry for each open connection and for each prefix and user that has one. How often new ones come is
//! counted in a sketch. So memory doesn't grow with the number of addresses.

mod familiar;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use base::Rng;
use defence::{Class, Prefix, Rates};

use familiar::Familiar;

use super::limits::{ConnectionLimits, PrefixCaps};

/// In which new connections are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// What all new connections are counted under.
const ALL: &str = "all";
/// Columns of the sketch of new connections, 80 bytes each.
const COLUMNS: usize = 1 << 13;
/// Sets of four addresses that somebody has shown who they are from.
const FAMILIAR_SETS: usize = 1 << 13;
/// Part of the connections that users leave to strangers, for everybody was one once: a twentieth.
const FLOOR: usize = 20;
/// Part of strangers' connections, in percent, that visits may have while very many come.
const VISITS_PERCENT: usize = 60;

/// A connection in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(u64);

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many open from this prefix.
    Open(Prefix),
    /// Too many new ones from this prefix.
    New(Prefix),
    /// Too many new ones of strangers, wherever from.
    Rush,
    /// There is no room, and nobody who could make some.
    Full,
}

/// Whether another connection can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Now,
    /// Then somebody can be asked to go.
    In(Duration),
    /// When one ends.
    Later,
}

/// What somebody has shown before their connection is in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// Nothing yet, or that it is a visit, while very many come.
    Visit,
    /// An errand, of which there are not too many.
    Errand,
    /// An account, or that they have the machine.
    Account,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing<K> {
    /// A declared proxy's own.
    Proxy,
    Stranger,
    User(K),
    /// Who is not trusted yet.
    NewUser(K),
}

#[derive(Debug)]
struct Entry<K, T> {
    address: IpAddr,
    standing: Standing<K>,
    is_visit: bool,
    /// Since when there is no request on it.
    idle: Option<Duration>,
    /// By which it is told to close.
    handle: T,
}

/// The book. `K` is a user, `T` what a connection is told to close by.
#[derive(Debug)]
pub(super) struct Roster<K, T> {
    max: usize,
    limits: ConnectionLimits,
    next: u64,
    entries: HashMap<Id, Entry<K, T>>,
    strangers: usize,
    /// Connections that are no more than visits, while very many come.
    visits: usize,
    users: usize,
    /// Those of them who are not trusted yet.
    new_users: usize,
    by_prefix: Counts,
    by_user: HashMap<K, u32>,
    idle: IdleStrangers,
    new: Rates,
    familiar: Familiar,
}

impl<K: Eq + Hash + Copy, T> Roster<K, T> {
    pub(super) fn new(max: usize, limits: ConnectionLimits, rng: &mut Rng) -> Self {
        Self {
            max,
            limits,
            next: 0,
            entries: HashMap::new(),
            strangers: 0,
            visits: 0,
            users: 0,
            new_users: 0,
            by_prefix: Counts::default(),
            by_user: HashMap::new(),
            idle: IdleStrangers::default(),
            new: Rates::new(WINDOW, COLUMNS, rng),
            familiar: Familiar::new(FAMILIAR_SETS),
        }
    }

    pub(super) fn users(&self) -> usize {
        self.users
    }

    /// Whether another connection can be accepted at `now`, whoever's it is.
    pub(super) fn room(&self, now: Duration) -> Room {
        if self.entries.len() < self.max {
            return Room::Now;
        }
        match self.idle.next() {
            None => Room::Later,
            Some((since, _)) => match (since + self.limits.eviction_age).checked_sub(now) {
                None | Some(Duration::ZERO) => Room::Now,
                Some(wait) => Room::In(wait),
            },
        }
    }

    /// Takes a connection into the book, with what somebody is told to close by who makes room for it.
    pub(super) fn admit(
        &mut self,
        address: IpAddr,
        shown: Shown,
        handle: T,
        now: Duration,
    ) -> Result<(Id, Option<T>), Refusal> {
        let is_familiar = shown == Shown::Account || self.check(address, shown, now)?;
        let is_visit = shown == Shown::Visit;
        let is_full = self.entries.len() >= self.max
            || (!is_familiar && self.strangers >= self.strangers_max())
            || (is_visit && self.visits >= self.visits_max());
        let evicted = if is_full { Some(self.evict(now).ok_or(Refusal::Full)?) } else { None };
        self.count(address, now);
        // A user's has a request on it already, though nobody has read it yet.
        let idle = (shown != Shown::Account).then_some(now);
        let id = self.add(Entry { address, standing: Standing::Stranger, is_visit, idle, handle });
        self.visits += usize::from(is_visit);
        self.strangers += 1;
        if idle.is_some() {
            self.idle.add(address, now, id);
        }
        Ok((id, evicted))
    }

    /// Takes a declared proxy's connection into the book.
    pub(super) fn admit_proxy(
        &mut self,
        address: IpAddr,
        handle: T,
        now: Duration,
    ) -> Result<(Id, Option<T>), Refusal> {
        let is_full = self.entries.len() >= self.max;
        let evicted = if is_full { Some(self.evict(now).ok_or(Refusal::Full)?) } else { None };
        Ok((
            self.add(Entry { address, standing: Standing::Proxy, is_visit: false, idle: None, handle }),
            evicted,
        ))
    }

    /// Counts a proxy's connection for the address that it says it comes from.
    pub(super) fn place(&mut self, id: Id, address: IpAddr, now: Duration) -> Result<Option<T>, Refusal> {
        let is_familiar = self.check(address, Shown::Nothing, now)?;
        let is_full = !is_familiar && self.strangers >= self.strangers_max();
        let evicted = if is_full { Some(self.evict(now).ok_or(Refusal::Full)?) } else { None };
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(evicted) };
        (entry.address, entry.standing, entry.idle) = (address, Standing::Stranger, Some(now));
        self.strangers += 1;
        self.idle.add(address, now, id);
        self.count(address, now);
        Ok(evicted)
    }

    fn strangers_max(&self) -> usize {
        let reserved = self.max * self.limits.reserved_percent.min(100) as usize / 100;
        (self.max - reserved).max(1)
    }

    /// What visits leave to strangers who come to sign in or up.
    fn visits_max(&self) -> usize {
        (self.strangers_max() * VISITS_PERCENT / 100).max(1)
    }

    /// Whether another may come from this address, and whether somebody has shown who they are from it.
    fn check(&self, address: IpAddr, shown: Shown, now: Duration) -> Result<bool, Refusal> {
        for prefix in Prefix::all(address) {
            if self.new.estimate(&prefix, now) >= u64::from(self.limits.new.of(prefix)) {
                return Err(Refusal::New(prefix));
            }
        }
        self.by_prefix.check(address, self.limits.open).map_err(Refusal::Open)?;
        let is_familiar = self.familiar.knows(Prefix::narrow(address), now);
        let may_rush = is_familiar || shown != Shown::Nothing;
        if !may_rush && self.new.estimate(&ALL, now) >= u64::from(self.limits.new_strangers_max) {
            return Err(Refusal::Rush);
        }
        Ok(is_familiar)
    }

    fn count(&mut self, address: IpAddr, now: Duration) {
        for prefix in Prefix::all(address) {
            self.new.add(&prefix, 1, now);
        }
        self.new.add(&ALL, 1, now);
        self.by_prefix.add(address);
    }

    fn add(&mut self, entry: Entry<K, T>) -> Id {
        let id = Id(self.next);
        self.next += 1;
        self.entries.insert(id, entry);
        id
    }

    /// Lets the idle stranger go who makes room first: of the prefix that has most, the one that was idle longest.
    pub(super) fn evict(&mut self, now: Duration) -> Option<T> {
        let (since, id) = self.idle.next()?;
        if since + self.limits.eviction_age > now {
            return None;
        }
        self.remove(id)
    }

    /// Notes that a connection has a request now.
    pub(super) fn busy(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let Some(since) = entry.idle.take()
            && entry.standing == Standing::Stranger
        {
            self.idle.remove(entry.address, since, id);
        }
    }

    /// Notes that a connection has no request any more.
    pub(super) fn idle(&mut self, id: Id, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.idle.is_none()
            && entry.standing == Standing::Stranger
        {
            entry.idle = Some(now);
            self.idle.add(entry.address, now, id);
        }
    }

    /// Notes that a stranger has shown who they are, and of what class. Whether the connection counts as theirs: one user
    /// has not any number, users together leave some to strangers, and new ones leave half of what is kept from
    /// strangers to established ones.
    pub(super) fn recognise(&mut self, id: Id, (user, class): (K, Class), now: Duration) -> bool {
        let held = self.by_user.get(&user).copied().unwrap_or(0);
        let users_max = self.max - self.max.div_ceil(FLOOR).min(self.max - 1);
        let new_users_max = self.max - (self.max - self.strangers_max()).div_ceil(2);
        let is_new = class < Class::Established;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        match entry.standing {
            Standing::Stranger => {}
            Standing::Proxy => return false,
            Standing::User(theirs) | Standing::NewUser(theirs) => return theirs == user,
        }
        let is_full = self.users >= users_max || (is_new && self.new_users >= new_users_max);
        if held >= self.limits.per_user_max || is_full {
            return false;
        }
        self.visits -= usize::from(std::mem::take(&mut entry.is_visit));
        entry.standing = if is_new { Standing::NewUser(user) } else { Standing::User(user) };
        self.new_users += usize::from(is_new);
        if let Some(since) = entry.idle.take() {
            self.idle.remove(entry.address, since, id);
        }
        self.by_prefix.remove(entry.address);
        self.familiar.note(Prefix::narrow(entry.address), now);
        self.strangers -= 1;
        self.users += 1;
        self.by_user.insert(user, held + 1);
        true
    }

    /// Takes a connection out of the book.
    pub(super) fn leave(&mut self, id: Id) {
        self.remove(id);
    }

    fn remove(&mut self, id: Id) -> Option<T> {
        let entry = self.entries.remove(&id)?;
        self.visits -= usize::from(entry.is_visit);
        match entry.standing {
            Standing::Proxy => {}
            Standing::Stranger => {
                self.strangers -= 1;
                self.by_prefix.remove(entry.address);
                if let Some(since) = entry.idle {
                    self.idle.remove(entry.address, since, id);
                }
            }
            Standing::User(user) | Standing::NewUser(user) => {
                self.users -= 1;
                self.new_users -= usize::from(matches!(entry.standing, Standing::NewUser(_)));
                if let Some(held) = self.by_user.get_mut(&user) {
                    *held -= 1;
                    if *held == 0 {
                        self.by_user.remove(&user);
                    }
                }
            }
        }
        Some(entry.handle)
    }
}

/// How many there are of each prefix. Only prefixes that have one are there.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<Prefix, u32>);

impl Counts {
    /// The narrowest prefix of an address that has as many as it may.
    pub(super) fn check(&self, address: IpAddr, caps: PrefixCaps) -> Result<(), Prefix> {
        let held = |prefix: &Prefix| self.0.get(prefix).copied().unwrap_or(0);
        Prefix::all(address).find(|prefix| held(prefix) >= caps.of(*prefix)).map_or(Ok(()), Err)
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        for prefix in Prefix::all(address) {
            *self.0.entry(prefix).or_insert(0) += 1;
        }
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        for prefix in Prefix::all(address) {
            if let Some(held) = self.0.get_mut(&prefix) {
                *held -= 1;
                if *held == 0 {
                    self.0.remove(&prefix);
                }
            }
        }
    }
}

/// Strangers without a request, by their widest prefix.
#[derive(Debug, Default)]
struct IdleStrangers {
    /// Those of each prefix, the one that was idle longest first.
    by_prefix: HashMap<Prefix, BTreeSet<(Duration, Id)>>,
    /// How many each prefix has, and who of it goes first; the prefix that has most is last, and of two that have as
    /// many the one whose first has been idle longer.
    order: BTreeSet<(usize, Reverse<(Duration, Id)>, Prefix)>,
}

impl IdleStrangers {
    /// Who goes first.
    fn next(&self) -> Option<(Duration, Id)> {
        self.order.last().map(|(_, Reverse(first), _)| *first)
    }

    fn add(&mut self, address: IpAddr, since: Duration, id: Id) {
        self.change(Prefix::wide(address), |idle| idle.insert((since, id)));
    }

    fn remove(&mut self, address: IpAddr, since: Duration, id: Id) {
        self.change(Prefix::wide(address), |idle| idle.remove(&(since, id)));
    }

    fn change(&mut self, prefix: Prefix, change: impl FnOnce(&mut BTreeSet<(Duration, Id)>) -> bool) {
        let idle = self.by_prefix.entry(prefix).or_default();
        if let Some(first) = idle.first() {
            self.order.remove(&(idle.len(), Reverse(*first), prefix));
        }
        change(idle);
        match idle.first() {
            Some(first) => {
                self.order.insert((idle.len(), Reverse(*first), prefix));
            }
            None => {
                self.by_prefix.remove(&prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests;
