//! Addresses that were shown to be somebody's, and what whoever reads the letters to them may do.

use std::time::Duration;

use store::{NewSession, NewUser, SignUpLink, StoreError, User, UserId};

use crate::support::{Fixture, new_user};

const ADDRESS: &str = "Pip@pequod.example";

async fn pip(fixture: &Fixture) -> User {
    let new = NewUser { email: Some(ADDRESS.to_owned()), ..new_user("Pip") };
    fixture.store.add_verified_user(new, None).await.unwrap()
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(result.unwrap_err(), StoreError::Conflict(_))
}

pub(crate) async fn an_address_is_verified_at_its_time_or_not_at_all(fixture: &Fixture) {
    fixture.clock.advance(Duration::from_millis(77));
    let pip = pip(fixture).await;
    assert_eq!(pip.email_verified_ms, Some(77));
    assert_eq!(fixture.store.user(pip.id).await.unwrap(), pip);
    let unverified = NewUser { email: Some("stubb@pequod.example".to_owned()), ..new_user("Stubb") };
    let stubb = fixture.store.add_user(unverified).await.unwrap();
    assert_eq!(fixture.store.user(stubb.id).await.unwrap().email_verified_ms, None);
    let none = fixture.store.add_verified_user(new_user("Flask"), None).await.unwrap();
    assert_eq!((none.email, none.email_verified_ms), (None, None));
    let same = NewUser { email: Some("pip@PEQUOD.example".to_owned()), ..new_user("Daggoo") };
    let error = fixture.store.add_verified_user(same, None).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "email address" }), "{error}");
}

pub(crate) async fn an_address_changes_once_and_from_the_one_it_was(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = pip(fixture).await;
    let (old, new) = (Some(ADDRESS.to_owned()), "pip@rachel.example".to_owned());
    let change = |old, new| store.change_email(pip.id, old, pip.password_hash.clone(), new);
    fixture.clock.advance(Duration::from_millis(5));
    let changed = change(old.clone(), new.clone()).await.unwrap();
    let expected = User { email: Some(new.clone()), email_verified_ms: Some(5), ..pip.clone() };
    assert_eq!(changed, expected);
    assert_eq!(store.user(pip.id).await.unwrap(), expected);
    assert_eq!(store.user_by_login("PIP@rachel.example".to_owned()).await.unwrap(), Some(expected));
    assert_eq!(store.user_by_login(ADDRESS.to_owned()).await.unwrap(), None);
    assert!(is_conflict(change(old, new.clone()).await), "from another address");
    assert!(is_conflict(change(Some(new.clone()), new.clone()).await), "twice");

    let stubb = fixture.user("Stubb").await;
    let error = store
        .change_email(stubb.id, None, stubb.password_hash.clone(), new.to_uppercase())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "email address" }), "{error}");
    let email = "stubb@pequod.example".to_owned();
    store.change_email(stubb.id, None, stubb.password_hash, email).await.unwrap();
    let error = store.change_email(UserId::from([7; 16]), None, None, new).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { what: "user" }), "{error}");
}

pub(crate) async fn an_address_does_not_change_after_the_password_has(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = pip(fixture).await;
    let (old, new) = (pip.email.clone(), "mallory@rachel.example".to_owned());
    let change =
        |hash: Option<&str>| store.change_email(pip.id, old.clone(), hash.map(str::to_owned), new.clone());
    store.set_password(pip.id, "new".to_owned()).await.unwrap();
    assert!(is_conflict(change(pip.password_hash.as_deref()).await));
    assert!(is_conflict(change(None).await));
    store.set_disabled(pip.id, Some(1)).await.unwrap();
    assert!(is_conflict(change(Some("new")).await), "disabled");
    assert_eq!(store.user(pip.id).await.unwrap().email, old);
    store.set_disabled(pip.id, None).await.unwrap();
    assert_eq!(change(Some("new")).await.unwrap().email, Some(new));
}

pub(crate) async fn an_unverified_address_is_verified_in_its_place(fixture: &Fixture) {
    let new = NewUser { email: Some(ADDRESS.to_owned()), ..new_user("Pip") };
    let pip = fixture.store.add_user(new).await.unwrap();
    let email = ADDRESS.to_owned();
    let verified =
        fixture.store.change_email(pip.id, Some(email.clone()), pip.password_hash, email).await.unwrap();
    assert_eq!(verified.email_verified_ms, Some(0));
}

pub(crate) async fn a_password_is_reset_once_and_ends_all_sessions(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = pip(fixture).await;
    let new = NewSession {
        user_id: pip.id,
        agent: String::new(),
        address: String::new(),
        lifetime: Duration::from_hours(1),
    };
    let session = store.add_session(new, 10).await.unwrap();
    let email = || ADDRESS.to_owned();
    let old = pip.password_hash.clone();
    let reset = |id, email, old| store.reset_password(id, email, old, "new".to_owned());
    assert!(is_conflict(reset(pip.id, email(), Some("another".to_owned())).await));
    assert!(is_conflict(reset(pip.id, email(), None).await));
    assert!(is_conflict(reset(pip.id, "other@pequod.example".to_owned(), old.clone()).await));
    assert_eq!(store.sessions(pip.id).await.unwrap().len(), 1);

    fixture.clock.advance(Duration::from_millis(9));
    assert_eq!(reset(pip.id, email(), old.clone()).await.unwrap(), [session.id]);
    let found = store.user(pip.id).await.unwrap();
    assert_eq!(found.password_hash.as_deref(), Some("new"));
    assert_eq!(found.email_verified_ms, Some(9));
    assert_eq!(store.sessions(pip.id).await.unwrap(), []);
    assert!(store.revoked_sessions(0).await.unwrap().iter().any(|(id, _)| *id == session.id));
    assert!(is_conflict(reset(pip.id, email(), old).await), "twice");
    store.set_disabled(pip.id, Some(1)).await.unwrap();
    assert!(is_conflict(reset(pip.id, email(), Some("new".to_owned())).await), "disabled");
    let nobody = reset(UserId::from([7; 16]), email(), None).await.unwrap_err();
    assert!(matches!(nobody, StoreError::NotFound { what: "user" }), "{nobody}");
}

pub(crate) async fn a_password_changes_from_the_one_it_was_and_ends_the_other_sessions(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = pip(fixture).await;
    let stubb = fixture.user("Stubb").await;
    let sign_in = async |user: UserId| {
        let new = NewSession {
            user_id: user,
            agent: String::new(),
            address: String::new(),
            lifetime: Duration::from_hours(1),
        };
        store.add_session(new, 10).await.unwrap().id
    };
    let (here, there) = (sign_in(pip.id).await, sign_in(pip.id).await);
    sign_in(stubb.id).await;
    let change = |old: Option<&str>, new: &str| {
        store.change_password(pip.id, old.map(str::to_owned), new.to_owned(), here)
    };
    for wrong in [None, Some("another")] {
        assert!(is_conflict(change(wrong, "new").await));
    }
    assert_eq!(store.sessions(pip.id).await.unwrap().len(), 2);
    // Of two who change it at once, one does.
    let old = pip.password_hash.as_deref();
    assert_eq!(change(old, "new").await.unwrap(), [there]);
    assert!(is_conflict(change(old, "newer").await));
    assert_eq!(store.user(pip.id).await.unwrap().password_hash.as_deref(), Some("new"));
    let left: Vec<_> = store.sessions(pip.id).await.unwrap().into_iter().map(|session| session.id).collect();
    assert_eq!(left, [here]);
    assert!(store.revoked_sessions(0).await.unwrap().iter().any(|(id, _)| *id == there));
    assert_eq!(store.sessions(stubb.id).await.unwrap().len(), 1);
    store.set_disabled(pip.id, Some(1)).await.unwrap();
    assert!(is_conflict(change(Some("new"), "newest").await), "disabled");
    let nobody = store.change_password(UserId::from([7; 16]), None, String::new(), here).await.unwrap_err();
    assert!(matches!(nobody, StoreError::NotFound { what: "user" }), "{nobody}");
}

pub(crate) async fn a_link_makes_an_account_once(fixture: &Fixture) {
    let (store, day) = (&fixture.store, Duration::from_hours(24));
    let link = |number, sent_ms| SignUpLink { address: [number; 32], sent_ms, lifetime: day };
    let new = || NewUser { email: Some(ADDRESS.to_owned()), ..new_user("Pip") };
    fixture.clock.advance(Duration::from_millis(1000));
    let pip = store.add_user_by_link(new(), link(1, 500)).await.unwrap();
    assert_eq!((pip.email.as_deref(), pip.email_verified_ms), (Some(ADDRESS), Some(1000)));
    assert_eq!(store.user(pip.id).await.unwrap(), pip);
    store.delete_user(pip.id).await.unwrap();
    // Neither the same nor any other that was sent before.
    for sent_ms in [500, 400, 1000] {
        assert!(is_conflict(store.add_user_by_link(new(), link(1, sent_ms)).await), "{sent_ms}");
    }
    // What is not made takes no link: the name is another's.
    let taken = NewUser { email: None, ..new_user("Ahab") };
    let error = store.add_user_by_link(taken, link(2, 500)).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "name" }), "{error}");
    let stubb = NewUser { email: Some("stubb@pequod.example".to_owned()), ..new_user("Stubb") };
    store.add_user_by_link(stubb, link(2, 500)).await.unwrap();
    // Who asks again gets another.
    let pip = store.add_user_by_link(new(), link(1, 1001)).await.unwrap();
    store.delete_user(pip.id).await.unwrap();
    assert!(is_conflict(store.add_user_by_link(new(), link(1, 1001)).await), "it was sent later than now");
    // It is remembered as long as such a link may be good.
    fixture.clock.advance(day);
    assert!(is_conflict(store.add_user_by_link(new(), link(1, 1001)).await));
    fixture.clock.advance(Duration::from_millis(1));
    store.add_user_by_link(new(), link(1, 1001)).await.unwrap();
}
