//! Accounts elsewhere with which users sign in.

use std::time::Duration;

use store::{Identity, LinkId, NewUser, StoreError, UserId};

use crate::support::{Fixture, new_user};

fn identity(subject: &str) -> Identity {
    Identity {
        provider: "acme".to_owned(),
        issuer: "https://acme.example/".to_owned(),
        subject: subject.to_owned(),
    }
}

pub(crate) async fn a_link_finds_its_user_and_nobody_else(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.user("Pip").await;
    let stubb = fixture.user("Stubb").await;
    fixture.clock.advance(Duration::from_millis(44));
    let link = store.add_link(pip.id, identity("1001")).await.unwrap();
    assert_eq!((link.user_id, link.provider.as_str(), link.created_ms), (pip.id, "acme", 44));
    assert_eq!(store.links(pip.id).await.unwrap(), std::slice::from_ref(&link));
    assert_eq!(store.links(stubb.id).await.unwrap(), []);
    assert_eq!(store.user_by_identity(identity("1001")).await.unwrap(), Some(pip.clone()));
    // What the settings call a provider says nothing about who it is.
    let renamed = Identity { provider: "other".to_owned(), ..identity("1001") };
    assert_eq!(store.user_by_identity(renamed.clone()).await.unwrap(), Some(pip.clone()));
    assert_eq!(store.add_link(pip.id, renamed).await.unwrap(), link);
    let elsewhere = Identity { issuer: "https://other.example/".to_owned(), ..identity("1001") };
    for unknown in [identity("1002"), identity("1001 "), identity(""), elsewhere.clone()] {
        assert_eq!(store.user_by_identity(unknown).await.unwrap(), None);
    }
    assert!(!format!("{:?}", identity("1001")).contains("1001"), "it may be an address");

    // Linked again it is the same; it is never another's as well.
    assert_eq!(store.add_link(pip.id, identity("1001")).await.unwrap(), link);
    let error = store.add_link(stubb.id, identity("1001")).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "login" }), "{error}");
    store.add_link(stubb.id, elsewhere).await.unwrap();
    let error = store.add_link(UserId::from([7; 16]), identity("1003")).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { what: "user" }), "{error}");
}

pub(crate) async fn a_user_comes_with_their_link_or_not_at_all(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = store.add_verified_user(new_user("Pip"), Some(identity("1001"))).await.unwrap();
    assert_eq!(store.user_by_identity(identity("1001")).await.unwrap(), Some(pip));
    let error = store.add_verified_user(new_user("Stubb"), Some(identity("1001"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "login" }), "{error}");
    assert_eq!(store.user_by_login("Stubb".to_owned()).await.unwrap(), None);
}

pub(crate) async fn links_are_few_and_go_with_their_user(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.user("Pip").await.id;
    for number in 0..20 {
        store.add_link(pip, identity(&number.to_string())).await.unwrap();
    }
    let error = store.add_link(pip, identity("20")).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { allowed: 20, given: 21, .. }), "{error}");
    assert_eq!(store.links(pip).await.unwrap().len(), 20);
    store.delete_user(pip).await.unwrap();
    assert_eq!(store.links(pip).await.unwrap(), []);
    assert_eq!(store.user_by_identity(identity("0")).await.unwrap(), None);
    let heir = fixture.user("Pip").await.id;
    store.add_link(heir, identity("0")).await.unwrap();
}

pub(crate) async fn the_last_way_in_stays(fixture: &Fixture) {
    let store = &fixture.store;
    let bare = NewUser { password_hash: None, ..new_user("Pip") };
    let pip = store.add_verified_user(bare, Some(identity("1"))).await.unwrap().id;
    let first = store.links(pip).await.unwrap()[0].id;
    let error = store.remove_link(pip, first).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    assert_eq!(store.links(pip).await.unwrap().len(), 1);
    let second = store.add_link(pip, identity("2")).await.unwrap().id;
    store.remove_link(pip, first).await.unwrap();
    assert!(matches!(store.remove_link(pip, second).await, Err(StoreError::Conflict(_))));
    store.set_password(pip, "a hash".to_owned()).await.unwrap();
    store.remove_link(pip, second).await.unwrap();
    assert_eq!(store.links(pip).await.unwrap(), []);
}

pub(crate) async fn nobody_removes_another_s_link(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.user("Pip").await.id;
    let link = store.add_link(pip, identity("1")).await.unwrap().id;
    for (user, id) in [(fixture.owner, link), (pip, LinkId::from([7; 16]))] {
        let error = store.remove_link(user, id).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { what: "login" }), "{error}");
    }
    assert_eq!(store.links(pip).await.unwrap().len(), 1);
}
