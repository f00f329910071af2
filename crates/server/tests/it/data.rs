//! What a user has as a whole: export, search, and what is deleted with time. What is imported: `import.rs`.

use std::io::{Cursor, Read as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use store::{
    Archive, Conversation, ConversationId, Limits, Message, MessageId, NewArchive, ParentChoice, Role,
    Status, Store, UserId,
};
use zip::ZipArchive;

use crate::hostile::DEEPSEEK;
use crate::support::{ADMINISTRATOR, Client, Reply, Setup, Site, eventually, sign_in};

const EXPORT: &str = "/api/account/export";
pub(crate) const IMPORT: &str = "/api/account/import";
const SETTINGS: &str = "/api/account/settings";
const DAY: Duration = Duration::from_hours(24);

impl Setup {
    /// A site in 2026: imported times have been.
    pub(crate) async fn today(self) -> Site {
        let mut site = self.serve().await;
        site.clock.advance(Duration::from_millis(1_780_000_000_000));
        let reply = sign_in(&site.client, ADMINISTRATOR).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        site.client = site.client.signed_in(&reply);
        site
    }
}

pub(crate) async fn import(client: &Client, file: impl Into<Vec<u8>>) -> Reply {
    client.request("POST", IMPORT, &[("content-type", "application/octet-stream")], file.into()).await
}

/// Imports a file that is good.
pub(crate) async fn imported(client: &Client, file: impl Into<Vec<u8>>) -> Value {
    let reply = import(client, file).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

pub(crate) async fn search(client: &Client, query: &str) -> Value {
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let reply = client.get(&format!("/api/search?q={query}&limit=100")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// All of a user's conversations, the last changed first, with places instead of ids.
async fn trees(store: &Arc<dyn Store>, owner: UserId) -> Vec<Value> {
    let mut trees = Vec::new();
    for id in store.conversation_ids(owner).await.unwrap() {
        let Archive { conversation, messages } = store.archive(owner, id).await.unwrap();
        let place = |id: MessageId| messages.iter().position(|message| message.id == id);
        let messages: Vec<_> = messages
            .iter()
            .map(|message| {
                let nowhere = Message {
                    id: [0; 16].into(),
                    conversation_id: [0; 16].into(),
                    parent_id: None,
                    ..message.clone()
                };
                json!([message.parent_id.map(place), format!("{nowhere:?}")])
            })
            .collect();
        let nowhere = Conversation { id: [0; 16].into(), ..conversation };
        trees.push(json!([format!("{nowhere:?}"), messages]));
    }
    trees
}

/// Conversations with everything that there can be: branches, reasoning, failures, instructions, other scripts.
async fn write_some(site: &Site, client: &Client) {
    for (model, question) in [("thinker", "How deep? 抹香鲸"), ("failing", "Fail, please"), ("plain", "🐋?")]
    {
        let made = client.post("/api/conversations", &json!({"model": model})).await.json();
        let path = format!("/api/conversations/{}", made["id"].as_str().unwrap());
        client.send("PATCH", &path, &json!({"system": "Be brief."})).await;
        let turn = client.post(&format!("{path}/messages"), &json!({"content": question})).await.json();
        let answer = format!("{path}/messages/{}", turn["assistant"]["id"].as_str().unwrap());
        client.get(&format!("{answer}/stream")).await;
        site.clock.advance(Duration::from_secs(1));
        let again = client.post(&format!("{answer}/regenerate"), &json!({})).await.json();
        let id = again["assistant"]["id"].as_str().or(again["id"].as_str()).unwrap();
        client.get(&format!("{path}/messages/{id}/stream")).await;
        let other = json!({"content": "Another beginning", "parent_id": null});
        let turn = client.post(&format!("{path}/messages"), &other).await.json();
        let id = turn["assistant"]["id"].as_str().unwrap();
        client.get(&format!("{path}/messages/{id}/stream")).await;
        // No two are changed at the same time: their order would be their ids'.
        site.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn what_is_exported_comes_back_equal_for_another_user_and_once() {
    let site = Setup::default().today().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    let (pip, pip_id) = site.user("Pip").await;
    write_some(&site, &ahab).await;
    ahab.post("/api/conversations", &json!({})).await;
    let export = ahab.get(EXPORT).await;
    assert_eq!((export.status, export.header("content-type")), (200, "application/zip"));
    assert_eq!(
        export.header("content-disposition"),
        "attachment; filename=\"cachalot-export-2026-05-28.zip\""
    );

    let result = imported(&pip, export.body.to_vec()).await;
    let expected = json!({
        "format": "cachalot", "conversations": 4, "messages": 15, "already_there": 0, "skipped": [],
        "skipped_total": 0,
    });
    assert_eq!(result, expected);
    let before = trees(&site.store, ahab_id).await;
    assert_eq!(before.len(), 4);
    assert!(before.iter().any(|tree| tree.to_string().contains("Failed")), "{before:?}");
    assert_eq!(trees(&site.store, pip_id).await, before);

    // Again, and into where it came from: nothing is added.
    let nothing = json!({
        "format": "cachalot", "conversations": 0, "messages": 0, "already_there": 4, "skipped": [],
        "skipped_total": 0,
    });
    assert_eq!(imported(&pip, export.body.to_vec()).await, nothing);
    assert_eq!(imported(&ahab, export.body.to_vec()).await, nothing);
    assert_eq!(trees(&site.store, ahab_id).await, before);
    assert_eq!(trees(&site.store, pip_id).await, before);

    // What was exported from the import, too, and the JSON alone.
    let again = pip.get(EXPORT).await;
    assert_eq!(imported(&pip, again.body.to_vec()).await, nothing);
    let (flask, flask_id) = site.user("Flask").await;
    let conversations = unzipped(&again).remove("conversations.json").unwrap();
    assert_eq!(imported(&flask, conversations).await["conversations"], 4);
    assert_eq!(trees(&site.store, flask_id).await, before);
    // One goes on with what came.
    let list = pip.get("/api/conversations").await.json();
    let newest = list["conversations"][1]["id"].as_str().unwrap();
    let asked = json!({"content": "And now?", "model": "plain"});
    let turn = pip.post(&format!("/api/conversations/{newest}/messages"), &asked).await;
    assert_eq!(turn.status, 201, "{}", turn.text());
}

fn unzipped(export: &Reply) -> std::collections::BTreeMap<String, String> {
    let mut archive = ZipArchive::new(Cursor::new(export.body.to_vec())).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let mut files = std::collections::BTreeMap::new();
    for name in names {
        let mut text = String::new();
        archive.by_name(&name).unwrap().read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    files
}

#[tokio::test]
async fn an_export_has_the_account_and_can_be_read_by_people() {
    let site = Setup::default().today().await;
    let (ahab, _) = site.user("Ahab").await;
    let (mallory, _) = site.user("Mallory").await;
    let made = mallory.post("/api/conversations", &json!({})).await.json();
    let path = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    mallory.post(&path, &json!({"content": "Mallory's secret"})).await;
    write_some(&site, &ahab).await;
    let title = json!({"title": "../../etc/passwd\u{202e}"});
    let list = ahab.get("/api/conversations").await.json();
    let id = list["conversations"][0]["id"].as_str().unwrap();
    ahab.send("PATCH", &format!("/api/conversations/{id}"), &title).await;
    ahab.send("PATCH", SETTINGS, &json!({"retention_days": 30})).await;

    let files = unzipped(&ahab.get(EXPORT).await);
    let account: Value = serde_json::from_str(&files["account.json"]).unwrap();
    assert_eq!((&account["name"], &account["role"]), (&json!("Ahab"), &json!("user")));
    assert_eq!((&account["email"], &account["retention_days"]), (&Value::Null, &json!(30)));
    assert!(!files["account.json"].contains("argon2"));
    assert_eq!(files.len(), 2 + 3, "{:?}", files.keys());
    let passwd = format!("conversations/2026-05-28 etc passwd {id}.md");
    assert!(files.contains_key(&passwd), "{:?}", files.keys());
    let whales = files.iter().find(|(name, _)| name.contains("How deep 抹香鲸")).unwrap().1;
    assert!(whales.contains("# How deep? 抹香鲸\n"), "{whales}");
    assert!(whales.contains("<summary>Reasoning</summary>\n\nDeep.\n\n</details>\n\nTwo km."), "{whales}");
    assert!(whales.contains("Another beginning"), "the newest branch: {whales}");
    assert!(files.values().all(|text| !text.contains("Mallory")));
}

#[tokio::test]
async fn an_export_is_one_at_a_time_and_ends_when_its_client_goes() {
    let site = Setup::default().today().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    // More than the kernel's buffers take, and nothing that packs well.
    let mut rng = base::Rng::from_seed(1);
    for number in 1..40 {
        let content: String = (0..60_000).map(|_| format!("{:016x}", rng.next_u64())).collect();
        add(&site, ahab_id, conversation(number, 0, &[&content, "yes"])).await;
    }
    let mut stream = ahab.open("GET", EXPORT, &[], Vec::new()).await;
    assert_eq!(stream.status, 200);
    assert!(stream.piece().await.unwrap().starts_with(b"PK"));
    ahab.get(EXPORT).await.is_error(429, "export_running");
    assert_eq!(site.client.get(EXPORT).await.status, 200, "another's goes on beside it");
    drop(stream);
    eventually("the export has ended", async || {
        let again = ahab.open("GET", EXPORT, &[], Vec::new()).await;
        again.status == 200
    })
    .await;
}

/// A conversation with one branch of these texts.
pub(crate) fn conversation(number: u8, updated_ms: i64, texts: &[&str]) -> Archive {
    let conversation_id = ConversationId::from([number; 16]);
    let id = |place: usize| {
        let mut bytes = [number; 16];
        bytes[8..].copy_from_slice(&place.to_be_bytes());
        MessageId::from(bytes)
    };
    let messages = texts.iter().enumerate().map(|(place, text)| Message {
        id: id(place),
        conversation_id,
        parent_id: place.checked_sub(1).map(id),
        role: if place % 2 == 0 { Role::User } else { Role::Assistant },
        status: Status::Complete,
        content: (*text).to_owned(),
        reasoning: None,
        reasoning_ms: None,
        error: None,
        model: None,
        created_ms: updated_ms,
        usage: None,
        timing: None,
    });
    let messages = messages.collect();
    let conversation = Conversation {
        id: conversation_id,
        title: format!("Conversation {number}"),
        model: "plain".to_owned(),
        system: None,
        created_ms: updated_ms,
        updated_ms,
    };
    Archive { conversation, messages }
}

pub(crate) async fn add(site: &Site, owner: UserId, archive: Archive) {
    let limits = Limits { messages_max: 1 << 20, bytes_max: 1 << 30 };
    let new = NewArchive { archive, conversations_max: 1 << 20, limits };
    site.store.add_archive(owner, new).await.unwrap();
}

#[tokio::test]
async fn a_search_finds_one_s_own_words_and_nobody_else_s() {
    let site = Setup::default().today().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    let (_, pip_id) = site.user("Pip").await;
    add(&site, ahab_id, conversation(1, 1000, &["Where is the WHALE?", "There, 抹香鲸 whale 🐋 white"]))
        .await;
    add(&site, ahab_id, conversation(2, 2000, &["A white whale and 抹香鲸", "No."])).await;
    add(&site, pip_id, conversation(3, 3000, &["My white whale 抹香鲸", "Yes."])).await;

    let found = search(&ahab, "Whale  white").await;
    assert_eq!((&found["scanned"], &found["more"]), (&json!(4), &json!(false)));
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{found}");
    let id = |number: u8| ConversationId::from([number; 16]).to_string();
    let expected = json!({
        "conversation_id": id(2), "title": "Conversation 2", "message_id": results[0]["message_id"], "role": "user",
        "created_ms": 2000, "snippet": "A white whale and 抹香鲸", "marks": [[2, 5], [8, 5]],
    });
    assert_eq!(results[0], expected);
    assert_eq!((&results[1]["conversation_id"], &results[1]["role"]), (&json!(id(1)), &json!("assistant")));
    assert_eq!(search(&ahab, "🐋").await["results"][0]["marks"], json!([[17, 2]]));
    assert_eq!(search(&ahab, "抹香鲸").await["results"].as_array().unwrap().len(), 2);
    assert_eq!(search(&ahab, "my").await["results"], json!([]));
    // By title, at the newest message.
    let titled = search(&ahab, "conversation").await;
    assert_eq!(titled["results"][0]["snippet"], "Conversation 2");
    assert_eq!(titled["results"][0]["role"], "assistant");

    let first = ahab.get("/api/search?q=whale&limit=1").await.json();
    assert_eq!((first["results"].as_array().unwrap().len(), &first["more"]), (1, &json!(true)));
    let long = format!("/api/search?q={}", "x".repeat(201));
    for path in ["/api/search", "/api/search?q=", "/api/search?q=%20%09", &long, "/api/search?q=a&q=b"] {
        ahab.get(path).await.is_error(422, "invalid_parameter");
    }
    for limit in ["0", "101", "x", "-1"] {
        ahab.get(&format!("/api/search?q=a&limit={limit}")).await.is_error(422, "invalid_parameter");
    }
    // Nothing that could be SQL or a pattern is one.
    for query in ["' OR 1=1 --", "%", "_", "*", "\"", "\\", "\0"] {
        assert_eq!(search(&ahab, query).await["results"], json!([]), "{query:?}");
    }
}

#[tokio::test]
async fn a_search_is_one_at_a_time_and_ends_when_its_client_goes() {
    let site = Setup::default().today().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    let texts: Vec<String> =
        (0..800).map(|number| format!("{number} {}", "抹香鲸 whale ".repeat(1000))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    add(&site, ahab_id, conversation(1, 1000, &texts)).await;
    // Nothing is found, so it looks at everything, for a while.
    let path = "/api/search?q=plesiosaur";
    let refused = async || ahab.get(path).await.status == 429;
    eventually("a second search is refused while one runs", async || {
        let client = ahab.clone();
        let running = tokio::spawn(async move { client.get(path).await.status });
        let refused = refused().await;
        refused | (running.await.unwrap() == 429)
    })
    .await;
    // A client that goes away leaves its place.
    let (client, place) = (ahab.clone(), path.to_owned());
    let gone = tokio::spawn(async move { client.open("GET", &place, &[], Vec::new()).await.status });
    eventually("it has begun, or is over", async || refused().await || gone.is_finished()).await;
    gone.abort();
    eventually("the place is free", async || !refused().await).await;
}

#[tokio::test]
async fn old_conversations_are_deleted_as_their_owner_and_the_server_want_it() {
    let site = Setup::with(|settings| settings.retention_days_max = Some(100)).today().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    let (pip, pip_id) = site.user("Pip").await;
    assert_eq!(ahab.get(SETTINGS).await.json(), json!({"retention_days": null, "retention_days_max": 100}));
    let chosen = ahab.send("PATCH", SETTINGS, &json!({"retention_days": 10})).await;
    assert_eq!(chosen.json(), json!({"retention_days": 10, "retention_days_max": 100}));
    assert_eq!(ahab.send("PATCH", SETTINGS, &json!({})).await.json()["retention_days"], 10);
    for wrong in [json!(0), json!(3651), json!(-1)] {
        let reply = ahab.send("PATCH", SETTINGS, &json!({"retention_days": wrong})).await;
        reply.is_error(422, "invalid_parameter");
        assert_eq!(reply.json()["error"]["param"], "retention_days");
    }
    ahab.send("PATCH", SETTINGS, &json!({"retention_days": "x"})).await.is_error(400, "invalid_format");
    assert_eq!(pip.get(SETTINGS).await.json()["retention_days"], Value::Null, "it is Ahab's");

    let now_ms = base::Clock::unix_ms(&*site.clock);
    for (owner, base) in [(ahab_id, 0), (pip_id, 100)] {
        for days in 0..20 {
            let updated_ms = now_ms - i64::from(days) * 86_400_000;
            add(&site, owner, conversation(base + days + 1, updated_ms, &["x", "y"])).await;
        }
    }
    // One is being gone on with, and its answer does not end.
    let live = conversation(20, 0, &[]).conversation.id;
    let turn = store::NewTurn {
        conversation_id: live,
        parent: ParentChoice::Newest,
        content: "still there?".to_owned(),
        model: "endless".to_owned(),
        title_if_none: String::new(),
        limits: Limits { messages_max: 100, bytes_max: 1000 },
    };
    let left = async |owner| site.store.conversation_ids(owner).await.unwrap().len();
    site.store.add_turn(ahab_id, turn).await.unwrap();
    assert_eq!((left(ahab_id).await, left(pip_id).await), (20, 20));
    site.clock.advance(Duration::from_hours(1));
    // Ahab's that are older than 10 days, but for the one that is being written.
    eventually("Ahab's old ones are gone", async || left(ahab_id).await == 11).await;
    assert_eq!(left(pip_id).await, 20);
    let noted = async || {
        let entries = site.store.audit_entries(None, 10).await.unwrap();
        let events = entries.into_iter().filter(|entry| entry.event.starts_with("conversations_expired"));
        events.map(|entry| (entry.event, entry.user_id, entry.address)).collect::<Vec<_>>()
    };
    // Who goes on while it deletes is in the same sweep.
    eventually("the first sweep is over", async || noted().await.len() == 1).await;
    site.clock.advance(DAY * 85);
    eventually("the server's time is over", async || left(pip_id).await == 15).await;
    eventually("all but the live one are gone", async || left(ahab_id).await == 1).await;
    assert_eq!(site.store.conversation_ids(ahab_id).await.unwrap(), [live]);

    eventually("both sweeps are noted", async || noted().await.len() == 2).await;
    let expected = |count| (format!("conversations_expired {count}"), None, String::new());
    assert_eq!(noted().await, [expected(15), expected(9)]);
}

#[tokio::test]
async fn what_is_taken_along_and_brought_is_noted_without_what_it_is() {
    let site = Setup::default().today().await;
    site.client.get(EXPORT).await;
    imported(&site.client, DEEPSEEK).await;
    let entries = site.store.audit_entries(None, 2).await.unwrap();
    let events: Vec<_> = entries.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["data_imported", "data_exported"]);
    assert!(entries.iter().all(|entry| entry.user_id.is_some() && entry.address == "127.0.0.1"));
}
