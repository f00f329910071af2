//! Databases as earlier programs left them, with their master keys (which keep no secret of anybody's). Each was written
//! by the code of its time, over the API of its server or its store: two users, a conversation of one turn and one of
//! two.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base::{Rng, SystemClock};
use store::{
    AuditStore as _, Balance, ConversationStore as _, CreditKind, Held, KeyScope, KeyStore as _, MasterKeys,
    MessageStore as _, MeterStore as _, Nanos, NewCredit, NewHold, NewKey, PageRequest, SessionStore as _,
    SqliteStore, Status, StoreHealth as _, UserRole, UserStore as _,
};

#[tokio::test]
async fn every_schema_that_was_written_is_read() {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
    let mut tried = 0;
    for folder in fs::read_dir(folders).unwrap() {
        let folder = folder.unwrap().path();
        let copy = tempfile::tempdir().unwrap();
        for file in ["cachalot.db", "master.key"] {
            let path = copy.path().join(file);
            fs::copy(folder.join(file), &path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        // Once to bring it up to date, and once more as it then is.
        for _ in 0..2 {
            check(copy.path()).await;
        }
        check_meter(copy.path()).await;
        check(copy.path()).await;
        tried += 1;
    }
    assert!(tried >= 2);
}

async fn open(folder: &Path) -> SqliteStore {
    let keys = MasterKeys::in_file(folder.join("master.key"));
    let clock = Arc::new(SystemClock::new());
    SqliteStore::open(&folder.join("cachalot.db"), keys, clock, Rng::from_os().unwrap()).await.unwrap()
}

async fn check(folder: &Path) {
    let store = open(folder).await;
    store.check_integrity().await.unwrap();

    let ahab = store.user_by_login("ahab".to_owned()).await.unwrap().unwrap();
    let pip = store.user_by_login("pip".to_owned()).await.unwrap().unwrap();
    assert_eq!((ahab.name.as_str(), ahab.role, pip.role), ("Ahab", UserRole::Admin, UserRole::User));
    assert!([&ahab, &pip].iter().all(|user| user.password_hash.is_some() && user.disabled_ms.is_none()));
    assert_eq!(store.users_count().await.unwrap(), 2);
    assert_eq!(store.sessions(pip.id).await.unwrap(), [], "they had signed out");
    let events: Vec<_> =
        store.audit_entries(None, 10).await.unwrap().into_iter().map(|entry| entry.event).collect();
    for event in ["first_administrator", "sign_up", "login_failed", "logout"] {
        assert!(events.iter().any(|given| given == event), "{event}: {events:?}");
    }

    assert_eq!(store.balance(ahab.id).await.unwrap(), Balance::default());
    let expected: [(_, &str, &[&str]); 2] = [
        (ahab.id, "A log of Say hello to the whale.", &["Say hello to the whale."]),
        (pip.id, "A log of Call me Pip.", &["Call me Pip.", "Where is the drum?"]),
    ];
    for (owner, title, questions) in expected {
        let page = store.conversations(owner, PageRequest { limit: 10, before: None }).await.unwrap();
        let [conversation] = &page.conversations[..] else { panic!("{page:?}") };
        assert_eq!((conversation.title.as_str(), conversation.system.as_deref()), (title, Some("Be brief.")));
        let messages = store.messages(owner, conversation.id).await.unwrap();
        let asked: Vec<_> = messages.iter().step_by(2).map(|message| message.content.as_str()).collect();
        assert_eq!(asked, questions);
        for answer in messages.iter().skip(1).step_by(2) {
            assert!(answer.content.len() > 20 && answer.model.is_some(), "{answer:?}");
            assert!(matches!(answer.status, Status::Complete | Status::Stopped), "{answer:?}");
        }
        let leaf = messages.last().unwrap().id;
        assert_eq!(store.branch(owner, conversation.id, leaf).await.unwrap(), messages);
    }
    store.close().await.unwrap();
}

/// What came later than the schema works in it as in a new one.
async fn check_meter(folder: &Path) {
    let store = open(folder).await;
    let pip = store.user_by_login("pip".to_owned()).await.unwrap().unwrap().id;
    let key = NewKey {
        id: [1; 16].into(),
        user: pip,
        name: "of the drum".to_owned(),
        start: "sk-".to_owned(),
        hash: [1; 32],
        created_ms: 0,
        expires_ms: None,
        scope: KeyScope::default(),
    };
    let key = store.add_key(key, 1).await.unwrap();
    assert_eq!(store.key(key.id).await.unwrap(), key);
    let amount = Nanos(5);
    let (by, note) = (None, "because".to_owned());
    let credit = NewCredit { user: pip, kind: CreditKind::TopUp, amount, by, note, at_ms: 0 };
    store.add_credit(credit).await.unwrap();
    let hold = NewHold { id: [1; 16].into(), user: pip, key: Some(key.id), amount, created_ms: 0 };
    assert_eq!(store.hold(hold).await.unwrap(), Held::Held);
    store.release([1; 16].into()).await.unwrap();
    assert_eq!(store.balance(pip).await.unwrap().available(), amount);
    store.close().await.unwrap();
}
