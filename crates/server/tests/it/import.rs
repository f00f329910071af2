//! Files of conversations that come from elsewhere: ours, DeepSeek's, ChatGPT's, and those that mean harm.

use std::time::Duration;

use serde_json::{Value, json};
use store::Limits;

use crate::data::{IMPORT, import, imported};
use crate::hostile::{CHATGPT, DEEPSEEK, hostile_archives, hostile_json, own, zipped};
use crate::support::{Client, Setup, Site, eventually, within};

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
