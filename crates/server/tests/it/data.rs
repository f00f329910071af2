//! What a user has as a whole: export, import, search, and what is deleted with time.

use std::io::{Cursor, Read as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use store::{
    Archive, Conversation, ConversationId, Limits, Message, MessageId, NewArchive, ParentChoice, Role,
    Status, Store, UserId,
};
use zip::ZipArchive;

use crate::hostile::{CHATGPT, DEEPSEEK, hostile_archives, hostile_json, own, zipped};
use crate::support::{ADMINISTRATOR, Client, Reply, Setup, Site, eventually, sign_in, within};

const EXPORT: &str = "/api/account/export";
const IMPORT: &str = "/api/account/import";
const SETTINGS: &str = "/api/account/settings";
const DAY: Duration = Duration::from_hours(24);

impl Setup {
    /// A site in 2026: imported times have been.
    async fn today(self) -> Site {
        let mut site = self.serve().await;
        site.clock.advance(Duration::from_millis(1_780_000_000_000));
        let reply = sign_in(&site.client, ADMINISTRATOR).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        site.client = site.client.signed_in(&reply);
        site
    }
}

async fn import(client: &Client, file: impl Into<Vec<u8>>) -> Reply {
    client.request("POST", IMPORT, &[("content-type", "application/octet-stream")], file.into()).await
}

/// Imports a file that is good.
async fn imported(client: &Client, file: impl Into<Vec<u8>>) -> Value {
    let reply = import(client, file).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn search(client: &Client, query: &str) -> Value {
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
fn conversation(number: u8, updated_ms: i64, texts: &[&str]) -> Archive {
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

async fn add(site: &Site, owner: UserId, archive: Archive) {
    let limits = Limits { messages_max: 1 << 20, bytes_max: 1 << 30 };
    let new = NewArchive { archive, conversations_max: 1 << 20, limits };
    site.store.add_archive(owner, new).await.unwrap();
}

/// The branch that ends with the newest message, as roles, texts and reasoning.
async fn newest_branch(client: &Client, id: &str) -> Vec<[String; 3]> {
    let tree = client.get(&format!("/api/conversations/{id}")).await.json();
    let messages = tree["messages"].as_array().unwrap();
    let mut branch = Vec::new();
    let mut next = messages.last();
    while let Some(message) = next {
        branch.push(
            ["role", "content", "reasoning"].map(|field| message[field].as_str().unwrap_or("").to_owned()),
        );
        next = messages.iter().find(|other| other["id"] == message["parent_id"]);
    }
    branch.reverse();
    branch
}

#[tokio::test]
async fn chatgpt_s_export_is_imported_and_what_is_left_out_is_said() {
    let site = Setup::default().today().await;
    let file = zipped(&[
        ("user.json", b"{}"),
        ("conversations.json", CHATGPT.as_bytes()),
        ("chat.html", b"<html></html>"),
        ("file-abc-photo.png", b"\x89PNG"),
        ("dalle-generations/", b""),
    ]);
    let result = imported(&site.client, file).await;
    let counts =
        ["format", "conversations", "messages", "already_there", "skipped_total"].map(|key| &result[key]);
    assert_eq!(counts, [&json!("chatgpt"), &json!(2), &json!(7), &json!(0), &json!(4)]);
    let skipped: Vec<_> = result["skipped"].as_array().unwrap().iter().collect();
    assert_eq!(skipped[0]["title"], "Whale depth 🐋");
    let whys: Vec<_> = skipped.iter().map(|skipped| skipped["why"].as_str().unwrap()).collect();
    assert!(whys[0].starts_with("2 calls and results of tools"), "{whys:?}");
    assert!(whys[1].starts_with("1 parts that are no text"), "{whys:?}");
    assert!(whys[3].starts_with("there is nothing in it"), "{whys:?}");

    let list =
        site.client.get("/api/conversations").await.json()["conversations"].as_array().unwrap().clone();
    let whales = list.iter().find(|conversation| conversation["title"] == "Whale depth 🐋").unwrap();
    assert_eq!(
        (&whales["created_ms"], &whales["updated_ms"]),
        (&json!(1_718_000_000_123_i64), &json!(1_718_000_500_500_i64))
    );
    assert_eq!(whales["model"], "plain", "the server's own, so that one can go on");
    let id = whales["id"].as_str().unwrap();
    let thoughts = "Remembering dives\n\nTags recorded them.\n\nChecking numbers\n\nTwo kilometres.";
    let expected = [
        ["user", "How deep do sperm whales dive?", ""],
        ["assistant", "About two kilometres.", thoughts],
        ["user", "这张照片里的是抹香鲸吗？\nIs it one?", ""],
        ["assistant", "是的，这是一头抹香鲸。🐋", ""],
    ];
    assert_eq!(newest_branch(&site.client, id).await, expected);
    let tree = site.client.get(&format!("/api/conversations/{id}")).await.json();
    let messages = tree["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5, "with the other answer");
    assert_eq!((&messages[1]["content"], &messages[1]["model"]), (&json!("Deep."), &json!("gpt-4o")));
    assert_eq!(
        (&messages[2]["model"], &messages[2]["created_ms"]),
        (&json!("o3"), &json!(1_718_000_002_000_i64))
    );

    // A question that was never answered can be asked again.
    let unanswered = list.iter().find(|conversation| conversation["title"] == "").unwrap();
    let id = unanswered["id"].as_str().unwrap();
    let tree = site.client.get(&format!("/api/conversations/{id}")).await.json();
    assert_eq!(tree["messages"][1]["status"], "interrupted");
    let answer = tree["messages"][1]["id"].as_str().unwrap();
    let again =
        site.client.post(&format!("/api/conversations/{id}/messages/{answer}/regenerate"), &json!({})).await;
    assert!(again.status < 300, "{}", again.text());

    let twice = imported(&site.client, CHATGPT).await;
    assert_eq!((&twice["conversations"], &twice["already_there"]), (&json!(0), &json!(2)));
    // A large export comes in several files.
    let (pip, _) = site.user("Pip").await;
    let mut parts: Vec<Value> = serde_json::from_str(CHATGPT).unwrap();
    let last = json!([parts.pop()]).to_string();
    let first = json!(parts).to_string();
    let file = zipped(&[
        ("export/conversations-001.json", last.as_bytes()),
        ("export/conversations-000.json", first.as_bytes()),
        ("__MACOSX/conversations.json", b"not JSON"),
    ]);
    assert_eq!(imported(&pip, file).await["conversations"], 2);
}

#[tokio::test]
async fn deepseek_s_export_is_imported_in_both_its_forms() {
    let site = Setup::default().today().await;
    let file = [b"\xef\xbb\xbf", DEEPSEEK.as_bytes()].concat();
    let result = imported(&site.client, file).await;
    let counts = ["format", "conversations", "messages"].map(|key| &result[key]);
    assert_eq!(counts, [&json!("deepseek"), &json!(2), &json!(7)]);
    let whys: Vec<_> = result["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| skipped["why"].as_str().unwrap())
        .collect();
    assert_eq!(whys.len(), 2, "{whys:?}");
    assert!(whys[0].starts_with("1 calls") && whys[1].starts_with("1 attached files"), "{whys:?}");

    let list =
        site.client.get("/api/conversations").await.json()["conversations"].as_array().unwrap().clone();
    assert_eq!(
        (&list[0]["title"], &list[0]["updated_ms"]),
        (&json!("抹香鲸能潜多深"), &json!(1_745_901_851_402_i64))
    );
    let branch = newest_branch(&site.client, list[0]["id"].as_str().unwrap()).await;
    let expected = [
        ["user", "抹香鲸能潜多深？", ""],
        ["assistant", "两千米以上。🐋", "再想一想。"],
        ["user", "And in feet?", ""],
        ["assistant", "More than 6,500 ft.", ""],
    ];
    assert_eq!(branch, expected);
    let branch = newest_branch(&site.client, list[1]["id"].as_str().unwrap()).await;
    let expected = [["user", "What is krill?", ""], ["assistant", "Small crustaceans.", "Food of whales."]];
    assert_eq!(branch, expected);
    let twice = imported(&site.client, zipped(&[("conversations.json", DEEPSEEK.as_bytes())])).await;
    assert_eq!((&twice["conversations"], &twice["already_there"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn what_does_not_fit_is_skipped_and_the_rest_is_imported() {
    let setup = Setup::with(|settings| {
        settings.conversation = Limits { messages_max: 4, bytes_max: 1000 };
        settings.conversations_max = 3;
        settings.system_bytes_max = 20;
        settings.retention_days_max = Some(1000);
    });
    let site = setup.today().await;
    let message = |id: &str, parent: Option<&str>, role: &str, content: &str| json!({"id": id, "parent_id": parent, "role": role, "status": "complete", "content": content, "created_ms": 1});
    let conversation = |id: &str, more: Value| {
        let mut conversation = json!({
            "id": id, "title": id, "model": "plain", "created_ms": 1_779_000_000_000_i64,
            "updated_ms": 1_779_000_000_000_i64, "messages": [],
        });
        conversation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        conversation
    };
    let long = "x".repeat(1001);
    let five: Vec<_> = (0..5).map(|number: i32| message(&number.to_string(), None, "user", "x")).collect();
    let conversations = json!([
        conversation(
            "good",
            json!({"messages": [message("1", None, "user", "x"), message("2", Some("1"), "assistant", "y")]})
        ),
        conversation("long", json!({"messages": [message("1", None, "user", &long)]})),
        conversation("many", json!({"messages": five})),
        conversation("wordy", json!({"system": "Be very brief, please."})),
        conversation("old", json!({"updated_ms": 1_600_000_000_000_i64})),
        conversation(
            "in the future",
            json!({"title": "x".repeat(300), "updated_ms": i64::MAX, "created_ms": i64::MIN})
        ),
        conversation("third", json!({})),
        conversation("fourth", json!({})),
    ]);
    let file = own("1, \"unknown\": [[{}]]", &conversations);
    let result = imported(&site.client, file).await;
    let skipped: Vec<_> =
        result["skipped"].as_array().unwrap().iter().map(|s| s["title"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["long", "many", "wordy", "old", "fourth"], "{result}");
    let whys: Vec<_> =
        result["skipped"].as_array().unwrap().iter().map(|s| s["why"].as_str().unwrap()).collect();
    for (why, expected) in
        whys.iter().zip(["1000", "4 allowed, 5", "20 are allowed", "1000 days", "3 allowed"])
    {
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!((&result["conversations"], &result["messages"]), (&json!(3), &json!(2)));
    let list =
        site.client.get("/api/conversations").await.json()["conversations"].as_array().unwrap().clone();
    assert_eq!(list.len(), 3);
    assert_eq!(list[0]["title"].as_str().unwrap().len(), 200);
    assert_eq!((&list[0]["updated_ms"], &list[0]["created_ms"]), (&json!(1_780_000_000_000_i64), &json!(0)));
}

#[tokio::test]
async fn a_hostile_file_is_refused_and_changes_nothing() {
    let setup = Setup::with(|settings| {
        settings.conversations_max = 100;
        settings.conversation = Limits { messages_max: 100, bytes_max: 1 << 20 };
    });
    let site = setup.today().await;
    let owner = site.owner().await;
    for (what, file, status) in hostile_archives().into_iter().chain(hostile_json()) {
        let reply = import(&site.client, file).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.len() > 20 && message.len() < 600, "{what}: {message}");
        assert_eq!(site.store.conversation_ids(owner).await.unwrap().len(), 0, "{what}");
    }
    assert_eq!(imported(&site.client, CHATGPT).await["conversations"], 2, "and a good one is taken");
}

#[tokio::test]
async fn a_file_that_is_too_large_too_slow_or_of_a_strange_kind_is_refused() {
    let setup = Setup::with(|settings| {
        settings.import_bytes_max = 10_000;
        settings.body_timeout = Duration::from_millis(100);
    });
    let site = setup.today().await;
    import(&site.client, vec![b' '; 10_001]).await.is_error(413, "body_too_large");
    // It may unpack to sixteen times as much, whatever it says.
    let bomb = format!("[{}", " ".repeat(200_000));
    let bomb = zipped(&[("conversations.json", bomb.as_bytes())]);
    import(&site.client, bomb).await.is_error(413, "unpacks_too_large");
    for kind in ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""] {
        let reply = site.client.request("POST", IMPORT, &[("content-type", kind)], b"[]".to_vec()).await;
        reply.is_error(415, "unsupported_media_type");
    }
    let head = format!(
        "POST {IMPORT} HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\ncontent-type: application/zip\r\n\
         content-length: 1000\r\n\r\nPK",
        site.client.cookie.clone().unwrap()
    );
    let mut slow = tokio::net::TcpStream::connect(site.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within("the server closes", tokio::io::AsyncReadExt::read_to_end(&mut slow, &mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
}

/// An import whose body is waited for.
async fn begin_import(site: &Site, client: &Client) -> tokio::net::TcpStream {
    let head = format!(
        "POST {IMPORT} HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\ncontent-type: application/zip\r\n\
         content-length: 1000\r\nexpect: 100-continue\r\n\r\n",
        client.cookie.clone().unwrap()
    );
    let mut slow = tokio::net::TcpStream::connect(site.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    // The server asks for the body when it is its turn.
    let mut answer = [0; 12];
    within("the body is wanted", tokio::io::AsyncReadExt::read_exact(&mut slow, &mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    slow
}

#[tokio::test]
async fn imports_are_one_at_a_time() {
    let site = Setup::default().today().await;
    let (ahab, _) = site.user("Ahab").await;
    let slow = begin_import(&site, &ahab).await;
    import(&ahab, DEEPSEEK).await.is_error(429, "import_running");
    assert_eq!(import(&site.client, DEEPSEEK).await.status, 200, "another's goes on beside it");
    drop(slow);
    eventually("the place is free", async || import(&ahab, DEEPSEEK).await.status == 200).await;
}

#[tokio::test]
async fn who_sends_slowly_keeps_nobody_out() {
    let site = Setup::default().today().await;
    let mut slow = Vec::new();
    for number in 0..6 {
        let (client, _) = site.user(&format!("Slow {number}")).await;
        slow.push(begin_import(&site, &client).await);
    }
    assert_eq!(imported(&site.client, DEEPSEEK).await["conversations"], 2);
}

#[tokio::test]
async fn files_to_import_stand_in_the_folder_that_the_settings_name() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("scratch");
    let settings = scratch.clone();
    let site = Setup::with(|all| all.scratch_folder = Some(settings)).today().await;
    assert_eq!(import(&site.client, DEEPSEEK).await.status, 500, "there is no such folder");
    std::fs::create_dir(&scratch).unwrap();
    assert_eq!(imported(&site.client, DEEPSEEK).await["conversations"], 2);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "without a name");
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
    site.clock.advance(DAY * 85);
    eventually("the server's time is over", async || left(pip_id).await == 15).await;
    eventually("all but the live one are gone", async || left(ahab_id).await == 1).await;
    assert_eq!(site.store.conversation_ids(ahab_id).await.unwrap(), [live]);

    let noted = async || {
        let entries = site.store.audit_entries(None, 10).await.unwrap();
        let events = entries.into_iter().filter(|entry| entry.event.starts_with("conversations_expired"));
        events.map(|entry| (entry.event, entry.user_id, entry.address)).collect::<Vec<_>>()
    };
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
