//! One-time codes, recovery codes and passkeys.

use std::time::Duration;

use store::{
    Identity, NewOneTimeCodes, NewPasskey, NewUser, OneTimeCodes, Passkey, PasskeyBackup, PasskeyId,
    PasskeyUse, StoreError, UserId,
};

use crate::support::{Fixture, new_user};

fn new_codes(secret: &str) -> NewOneTimeCodes {
    NewOneTimeCodes {
        secret: secret.to_owned().into(),
        step: 100,
        recovery_codes: ["one", "two", "three"].map(str::to_owned).to_vec(),
    }
}

fn new_passkey(credential: &[u8]) -> NewPasskey {
    NewPasskey {
        credential_id: credential.to_vec(),
        public_key: vec![0, 255, 7],
        sign_count: 0,
        backup: PasskeyBackup::Possible,
        transports: 0x3f,
        name: "my ké\u{10ffff}y".to_owned(),
    }
}

fn missing(error: StoreError, what: &str) -> bool {
    matches!(error, StoreError::NotFound { what: found } if found == what)
}

fn conflict(error: StoreError) -> bool {
    matches!(error, StoreError::Conflict(_))
}

const fn used(sign_count: u32) -> PasskeyUse {
    PasskeyUse { sign_count, backup: PasskeyBackup::Made }
}

impl Fixture {
    async fn codes(&self) -> Option<OneTimeCodes> {
        self.store.one_time_codes(self.owner).await.unwrap()
    }

    async fn passkey(&self, owner: UserId, credential: &[u8]) -> Passkey {
        self.store.add_passkey(owner, new_passkey(credential), 10).await.unwrap()
    }

    /// Somebody who has no password.
    async fn without_password(&self) -> UserId {
        let new = NewUser { password_hash: None, ..new_user("Pip") };
        self.store.add_user(new).await.unwrap().id
    }
}

pub(crate) async fn one_time_codes_come_back_as_they_were_put(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    assert_eq!(fixture.codes().await, None);
    store.set_one_time_codes(owner, new_codes("krill")).await.unwrap();
    let expected = OneTimeCodes { secret: "krill".to_owned().into(), recovery_codes_left: 3 };
    assert_eq!(fixture.codes().await, Some(expected.clone()));
    for printed in [format!("{expected:?}"), format!("{:?}", new_codes("krill"))] {
        assert!(!printed.contains("krill") && !printed.contains("three"), "{printed}");
    }
    // New ones take the place of the old, with steps and recovery codes of their own.
    store.take_step(owner, 105).await.unwrap();
    store.take_recovery_code(owner, "one".to_owned()).await.unwrap();
    store.set_one_time_codes(owner, new_codes("plankton")).await.unwrap();
    let codes = fixture.codes().await.unwrap();
    assert_eq!((codes.secret.as_str(), codes.recovery_codes_left), ("plankton", 3));
    assert!(store.take_step(owner, 101).await.unwrap());

    store.remove_one_time_codes(owner).await.unwrap();
    assert_eq!(fixture.codes().await, None);
    assert!(missing(store.remove_one_time_codes(owner).await.unwrap_err(), "one-time codes"));
    assert!(!store.take_step(owner, 1000).await.unwrap());
    assert!(!store.take_recovery_code(owner, "two".to_owned()).await.unwrap());
}

pub(crate) async fn a_step_is_taken_once_and_none_before_it(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    store.set_one_time_codes(owner, new_codes("krill")).await.unwrap();
    for (step, taken) in
        [(0, false), (99, false), (100, false), (101, true), (101, false), (100, false), (u64::MAX, true)]
    {
        assert_eq!(store.take_step(owner, step).await.unwrap(), taken, "{step}");
    }
    let tries = (0..8).map(|_| store.take_recovery_code(owner, "two".to_owned()));
    let taken = futures_util::future::try_join_all(tries).await.unwrap();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);

    store.set_one_time_codes(owner, new_codes("krill")).await.unwrap();
    let taken = futures_util::future::try_join_all((0..8).map(|_| store.take_step(owner, 101))).await;
    assert_eq!(taken.unwrap().iter().filter(|taken| **taken).count(), 1);
}

pub(crate) async fn a_recovery_code_is_taken_once(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let take = async |code: &str| store.take_recovery_code(owner, code.to_owned()).await.unwrap();
    let codes = || vec!["four".to_owned(), "five".to_owned()];
    assert!(missing(store.set_recovery_codes(owner, codes()).await.unwrap_err(), "one-time codes"));
    store.set_one_time_codes(owner, new_codes("krill")).await.unwrap();
    assert!(!take("").await && !take("ONE").await && !take("one\ntwo").await && !take("four").await);
    assert!(take("two").await);
    assert!(!take("two").await);
    assert_eq!(fixture.codes().await.unwrap().recovery_codes_left, 2);
    store.set_recovery_codes(owner, codes()).await.unwrap();
    assert!(!take("one").await);
    assert!(take("four").await && take("five").await);
    assert!(!take("").await);
    assert_eq!(fixture.codes().await.unwrap().recovery_codes_left, 0);
}

pub(crate) async fn passkeys_come_back_as_they_were_put(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    fixture.clock.advance(Duration::from_millis(1234));
    let made = fixture.passkey(owner, b"a").await;
    let NewPasskey { credential_id, public_key, sign_count, backup, transports, name } = new_passkey(b"a");
    let expected = Passkey {
        id: made.id,
        user_id: owner,
        credential_id,
        public_key,
        sign_count,
        backup,
        transports,
        name,
        created_ms: 1234,
        used_ms: None,
    };
    assert_eq!(made, expected);
    let second = fixture.passkey(owner, b"b").await;
    assert_eq!(store.passkeys(owner).await.unwrap(), [made.clone(), second.clone()]);
    assert_eq!(store.passkey_by_credential(b"a".to_vec()).await.unwrap(), Some(made.clone()));
    for unknown in [&b""[..], b"A", b"ab", b"a\0"] {
        assert_eq!(store.passkey_by_credential(unknown.to_vec()).await.unwrap(), None);
    }

    let renamed = store.rename_passkey(owner, made.id, "of the boat".to_owned()).await.unwrap();
    let expected = Passkey { name: "of the boat".to_owned(), ..made };
    assert_eq!(renamed, expected);
    fixture.clock.advance(Duration::from_millis(1));
    store.passkey_used(owner, expected.id, used(u32::MAX)).await.unwrap();
    let expected =
        Passkey { sign_count: u32::MAX, backup: PasskeyBackup::Made, used_ms: Some(1235), ..expected };
    assert_eq!(store.passkeys(owner).await.unwrap(), [expected, second.clone()]);
    store.delete_passkey(owner, renamed.id).await.unwrap();
    assert_eq!(store.passkeys(owner).await.unwrap(), [second]);
    assert_eq!(store.passkey_by_credential(b"a".to_vec()).await.unwrap(), None);
    // A credential that was deleted may be added again.
    fixture.passkey(owner, b"a").await;
}

pub(crate) async fn a_credential_is_one_account_s_and_there_are_so_many(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let pip = fixture.user("Pip").await.id;
    fixture.passkey(owner, b"a").await;
    for user in [owner, pip] {
        assert!(conflict(store.add_passkey(user, new_passkey(b"a"), 10).await.unwrap_err()));
    }
    fixture.passkey(pip, b"b").await;
    fixture.passkey(owner, b"c").await;
    let full = store.add_passkey(owner, new_passkey(b"d"), 2).await.unwrap_err();
    assert!(matches!(full, StoreError::Full { what: "passkeys", allowed: 2, given: 3 }), "{full}");
    store.add_passkey(pip, new_passkey(b"d"), 2).await.unwrap();
    assert_eq!(store.passkeys(owner).await.unwrap().len(), 2);
}

pub(crate) async fn a_counter_that_does_not_go_on_is_refused(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let id = fixture.passkey(owner, b"a").await.id;
    // Some never count.
    store.passkey_used(owner, id, used(0)).await.unwrap();
    store.passkey_used(owner, id, used(0)).await.unwrap();
    store.passkey_used(owner, id, used(5)).await.unwrap();
    fixture.clock.advance(Duration::from_millis(7));
    for count in [0, 4, 5] {
        assert!(conflict(store.passkey_used(owner, id, used(count)).await.unwrap_err()), "{count}");
    }
    let kept = store.passkeys(owner).await.unwrap().remove(0);
    assert_eq!((kept.sign_count, kept.used_ms), (5, Some(0)), "what was refused is not noted");
    let tries = (0..8).map(async |_| store.passkey_used(owner, id, used(6)).await.is_ok());
    let taken = futures_util::future::join_all(tries).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
}

pub(crate) async fn the_last_way_in_stays(fixture: &Fixture) {
    let store = &fixture.store;
    let pip = fixture.without_password().await;
    let first = fixture.passkey(pip, b"a").await.id;
    fixture.passkey(fixture.owner, b"b").await;
    assert!(conflict(store.delete_passkey(pip, first).await.unwrap_err()));
    assert_eq!(store.passkeys(pip).await.unwrap().len(), 1);
    let second = fixture.passkey(pip, b"c").await.id;
    store.delete_passkey(pip, first).await.unwrap();
    assert!(conflict(store.delete_passkey(pip, second).await.unwrap_err()));
    store.set_password(pip, "$argon2id$".to_owned()).await.unwrap();
    store.delete_passkey(pip, second).await.unwrap();
    assert_eq!(store.passkeys(pip).await.unwrap(), []);
}

pub(crate) async fn another_s_passkey_is_not_found(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let before = fixture.passkey(owner, b"a").await;
    let pip = fixture.user("Pip").await.id;
    fixture.passkey(pip, b"b").await;
    for caller in [pip, fixture.user("Flask").await.id, UserId::from([9; 16])] {
        for id in [before.id, PasskeyId::from([7; 16])] {
            let rename = store.rename_passkey(caller, id, "mine".to_owned()).await.unwrap_err();
            assert!(missing(rename, "passkey"));
            assert!(missing(store.passkey_used(caller, id, used(9)).await.unwrap_err(), "passkey"));
            assert!(missing(store.delete_passkey(caller, id).await.unwrap_err(), "passkey"));
        }
    }
    assert_eq!(store.passkeys(owner).await.unwrap(), [before]);
}

pub(crate) async fn nobody_has_no_factors(fixture: &Fixture) {
    let store = &fixture.store;
    let nobody = UserId::from([7; 16]);
    assert!(missing(store.set_one_time_codes(nobody, new_codes("krill")).await.unwrap_err(), "user"));
    assert_eq!(store.one_time_codes(nobody).await.unwrap(), None);
    assert!(!store.take_step(nobody, 1).await.unwrap());
    assert!(!store.take_recovery_code(nobody, "one".to_owned()).await.unwrap());
    assert!(missing(store.set_recovery_codes(nobody, vec![]).await.unwrap_err(), "one-time codes"));
    assert!(missing(store.remove_one_time_codes(nobody).await.unwrap_err(), "one-time codes"));
    assert!(missing(store.add_passkey(nobody, new_passkey(b"a"), 10).await.unwrap_err(), "user"));
    assert_eq!(store.passkeys(nobody).await.unwrap(), []);
    assert!(missing(store.clear_factors(nobody).await.unwrap_err(), "user"));
}

pub(crate) async fn factors_are_cleared_together_and_go_with_their_user(fixture: &Fixture) {
    let (store, owner) = (&fixture.store, fixture.owner);
    let pip = fixture.without_password().await;
    for (user, credentials) in [(owner, [&b"a"[..], b"b"]), (pip, [&b"c"[..], b"d"])] {
        store.set_one_time_codes(user, new_codes("krill")).await.unwrap();
        for credential in credentials {
            fixture.passkey(user, credential).await;
        }
    }
    let card = store.user_card(pip).await.unwrap();
    assert_eq!((card.totp, card.passkeys), (true, 2));
    // Not the last way in to be lost, but an operator's to take away; accounts elsewhere stay.
    let identity = Identity {
        provider: "rachel".to_owned(),
        issuer: "https://rachel.example".to_owned(),
        subject: "pip".to_owned(),
    };
    let link = store.add_link(pip, identity).await.unwrap();
    store.clear_factors(pip).await.unwrap();
    store.clear_factors(pip).await.unwrap();
    let card = store.user_card(pip).await.unwrap();
    assert_eq!((card.totp, card.passkeys, card.links), (false, 0, 1));
    assert_eq!(store.links(pip).await.unwrap(), [link]);
    assert_eq!(store.one_time_codes(pip).await.unwrap(), None);
    assert_eq!(store.passkeys(pip).await.unwrap(), []);

    store.set_one_time_codes(pip, new_codes("krill")).await.unwrap();
    fixture.passkey(pip, b"c").await;
    store.delete_user(pip).await.unwrap();
    assert_eq!(store.one_time_codes(pip).await.unwrap(), None);
    assert_eq!(store.passkey_by_credential(b"c".to_vec()).await.unwrap(), None);
    assert!(fixture.codes().await.is_some());
    assert_eq!(store.passkeys(owner).await.unwrap().len(), 2);
}
