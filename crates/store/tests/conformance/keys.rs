//! Keys with which programs ask.

use std::time::Duration;

use store::{Key, KeyChange, KeyId, KeyScope, Nanos, NewKey, StoreError, UserId};

use crate::support::{Fixture, new_key};

fn missing(error: &StoreError, what: &str) -> bool {
    matches!(error, StoreError::NotFound { what: found } if *found == what)
}

fn scope() -> KeyScope {
    KeyScope {
        models: Some(vec!["b".to_owned(), "a:1b".to_owned()]),
        spend_max: Some(Nanos(5)),
        addresses: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
        requests_at_once: Some(u32::MAX),
        requests_per_day: Some(0),
        tokens_per_day: Some(1 << 40),
    }
}

impl Fixture {
    async fn key(&self, user: UserId, number: u8) -> Key {
        self.store.add_key(new_key(user, number), 10).await.unwrap()
    }
}

pub(crate) async fn keys_come_back_as_they_were_put(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let new = NewKey {
        name: "a b\u{10ffff}t".to_owned(),
        start: "sk-cachalot-AbCd".repeat(3),
        created_ms: 7,
        expires_ms: Some(1000),
        scope: scope(),
        ..new_key(owner, 1)
    };
    let made = store.add_key(new.clone(), 10).await.unwrap();
    let expected = Key {
        id: new.id,
        user: owner,
        name: new.name.clone(),
        start: new.start[..32].to_owned(),
        hash: new.hash,
        created_ms: 7,
        expires_ms: Some(1000),
        used_ms: None,
        spent: Nanos::ZERO,
        scope: scope(),
    };
    assert_eq!(made, expected);
    let nothing = KeyScope { models: Some(Vec::new()), ..KeyScope::default() };
    let second = store.add_key(NewKey { scope: nothing, ..new_key(owner, 2) }, 10).await.unwrap();
    let third = fixture.key(owner, 3).await;
    assert_eq!(third.scope, KeyScope::default());
    assert_eq!(store.keys(owner).await.unwrap(), [made.clone(), second.clone(), third.clone()]);
    for key in [made, second, third] {
        assert_eq!(store.key(key.id).await.unwrap(), key);
    }
    assert!(missing(&store.key(KeyId::from([99; 16])).await.unwrap_err(), "key"));
    for printed in [format!("{expected:?}"), format!("{new:?}")] {
        assert!(!printed.contains("a b") && !printed.contains("hash"), "{printed}");
    }
}

pub(crate) async fn changes_of_a_key_touch_only_what_they_name(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let key = fixture.key(owner, 1).await;
    let check = async |change: KeyChange, expected: &Key| {
        assert_eq!(store.change_key(owner, key.id, change).await.unwrap(), *expected);
        assert_eq!(store.keys(owner).await.unwrap(), std::slice::from_ref(expected));
    };
    check(KeyChange::default(), &key).await;
    let expected = Key { name: "of the cabin".to_owned(), ..key.clone() };
    check(KeyChange { name: Some("of the cabin".to_owned()), ..KeyChange::default() }, &expected).await;
    let expected = Key { scope: scope(), ..expected };
    check(KeyChange { scope: Some(scope()), ..KeyChange::default() }, &expected).await;
    let expected = Key { expires_ms: Some(5), ..expected };
    check(KeyChange { expires_ms: Some(Some(5)), ..KeyChange::default() }, &expected).await;
    let expected = Key { expires_ms: None, scope: KeyScope::default(), ..expected };
    let change = KeyChange { expires_ms: Some(None), scope: Some(KeyScope::default()), name: None };
    check(change, &expected).await;
}

pub(crate) async fn there_are_so_many_keys_and_none_twice(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let pip = fixture.user("Pip").await.id;
    let first = fixture.key(owner, 1).await;
    for user in [owner, pip] {
        let same_id = NewKey { hash: [9; 32], ..new_key(user, 1) };
        let same_hash = NewKey { id: KeyId::from([9; 16]), ..new_key(user, 1) };
        for new in [same_id, same_hash] {
            let error = store.add_key(new, 10).await.unwrap_err();
            assert!(matches!(error, StoreError::Conflict(_)), "{error}");
        }
    }
    let second = fixture.key(owner, 2).await;
    let full = store.add_key(new_key(owner, 3), 2).await.unwrap_err();
    assert!(matches!(full, StoreError::Full { what: "keys", allowed: 2, given: 3 }), "{full}");
    store.add_key(new_key(pip, 4), 1).await.unwrap();
    assert_eq!(store.keys(owner).await.unwrap(), [first.clone(), second.clone()]);
    store.revoke_key(owner, first.id).await.unwrap();
    store.add_key(new_key(owner, 3), 2).await.unwrap();
}

pub(crate) async fn lists_of_a_key_hold_whole_names(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let key = fixture.key(owner, 1).await;
    for name in ["", "a\nb", "a\r"] {
        let names = vec!["a".to_owned(), name.to_owned()];
        let models = KeyScope { models: Some(names.clone()), ..KeyScope::default() };
        let addresses = KeyScope { addresses: names, ..KeyScope::default() };
        for scope in [models, addresses] {
            let new = NewKey { scope: scope.clone(), ..new_key(owner, 2) };
            assert!(matches!(store.add_key(new, 10).await, Err(StoreError::Conflict(_))), "{name:?}");
            let change = KeyChange { scope: Some(scope), ..KeyChange::default() };
            let changed = store.change_key(owner, key.id, change).await;
            assert!(matches!(changed, Err(StoreError::Conflict(_))), "{name:?}");
        }
    }
    assert_eq!(store.keys(owner).await.unwrap(), [key]);
}

pub(crate) async fn a_key_is_good_until_it_expires_or_its_user_is_disabled(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.user("Pip").await.id;
    let new = NewKey { expires_ms: Some(1000), ..new_key(pip, 1) };
    let short = store.add_key(new, 10).await.unwrap();
    let long = fixture.key(pip, 2).await;
    fixture.clock.advance(Duration::from_millis(999));
    assert_eq!(store.key(short.id).await.unwrap(), short);
    fixture.clock.advance(Duration::from_millis(1));
    assert!(missing(&store.key(short.id).await.unwrap_err(), "key"));
    assert_eq!(store.keys(pip).await.unwrap(), [short.clone(), long.clone()], "it is in the list still");
    let change = KeyChange { expires_ms: Some(Some(1001)), ..KeyChange::default() };
    store.change_key(pip, short.id, change).await.unwrap();
    store.key(short.id).await.unwrap();

    store.set_disabled(pip, Some(1)).await.unwrap();
    assert!(missing(&store.key(long.id).await.unwrap_err(), "key"));
    assert!(matches!(store.add_key(new_key(pip, 3), 10).await, Err(StoreError::Conflict(_))));
    store.set_disabled(pip, None).await.unwrap();
    assert_eq!(store.key(long.id).await.unwrap(), long);
}

pub(crate) async fn a_revoked_key_is_remembered_until_it_would_expire(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let mut ids = Vec::new();
    for (number, expires_ms) in [(1, Some(100)), (2, None), (3, Some(60)), (4, Some(20))] {
        let new = NewKey { expires_ms, ..new_key(owner, number) };
        ids.push(store.add_key(new, 10).await.unwrap().id);
    }
    fixture.clock.advance(Duration::from_millis(20));
    for id in &ids {
        store.revoke_key(owner, *id).await.unwrap();
        assert!(missing(&store.key(*id).await.unwrap_err(), "key"));
        assert!(missing(&store.revoke_key(owner, *id).await.unwrap_err(), "key"));
        let change = KeyChange { expires_ms: Some(None), ..KeyChange::default() };
        assert!(missing(&store.change_key(owner, *id, change).await.unwrap_err(), "key"));
        fixture.clock.advance(Duration::from_millis(10));
    }
    let revoked = async |since_ms| store.revoked_keys(since_ms).await.unwrap();
    // The third has expired meanwhile, and the fourth had before it was revoked.
    assert_eq!(revoked(0).await, [(ids[0], Some(100)), (ids[1], None)]);
    assert_eq!(revoked(30).await, [(ids[1], None)]);
    assert_eq!(revoked(31).await, []);
    fixture.clock.advance(Duration::from_millis(40));
    assert_eq!(revoked(0).await, [(ids[1], None)]);
    assert_eq!(store.keys(owner).await.unwrap(), []);
}

pub(crate) async fn keys_of_a_deleted_user_are_remembered(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.user("Pip").await.id;
    let kept = fixture.key(fixture.owner, 1).await;
    let gone = fixture.key(pip, 2).await.id;
    store.delete_user(pip).await.unwrap();
    assert!(missing(&store.key(gone).await.unwrap_err(), "key"));
    assert_eq!(store.keys(pip).await.unwrap(), []);
    assert_eq!(store.revoked_keys(0).await.unwrap(), [(gone, None)]);
    assert_eq!(store.key(kept.id).await.unwrap(), kept);
}

pub(crate) async fn use_of_keys_never_goes_back(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let (one, other) = (fixture.key(owner, 1).await.id, fixture.key(owner, 2).await.id);
    let used = async || {
        let keys = store.keys(owner).await.unwrap();
        keys.into_iter().map(|key| key.used_ms).collect::<Vec<_>>()
    };
    store.touch_keys(Vec::new()).await.unwrap();
    store.touch_keys(vec![(one, 5), (KeyId::from([99; 16]), 6)]).await.unwrap();
    assert_eq!(used().await, [Some(5), None]);
    store.touch_keys(vec![(one, 4), (other, 4), (other, 9), (other, 8)]).await.unwrap();
    assert_eq!(used().await, [Some(5), Some(9)]);
}

pub(crate) async fn another_s_key_is_not_found(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let before = fixture.key(owner, 1).await;
    let pip = fixture.user("Pip").await.id;
    fixture.key(pip, 2).await;
    for caller in [pip, fixture.user("Flask").await.id, UserId::from([9; 16])] {
        for id in [before.id, KeyId::from([7; 16])] {
            let change = KeyChange { name: Some("mine".to_owned()), ..KeyChange::default() };
            assert!(missing(&store.change_key(caller, id, change).await.unwrap_err(), "key"));
            assert!(missing(&store.revoke_key(caller, id).await.unwrap_err(), "key"));
        }
    }
    assert!(missing(&store.add_key(new_key(UserId::from([9; 16]), 3), 10).await.unwrap_err(), "user"));
    assert_eq!(store.keys(owner).await.unwrap(), [before]);
    assert_eq!(store.revoked_keys(0).await.unwrap(), []);
}
