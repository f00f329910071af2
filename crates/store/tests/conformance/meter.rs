//! Balances, holds and usage.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use store::{
    Balance, CreditKind, CreditPageRequest, Held, HoldId, Key, KeyChange, KeyId, KeyScope, Nanos, NewCredit,
    NewHold, NewKey, Outcome, ParentChoice, Status, StoreError, UsageId, UsageOf, UsagePage, UsagePeriod,
    UsageRequest, UsageRow, UsageSum, UsageSumRequest, UsedSince, UserId, UserSumRequest,
};

use crate::support::{Fixture, new_key};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn missing(error: &StoreError, what: &str) -> bool {
    matches!(error, StoreError::NotFound { what: found } if *found == what)
}

const fn balance(granted: i64, topped_up: i64, held: i64) -> Balance {
    Balance { granted: Nanos(granted), topped_up: Nanos(topped_up), held: Nanos(held) }
}

fn id(number: u64) -> [u8; 16] {
    (0xabcd_u128 << 112 | u128::from(number)).to_be_bytes()
}

fn hold_id(number: u64) -> HoldId {
    id(number).into()
}

/// Usage of nobody that costs `cost`.
pub(crate) fn new_usage(number: u64, cost: i64) -> UsageRow {
    UsageRow {
        id: UsageId::from(id(number)),
        at_ms: 0,
        user: None,
        key: None,
        endpoint: "/v1/chat/completions".into(),
        model: "m".to_owned(),
        class: "user".to_owned(),
        hit: 1,
        miss: 20,
        output: 300,
        reasoning: 40,
        cost: Nanos(cost),
        queued_ms: 5,
        ttft_ms: Some(6),
        total_ms: 7,
        outcome: "stop".to_owned(),
    }
}

impl Fixture {
    async fn credit(&self, user: UserId, kind: CreditKind, amount: i64) -> Balance {
        let new = NewCredit {
            user,
            kind,
            amount: Nanos(amount),
            by: Some(self.owner),
            note: format!("{amount} because"),
            at_ms: 3,
        };
        self.store.add_credit(new).await.unwrap()
    }

    async fn try_hold(&self, user: UserId, key: Option<KeyId>, number: u64, amount: i64) -> Held {
        let new = NewHold { id: hold_id(number), user, key, amount: Nanos(amount), created_ms: 1 };
        self.store.hold(new).await.unwrap()
    }

    async fn hold(&self, user: UserId, key: Option<KeyId>, number: u64, amount: i64) {
        assert_eq!(self.try_hold(user, key, number, amount).await, Held::Held);
    }

    /// Settles the hold with this number.
    async fn settle(&self, number: u64, cost: i64) -> UsageRow {
        self.store.settle(Some(hold_id(number)), new_usage(number, cost)).await.unwrap()
    }

    async fn assert_balance(&self, user: UserId, expected: Balance) {
        assert_eq!(self.store.balance(user).await.unwrap(), expected);
    }

    /// A key that may cost so much.
    async fn key_of(&self, user: UserId, number: u8, spend_max: Option<i64>) -> Key {
        let scope = KeyScope { spend_max: spend_max.map(Nanos), ..KeyScope::default() };
        self.store.add_key(NewKey { scope, ..new_key(user, number) }, 10).await.unwrap()
    }

    async fn page(&self, of: UsageOf, limit: u32) -> UsagePage {
        let request = UsageRequest { of, since_ms: 0, until_ms: i64::MAX, limit, before: None };
        self.store.usage(request).await.unwrap()
    }

    async fn sums(&self, of: UsageOf, by: UsagePeriod, zone_minutes: i32) -> Vec<UsageSum> {
        let request = UsageSumRequest { of, since_ms: -DAY_MS, until_ms: 1000 * DAY_MS, by, zone_minutes };
        self.store.usage_sums(request).await.unwrap()
    }
}

pub(crate) async fn credit_comes_and_goes_and_is_noted(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let pip = fixture.user("Pip").await.id;
    fixture.assert_balance(pip, Balance::default()).await;
    assert_eq!(fixture.credit(pip, CreditKind::Grant, 5).await, balance(5, 0, 0));
    assert_eq!(fixture.credit(pip, CreditKind::TopUp, 20).await, balance(5, 20, 0));
    assert_eq!(fixture.credit(pip, CreditKind::TopUp, -7).await, balance(5, 13, 0));
    // There is no more of it.
    assert_eq!(fixture.credit(pip, CreditKind::Grant, -9).await, balance(0, 13, 0));
    // Nothing is not noted.
    assert_eq!(fixture.credit(pip, CreditKind::Grant, -1).await, balance(0, 13, 0));
    assert_eq!(fixture.credit(pip, CreditKind::TopUp, 0).await, balance(0, 13, 0));
    fixture.assert_balance(pip, balance(0, 13, 0)).await;
    fixture.assert_balance(owner, Balance::default()).await;

    let request = CreditPageRequest { user: pip, before: None, limit: 10 };
    let credits = store.credits(request).await.unwrap().credits;
    let noted: Vec<_> =
        credits.iter().map(|credit| (credit.kind, credit.amount.0, credit.note.as_str())).collect();
    let expected = [
        (CreditKind::Grant, -5, "-9 because"),
        (CreditKind::TopUp, -7, "-7 because"),
        (CreditKind::TopUp, 20, "20 because"),
        (CreditKind::Grant, 5, "5 because"),
    ];
    assert_eq!(noted, expected);
    assert!(
        credits.iter().all(|credit| (credit.user, credit.by, credit.at_ms) == (pip, Some(owner), 3)),
        "{credits:?}"
    );
    assert!(!format!("{credits:?}").contains("because"));
}

pub(crate) async fn what_is_held_is_not_taken_back(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    fixture.credit(pip, CreditKind::Grant, 5).await;
    fixture.credit(pip, CreditKind::TopUp, 5).await;
    fixture.hold(pip, None, 1, 8).await;
    assert_eq!(fixture.credit(pip, CreditKind::TopUp, -5).await, balance(5, 3, 8));
    assert_eq!(fixture.credit(pip, CreditKind::Grant, -5).await, balance(5, 3, 8));
    assert_eq!(fixture.settle(1, 8).await.cost, Nanos(8));
    fixture.assert_balance(pip, Balance::default()).await;
}

pub(crate) async fn credit_is_listed_in_pages(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let pip = fixture.user("Pip").await.id;
    for amount in 1..=5 {
        fixture.credit(owner, CreditKind::TopUp, amount).await;
        fixture.credit(pip, CreditKind::Grant, 100).await;
    }
    let (mut before, mut amounts) = (None, Vec::new());
    loop {
        let page = store.credits(CreditPageRequest { user: owner, before, limit: 2 }).await.unwrap();
        assert!(page.credits.len() <= 2);
        amounts.extend(page.credits.iter().map(|credit| credit.amount.0));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(amounts, [5, 4, 3, 2, 1]);
    let long = NewCredit {
        user: owner,
        kind: CreditKind::Grant,
        amount: Nanos(1),
        by: None,
        note: "é".repeat(300),
        at_ms: 0,
    };
    store.add_credit(long).await.unwrap();
    let page = store.credits(CreditPageRequest { user: owner, before: None, limit: 1 }).await.unwrap();
    assert_eq!((page.credits[0].note.as_str(), page.credits[0].by), ("é".repeat(200).as_str(), None));
    let nobody = CreditPageRequest { user: UserId::from([9; 16]), before: None, limit: 1 };
    assert_eq!(store.credits(nobody).await.unwrap().credits, []);
}

pub(crate) async fn what_is_held_is_an_upper_bound(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let asked = |available, asked| Held::Empty { available: Nanos(available), asked: Nanos(asked) };
    assert_eq!(fixture.try_hold(owner, None, 1, 1).await, asked(0, 1));
    fixture.hold(owner, None, 1, 0).await;
    fixture.credit(owner, CreditKind::TopUp, 10).await;
    fixture.hold(owner, None, 2, 4).await;
    fixture.hold(owner, None, 3, 6).await;
    assert_eq!(fixture.try_hold(owner, None, 4, 1).await, asked(0, 1));
    fixture.assert_balance(owner, balance(0, 10, 10)).await;
    store.release(hold_id(2)).await.unwrap();
    assert_eq!(fixture.try_hold(owner, None, 4, 5).await, asked(4, 5));
    assert_eq!(fixture.try_hold(owner, None, 4, i64::MAX).await, asked(4, i64::MAX));
    // No more is taken than is held, and no less than nothing.
    assert_eq!(fixture.settle(3, 7).await.cost, Nanos(6));
    fixture.assert_balance(owner, balance(0, 4, 0)).await;
    fixture.hold(owner, None, 5, 4).await;
    assert_eq!(fixture.settle(5, -1).await.cost, Nanos(0));
    fixture.assert_balance(owner, balance(0, 4, 0)).await;

    let new = |number, amount| NewHold {
        id: hold_id(number),
        user: owner,
        key: None,
        amount: Nanos(amount),
        created_ms: 0,
    };
    assert!(matches!(store.hold(new(9, -1)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.hold(new(1, 1)).await, Err(StoreError::Conflict(_))), "the first is there still");
    fixture.assert_balance(owner, balance(0, 4, 0)).await;
}

pub(crate) async fn what_was_granted_is_taken_first(fixture: &Fixture) {
    let owner = fixture.owner;
    fixture.credit(owner, CreditKind::TopUp, 10).await;
    fixture.credit(owner, CreditKind::Grant, 5).await;
    for (number, cost, expected) in
        [(1, 3, balance(2, 10, 0)), (2, 3, balance(0, 9, 0)), (3, 9, balance(0, 0, 0))]
    {
        fixture.hold(owner, None, number, 9).await;
        assert_eq!(fixture.settle(number, cost).await.cost, Nanos(cost));
        fixture.assert_balance(owner, expected).await;
    }
}

pub(crate) async fn a_hold_ends_once(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    fixture.credit(owner, CreditKind::Grant, 10).await;
    fixture.hold(owner, None, 1, 5).await;
    let settled = fixture.settle(1, 2).await;
    for _ in 0..2 {
        let again = store.settle(Some(hold_id(1)), new_usage(2, 2)).await.unwrap_err();
        assert!(missing(&again, "hold"), "{again}");
        assert!(missing(&store.release(hold_id(1)).await.unwrap_err(), "hold"));
    }
    fixture.hold(owner, None, 3, 5).await;
    store.release(hold_id(3)).await.unwrap();
    assert!(missing(&store.release(hold_id(3)).await.unwrap_err(), "hold"));
    assert!(missing(&store.settle(Some(hold_id(3)), new_usage(3, 2)).await.unwrap_err(), "hold"));
    // Nor is one row written twice, and the hold is not gone with it.
    fixture.hold(owner, None, 4, 5).await;
    let twice = store.settle(Some(hold_id(4)), new_usage(1, 2)).await.unwrap_err();
    assert!(matches!(twice, StoreError::Conflict(_)), "{twice}");
    fixture.assert_balance(owner, balance(8, 0, 5)).await;
    assert_eq!(fixture.page(UsageOf::Everybody, 10).await.rows, [settled]);

    fixture.hold(owner, None, 5, 3).await;
    let tries = (0..8).map(async |number| {
        let usage = new_usage(100 + number, 3);
        store.settle(Some(hold_id(5)), usage).await.is_ok()
    });
    let done = futures_util::future::join_all(tries).await;
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    fixture.assert_balance(owner, balance(5, 0, 5)).await;
}

pub(crate) async fn a_key_is_used_for_what_it_may_cost(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    fixture.credit(owner, CreditKind::Grant, 100).await;
    let key = fixture.key_of(owner, 1, Some(10)).await.id;
    let free = fixture.key_of(owner, 2, None).await.id;
    let spent = |available, asked| Held::KeySpent { available: Nanos(available), asked: Nanos(asked) };
    assert_eq!(fixture.try_hold(owner, Some(key), 1, 11).await, spent(10, 11));
    fixture.hold(owner, Some(key), 1, 6).await;
    fixture.hold(owner, Some(free), 2, 50).await;
    assert_eq!(fixture.try_hold(owner, Some(key), 3, 5).await, spent(4, 5));
    let settled = fixture.settle(1, 3).await;
    assert_eq!((settled.user, settled.key, settled.cost), (Some(owner), Some(key), Nanos(3)));
    assert_eq!(store.key(key).await.unwrap().spent, Nanos(3));
    fixture.hold(owner, Some(key), 4, 7).await;
    store.release(hold_id(4)).await.unwrap();
    fixture.hold(owner, Some(key), 5, 7).await;
    // A limit that was lowered leaves nothing, and what is held is settled all the same.
    let scope = KeyScope { spend_max: Some(Nanos(5)), ..KeyScope::default() };
    store.change_key(owner, key, KeyChange { scope: Some(scope), ..KeyChange::default() }).await.unwrap();
    assert_eq!(fixture.try_hold(owner, Some(key), 6, 1).await, spent(0, 1));
    fixture.settle(5, 7).await;
    fixture.settle(2, 20).await;
    assert_eq!(store.key(key).await.unwrap().spent, Nanos(10));
    assert_eq!(store.key(free).await.unwrap().spent, Nanos(20));
    fixture.assert_balance(owner, balance(70, 0, 0)).await;

    // Another's key is none.
    let pip = fixture.user("Pip").await.id;
    for (user, key) in [(pip, key), (owner, KeyId::from([99; 16]))] {
        let new = NewHold { id: hold_id(9), user, key: Some(key), amount: Nanos(0), created_ms: 0 };
        assert!(missing(&store.hold(new).await.unwrap_err(), "key"));
    }
}

pub(crate) async fn a_revoked_key_s_request_is_settled(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    fixture.credit(owner, CreditKind::Grant, 10).await;
    let key = fixture.key_of(owner, 1, Some(10)).await.id;
    fixture.hold(owner, Some(key), 1, 6).await;
    store.revoke_key(owner, key).await.unwrap();
    let settled = fixture.settle(1, 4).await;
    assert_eq!((settled.key, settled.cost), (Some(key), Nanos(4)));
    fixture.assert_balance(owner, balance(6, 0, 0)).await;
    assert_eq!(fixture.page(UsageOf::Key(owner, key), 10).await.rows, [settled]);
}

pub(crate) async fn what_costs_nothing_is_noted_too(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let key = fixture.key_of(owner, 1, Some(10)).await.id;
    let local = store.settle(None, new_usage(1, 5)).await.unwrap();
    assert_eq!(local, UsageRow { cost: Nanos::ZERO, ..new_usage(1, 5) });
    let usage = UsageRow { user: Some(owner), key: Some(key), ttft_ms: None, ..new_usage(2, 5) };
    let free = store.settle(None, usage.clone()).await.unwrap();
    assert_eq!(free, UsageRow { cost: Nanos::ZERO, ..usage });
    let twice = store.settle(None, new_usage(1, 0)).await.unwrap_err();
    assert!(matches!(twice, StoreError::Conflict(_)), "{twice}");
    assert_eq!(fixture.page(UsageOf::Everybody, 10).await.rows, [free.clone(), local]);
    assert_eq!(fixture.page(UsageOf::User(owner), 10).await.rows, [free]);
    assert_eq!(store.key(key).await.unwrap().spent, Nanos::ZERO);
    fixture.assert_balance(owner, Balance::default()).await;
    // Of somebody who is not there it is nobody's.
    let ghost = UsageRow { user: Some(UserId::from([9; 16])), key: Some(key), ..new_usage(3, 0) };
    let settled = store.settle(None, ghost).await.unwrap();
    assert_eq!((settled.user, settled.key), (None, None));
}

pub(crate) async fn rows_come_back_as_they_were_put(fixture: &Fixture) {
    let owner = fixture.owner;
    fixture.credit(owner, CreditKind::Grant, 10).await;
    let key = fixture.key_of(owner, 1, None).await.id;
    fixture.hold(owner, Some(key), 1, 9).await;
    let usage = UsageRow {
        at_ms: 123_456_789,
        endpoint: "/anthropic/v1/messages".into(),
        model: "a model:1b".to_owned(),
        class: "night".to_owned(),
        hit: u64::from(u32::MAX) + 1,
        miss: 0,
        output: 1 << 40,
        reasoning: 3,
        ttft_ms: None,
        outcome: "cancelled".to_owned(),
        ..new_usage(1, 9)
    };
    let settled = fixture.store.settle(Some(hold_id(1)), usage.clone()).await.unwrap();
    assert_eq!(settled, UsageRow { user: Some(owner), key: Some(key), ..usage });
    for of in [UsageOf::Everybody, UsageOf::User(owner), UsageOf::Key(owner, key)] {
        assert_eq!(fixture.page(of, 1).await, UsagePage { rows: vec![settled.clone()], next: None });
    }
}

pub(crate) async fn rows_are_paged_from_the_newest(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let pip = fixture.user("Pip").await.id;
    let (mine, other) = (fixture.key_of(owner, 1, None).await.id, fixture.key_of(owner, 2, None).await.id);
    let theirs = fixture.key_of(pip, 3, None).await.id;
    let mut all = Vec::new();
    // Times come in no order, and several at once.
    for number in 0..60 {
        let (user, key) = [
            (Some(owner), Some(mine)),
            (Some(owner), Some(other)),
            (Some(owner), None),
            (Some(pip), Some(theirs)),
            (None, None),
        ][number as usize % 5];
        let at_ms = (number as i64 * 7) % 20;
        let usage = UsageRow { user, key, at_ms, ..new_usage(number, 0) };
        all.push(store.settle(None, usage).await.unwrap());
    }
    // Of one time the one that was added last comes first.
    all.reverse();
    all.sort_by_key(|row| std::cmp::Reverse(row.at_ms));
    let walk = async |of, since_ms, until_ms, limit| {
        let (mut before, mut rows) = (None, Vec::new());
        loop {
            let page = store.usage(UsageRequest { of, since_ms, until_ms, limit, before }).await.unwrap();
            assert!(page.rows.len() <= limit as usize);
            rows.extend(page.rows);
            let Some(next) = page.next else { return rows };
            assert_eq!(next.to_string().parse(), Ok(next));
            before = Some(next);
        }
    };
    for (since_ms, until_ms) in [(0, 100), (3, 17), (7, 8), (9, 9), (i64::MIN, i64::MAX)] {
        for (of, user, key) in [
            (UsageOf::Everybody, None, None),
            (UsageOf::User(owner), Some(owner), None),
            (UsageOf::User(pip), Some(pip), None),
            (UsageOf::Key(owner, mine), Some(owner), Some(mine)),
            (UsageOf::Key(pip, theirs), Some(pip), Some(theirs)),
            // Another's key, and nobody's.
            (UsageOf::Key(pip, mine), Some(pip), Some(mine)),
            (UsageOf::User(UserId::from([9; 16])), Some(UserId::from([9; 16])), None),
        ] {
            let expected: Vec<_> = all
                .iter()
                .filter(|row| (since_ms..until_ms).contains(&row.at_ms))
                .filter(|row| user.is_none() || row.user == user)
                .filter(|row| key.is_none() || row.key == key)
                .cloned()
                .collect();
            for limit in [1, 7, 100] {
                assert_eq!(walk(of, since_ms, until_ms, limit).await, expected, "{of:?} {since_ms}");
            }
        }
    }
    for text in ["", ".", "1", "1.", ".1", "1.x", "1.2.3"] {
        assert!(text.parse::<store::UsageCursor>().is_err(), "{text:?}");
    }
}

pub(crate) async fn sums_are_by_hour_or_day_where_one_is(fixture: &Fixture) {
    let store = &fixture.store;
    // 23:50, 00:10 and 00:50 UTC.
    for (number, at_ms) in [DAY_MS - 600_000, DAY_MS + 600_000, DAY_MS + 3_000_000].into_iter().enumerate() {
        store.settle(None, UsageRow { at_ms, ..new_usage(number as u64, 0) }).await.unwrap();
    }
    let check = async |by, zone_minutes, expected: &[(i64, u64)]| {
        let sums = fixture.sums(UsageOf::Everybody, by, zone_minutes).await;
        let sums: Vec<_> = sums.iter().map(|sum| (sum.from_ms, sum.requests)).collect();
        assert_eq!(sums, expected, "{by:?} {zone_minutes}");
    };
    check(UsagePeriod::Hour, 0, &[(DAY_MS - HOUR_MS, 1), (DAY_MS, 2)]).await;
    check(UsagePeriod::Day, 0, &[(0, 1), (DAY_MS, 2)]).await;
    // In India it is 05:20, 05:40 and 06:20 of the second day, in Newfoundland 20:20, 20:40 and 21:20 of the first.
    check(UsagePeriod::Day, 330, &[(DAY_MS - 330 * 60_000, 3)]).await;
    check(UsagePeriod::Hour, 330, &[(DAY_MS - 30 * 60_000, 2), (DAY_MS + 30 * 60_000, 1)]).await;
    check(UsagePeriod::Day, -210, &[(210 * 60_000, 3)]).await;
    // In Nepal the last is in another hour: 05:35, 05:55 and 06:35.
    check(UsagePeriod::Hour, 345, &[(DAY_MS - 45 * 60_000, 2), (DAY_MS + 15 * 60_000, 1)]).await;
    // A place where it was the day before 1970.
    store.settle(None, new_usage(9, 0)).await.unwrap();
    let first = fixture.sums(UsageOf::Everybody, UsagePeriod::Day, -60).await[0].clone();
    assert_eq!((first.from_ms, first.requests), (-DAY_MS + HOUR_MS, 1));

    // Whole quarters count: from the one that a time is in, to the last that begins before the other.
    let between = async |since_ms, until_ms| {
        let (of, by) = (UsageOf::Everybody, UsagePeriod::Day);
        let request = UsageSumRequest { of, since_ms, until_ms, by, zone_minutes: 0 };
        store.usage_sums(request).await.unwrap().iter().map(|sum| sum.requests).sum::<u64>()
    };
    assert_eq!(between(DAY_MS - 1, DAY_MS).await, 1);
    assert_eq!(between(DAY_MS, DAY_MS + 1).await, 1);
    assert_eq!(between(DAY_MS, DAY_MS).await, 0);
    assert_eq!(between(DAY_MS + 900_000, DAY_MS + HOUR_MS).await, 1);
}

/// What the sums should be, from the rows.
fn summed(rows: &[UsageRow], period_ms: i64) -> Vec<UsageSum> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let from_ms = row.at_ms.div_euclid(period_ms) * period_ms;
        let sum = sums.entry((from_ms, row.model.clone())).or_insert_with(|| UsageSum {
            from_ms,
            model: row.model.clone(),
            requests: 0,
            hit: 0,
            miss: 0,
            output: 0,
            reasoning: 0,
            cost: Nanos::ZERO,
        });
        sum.requests += 1;
        sum.hit += row.hit;
        sum.miss += row.miss;
        sum.output += row.output;
        sum.reasoning += row.reasoning;
        sum.cost = sum.cost.saturating_add(row.cost);
    }
    sums.into_values().collect()
}

pub(crate) async fn sums_are_over_all_rows(fixture: &Fixture) {
    let owner = fixture.owner;
    let pip = fixture.user("Pip").await.id;
    let keys = [
        (owner, Some(fixture.key_of(owner, 1, None).await.id)),
        (owner, Some(fixture.key_of(owner, 2, None).await.id)),
        (pip, Some(fixture.key_of(pip, 3, None).await.id)),
        (pip, None),
    ];
    for user in [owner, pip] {
        fixture.credit(user, CreditKind::Grant, 1_000_000).await;
    }
    for number in 0..200 {
        let usage = UsageRow {
            at_ms: (number as i64 * 7_777_777) % (3 * DAY_MS),
            model: ["a", "b", "c"][number as usize % 3].to_owned(),
            hit: number,
            output: number * number,
            ..new_usage(number, number as i64)
        };
        let hold = match number % 5 {
            4 => None,
            at => {
                let (user, key) = keys[at as usize];
                fixture.hold(user, key, number, 150).await;
                Some(hold_id(number))
            }
        };
        fixture.store.settle(hold, usage).await.unwrap();
    }
    let mut of = vec![UsageOf::Everybody, UsageOf::User(owner), UsageOf::User(pip)];
    of.extend(keys.iter().filter_map(|(user, key)| key.map(|key| UsageOf::Key(*user, key))));
    for of in of {
        let rows = fixture.page(of, 1000).await.rows;
        assert!(rows.len() >= 40, "{of:?}");
        for (by, period_ms) in [(UsagePeriod::Hour, HOUR_MS), (UsagePeriod::Day, DAY_MS)] {
            assert_eq!(fixture.sums(of, by, 0).await, summed(&rows, period_ms), "{of:?}");
        }
    }
    let another_s = UsageOf::Key(owner, keys[2].1.unwrap());
    assert_eq!(fixture.sums(another_s, UsagePeriod::Day, 0).await, []);
}

pub(crate) async fn users_who_used_the_most_come_first(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let (pip, flask) = (fixture.user("Pip").await.id, fixture.user("Flask").await.id);
    let gone = fixture.user("Fedallah").await.id;
    fixture.user("Bulkington").await;
    for (number, (user, cost, at_ms)) in
        [(owner, 5, 0), (pip, 3, 0), (pip, 4, DAY_MS), (flask, 0, 5), (flask, 0, 5), (gone, 9, 0)]
            .into_iter()
            .enumerate()
    {
        fixture.credit(user, CreditKind::Grant, cost).await;
        fixture.hold(user, None, number as u64, cost).await;
        let usage = UsageRow { at_ms, ..new_usage(number as u64, cost) };
        store.settle(Some(hold_id(number as u64)), usage).await.unwrap();
    }
    store.settle(None, new_usage(99, 0)).await.unwrap();
    store.delete_user(gone).await.unwrap();
    let check = async |until_ms, limit, expected: &[(UserId, &str, u64, i64)]| {
        let request = UserSumRequest { since_ms: 0, until_ms, limit };
        let sums = store.usage_by_user(request).await.unwrap();
        let shown: Vec<_> =
            sums.iter().map(|sum| (sum.user, sum.name.as_str(), sum.requests, sum.cost.0)).collect();
        assert_eq!(shown, expected);
        for sum in sums {
            let tokens = [sum.hit, sum.miss, sum.output, sum.reasoning];
            assert_eq!(tokens, [1, 20, 300, 40].map(|tokens| tokens * sum.requests));
        }
    };
    check(2 * DAY_MS, 10, &[(pip, "Pip", 2, 7), (owner, "Ahab", 1, 5), (flask, "Flask", 2, 0)]).await;
    check(DAY_MS, 10, &[(owner, "Ahab", 1, 5), (pip, "Pip", 1, 3), (flask, "Flask", 2, 0)]).await;
    check(DAY_MS, 1, &[(owner, "Ahab", 1, 5)]).await;
    check(0, 10, &[]).await;
}

pub(crate) async fn what_was_used_since_a_time_is_counted_by_the_quarter(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let key = fixture.key_of(owner, 1, None).await.id;
    for (number, (at_ms, user, key)) in [
        (0, Some(owner), Some(key)),
        (899_999, Some(owner), None),
        (900_000, None, None),
        (2_000_000, Some(owner), Some(key)),
    ]
    .into_iter()
    .enumerate()
    {
        let usage = UsageRow { at_ms, user, key, ..new_usage(number as u64, 0) };
        store.settle(None, usage).await.unwrap();
    }
    let check = async |of, since_ms, requests| {
        let expected = UsedSince { requests, tokens: requests * 321 };
        assert_eq!(store.used_since(of, since_ms).await.unwrap(), expected, "{of:?} {since_ms}");
    };
    for (since_ms, of_all, of_owner, of_key) in
        [(-5, 4, 3, 2), (899_999, 4, 3, 2), (900_000, 2, 1, 1), (2_000_001, 1, 1, 1), (DAY_MS, 0, 0, 0)]
    {
        check(UsageOf::Everybody, since_ms, of_all).await;
        check(UsageOf::User(owner), since_ms, of_owner).await;
        check(UsageOf::Key(owner, key), since_ms, of_key).await;
    }
    let pip = fixture.user("Pip").await.id;
    check(UsageOf::User(pip), 0, 0).await;
    check(UsageOf::Key(pip, key), 0, 0).await;
}

pub(crate) async fn old_rows_go_and_their_sums_stay(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    for number in 0..1005 {
        let usage = UsageRow { user: Some(owner), at_ms: number as i64, ..new_usage(number, 0) };
        store.settle(None, usage).await.unwrap();
    }
    let sums = fixture.sums(UsageOf::User(owner), UsagePeriod::Day, 0).await;
    assert_eq!(sums[0].requests, 1005);
    assert_eq!(store.prune_usage(0).await.unwrap(), 0);
    assert_eq!(store.prune_usage(1003).await.unwrap(), 1000, "only so many at once");
    assert_eq!(store.prune_usage(1003).await.unwrap(), 3);
    assert_eq!(store.prune_usage(1003).await.unwrap(), 0);
    let left: Vec<_> =
        fixture.page(UsageOf::User(owner), 10).await.rows.iter().map(|row| row.at_ms).collect();
    assert_eq!(left, [1004, 1003]);
    for of in [UsageOf::User(owner), UsageOf::Everybody] {
        assert_eq!(fixture.sums(of, UsagePeriod::Day, 0).await, sums);
    }
}

pub(crate) async fn an_answer_ends_with_its_usage_or_not_at_all(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    fixture.credit(owner, CreditKind::Grant, 10).await;
    let conversation = fixture.conversation().await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "how deep?").await;
    let outcome = |hold: Option<HoldId>, number| Outcome {
        metered: Some((hold, UsageRow { user: Some(owner), ..new_usage(number, 3) })),
        ..fixture.outcome(turn.assistant.id, "an answer")
    };
    // Without its hold it does not end.
    let error = store.finish(outcome(Some(hold_id(1)), 1)).await.unwrap_err();
    assert!(missing(&error, "hold"), "{error}");
    let writing = store.message(owner, conversation.id, turn.assistant.id).await.unwrap();
    assert_eq!(writing, turn.assistant);
    fixture.hold(owner, None, 1, 5).await;
    let finished = store.finish(outcome(Some(hold_id(1)), 1)).await.unwrap();
    assert_eq!(finished.status, Status::Complete);
    fixture.assert_balance(owner, balance(7, 0, 0)).await;
    // An answer that is not there is not paid for.
    fixture.hold(owner, None, 2, 5).await;
    let error = store.finish(outcome(Some(hold_id(2)), 2)).await.unwrap_err();
    assert!(missing(&error, "message"), "{error}");
    fixture.assert_balance(owner, balance(7, 0, 5)).await;
    let turn = fixture.turn(&conversation, ParentChoice::Root, "and now?").await;
    let free = UsageRow { user: Some(owner), ..new_usage(3, 3) };
    let free = Outcome { metered: Some((None, free)), ..fixture.outcome(turn.assistant.id, "an answer") };
    store.finish(free).await.unwrap();
    let costs: Vec<_> =
        fixture.page(UsageOf::User(owner), 10).await.rows.iter().map(|row| row.cost.0).collect();
    assert_eq!(costs, [0, 3]);
}

pub(crate) async fn usage_outlives_its_user_and_is_nobody_s(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.user("Pip").await.id;
    let key = fixture.key_of(pip, 1, None).await.id;
    fixture.credit(pip, CreditKind::Grant, 10).await;
    fixture.hold(pip, Some(key), 1, 5).await;
    let settled = fixture.settle(1, 4).await;
    fixture.hold(pip, Some(key), 2, 5).await;
    // More than are changed at once.
    for number in 0..1101 {
        let usage = UsageRow { user: Some(pip), key: Some(key), ..new_usage(1000 + number, 0) };
        store.settle(None, usage).await.unwrap();
    }
    let sums = fixture.sums(UsageOf::Everybody, UsagePeriod::Day, 0).await;
    store.delete_user(pip).await.unwrap();
    let left = fixture.page(UsageOf::Everybody, 2000).await.rows;
    assert_eq!(left.len(), 1102);
    assert!(left.iter().all(|row| (row.user, row.key) == (None, None)));
    assert_eq!(left.last(), Some(&UsageRow { user: None, key: None, ..settled }));
    assert_eq!(fixture.sums(UsageOf::Everybody, UsagePeriod::Day, 0).await, sums);
    for of in [UsageOf::User(pip), UsageOf::Key(pip, key)] {
        assert_eq!(fixture.page(of, 10).await.rows, []);
        assert_eq!(fixture.sums(of, UsagePeriod::Day, 0).await, []);
        assert_eq!(store.used_since(of, 0).await.unwrap(), UsedSince::default());
    }
    assert!(missing(&store.balance(pip).await.unwrap_err(), "user"));
    assert!(missing(&store.settle(Some(hold_id(2)), new_usage(2, 1)).await.unwrap_err(), "hold"));
    let request = CreditPageRequest { user: pip, before: None, limit: 10 };
    assert_eq!(store.credits(request).await.unwrap().credits, []);
}

pub(crate) async fn nobody_has_no_balance(fixture: &Fixture) {
    let store = &fixture.store;
    let nobody = UserId::from([9; 16]);
    assert!(missing(&store.balance(nobody).await.unwrap_err(), "user"));
    let credit = NewCredit {
        user: nobody,
        kind: CreditKind::Grant,
        amount: Nanos(1),
        by: None,
        note: String::new(),
        at_ms: 0,
    };
    assert!(missing(&store.add_credit(credit).await.unwrap_err(), "user"));
    let hold = NewHold { id: hold_id(1), user: nobody, key: None, amount: Nanos(0), created_ms: 0 };
    assert!(missing(&store.hold(hold).await.unwrap_err(), "user"));
    assert!(missing(&store.release(hold_id(1)).await.unwrap_err(), "hold"));
}

pub(crate) async fn many_at_once_never_overdraw(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let key = fixture.key_of(owner, 1, Some(400)).await.id;
    fixture.credit(owner, CreditKind::Grant, 300).await;
    fixture.credit(owner, CreditKind::TopUp, 300).await;
    let (paid, refused) = (AtomicI64::new(0), AtomicI64::new(0));
    let (paid, refused) = (&paid, &refused);
    // Half of them with a key that may cost less than there is.
    let asker = |asker: u64| async move {
        let key = asker.is_multiple_of(2).then_some(key);
        for round in 0..6 {
            let number = asker * 100 + round;
            if fixture.try_hold(owner, key, number, 10).await != Held::Held {
                refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let there = store.balance(owner).await.unwrap();
            assert!(there.available() >= Nanos::ZERO && there.granted >= Nanos::ZERO, "{there:?}");
            if round % 3 == 2 {
                store.release(hold_id(number)).await.unwrap();
            } else {
                paid.fetch_add(fixture.settle(number, 10 - round as i64).await.cost.0, Ordering::Relaxed);
            }
        }
    };
    futures_util::future::join_all((0..64).map(asker)).await;
    let (paid, refused) = (paid.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    let left = store.balance(owner).await.unwrap();
    assert_eq!((left.held, left.total()), (Nanos::ZERO, Nanos(600 - paid)));
    assert!(paid > 500 && refused > 0, "they got to the end of it: {paid} paid, {refused} refused");
    let rows = fixture.page(UsageOf::Everybody, 1000).await.rows;
    assert_eq!(rows.iter().map(|row| row.cost.0).sum::<i64>(), paid);
    let of_key: i64 = rows.iter().filter(|row| row.key == Some(key)).map(|row| row.cost.0).sum();
    assert_eq!(store.key(key).await.unwrap().spent, Nanos(of_key));
    assert!(of_key <= 400, "{of_key}");
}
