//! What operators see of people and change.

use std::time::Duration;

use store::{
    AuditEntry, AuditPageRequest, GroupId, NewGroup, NewSession, NewUser, StoreError, User, UserCard,
    UserChange, UserId, UserRole, UserSearch,
};

use crate::support::{Fixture, new_user};

fn new_session(user_id: UserId) -> NewSession {
    NewSession {
        user_id,
        agent: "a browser".to_owned(),
        address: "192.0.2.1".to_owned(),
        lifetime: Duration::from_hours(1),
    }
}

fn change() -> UserChange {
    UserChange::default()
}

impl Fixture {
    async fn found(&self, holding: &str) -> Vec<String> {
        let search = UserSearch { holding: holding.to_owned(), limit: 100, after: None };
        let page = self.store.search_users(search).await.unwrap();
        assert_eq!((page.total, page.next), (page.users.len() as u64, None));
        page.users.into_iter().map(|card| card.user.name).collect()
    }

    async fn new_group(&self, name: &str) -> GroupId {
        self.store.add_group(NewGroup { name: name.to_owned(), ..NewGroup::default() }).await.unwrap().id
    }
}

pub(crate) async fn a_search_finds_names_and_addresses_however_they_are_written(fixture: &Fixture) {
    let new = NewUser { email: Some("First.Mate@pequod.example".to_owned()), ..new_user("Starbuck") };
    fixture.store.add_user(new).await.unwrap();
    for name in ["Stubb", "100%", "Éric"] {
        fixture.user(name).await;
    }
    let all = ["100%", "Ahab", "Starbuck", "Stubb", "Éric"];
    for (holding, expected) in [
        ("", &all[..]),
        (" ", &all[..]),
        ("ST", &["Starbuck", "Stubb"][..]),
        ("buck", &["Starbuck"][..]),
        ("ｂＵＣＫ ", &["Starbuck"][..]),
        ("MATE@", &["Starbuck"][..]),
        ("É", &["Éric"][..]),
        ("%", &["100%"][..]),
        ("_", &[][..]),
        ("' OR 1=1 --", &[][..]),
    ] {
        assert_eq!(fixture.found(holding).await, expected, "{holding:?}");
    }
}

pub(crate) async fn a_user_comes_with_their_groups_or_not_at_all(fixture: &Fixture) {
    let group = fixture.new_group("mates").await;
    let nowhere = fixture.store.add_user_to(new_user("Pip"), vec![group, GroupId::from([7; 16])]).await;
    assert!(matches!(nowhere, Err(StoreError::NotFound { what: "group" })));
    let card = fixture.store.add_user_to(new_user("Pip"), vec![group]).await.unwrap();
    assert_eq!((card.user.name.as_str(), &card.groups[..]), ("Pip", &[group][..]));
    assert_eq!(fixture.store.user_card(card.user.id).await.unwrap(), card);
}

pub(crate) async fn a_search_is_paged(fixture: &Fixture) {
    for name in ["crew one", "crew two", "Crew Three", "mate"] {
        fixture.user(name).await;
    }
    for limit in [1, 2, 3, 100] {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let search = UserSearch { holding: "crew".to_owned(), limit, after };
            let page = fixture.store.search_users(search).await.unwrap();
            assert!(page.users.len() <= limit as usize);
            assert_eq!(page.total, 3);
            names.extend(page.users.into_iter().map(|card| card.user.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["crew one", "Crew Three", "crew two"], "limit {limit}");
    }
}

pub(crate) async fn cards_say_groups_and_when_somebody_was_seen(fixture: &Fixture) {
    let pip = fixture.user("Pip").await;
    let card =
        UserCard { user: pip.clone(), groups: Vec::new(), totp: false, passkeys: 0, links: 0, seen_ms: None };
    assert_eq!(fixture.store.user_card(pip.id).await.unwrap(), card);
    let (one, two) = (fixture.new_group("one").await, fixture.new_group("two").await);
    let groups = UserChange { groups: Some(vec![one, two]), ..change() };
    fixture.store.change_user(pip.id, groups).await.unwrap();
    fixture.clock.advance(Duration::from_secs(5));
    fixture.store.add_session(new_session(pip.id), 10).await.unwrap();
    let later = fixture.store.add_session(new_session(pip.id), 10).await.unwrap();
    fixture.store.touch_sessions(vec![(later.id, 7000)]).await.unwrap();

    let card = fixture.store.user_card(pip.id).await.unwrap();
    let mut groups = card.groups.clone();
    groups.sort_unstable();
    assert_eq!((groups, card.seen_ms), (vec![one, two], Some(7000)));
    let page = fixture.store.search_users(UserSearch { limit: 10, ..UserSearch::default() }).await.unwrap();
    assert_eq!(page.users[1], card);
    assert_eq!((page.users[0].groups.len(), page.users[0].seen_ms), (0, None));
    fixture.clock.advance(Duration::from_hours(2));
    assert_eq!(fixture.store.user_card(pip.id).await.unwrap().seen_ms, None);
}

pub(crate) async fn a_user_is_changed_whole_or_not_at_all(fixture: &Fixture) {
    let pip = fixture.user("Pip").await;
    let group = fixture.new_group("mates").await;
    let whole = UserChange {
        name: Some("Pippin".to_owned()),
        email: Some(Some("pip@pequod.example".to_owned())),
        role: Some(UserRole::Operator),
        disabled_ms: Some(Some(9)),
        groups: Some(vec![group]),
    };
    let expected = User {
        name: "Pippin".to_owned(),
        email: Some("pip@pequod.example".to_owned()),
        role: UserRole::Operator,
        disabled_ms: Some(9),
        ..pip.clone()
    };
    let changed = fixture.store.change_user(pip.id, whole.clone()).await.unwrap();
    assert_eq!((&changed.user, &changed.groups), (&expected, &vec![group]));
    assert_eq!(fixture.store.user_card(pip.id).await.unwrap(), changed);
    assert_eq!(fixture.store.change_user(pip.id, change()).await.unwrap(), changed);
    for login in ["pippin", "PIP@pequod.example"] {
        let found = fixture.store.user_by_login(login.to_owned()).await.unwrap();
        assert_eq!(found.as_ref(), Some(&expected), "{login}");
    }
    assert_eq!(fixture.store.user_by_login("pip".to_owned()).await.unwrap(), None);

    // Another way of writing one's own name is free; another's is not, and nothing of that change is kept.
    let renamed = UserChange { name: Some("PIPPIN".to_owned()), ..change() };
    fixture.store.change_user(pip.id, renamed).await.unwrap();
    let before = fixture.store.user_card(pip.id).await.unwrap();
    let other = fixture.user("Flask").await;
    for wrong in [
        UserChange { name: Some("AHAB".to_owned()), role: Some(UserRole::Admin), ..change() },
        UserChange {
            groups: Some(vec![group, GroupId::from([7; 16])]),
            role: Some(UserRole::Admin),
            ..change()
        },
    ] {
        let error = fixture.store.change_user(pip.id, wrong).await.unwrap_err();
        let expected =
            matches!(error, StoreError::Taken { what: "name" } | StoreError::NotFound { what: "group" });
        assert!(expected, "{error}");
        assert_eq!(fixture.store.user_card(pip.id).await.unwrap(), before);
    }
    let wrong = UserChange { email: Some(Some("Pip@PEQUOD.example".to_owned())), ..change() };
    let error = fixture.store.change_user(other.id, wrong).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { what: "email address" }), "{error}");
    assert_eq!(fixture.store.user(other.id).await.unwrap(), other);

    let bare =
        UserChange { email: Some(None), disabled_ms: Some(None), groups: Some(Vec::new()), ..change() };
    let changed = fixture.store.change_user(pip.id, bare).await.unwrap();
    assert_eq!((changed.user.email, changed.user.disabled_ms, changed.groups), (None, None, Vec::new()));
    let nobody = fixture.store.change_user(UserId::from([7; 16]), change()).await.unwrap_err();
    assert!(matches!(nobody, StoreError::NotFound { what: "user" }), "{nobody}");
    let nobody = fixture.store.user_card(UserId::from([7; 16])).await.unwrap_err();
    assert!(matches!(nobody, StoreError::NotFound { what: "user" }), "{nobody}");
}

pub(crate) async fn an_operator_s_change_keeps_the_last_administrator(fixture: &Fixture) {
    let last = fixture.store.user_card(fixture.owner).await.unwrap();
    for wrong in [
        UserChange { role: Some(UserRole::User), ..change() },
        UserChange { disabled_ms: Some(Some(1)), ..change() },
        UserChange { name: Some("Peleg".to_owned()), role: Some(UserRole::Operator), ..change() },
    ] {
        let error = fixture.store.change_user(fixture.owner, wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
        assert_eq!(fixture.store.user_card(fixture.owner).await.unwrap(), last);
    }
    let renamed = UserChange { name: Some("Peleg".to_owned()), role: Some(UserRole::Admin), ..change() };
    fixture.store.change_user(fixture.owner, renamed).await.unwrap();
}

pub(crate) async fn whoever_is_disabled_is_signed_out(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    let session = fixture.store.add_session(new_session(pip), 10).await.unwrap().id;
    let renamed = UserChange { name: Some("Pippin".to_owned()), ..change() };
    fixture.store.change_user(pip, renamed).await.unwrap();
    assert_eq!(fixture.store.sessions(pip).await.unwrap().len(), 1);
    let disabled = UserChange { disabled_ms: Some(Some(1)), ..change() };
    fixture.store.change_user(pip, disabled).await.unwrap();
    assert_eq!(fixture.store.sessions(pip).await.unwrap(), []);
    let revoked = fixture.store.revoked_sessions(0).await.unwrap();
    assert_eq!(revoked.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [session]);
}

pub(crate) async fn the_audit_log_is_paged_with_names(fixture: &Fixture) {
    let (pip, owner) = (fixture.user("Pip").await.id, fixture.owner);
    for at_ms in 0..10 {
        let user_id = [Some(pip), Some(owner), None][at_ms as usize % 3];
        let by = (user_id == Some(pip)).then_some(owner);
        let note = by.map(|_| "why".to_owned());
        let (event, address) = ("test".to_owned(), "192.0.2.1".to_owned());
        let entry = AuditEntry { at_ms, user_id, by, event, address, note };
        fixture.store.audit(entry).await.unwrap();
    }
    let walk = async |user, limit| {
        let mut rows = Vec::new();
        let mut before = None;
        loop {
            let page = fixture.store.audit_page(AuditPageRequest { user, before, limit }).await.unwrap();
            assert!(page.entries.len() <= limit as usize);
            rows.extend(page.entries);
            before = page.next;
            if before.is_none() {
                return rows;
            }
        }
    };
    let times = |rows: &[store::AuditRow]| rows.iter().map(|row| row.entry.at_ms).collect::<Vec<_>>();
    for limit in [1, 3, 4, 10, 100] {
        let all = walk(None, limit).await;
        assert_eq!(times(&all), (0..10).rev().collect::<Vec<_>>(), "limit {limit}");
        assert!(all.windows(2).all(|pair| pair[0].number > pair[1].number));
        assert_eq!(times(&walk(Some(pip), limit).await), [9, 6, 3, 0], "limit {limit}");
    }
    let rows = walk(None, 3).await;
    let names: Vec<_> =
        rows[..3].iter().map(|row| (row.user_name.as_deref(), row.by_name.as_deref())).collect();
    assert_eq!(names, [(Some("Pip"), Some("Ahab")), (None, None), (Some("Ahab"), None)]);
    assert_eq!((rows[0].entry.user_id, rows[0].entry.by), (Some(pip), Some(owner)));
    // An entry outlives the user whom it is about.
    fixture.store.delete_user(pip).await.unwrap();
    let left = walk(Some(pip), 10).await;
    assert_eq!((left.len(), &left[0].user_name, left[0].entry.user_id), (4, &None, Some(pip)));
}

pub(crate) async fn sessions_and_bytes_are_counted(fixture: &Fixture) {
    let bytes = fixture.store.bytes().await.unwrap();
    assert!((4096..16 << 20).contains(&bytes), "{bytes}");
    assert_eq!(fixture.store.sessions_count().await.unwrap(), 0);
    let pip = fixture.user("Pip").await.id;
    for user in [pip, fixture.owner, pip] {
        fixture.store.add_session(new_session(user), 10).await.unwrap();
    }
    assert_eq!(fixture.store.sessions_count().await.unwrap(), 3);
    fixture.store.revoke_sessions(pip, None).await.unwrap();
    assert_eq!(fixture.store.sessions_count().await.unwrap(), 1);
    fixture.clock.advance(Duration::from_hours(1));
    assert_eq!(fixture.store.sessions_count().await.unwrap(), 0);
}
