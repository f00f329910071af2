//! Where users are signed in.

use std::time::Duration;

use store::{NewSession, Session, SessionId, StoreError, UserId};

use crate::support::Fixture;

const HOUR_MS: i64 = 3_600_000;

fn new_session(user_id: UserId) -> NewSession {
    NewSession {
        user_id,
        agent: "a browser".to_owned(),
        address: "192.0.2.1".to_owned(),
        lifetime: Duration::from_hours(1),
    }
}

fn missing(error: StoreError) -> bool {
    matches!(error, StoreError::NotFound { what: "session" })
}

impl Fixture {
    async fn session(&self) -> Session {
        self.store.add_session(new_session(self.owner), 100).await.unwrap()
    }

    async fn live(&self) -> Vec<SessionId> {
        let sessions = self.store.sessions(self.owner).await.unwrap();
        sessions.iter().map(|session| session.id).collect()
    }

    async fn revoked(&self) -> Vec<SessionId> {
        self.store.revoked_sessions(0).await.unwrap().iter().map(|(id, _)| *id).collect()
    }

    fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }
}

pub(crate) async fn sessions_come_back_as_they_were_put(fixture: &Fixture) {
    fixture.pass(1234);
    let made = fixture.session().await;
    let expected = Session {
        id: made.id,
        user_id: fixture.owner,
        created_ms: 1234,
        seen_ms: 1234,
        expires_ms: 1234 + HOUR_MS,
        agent: "a browser".to_owned(),
        address: "192.0.2.1".to_owned(),
    };
    assert_eq!(made, expected);
    let second = fixture.session().await;
    assert_eq!(fixture.store.sessions(fixture.owner).await.unwrap(), [second, made]);
    assert_eq!(fixture.revoked().await, []);
    let endless = NewSession { lifetime: Duration::MAX, ..new_session(fixture.owner) };
    assert_eq!(fixture.store.add_session(endless, 100).await.unwrap().expires_ms, i64::MAX);
}

pub(crate) async fn what_strangers_send_is_cut(fixture: &Fixture) {
    let long =
        NewSession {
            agent: "鲸".repeat(10_000), address: "鲸".repeat(10_000), ..new_session(fixture.owner)
        };
    let made = fixture.store.add_session(long, 100).await.unwrap();
    assert_eq!(
        (made.agent.as_str(), made.address.as_str()),
        ("鲸".repeat(200).as_str(), "鲸".repeat(64).as_str())
    );
    assert_eq!(fixture.store.sessions(fixture.owner).await.unwrap(), [made]);
}

pub(crate) async fn the_session_seen_longest_ago_makes_room(fixture: &Fixture) {
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(fixture.session().await.id);
        fixture.pass(10);
    }
    fixture.store.touch_sessions(vec![(made[0], 100)]).await.unwrap();
    let other = fixture.user("Pip").await.id;
    let kept = fixture.store.add_session(new_session(other), 1).await.unwrap();
    let fourth = fixture.store.add_session(new_session(fixture.owner), 3).await.unwrap().id;
    assert_eq!(fixture.live().await, [made[0], fourth, made[2]]);
    assert_eq!(fixture.revoked().await, [made[1]]);
    // A capacity that became smaller is kept too; there is always room for the one that is asked for.
    let fifth = fixture.store.add_session(new_session(fixture.owner), 1).await.unwrap().id;
    assert_eq!(fixture.live().await, [fifth]);
    let sixth = fixture.store.add_session(new_session(fixture.owner), 0).await.unwrap().id;
    assert_eq!(fixture.live().await, [sixth]);
    assert_eq!(fixture.store.sessions(other).await.unwrap(), [kept], "another's is left alone");
}

pub(crate) async fn sessions_expire(fixture: &Fixture) {
    let first = fixture.session().await.id;
    fixture.pass(HOUR_MS as u64 - 1);
    let second = fixture.session().await.id;
    assert_eq!(fixture.live().await, [second, first]);
    fixture.pass(1);
    assert_eq!(fixture.live().await, [second]);
    assert!(missing(fixture.store.revoke_session(fixture.owner, first).await.unwrap_err()));
    assert_eq!(fixture.store.revoke_sessions(fixture.owner, Some(second)).await.unwrap(), []);
    // It takes no live one's place.
    let third = fixture.store.add_session(new_session(fixture.owner), 2).await.unwrap().id;
    assert_eq!(fixture.live().await, [third, second]);
    assert_eq!(fixture.revoked().await, []);
}

pub(crate) async fn seen_times_never_go_back(fixture: &Fixture) {
    let first = fixture.session().await.id;
    let second = fixture.session().await.id;
    let gone = SessionId::from([7; 16]);
    fixture.store.touch_sessions(vec![]).await.unwrap();
    fixture.store.touch_sessions(vec![(gone, 5), (first, 9), (second, 8), (first, 3)]).await.unwrap();
    fixture.store.touch_sessions(vec![(second, 7)]).await.unwrap();
    let seen: Vec<_> = fixture.store.sessions(fixture.owner).await.unwrap();
    let seen: Vec<_> = seen.iter().map(|session| (session.id, session.seen_ms)).collect();
    assert_eq!(seen, [(first, 9), (second, 8)]);
}

pub(crate) async fn a_revoked_session_is_remembered_until_it_would_expire(fixture: &Fixture) {
    let first = fixture.session().await.id;
    fixture.pass(10);
    let second = fixture.session().await.id;
    fixture.store.revoke_session(fixture.owner, second).await.unwrap();
    assert_eq!(fixture.live().await, [first]);
    assert!(missing(fixture.store.revoke_session(fixture.owner, second).await.unwrap_err()));
    fixture.store.touch_sessions(vec![(second, 99)]).await.unwrap();
    fixture.pass(10);
    fixture.store.revoke_session(fixture.owner, first).await.unwrap();

    let since = async |ms| fixture.store.revoked_sessions(ms).await.unwrap();
    let (first, second) = ((first, HOUR_MS), (second, HOUR_MS + 10));
    assert_eq!(since(0).await, [second, first]);
    assert_eq!(since(10).await, [second, first]);
    assert_eq!(since(11).await, [first]);
    assert_eq!(since(20).await, [first]);
    assert_eq!(since(21).await, []);
    fixture.pass(HOUR_MS as u64 - 20);
    assert_eq!(since(0).await, [second]);
    fixture.session().await;
    assert_eq!(since(0).await, [second]);
    fixture.pass(10);
    assert_eq!(since(0).await, []);
}

pub(crate) async fn all_sessions_but_one_are_revoked(fixture: &Fixture) {
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(fixture.session().await.id);
    }
    let other = fixture.user("Pip").await.id;
    let kept = fixture.store.add_session(new_session(other), 10).await.unwrap();
    let mut revoked = fixture.store.revoke_sessions(fixture.owner, Some(made[2])).await.unwrap();
    revoked.sort();
    assert_eq!(revoked, [made[0], made[1], made[3]]);
    assert_eq!(fixture.live().await, [made[2]]);
    assert_eq!(fixture.revoked().await, revoked);
    assert_eq!(fixture.store.revoke_sessions(fixture.owner, None).await.unwrap(), [made[2]]);
    assert_eq!(fixture.live().await, []);
    assert_eq!(fixture.store.sessions(other).await.unwrap(), [kept]);
}

pub(crate) async fn nobody_ends_another_s_session(fixture: &Fixture) {
    let session = fixture.session().await.id;
    let other = fixture.user("Pip").await.id;
    assert!(missing(fixture.store.revoke_session(other, session).await.unwrap_err()));
    let nothing = SessionId::from([7; 16]);
    assert!(missing(fixture.store.revoke_session(other, nothing).await.unwrap_err()));
    assert_eq!(fixture.store.revoke_sessions(other, None).await.unwrap(), []);
    assert_eq!(fixture.live().await, [session]);
    assert_eq!(fixture.revoked().await, []);
}

pub(crate) async fn the_disabled_are_signed_out_and_stay_out(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    let session = fixture.store.add_session(new_session(pip), 10).await.unwrap().id;
    fixture.store.set_disabled(pip, Some(5)).await.unwrap();
    assert_eq!(fixture.store.sessions(pip).await.unwrap(), []);
    assert_eq!(fixture.revoked().await, [session]);
    let refused = fixture.store.add_session(new_session(pip), 10).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    fixture.store.set_disabled(pip, None).await.unwrap();
    fixture.store.add_session(new_session(pip), 10).await.unwrap();
    assert_eq!(fixture.revoked().await, [session], "what was revoked stays so");
}

pub(crate) async fn those_of_a_deleted_user_are_remembered(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    let ended = fixture.store.add_session(new_session(pip), 10).await.unwrap().id;
    fixture.store.revoke_session(pip, ended).await.unwrap();
    let live = fixture.store.add_session(new_session(pip), 10).await.unwrap().id;
    fixture.store.delete_user(pip).await.unwrap();
    assert_eq!(fixture.revoked().await, [ended, live]);
}
