//! Backups and the rotation of the master key, as administrators ask for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{ManualClock, Rng};
use serde_json::{Value, json};
use store::{
    Limits, MasterKeys, NewConversation, NewTurn, ParentChoice, SqliteStore, Status, Store, StoreError,
    UserId, UserRole,
};
use tempfile::TempDir;

use crate::support::{ADMINISTRATOR, Client, Reply, Setup, Site, events, eventually, sign_in};

const BACKUP: &str = "/api/admin/backup";
const ROTATE: &str = "/api/admin/rotate-key";

/// Asks for both as somebody.
async fn ask(client: &Client) -> [Reply; 2] {
    [client.get(BACKUP).await, client.post(ROTATE, &json!({})).await]
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Opens what was downloaded with a copy of the site's master key.
async fn opened(site: &Site, body: &[u8]) -> (TempDir, Result<Arc<dyn Store>, StoreError>) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("chats.db");
    std::fs::write(&path, body).unwrap();
    let key = folder.path().join("master.key");
    std::fs::copy(site.folder.path().join("master.key"), &key).unwrap();
    let clock = Arc::new(ManualClock::new());
    let keys = MasterKeys::in_file(key);
    let opened = SqliteStore::open(&path, keys, clock, Rng::from_os().unwrap()).await;
    if let Ok(store) = &opened {
        store.check_integrity().await.unwrap();
    }
    (folder, opened.map(|store| Arc::new(store) as Arc<dyn Store>))
}

/// A conversation with an answer, as it is when the answer is there.
async fn converse(client: &Client, content: &str) -> Value {
    let made = client.post("/api/conversations", &json!({"model": "plain"})).await.json();
    let path = format!("/api/conversations/{}", made["id"].as_str().unwrap());
    let turn = client.post(&format!("{path}/messages"), &json!({"content": content})).await;
    assert!(turn.status < 300, "{}", turn.text());
    eventually("the answer is complete", async || {
        let tree = client.get(&path).await.json();
        tree["messages"][1]["status"] == "complete"
    })
    .await;
    client.get(&path).await.json()
}

#[tokio::test]
async fn a_look_at_the_backup_makes_none() {
    let site = Site::new().await;
    let looked = site.client.request("HEAD", BACKUP, &[], Vec::new()).await;
    assert_eq!((looked.status, looked.text()), (200, ""));
    assert_eq!(looked.header("content-type"), "application/vnd.sqlite3");
    assert_eq!(Client::new(site.address).request("HEAD", BACKUP, &[], Vec::new()).await.status, 401);
    assert!(!events(&site).await.contains(&"backup".to_owned()));
    assert_eq!(site.client.get(BACKUP).await.status, 200);
    assert!(events(&site).await.contains(&"backup".to_owned()));
}

#[tokio::test]
async fn only_administrators_may_and_by_what_they_are_now() {
    let site = Site::new().await;
    for reply in ask(&Client::new(site.address)).await {
        reply.is_error(401, "not_signed_in");
    }
    let (starbuck, id) = site.user("Starbuck").await;
    for role in [UserRole::User, UserRole::Operator] {
        site.store.set_role(id, role).await.unwrap();
        let again = starbuck.signed_in(&sign_in(&Client::new(site.address), "Starbuck").await);
        for reply in ask(&again).await {
            reply.is_error(403, "not_allowed");
        }
    }
    let before = names(site.folder.path());
    // The cookie of before, which says that it is a user's.
    site.store.set_role(id, UserRole::Admin).await.unwrap();
    for reply in ask(&starbuck).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let cookie_of_an_administrator =
        starbuck.signed_in(&sign_in(&Client::new(site.address), "Starbuck").await);
    site.store.set_role(id, UserRole::User).await.unwrap();
    for reply in ask(&cookie_of_an_administrator).await {
        reply.is_error(403, "not_allowed");
    }
    assert_eq!(names(site.folder.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_downloaded_under_load_opens_and_is_complete() {
    let mut site = Site::new().await;
    site.clock.advance(Duration::from_secs(1_795_544_706));
    site.client = site.client.signed_in(&sign_in(&Client::new(site.address), ADMINISTRATOR).await);
    let owner = site.owner().await;
    let drip = site.models.gate.drip();
    let made = site.client.post("/api/conversations", &json!({"model": "endless"})).await.json();
    let path = format!("/api/conversations/{}", made["id"].as_str().unwrap());
    let turn = site.client.post(&format!("{path}/messages"), &json!({"content": "go on"})).await.json();
    eventually("some of the answer is on disk", async || {
        let tree = site.client.get(&path).await.json();
        tree["messages"][1]["content"].as_str().is_some_and(|content| content.len() > 3)
    })
    .await;
    let load = async {
        for number in 0_u64.. {
            converse(&site.client, &format!("load {number}")).await;
        }
    };
    let checks = check_backups(&site, owner, [&made["id"], &turn["assistant"]["id"]]);
    tokio::select! {
        () = load => unreachable!("it goes on"),
        () = checks => {}
    }
    drop(drip);
    site.models.gate.open();
}

/// Some backups, each with all that was answered before it and with the answer that is being written.
async fn check_backups(site: &Site, owner: UserId, [conversation, answer]: [&Value; 2]) {
    let mut trees = Vec::new();
    for number in 0..3 {
        trees.push(converse(&site.client, &format!("question {number}")).await);
        let fields = [("accept-encoding", "gzip")];
        let reply = site.client.request("GET", BACKUP, &fields, Vec::new()).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), "application/vnd.sqlite3");
        let name = "attachment; filename=\"cachalot-2026-11-24.db\"";
        assert_eq!(reply.header("content-disposition"), name);
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        assert_eq!(reply.header("content-encoding"), "");
        let (_folder, store) = opened(site, &reply.body).await;
        let store = store.unwrap();
        for tree in &trees {
            let id = tree["conversation"]["id"].as_str().unwrap().parse().unwrap();
            let messages = store.messages(owner, id).await.unwrap();
            for (message, expected) in messages.iter().zip(tree["messages"].as_array().unwrap()) {
                assert_eq!(
                    (message.status, &json!(message.content)),
                    (Status::Complete, &expected["content"])
                );
            }
            assert_eq!(messages.len(), 2);
        }
        let (conversation, answer) = (conversation.as_str().unwrap(), answer.as_str().unwrap());
        let answer =
            store.message(owner, conversation.parse().unwrap(), answer.parse().unwrap()).await.unwrap();
        assert_eq!(answer.status, Status::Interrupted);
        assert!(answer.content.starts_with("aaa"), "{:?}", answer.content);
    }
}

/// More than fits into the buffers of a connection.
async fn fill(site: &Site) {
    let owner = site.owner().await;
    let conversation = site.store.add_conversation(owner, NewConversation::default(), 100).await.unwrap();
    for _ in 0..24 {
        let turn = NewTurn {
            conversation_id: conversation.id,
            parent: ParentChoice::Root,
            content: "deep ".repeat(200_000),
            model: "plain".to_owned(),
            title_if_none: String::new(),
            limits: Limits { messages_max: 100, bytes_max: 1 << 30 },
        };
        site.store.add_turn(owner, turn).await.unwrap();
    }
}

#[tokio::test]
async fn one_backup_at_a_time_and_a_client_that_goes_away_leaves_nothing() {
    let site = Site::new().await;
    fill(&site).await;
    let before = names(site.folder.path());
    let mut first = site.client.open("GET", BACKUP, &[], Vec::new()).await;
    assert_eq!(first.status, 200);
    assert!(first.piece().await.is_some());
    assert_eq!(names(site.folder.path()), before, "it has no name while it is sent");
    site.client.get(BACKUP).await.is_error(409, "backup_running");
    // Others go on, the rotation too.
    assert_eq!(site.client.post(ROTATE, &json!({})).await.status, 200);
    drop(first);
    let mut reply = site.client.get(BACKUP).await;
    eventually("the server notices that the client has gone", async || {
        if reply.status == 409 {
            reply = site.client.get(BACKUP).await;
        }
        reply.status == 200
    })
    .await;
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert_eq!(names(site.folder.path()), before);
}

#[tokio::test]
async fn the_key_is_rotated_twice_and_everything_can_be_read() {
    let site = Site::new().await;
    let (ishmael, _) = site.user("Ishmael").await;
    let tree = converse(&ishmael, "hello").await;
    let old = site.client.get(BACKUP).await;
    for generation in [2, 3] {
        let reply = site.client.post(ROTATE, &json!({})).await;
        let expected = json!({"generation": generation, "rewrapped": 2, "removable": []});
        assert_eq!((reply.status, reply.json()), (200, expected));
        let path = format!("/api/conversations/{}", tree["conversation"]["id"].as_str().unwrap());
        assert_eq!(ishmael.get(&path).await.json(), tree);
        let key = std::fs::read_to_string(site.folder.path().join("master.key")).unwrap();
        assert!(key.starts_with(&format!("{generation}:")) && key.lines().count() == 1);
    }
    // A backup of before needs the key of before.
    let (_folder, store) = opened(&site, &old.body).await;
    assert!(matches!(store.unwrap_err(), StoreError::KeyWrong { generation: 1, .. }));
    let (_folder, store) = opened(&site, &site.client.get(BACKUP).await.body).await;
    assert_eq!(store.unwrap().users_count().await.unwrap(), 2);

    let folder = Arc::clone(&site.folder);
    site.shut_down().await.unwrap();
    let site = Setup { folder: Some(folder), ..Setup::default() }.serve().await;
    let ishmael = Client::new(site.address).signed_in(&sign_in(&Client::new(site.address), "Ishmael").await);
    let path = format!("/api/conversations/{}", tree["conversation"]["id"].as_str().unwrap());
    assert_eq!(ishmael.get(&path).await.json(), tree);
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_to_the_administrator() {
    let site = Site::new().await;
    let key = site.folder.path().join("master.key");
    let aside = site.folder.path().join("aside");
    std::fs::rename(&key, &aside).unwrap();
    let reply = site.client.post(ROTATE, &json!({})).await;
    reply.is_error(500, "vault_failed");
    assert!(reply.text().contains("is missing"), "{}", reply.text());
    assert!(!key.exists());
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(site.client.post(ROTATE, &json!({})).await.json()["generation"], 2);

    let in_the_way = site.folder.path().join("chats.db.draft-of-backup");
    std::fs::create_dir(&in_the_way).unwrap();
    site.client.get(BACKUP).await.is_error(500, "vault_failed");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(site.client.get(BACKUP).await.status, 200);
}

#[tokio::test]
async fn both_stand_in_the_audit_log_with_who_did_it() {
    let site = Site::new().await;
    ask(&site.client).await;
    let owner = site.owner().await;
    let entries = site.store.audit_entries(None, 2).await.unwrap();
    let events: Vec<_> = entries.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["master_key_rotated", "backup"]);
    assert!(entries.iter().all(|entry| entry.address == "127.0.0.1" && entry.by == Some(owner)));
}
