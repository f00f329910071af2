//! Whatever happens in whatever order, crashes included, money adds up.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use base::{ManualClock, Rng};
use store::{
    Balance, CreditKind, CreditPageRequest, Held, HoldId, IdMaker, KeyChange, KeyId, KeyScope, KeyStore as _,
    MasterKeys, MeterStore as _, Nanos, NewCredit, NewHold, NewKey, NewUser, SqliteStore, StoreError,
    UsageOf, UsagePeriod, UsageRequest, UsageRow, UsageSumRequest, UserId, UserRole, UserStore as _,
};

const OPERATIONS: usize = 10_000;

/// What a user should have.
#[derive(Debug, Default)]
struct Purse {
    granted: i64,
    topped_up: i64,
    /// All that came and went but for requests.
    credits: i64,
}

#[derive(Debug)]
struct Lock {
    user: UserId,
    spent: i64,
    spend_max: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Pledge {
    user: UserId,
    key: Option<KeyId>,
    amount: i64,
}

/// A store and what should be in it.
struct World {
    path: PathBuf,
    clock: Arc<ManualClock>,
    store: SqliteStore,
    ids: IdMaker,
    rng: Rng,
    /// Stays.
    administrator: Option<UserId>,
    purses: BTreeMap<UserId, Purse>,
    keys: BTreeMap<KeyId, Lock>,
    holds: BTreeMap<HoldId, Pledge>,
    /// Holds that have ended.
    ended: Vec<HoldId>,
    /// In the order in which they were added.
    rows: Vec<UsageRow>,
    users_made: usize,
    /// How often each operation came to each end.
    happened: HashMap<&'static str, usize>,
}

async fn open(path: &Path, clock: &Arc<ManualClock>, seed: u64) -> SqliteStore {
    loop {
        let keys = MasterKeys::in_file(path.with_file_name("master.key"));
        match SqliteStore::open(path, keys, clock.clone(), Rng::from_seed(seed)).await {
            // Something of the one that was dropped goes on.
            Err(StoreError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
            opened => return opened.unwrap(),
        }
    }
}

/// Drops a future when it has had to wait so many times.
async fn dropped_after<T>(waits: usize, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    for _ in 0..waits {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

impl World {
    async fn new(folder: &Path, seed: u64) -> Self {
        let (path, clock) = (folder.join("money.db"), Arc::new(ManualClock::new()));
        let mut rng = Rng::from_seed(seed);
        let store = open(&path, &clock, seed).await;
        let ids = IdMaker::new(clock.clone(), rng.fork());
        let mut world = Self {
            path,
            clock,
            store,
            ids,
            rng,
            administrator: None,
            purses: BTreeMap::new(),
            keys: BTreeMap::new(),
            holds: BTreeMap::new(),
            ended: Vec::new(),
            rows: Vec::new(),
            users_made: 0,
            happened: HashMap::new(),
        };
        for _ in 0..4 {
            world.hire().await;
        }
        world
    }

    async fn hire(&mut self) {
        let new = NewUser {
            name: format!("sailor {}", self.users_made),
            email: None,
            role: if self.users_made == 0 { UserRole::Admin } else { UserRole::User },
            password_hash: None,
            first: self.users_made == 0,
        };
        self.users_made += 1;
        let user = self.store.add_user(new).await.unwrap().id;
        self.purses.insert(user, Purse::default());
        self.administrator.get_or_insert(user);
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn user(&mut self) -> UserId {
        let at = self.rng.below(self.purses.len());
        *self.purses.keys().nth(at).unwrap()
    }

    fn key_of(&mut self, user: UserId) -> Option<KeyId> {
        let keys: Vec<_> = self.keys.iter().filter(|(_, key)| key.user == user).map(|(id, _)| *id).collect();
        let at = self.rng.below(keys.len() + 1);
        keys.get(at).copied()
    }

    fn some_hold(&mut self) -> Option<(HoldId, Pledge)> {
        if self.holds.is_empty() {
            return None;
        }
        let at = self.rng.below(self.holds.len());
        self.holds.iter().nth(at).map(|(id, pledge)| (*id, *pledge))
    }

    fn amount(&mut self, below: usize) -> i64 {
        self.rng.below(below) as i64
    }

    fn balance(&self, user: UserId) -> Balance {
        let purse = &self.purses[&user];
        let held: i64 = self.holds.values().filter(|hold| hold.user == user).map(|hold| hold.amount).sum();
        Balance { granted: Nanos(purse.granted), topped_up: Nanos(purse.topped_up), held: Nanos(held) }
    }

    fn new_credit(&mut self) -> NewCredit {
        let kind = if self.rng.below(2) == 0 { CreditKind::Grant } else { CreditKind::TopUp };
        let amount = Nanos(self.amount(500) - 150);
        let user = self.user();
        NewCredit { user, kind, amount, by: None, note: "because".to_owned(), at_ms: 0 }
    }

    /// What should come of credit.
    fn credited(&mut self, new: &NewCredit) {
        let free = self.balance(new.user).available().0;
        let purse = self.purses.get_mut(&new.user).unwrap();
        let of_kind = match new.kind {
            CreditKind::Grant => &mut purse.granted,
            CreditKind::TopUp => &mut purse.topped_up,
        };
        let really = new.amount.0.max(-free.min(*of_kind));
        *of_kind += really;
        purse.credits += really;
    }

    async fn credit(&mut self) {
        let new = self.new_credit();
        let user = new.user;
        self.credited(&new);
        let after = self.store.add_credit(new).await.unwrap();
        assert_eq!(after, self.balance(user));
        self.count("credited");
    }

    fn new_hold(&mut self) -> NewHold {
        let user = self.user();
        let key = self.key_of(user);
        NewHold { id: self.ids.next(), user, key, amount: Nanos(self.amount(120)), created_ms: 0 }
    }

    async fn hold(&mut self) {
        let new = self.new_hold();
        let available = self.balance(new.user).available();
        let left = new.key.and_then(|id| {
            let key = &self.keys[&id];
            let held: i64 =
                self.holds.values().filter(|hold| hold.key == Some(id)).map(|hold| hold.amount).sum();
            key.spend_max.map(|spend_max| Nanos(spend_max - key.spent - held))
        });
        let asked = new.amount;
        let expected = match left {
            Some(left) if left < asked => Held::KeySpent { available: left.max(Nanos::ZERO), asked },
            _ if available < asked => Held::Empty { available, asked },
            _ => Held::Held,
        };
        assert_eq!(self.store.hold(new.clone()).await.unwrap(), expected);
        match expected {
            Held::Held => {
                self.holds.insert(new.id, Pledge { user: new.user, key: new.key, amount: asked.0 });
                self.count("held");
            }
            Held::Empty { .. } => self.count("had too little"),
            Held::KeySpent { .. } => self.count("had spent the key"),
        }
    }

    /// Of somebody with some key; what a hold says counts for more.
    fn new_usage(&mut self) -> UsageRow {
        let user = (self.rng.below(4) > 0).then(|| self.user());
        let key = user.and_then(|user| self.key_of(user));
        let output = self.rng.below(1000) as u64;
        UsageRow {
            id: self.ids.next(),
            // Three days.
            at_ms: self.amount(259_200_000),
            user,
            key,
            endpoint: "/v1/responses".into(),
            model: ["a", "b", "c"][self.rng.below(3)].to_owned(),
            class: "user".to_owned(),
            hit: self.rng.below(1000) as u64,
            miss: self.rng.below(1000) as u64,
            output,
            reasoning: output / 2,
            cost: Nanos(self.amount(150)),
            queued_ms: 0,
            ttft_ms: None,
            total_ms: 1,
            outcome: "stop".to_owned(),
        }
    }

    /// What should come of settling.
    fn settled(&mut self, hold: Option<HoldId>, usage: UsageRow) -> UsageRow {
        let (user, key, cost) = match hold {
            Some(hold) => {
                let pledge = self.holds.remove(&hold).unwrap();
                self.ended.push(hold);
                (Some(pledge.user), pledge.key, usage.cost.0.min(pledge.amount))
            }
            None => (usage.user, usage.key, 0),
        };
        if let Some(purse) = user.and_then(|user| self.purses.get_mut(&user)) {
            let of_grant = cost.min(purse.granted);
            purse.granted -= of_grant;
            purse.topped_up -= cost - of_grant;
        }
        if let Some(key) = key.and_then(|key| self.keys.get_mut(&key)) {
            key.spent += cost;
        }
        let row = UsageRow { user, key, cost: Nanos(cost), ..usage };
        self.rows.push(row.clone());
        row
    }

    async fn settle(&mut self) {
        let Some((id, pledge)) = self.some_hold() else { return };
        let usage = self.new_usage();
        let row = self.store.settle(Some(id), usage.clone()).await.unwrap();
        assert_eq!(row, self.settled(Some(id), usage));
        assert_eq!(self.store.balance(pledge.user).await.unwrap(), self.balance(pledge.user));
        self.count("settled");
    }

    async fn settle_free(&mut self) {
        let usage = self.new_usage();
        let row = self.store.settle(None, usage.clone()).await.unwrap();
        assert_eq!(row, self.settled(None, usage));
        self.count("settled for nothing");
    }

    async fn release(&mut self) {
        let Some((id, pledge)) = self.some_hold() else { return };
        self.store.release(id).await.unwrap();
        self.holds.remove(&id);
        self.ended.push(id);
        assert_eq!(self.store.balance(pledge.user).await.unwrap(), self.balance(pledge.user));
        self.count("released");
    }

    /// Somebody who does not know that it has ended tries again.
    async fn end_again(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let at = self.rng.below(self.ended.len());
        let id = self.ended[at];
        let usage = self.new_usage();
        let settled = self.store.settle(Some(id), usage).await;
        assert!(matches!(settled, Err(StoreError::NotFound { what: "hold" })), "{settled:?}");
        let released = self.store.release(id).await;
        assert!(matches!(released, Err(StoreError::NotFound { what: "hold" })), "{released:?}");
        self.count("ended again");
    }

    /// A client goes away in the middle of a call, which is done whole or not at all.
    async fn cancel(&mut self) {
        let waits = self.rng.below(12);
        if self.rng.below(2) == 0 {
            let new = self.new_hold();
            dropped_after(waits, self.store.hold(new.clone())).await;
            // Whoever does not know whether they hold releases.
            let done = self.store.release(new.id).await.is_ok();
            self.count(if done { "held and dropped" } else { "dropped before it was held" });
        } else if let Some((id, _)) = self.some_hold() {
            let usage = self.new_usage();
            dropped_after(waits, self.store.settle(Some(id), usage.clone())).await;
            if self.is_noted(&usage).await {
                self.settled(Some(id), usage);
                self.count("settled and dropped");
            } else {
                self.store.release(id).await.unwrap();
                self.holds.remove(&id);
                self.ended.push(id);
                self.count("dropped before it was settled");
            }
        }
    }

    async fn is_noted(&self, usage: &UsageRow) -> bool {
        // A turn at the one connection that writes: what was sent to it before has been done or taken back.
        self.store.touch_keys(vec![(KeyId::from([0; 16]), 0)]).await.unwrap();
        let request = UsageRequest {
            of: UsageOf::Everybody,
            since_ms: usage.at_ms,
            until_ms: usage.at_ms + 1,
            limit: 100,
            before: None,
        };
        self.store.usage(request).await.unwrap().rows.iter().any(|row| row.id == usage.id)
    }

    async fn change_keys(&mut self) {
        let user = self.user();
        let spend_max = (self.rng.below(3) > 0).then(|| self.amount(2000));
        let scope = KeyScope { spend_max: spend_max.map(Nanos), ..KeyScope::default() };
        match (self.rng.below(4), self.key_of(user)) {
            (0, Some(id)) => {
                self.store.revoke_key(user, id).await.unwrap();
                self.keys.remove(&id);
                self.count("key revoked");
            }
            (1 | 2, Some(id)) => {
                let change = KeyChange { scope: Some(scope), ..KeyChange::default() };
                self.store.change_key(user, id, change).await.unwrap();
                self.keys.get_mut(&id).unwrap().spend_max = spend_max;
                self.count("key limited");
            }
            _ => {
                let id: KeyId = self.ids.next();
                let mut hash = [0; 32];
                self.rng.fill(&mut hash);
                let new = NewKey {
                    id,
                    user,
                    name: String::new(),
                    start: String::new(),
                    hash,
                    created_ms: 0,
                    expires_ms: None,
                    scope,
                };
                self.store.add_key(new, 1000).await.unwrap();
                self.keys.insert(id, Lock { user, spent: 0, spend_max });
                self.count("key added");
            }
        }
    }

    async fn leave(&mut self) {
        let user = self.user();
        if Some(user) == self.administrator {
            return;
        }
        self.store.delete_user(user).await.unwrap();
        self.purses.remove(&user);
        self.keys.retain(|_, key| key.user != user);
        self.ended.extend(self.holds.iter().filter(|(_, hold)| hold.user == user).map(|(id, _)| *id));
        self.holds.retain(|_, hold| hold.user != user);
        for row in self.rows.iter_mut().filter(|row| row.user == Some(user)) {
            (row.user, row.key) = (None, None);
        }
        self.hire().await;
        self.count("left");
    }

    /// The program dies, in the middle of something, and starts again.
    async fn crash(&mut self) {
        let waits = self.rng.below(12);
        let hold = self.some_hold();
        let (usage, credit, new_hold) = (self.new_usage(), self.new_credit(), self.new_hold());
        let which = self.rng.below(3);
        match (which, hold) {
            (0, Some((id, _))) => dropped_after(waits, self.store.settle(Some(id), usage.clone())).await,
            (1, _) => dropped_after(waits, self.store.hold(new_hold)).await,
            _ => dropped_after(waits, self.store.add_credit(credit.clone())).await,
        }
        let seed = self.rng.next_u64();
        // Not closed.
        let (path, clock) = (self.path.clone(), self.clock.clone());
        let in_memory = SqliteStore::in_memory(clock.clone(), Rng::from_seed(0)).await.unwrap();
        drop(std::mem::replace(&mut self.store, in_memory));
        self.store = open(&path, &clock, seed).await;
        match (which, hold) {
            (0, Some((id, _))) => {
                if self.is_noted(&usage).await {
                    self.settled(Some(id), usage);
                    self.count("settled and crashed");
                }
            }
            (1, _) => {}
            _ => {
                let noted = self.credits(credit.user).await;
                if noted != self.purses[&credit.user].credits {
                    self.credited(&credit);
                    self.count("credited and crashed");
                }
            }
        }
        // None outlives it.
        self.ended.extend(self.holds.keys());
        self.holds.clear();
        self.count("crashed");
        if self.happened["crashed"].is_multiple_of(10) {
            self.check().await;
        } else {
            self.check_balances().await;
        }
    }

    async fn credits(&self, user: UserId) -> i64 {
        let page =
            self.store.credits(CreditPageRequest { user, before: None, limit: 100_000 }).await.unwrap();
        page.credits.iter().map(|credit| credit.amount.0).sum()
    }

    async fn step(&mut self) {
        match self.rng.below(1000) {
            0..150 => self.credit().await,
            150..520 => self.hold().await,
            520..720 => self.settle().await,
            720..780 => self.settle_free().await,
            780..850 => self.release().await,
            850..890 => self.end_again().await,
            890..940 => self.cancel().await,
            940..987 => self.change_keys().await,
            987..990 => self.leave().await,
            _ => self.crash().await,
        }
    }

    async fn check(&self) {
        let mut rows = self.rows.clone();
        // Of one time the one that was added last comes first.
        rows.reverse();
        rows.sort_by_key(|row| std::cmp::Reverse(row.at_ms));
        let (of, limit) = (UsageOf::Everybody, 100_000);
        let request = UsageRequest { of, since_ms: 0, until_ms: i64::MAX, limit, before: None };
        assert_eq!(self.store.usage(request).await.unwrap().rows, rows);
        self.check_sums(of, &rows).await;
        self.check_balances().await;
        for (user, purse) in &self.purses {
            let balance = self.balance(*user);
            let credits = self.credits(*user).await;
            assert_eq!(credits, purse.credits);
            let theirs: Vec<_> = rows.iter().filter(|row| row.user == Some(*user)).cloned().collect();
            let costs: i64 = theirs.iter().map(|row| row.cost.0).sum();
            assert_eq!(credits - costs, balance.total().0);
            self.check_sums(UsageOf::User(*user), &theirs).await;
            for key in self.store.keys(*user).await.unwrap() {
                let of_key: Vec<_> = theirs.iter().filter(|row| row.key == Some(key.id)).cloned().collect();
                assert_eq!(key.spent.0, of_key.iter().map(|row| row.cost.0).sum::<i64>());
                assert_eq!(key.spent.0, self.keys[&key.id].spent);
                self.check_sums(UsageOf::Key(*user, key.id), &of_key).await;
            }
        }
    }

    /// None is less than nothing.
    async fn check_balances(&self) {
        for user in self.purses.keys() {
            let balance = self.store.balance(*user).await.unwrap();
            assert_eq!(balance, self.balance(*user));
            let parts = [balance.granted, balance.topped_up, balance.held, balance.available()];
            assert!(parts.iter().all(|part| *part >= Nanos::ZERO), "{balance:?}");
        }
    }

    /// The sums are those over the rows.
    async fn check_sums(&self, of: UsageOf, rows: &[UsageRow]) {
        let mut expected = BTreeMap::new();
        for row in rows {
            let hour: &mut [u64; 6] =
                expected.entry((row.at_ms / 3_600_000 * 3_600_000, row.model.clone())).or_default();
            let parts = [1, row.hit, row.miss, row.output, row.reasoning, row.cost.0 as u64];
            hour.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        let by = UsagePeriod::Hour;
        let request = UsageSumRequest { of, since_ms: 0, until_ms: i64::MAX, by, zone_minutes: 0 };
        let sums = self.store.usage_sums(request).await.unwrap().into_iter().map(|sum| {
            let parts = [sum.requests, sum.hit, sum.miss, sum.output, sum.reasoning, sum.cost.0 as u64];
            ((sum.from_ms, sum.model), parts)
        });
        assert_eq!(sums.collect::<BTreeMap<_, _>>(), expected, "{of:?}");
        let used = self.store.used_since(of, 0).await.unwrap();
        let tokens: u64 = rows.iter().map(|row| row.hit + row.miss + row.output).sum();
        assert_eq!((used.requests, used.tokens), (rows.len() as u64, tokens));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_adds_up_after_whatever_happened() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), 5).await;
    for number in 0..OPERATIONS {
        world.step().await;
        if number % 1000 == 0 {
            world.check().await;
        }
    }
    world.check().await;
    world.store.check_integrity().await.unwrap();
    // Everything was tried, and came to every end.
    for what in [
        "credited",
        "held",
        "had too little",
        "had spent the key",
        "settled",
        "settled for nothing",
        "released",
        "ended again",
        "held and dropped",
        "dropped before it was held",
        "settled and dropped",
        "dropped before it was settled",
        "key added",
        "key limited",
        "key revoked",
        "left",
        "crashed",
        "settled and crashed",
        "credited and crashed",
    ] {
        assert!(world.happened.contains_key(what), "{what}: {:?}", world.happened);
    }
}
