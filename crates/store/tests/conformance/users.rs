//! Users, their deletion, and the audit log.

use std::time::Duration;

use store::{
    AuditEntry, NewConversation, NewSession, NewUser, PageRequest, ParentChoice, Store, StoreError, User,
    UserId, UserPageRequest, UserRole,
};

use crate::support::{Fixture, new_user};

fn missing(error: StoreError) -> bool {
    matches!(error, StoreError::NotFound { what: "user" })
}

fn conflict(error: StoreError) -> bool {
    matches!(error, StoreError::Conflict(_))
}

/// On a store without users.
pub(crate) async fn nobody_comes_before_the_first_user(store: &dyn Store) {
    assert_eq!(store.users_count().await.unwrap(), 0);
    assert_eq!(store.user_by_login("Ahab".to_owned()).await.unwrap(), None);
    assert!(conflict(store.add_user(new_user("Ahab")).await.unwrap_err()), "not said to be the first");
    let powerless = NewUser { first: true, ..new_user("Ahab") };
    assert!(conflict(store.add_user(powerless).await.unwrap_err()), "not an administrator");
    assert_eq!(store.users_count().await.unwrap(), 0);
    let first = NewUser { first: true, role: UserRole::Admin, ..new_user("Ahab") };
    store.add_user(first).await.unwrap();
    assert_eq!(store.users_count().await.unwrap(), 1);
}

pub(crate) async fn the_first_user_is_an_administrator_and_said_to_be(fixture: &Fixture) {
    let owner = fixture.store.user(fixture.owner).await.unwrap();
    assert_eq!((owner.name.as_str(), owner.role), ("Ahab", UserRole::Admin));
    let late = NewUser { first: true, role: UserRole::Admin, ..new_user("Starbuck") };
    assert!(conflict(fixture.store.add_user(late).await.unwrap_err()));
    fixture.user("Starbuck").await;
    assert_eq!(fixture.store.users_count().await.unwrap(), 2);
}

pub(crate) async fn users_come_back_as_they_were_put(fixture: &Fixture) {
    fixture.clock.advance(Duration::from_millis(1234));
    let new = NewUser {
        email: Some("Ishmael@Pequod.example".to_owned()),
        role: UserRole::Operator,
        ..new_user("Ishmaël")
    };
    let made = fixture.store.add_user(new).await.unwrap();
    let expected = User {
        id: made.id,
        name: "Ishmaël".to_owned(),
        email: Some("Ishmael@Pequod.example".to_owned()),
        email_verified_ms: None,
        role: UserRole::Operator,
        created_ms: 1234,
        disabled_ms: None,
        password_hash: Some("$argon2id$not-a-hash".to_owned()),
        key_generation: 1,
    };
    assert_eq!(made, expected);
    assert_eq!(fixture.store.user(made.id).await.unwrap(), made);
    assert!(!format!("{made:?}").contains("argon2"), "hashes are not printed");
    let bare = fixture.store.add_user(NewUser { password_hash: None, ..new_user("Pip") }).await.unwrap();
    assert_eq!((&bare.password_hash, &bare.email), (&None, &None));
    assert_eq!(fixture.store.user(bare.id).await.unwrap(), bare);
}

pub(crate) async fn names_and_addresses_are_nobody_else_s(fixture: &Fixture) {
    let with_email = |name: &str, email: &str| NewUser { email: Some(email.to_owned()), ..new_user(name) };
    fixture.store.add_user(with_email("Queequeg", "queequeg@pequod.example")).await.unwrap();
    for name in ["Queequeg", "QUEEQUEG", "ｑueequeg"] {
        let error = fixture.store.add_user(new_user(name)).await.unwrap_err();
        assert!(matches!(error, StoreError::Taken { what: "name" }), "{name}: {error}");
    }
    let error = fixture.store.add_user(with_email("Tashtego", "Queequeg@PEQUOD.example")).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "email address" }), "{error}");
    assert_eq!(fixture.store.users_count().await.unwrap(), 2);
    // Having no address is nothing to share.
    fixture.user("Tashtego").await;
    fixture.user("Daggoo").await;
}

pub(crate) async fn a_login_finds_its_user_however_it_is_written(fixture: &Fixture) {
    let new = NewUser { email: Some("Stubb@pequod.example".to_owned()), ..new_user("Stubb") };
    let stubb = fixture.store.add_user(new).await.unwrap();
    // Somebody whose name is another's address is not mistaken for the other.
    fixture.store.add_user(new_user("stubb@pequod.example")).await.unwrap();
    for login in ["Stubb", "sTUBB", " stubb ", "Ｓtubb", "stubb@pequod.example", "STUBB@PEQUOD.EXAMPLE "] {
        let found = fixture.store.user_by_login(login.to_owned()).await.unwrap();
        assert_eq!(found.as_ref(), Some(&stubb), "{login:?}");
    }
    for login in ["", "@", "Stub", "Stubb%", "stubb@pequod", "' OR 1=1 --"] {
        assert_eq!(fixture.store.user_by_login(login.to_owned()).await.unwrap(), None, "{login:?}");
    }
}

pub(crate) async fn the_list_of_users_is_paged_by_name(fixture: &Fixture) {
    for name in ["starbuck", "Éric", "Bulkington", "flask", "Zoë"] {
        fixture.user(name).await;
    }
    for limit in [1, 2, 3, 6, 100] {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = fixture.store.users(UserPageRequest { limit, after }).await.unwrap();
            assert!(page.users.len() <= limit as usize);
            names.extend(page.users.into_iter().map(|user| user.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["Ahab", "Bulkington", "flask", "starbuck", "Zoë", "Éric"], "limit {limit}");
    }
    let after = Some("C".to_owned());
    let page = fixture.store.users(UserPageRequest { limit: 1, after }).await.unwrap();
    assert_eq!((page.users[0].name.as_str(), page.next.as_deref()), ("flask", Some("flask")));
}

pub(crate) async fn fields_of_a_user_change_alone(fixture: &Fixture) {
    let made = fixture.user("Flask").await;
    let other = fixture.user("Fedallah").await;
    fixture.store.set_password(made.id, "new".to_owned()).await.unwrap();
    let mut expected = User { password_hash: Some("new".to_owned()), ..made.clone() };
    assert_eq!(fixture.store.user(made.id).await.unwrap(), expected);
    fixture.store.set_role(made.id, UserRole::Operator).await.unwrap();
    expected.role = UserRole::Operator;
    assert_eq!(fixture.store.user(made.id).await.unwrap(), expected);
    fixture.store.set_disabled(made.id, Some(77)).await.unwrap();
    expected.disabled_ms = Some(77);
    assert_eq!(fixture.store.user(made.id).await.unwrap(), expected);
    fixture.store.set_disabled(made.id, None).await.unwrap();
    expected.disabled_ms = None;
    assert_eq!(fixture.store.user(made.id).await.unwrap(), expected);
    assert_eq!(fixture.store.user(other.id).await.unwrap(), other);
}

pub(crate) async fn a_user_who_is_not_there_is_not_found(fixture: &Fixture) {
    let store = &fixture.store;
    let nobody = UserId::from([7; 16]);
    assert!(missing(store.user(nobody).await.unwrap_err()));
    assert!(missing(store.set_password(nobody, String::new()).await.unwrap_err()));
    assert!(missing(store.set_role(nobody, UserRole::Admin).await.unwrap_err()));
    assert!(missing(store.set_role(nobody, UserRole::User).await.unwrap_err()));
    assert!(missing(store.set_disabled(nobody, Some(1)).await.unwrap_err()));
    assert!(missing(store.set_disabled(nobody, None).await.unwrap_err()));
    assert!(missing(store.delete_user(nobody).await.unwrap_err()));
    assert!(missing(store.add_session(new_session(nobody), 10).await.unwrap_err()));
    assert!(missing(store.add_conversation(nobody, NewConversation::default(), 10).await.unwrap_err()));
    assert_eq!(store.sessions(nobody).await.unwrap(), []);
    assert_eq!(store.revoke_sessions(nobody, None).await.unwrap(), []);
    assert_eq!(store.audit_entries(Some(nobody), 10).await.unwrap(), []);
}

pub(crate) async fn the_last_administrator_stays(fixture: &Fixture) {
    let store = &fixture.store;
    let last = fixture.owner;
    let stays = async || {
        assert!(conflict(store.delete_user(last).await.unwrap_err()));
        assert!(conflict(store.set_role(last, UserRole::Operator).await.unwrap_err()));
        assert!(conflict(store.set_role(last, UserRole::User).await.unwrap_err()));
        assert!(conflict(store.set_disabled(last, Some(1)).await.unwrap_err()));
        let user = store.user(last).await.unwrap();
        assert_eq!((user.role, user.disabled_ms), (UserRole::Admin, None));
    };
    stays().await;
    store.set_role(last, UserRole::Admin).await.unwrap();
    store.set_disabled(last, None).await.unwrap();

    // Others who are no administrators, or may not sign in, are no help.
    fixture.user("Starbuck").await;
    let second = fixture.user("Stubb").await.id;
    store.set_role(second, UserRole::Admin).await.unwrap();
    store.set_disabled(second, Some(1)).await.unwrap();
    stays().await;

    // A second one is, and is then the last.
    store.set_disabled(second, None).await.unwrap();
    store.set_role(last, UserRole::User).await.unwrap();
    assert!(conflict(store.delete_user(second).await.unwrap_err()));
    store.set_role(last, UserRole::Admin).await.unwrap();
    store.delete_user(second).await.unwrap();
    stays().await;
}

pub(crate) async fn deletion_takes_everything_of_a_user(fixture: &Fixture) {
    let store = &fixture.store;
    let kept = fixture.conversation().await;
    fixture.finished_turn(&kept, ParentChoice::Root, "kept").await;
    let name = || NewUser { email: Some("pip@pequod.example".to_owned()), ..new_user("Pip") };
    let pip = store.add_user(name()).await.unwrap().id;
    let theirs = Fixture { store: store.clone(), clock: fixture.clock.clone(), owner: pip };
    let conversation = theirs.conversation().await;
    theirs.finished_turn(&conversation, ParentChoice::Root, "gone").await;
    let writing = theirs.turn(&conversation, ParentChoice::Newest, "going").await.assistant.id;
    store.add_session(new_session(pip), 10).await.unwrap();

    store.delete_user(pip).await.unwrap();
    assert!(missing(store.user(pip).await.unwrap_err()));
    assert!(missing(store.delete_user(pip).await.unwrap_err()));
    assert_eq!(store.user_by_login("pip".to_owned()).await.unwrap(), None);
    assert_eq!(store.sessions(pip).await.unwrap(), []);
    let gone = |error: StoreError| matches!(error, StoreError::NotFound { .. });
    assert!(gone(store.conversation(pip, conversation.id).await.unwrap_err()));
    assert!(gone(store.messages(pip, conversation.id).await.unwrap_err()));
    assert!(gone(store.finish(theirs.outcome(writing, "x")).await.unwrap_err()));
    store.save_progress(vec![theirs.outcome(writing, "x").text]).await.unwrap();
    assert!(gone(store.add_conversation(pip, NewConversation::default(), 10).await.unwrap_err()));
    assert_eq!(store.messages(fixture.owner, kept.id).await.unwrap().len(), 2);

    // The name is free again, and whoever takes it finds nothing.
    let heir = store.add_user(name()).await.unwrap().id;
    assert_ne!(heir, pip);
    let page = store.conversations(heir, PageRequest { limit: 10, before: None }).await.unwrap();
    assert_eq!(page.conversations, []);
}

pub(crate) async fn entries_of_the_audit_come_back_newest_first(fixture: &Fixture) {
    let entry = |at_ms, user_id, event: &str| AuditEntry {
        at_ms,
        user_id,
        by: None,
        event: event.to_owned(),
        address: "192.0.2.1".to_owned(),
        note: (at_ms == 6).then(|| "by an operator".to_owned()),
    };
    let pip = fixture.user("Pip").await.id;
    let entries = [
        entry(5, Some(pip), "signed_up"),
        entry(4, None, "login_failed"),
        entry(6, Some(fixture.owner), "signed_in"),
        entry(7, Some(pip), "account_deleted"),
    ];
    for entry in &entries {
        fixture.store.audit(entry.clone()).await.unwrap();
    }
    // An entry outlives the user whom it is about.
    fixture.store.delete_user(pip).await.unwrap();
    let of = async |user, limit| fixture.store.audit_entries(user, limit).await.unwrap();
    assert_eq!(of(None, 100).await, entries.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(of(None, 1).await, entries[3..]);
    assert_eq!(of(Some(pip), 100).await, [entries[3].clone(), entries[0].clone()]);
    assert_eq!(of(Some(pip), 1).await, entries[3..]);
    let (address, note) = ("é".repeat(1000), Some("ü".repeat(1000)));
    fixture.store.audit(AuditEntry { address, note, ..entry(8, None, "odd") }).await.unwrap();
    let cut = &of(None, 1).await[0];
    assert_eq!((&cut.address, cut.note.as_ref()), (&"é".repeat(64), Some(&"ü".repeat(200))));
}

fn new_session(user_id: UserId) -> NewSession {
    NewSession {
        user_id,
        agent: "a browser".to_owned(),
        address: "192.0.2.1".to_owned(),
        lifetime: Duration::from_hours(1),
    }
}
