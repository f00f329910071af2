//! What the registration gate must know after a restart.

use std::time::Duration;

use store::{GateMove, GatePin};

use crate::support::Fixture;

pub(crate) async fn moves_come_back_newest_first(fixture: &Fixture) {
    let store = &fixture.store;
    assert_eq!(store.moves(10).await.unwrap(), []);
    let new = |at_ms, to: &str| GateMove {
        at_ms,
        from: "open".to_owned(),
        to: to.to_owned(),
        reasons: "[{\"reason\":\"pinned\"}]".to_owned(),
    };
    for (at_ms, to) in [(5, "challenge"), (9, "waiting_list"), (7, "suspended")] {
        store.add_move(new(at_ms, to)).await.unwrap();
    }
    // In the order in which they came, whatever the clock said.
    assert_eq!(store.moves(2).await.unwrap(), [new(7, "suspended"), new(9, "waiting_list")]);
    assert_eq!(store.moves(10).await.unwrap().len(), 3);
}

pub(crate) async fn a_pin_is_kept_until_it_is_taken_away(fixture: &Fixture) {
    let store = &fixture.store;
    assert_eq!(store.pin().await.unwrap(), None);
    store.set_pin(None).await.unwrap();
    for (level, at_ms) in [("suspended", 5), ("challenge", 7)] {
        let pin = GatePin { level: level.to_owned(), at_ms };
        store.set_pin(Some(pin.clone())).await.unwrap();
        assert_eq!(store.pin().await.unwrap(), Some(pin));
    }
    store.set_pin(None).await.unwrap();
    assert_eq!(store.pin().await.unwrap(), None);
}

pub(crate) async fn an_invitation_is_taken_once(fixture: &Fixture) {
    let store = &fixture.store;
    let (one, other) = ([1; 16], [2; 16]);
    assert!(!store.is_invitation_taken(one).await.unwrap());
    assert!(store.take_invitation(one, 1000).await.unwrap());
    assert!(!store.take_invitation(one, 1000).await.unwrap());
    assert!(
        store.is_invitation_taken(one).await.unwrap() && !store.is_invitation_taken(other).await.unwrap()
    );
    store.give_back_invitation(one).await.unwrap();
    store.give_back_invitation(other).await.unwrap();
    assert!(store.take_invitation(one, 1000).await.unwrap());
    // It is forgotten when it can't be good any more, and not before.
    fixture.clock.advance(Duration::from_millis(999));
    assert!(store.take_invitation(other, 9000).await.unwrap());
    assert!(store.is_invitation_taken(one).await.unwrap());
    fixture.clock.advance(Duration::from_millis(1));
    assert!(store.take_invitation([3; 16], 9000).await.unwrap());
    assert!(
        !store.is_invitation_taken(one).await.unwrap() && store.is_invitation_taken(other).await.unwrap()
    );
}
