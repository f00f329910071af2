//! The web app's API.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use store::{Limits, NewTurn, ParentChoice, Status};

use crate::support::{CONTEXT, Event, Setup, Site, Streaming, eventually};

const LIST: &str = "/api/conversations";

impl Site {
    async fn conversation(&self, model: &str) -> String {
        let made = self.client.post(LIST, &json!({"model": model})).await;
        assert_eq!(made.status, 201, "{}", made.text());
        format!("{LIST}/{}", made.json()["id"].as_str().unwrap())
    }

    /// Asks, and gives the two messages.
    async fn ask(&self, conversation: &str, asked: Value) -> (Value, Value) {
        let reply = self.client.post(&format!("{conversation}/messages"), &asked).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        let turn = reply.json();
        (turn["user"].clone(), turn["assistant"].clone())
    }

    async fn join(&self, conversation: &str, message: &Value) -> Streaming {
        let path = format!("{}/stream", message_path(conversation, message));
        let stream = self.client.open("GET", &path, &[], Vec::new()).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.headers["content-type"], "text/event-stream");
        stream
    }

    /// Asks and waits for the answer as it stays.
    async fn ask_and_wait(&self, conversation: &str, asked: Value) -> (Value, Value) {
        let (user, assistant) = self.ask(conversation, asked).await;
        let done = self.join(conversation, &assistant).await.rest().await.pop().unwrap();
        assert_eq!(done.name, "done");
        (user, done.json())
    }
}

fn message_path(conversation: &str, message: &Value) -> String {
    format!("{conversation}/messages/{}", message["id"].as_str().unwrap())
}

/// Puts a stream together as the page does, and checks its form: a snapshot, deltas, the message as it stays.
fn assemble(events: &[Event]) -> Value {
    let (first, rest) = events.split_first().unwrap();
    let (last, deltas) = rest.split_last().unwrap();
    assert_eq!((first.name.as_str(), last.name.as_str()), ("snapshot", "done"));
    let mut message = first.json();
    for delta in deltas {
        assert_eq!(delta.name, "delta");
        let delta = delta.json();
        let part = delta["part"].as_str().unwrap();
        let text =
            format!("{}{}", message[part].as_str().unwrap_or_default(), delta["text"].as_str().unwrap());
        message[part] = json!(text);
    }
    let done = last.json();
    for part in ["content", "reasoning"] {
        assert_eq!(message[part].as_str().unwrap_or_default(), done[part].as_str().unwrap_or_default());
    }
    done
}

#[tokio::test]
async fn a_conversation_from_birth_to_death() {
    let site = Site::new().await;
    let made = site.client.post(LIST, &json!({})).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "title": "", "model": "plain", "system": null, "created_ms": 0, "updated_ms": 0,
    });
    assert_eq!(made, expected);
    let path = format!("{LIST}/{id}");
    let tree = site.client.get(&path).await.json();
    assert_eq!(tree, json!({"conversation": made, "messages": []}));

    let change = json!({"title": "  Whales ", "system": "Be brief.", "model": "thinker"});
    let changed = site.client.send("PATCH", &path, &change).await.json();
    assert_eq!(changed["title"], "Whales");
    assert_eq!((&changed["system"], &changed["model"]), (&json!("Be brief."), &json!("thinker")));
    let cleared = site.client.send("PATCH", &path, &json!({"system": null})).await.json();
    assert_eq!((&cleared["system"], &cleared["title"]), (&Value::Null, &json!("Whales")));

    let listed = site.client.get(LIST).await.json();
    assert_eq!(listed, json!({"conversations": [cleared], "next": null}));
    assert_eq!(site.client.request("DELETE", &path, &[], Vec::new()).await.status, 204);
    site.client.get(&path).await.is_error(404, "not_found");
    site.client.request("DELETE", &path, &[], Vec::new()).await.is_error(404, "not_found");
    assert_eq!(site.client.get(LIST).await.json()["conversations"], json!([]));
}

#[tokio::test]
async fn a_question_is_answered_and_both_are_kept() {
    let site = Site::new().await;
    let conversation = site.conversation("thinker").await;
    let (user, assistant) = site.ask(&conversation, json!({"content": "How deep?\nReally."})).await;
    assert_eq!((&user["role"], &user["status"]), (&json!("user"), &json!("complete")));
    assert_eq!((&assistant["role"], &assistant["status"]), (&json!("assistant"), &json!("generating")));
    assert_eq!(assistant["parent_id"], user["id"]);

    let done = assemble(&site.join(&conversation, &assistant).await.rest().await);
    let expected = json!({
        "id": assistant["id"], "conversation_id": user["conversation_id"], "parent_id": user["id"],
        "role": "assistant", "status": "complete", "content": "Two km.", "reasoning": "Deep.", "reasoning_ms": 0,
        "error": null, "model": "thinker", "created_ms": 0,
        "usage": done["usage"], "timing": {"queued_ms": 0, "ttft_ms": 0, "total_ms": 0},
    });
    assert_eq!(done, expected);
    assert_eq!(done["usage"]["completion_tokens"], 14);
    assert_eq!(done["usage"]["reasoning_tokens"], 7);

    let tree = site.client.get(&conversation).await.json();
    assert_eq!(tree["messages"], json!([user, done]));
    assert_eq!(tree["conversation"]["title"], "How deep? Really.");
    // Joined after the end, the stream is the message twice.
    let events = site.join(&conversation, &assistant).await.rest().await;
    assert_eq!(events.len(), 2);
    assert_eq!(assemble(&events), done);
}

#[tokio::test]
async fn questions_hang_where_they_are_told_to() {
    let site = Site::new().await;
    let conversation = site.conversation("plain").await;
    let (first_user, first) = site.ask_and_wait(&conversation, json!({"content": "one"})).await;
    assert_eq!(first_user["parent_id"], Value::Null);
    let (second_user, _) = site.ask_and_wait(&conversation, json!({"content": "two"})).await;
    assert_eq!(second_user["parent_id"], first["id"]);
    let (other, _) =
        site.ask_and_wait(&conversation, json!({"content": "three", "parent_id": first["id"]})).await;
    assert_eq!(other["parent_id"], first["id"]);
    let (root, _) = site.ask_and_wait(&conversation, json!({"content": "four", "parent_id": null})).await;
    assert_eq!(root["parent_id"], Value::Null);

    let regenerate = format!("{}/regenerate", message_path(&conversation, &first));
    let again = site.client.post(&regenerate, &json!({"model": "thinker"})).await;
    assert_eq!(again.status, 201, "{}", again.text());
    let again = again.json()["assistant"].clone();
    assert_eq!((&again["parent_id"], &again["model"]), (&first_user["id"], &json!("thinker")));
    let done = assemble(&site.join(&conversation, &again).await.rest().await);
    assert_eq!(done["content"], "Two km.");
    let tree = site.client.get(&conversation).await.json();
    assert_eq!(tree["conversation"]["model"], "thinker");
    let ids: BTreeSet<_> =
        tree["messages"].as_array().unwrap().iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(ids.len(), 9);
}

#[tokio::test]
async fn whoever_joins_at_any_time_gets_exactly_the_whole_text() {
    let site = Site::new().await;
    let conversation = site.conversation("endless").await;
    site.models.gate.allow(0);
    let (_, assistant) = site.ask(&conversation, json!({"content": "go on"})).await;
    // The first joins before there is a word; others join after more and more steps, some leave and come again.
    let mut streams = vec![site.join(&conversation, &assistant).await];
    let mut leaver = site.join(&conversation, &assistant).await;
    for steps in [3, 1, 5, 2] {
        site.models.gate.allow(steps);
        let delta = leaver.named().await.unwrap();
        assert!(["snapshot", "delta"].contains(&delta.name.as_str()));
        leaver = site.join(&conversation, &assistant).await;
        streams.push(site.join(&conversation, &assistant).await);
    }
    site.models.gate.open();
    let stop = format!("{}/stop", message_path(&conversation, &assistant));
    let stopped = site.client.post(&stop, &json!({})).await.json();
    for mut stream in streams.into_iter().chain([leaver]) {
        assert_eq!(assemble(&stream.rest().await), stopped);
    }
}

#[tokio::test]
async fn stopping_keeps_what_is_written() {
    let site = Site::new().await;
    let conversation = site.conversation("endless").await;
    site.models.gate.allow(4);
    let (_, assistant) = site.ask(&conversation, json!({"content": "go on"})).await;
    let mut stream = site.join(&conversation, &assistant).await;
    // The snapshot may come before the first word.
    if stream.named().await.unwrap().json()["content"] == "" {
        assert_eq!(stream.named().await.unwrap().name, "delta");
    }
    let stop = format!("{}/stop", message_path(&conversation, &assistant));
    let stopping = {
        let (client, stop) = (site.client.clone(), stop.clone());
        tokio::spawn(async move { client.post(&stop, &json!({})).await })
    };
    let _drip = site.models.gate.drip();
    let stopped = stopping.await.unwrap();
    assert_eq!(stopped.status, 200);
    let stopped = stopped.json();
    assert_eq!(stopped["status"], "stopped");
    let content = stopped["content"].as_str().unwrap();
    assert!(
        !content.is_empty() && content.len() < 2000 && content.bytes().all(|byte| byte == b'a'),
        "{content}"
    );
    assert_eq!(stopped["usage"]["completion_tokens"], content.len());
    assert_eq!(stream.rest().await.pop().unwrap().json(), stopped);
    // Again, and for what never ran, it is no error.
    assert_eq!(site.client.post(&stop, &json!({})).await.json(), stopped);
    assert_eq!(site.running("endless"), 0);
}

#[tokio::test]
async fn an_answer_that_was_cut_goes_on_in_its_place() {
    let site = Site::new().await;
    let conversation = site.conversation("endless").await;
    site.models.gate.allow(4);
    let (_, assistant) = site.ask(&conversation, json!({"content": "go on"})).await;
    let path = message_path(&conversation, &assistant);
    let go_on = async || site.client.post(&format!("{path}/continue"), &json!({})).await;
    go_on().await.is_error(409, "conflict");
    let drip = site.models.gate.drip();
    let mut stream = site.join(&conversation, &assistant).await;
    while stream.named().await.unwrap().json()["content"] == "" {}
    let stopped = site.client.post(&format!("{path}/stop"), &json!({})).await.json();
    assert_eq!(stopped["status"], "stopped");
    drop(drip);
    site.models.gate.allow(0);

    let resumed = go_on().await;
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    let resumed = resumed.json()["assistant"].clone();
    assert_eq!((&resumed["id"], &resumed["status"]), (&assistant["id"], &json!("generating")));
    assert_eq!(resumed["content"], stopped["content"]);
    go_on().await.is_error(409, "conflict");
    let mut stream = site.join(&conversation, &assistant).await;
    let snapshot = stream.named().await.unwrap();
    assert_eq!((snapshot.name.as_str(), &snapshot.json()["content"]), ("snapshot", &stopped["content"]));
    site.models.gate.open();
    let done = stream.rest().await.pop().unwrap().json();
    // What was said before is what the model goes on from: together they fill its context, and no more.
    let (length, prompt) = (done["content"].as_str().unwrap().len(), &stopped["usage"]["prompt_tokens"]);
    assert_eq!((&done["status"], &done["usage"]["prompt_tokens"]), (&json!("length"), prompt));
    assert_eq!(done["usage"]["completion_tokens"], length);
    assert_eq!(length + usize::try_from(prompt.as_u64().unwrap()).unwrap(), CONTEXT);
    let tree = site.client.get(&conversation).await.json();
    assert_eq!(tree["messages"].as_array().unwrap()[1..], [done]);

    // There is no room for more, which is said and costs nothing of what is there.
    assert_eq!(go_on().await.status, 200);
    let full = assemble(&site.join(&conversation, &assistant).await.rest().await);
    assert_eq!((&full["status"], full["content"].as_str().unwrap().len()), (&json!("failed"), length));
    assert!(full["error"].as_str().is_some_and(|error| error.contains("2048")), "{full}");
    let (_, complete) =
        site.ask_and_wait(&conversation, json!({"content": "x", "model": "plain", "parent_id": null})).await;
    let complete = format!("{}/continue", message_path(&conversation, &complete));
    site.client.post(&complete, &json!({})).await.is_error(409, "conflict");
}

#[tokio::test]
async fn an_answer_stops_while_its_model_is_being_loaded() {
    let site = Site::new().await;
    site.models.loading.allow(0);
    let conversation = site.conversation("plain").await;
    let (_, assistant) = site.ask(&conversation, json!({"content": "hello"})).await;
    let stop = format!("{}/stop", message_path(&conversation, &assistant));
    let stopped = site.client.post(&stop, &json!({})).await.json();
    assert_eq!((&stopped["status"], &stopped["content"]), (&json!("stopped"), &json!("")));
    site.models.loading.open();
}

#[tokio::test]
async fn an_answer_goes_on_when_nobody_listens_and_its_text_goes_to_disk() {
    let site = Site::new().await;
    let conversation = site.conversation("endless").await;
    site.models.gate.allow(8);
    let (_, assistant) = site.ask(&conversation, json!({"content": "go on"})).await;
    let stream = site.join(&conversation, &assistant).await;
    drop(stream);
    let id = assistant["id"].as_str().unwrap().parse().unwrap();
    let conversation_id = assistant["conversation_id"].as_str().unwrap().parse().unwrap();
    let owner = site.owner().await;
    let stored = async || site.store.message(owner, conversation_id, id).await.unwrap();
    eventually("the text so far is on disk", async || stored().await.content.len() >= 7).await;
    assert_eq!(stored().await.status, Status::Generating);
    site.models.gate.open();
    eventually("the context is full", async || stored().await.status == Status::Length).await;
    assert!(stored().await.content.len() > 1900);
}

#[tokio::test]
async fn deleting_a_conversation_ends_what_is_written_in_it() {
    let site = Site::new().await;
    let conversation = site.conversation("endless").await;
    site.models.gate.allow(2);
    let (_, assistant) = site.ask(&conversation, json!({"content": "go on"})).await;
    let mut stream = site.join(&conversation, &assistant).await;
    stream.named().await.unwrap();
    assert_eq!(site.client.request("DELETE", &conversation, &[], Vec::new()).await.status, 204);
    let _drip = site.models.gate.drip();
    let last = stream.rest().await.pop().unwrap();
    assert_eq!((last.name.as_str(), last.json()["status"].as_str()), ("done", Some("stopped")));
    eventually("the engine is free", async || site.running("endless") == 0).await;
    site.client.get(&conversation).await.is_error(404, "not_found");
    let path = format!("{}/stream", message_path(&conversation, &assistant));
    eventually("the stream is gone", async || site.client.get(&path).await.status == 404).await;
}

#[tokio::test]
async fn an_answer_that_fails_says_why() {
    let site = Site::new().await;
    let conversation = site.conversation("failing").await;
    let (_, failed) = site.ask_and_wait(&conversation, json!({"content": "hello"})).await;
    assert_eq!((&failed["status"], &failed["content"]), (&json!("failed"), &json!("Hel")));
    assert!(failed["error"].as_str().is_some_and(|error| !error.is_empty()), "{failed}");

    // Of another model, another time, the same conversation goes on.
    let (_, answered) =
        site.ask_and_wait(&conversation, json!({"content": "and now?", "model": "plain"})).await;
    assert_eq!(answered["status"], "complete");
    let (_, broken) =
        site.ask_and_wait(&conversation, json!({"content": "and now?", "model": "broken"})).await;
    assert_eq!(broken["status"], "failed");
    assert!(broken["error"].as_str().is_some_and(|error| error.contains("damaged")), "{broken}");
    let (_, long) = site
        .ask_and_wait(
            &conversation,
            json!({"content": "x".repeat(5000), "model": "plain", "parent_id": null}),
        )
        .await;
    assert!(long["error"].as_str().is_some_and(|error| error.contains("2048")), "{long}");
}

#[tokio::test]
async fn thinking_is_switched_where_the_model_thinks() {
    let site = Site::new().await;
    let conversation = site.conversation("plain").await;
    let (_, answer) = site.ask_and_wait(&conversation, json!({"content": "a", "thinking": true})).await;
    assert_eq!(answer["status"], "complete", "a model that does not think leaves the switch alone: {answer}");
    let asked = json!({"content": "a", "thinking": false, "model": "thinker", "parent_id": null});
    let (_, answer) = site.ask_and_wait(&conversation, asked).await;
    assert_eq!(answer["status"], "complete");
    assert_eq!(answer["reasoning"], Value::Null, "{answer}");
}

#[tokio::test]
async fn the_list_is_paged() {
    let site = Site::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        site.clock.advance(std::time::Duration::from_millis(1));
        made.insert(0, site.client.post(LIST, &json!({})).await.json()["id"].clone());
    }
    let mut seen = Vec::new();
    let mut path = format!("{LIST}?limit=2");
    loop {
        let page = site.client.get(&path).await.json();
        seen.extend(
            page["conversations"].as_array().unwrap().iter().map(|conversation| conversation["id"].clone()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{LIST}?limit=2&before={next}");
    }
    assert_eq!(seen, made);
    for query in ["limit=0", "limit=101", "limit=x", "limit=-1", "before=x", "limit=1&limit=2"] {
        let reply = site.client.get(&format!("{LIST}?{query}")).await;
        reply.is_error(422, "invalid_parameter");
        let given = query.split('=').next_back().unwrap_or_default();
        let expected =
            if query.contains('&') { "duplicate".to_owned() } else { format!("got \\\"{given}\\\"") };
        assert!(reply.text().contains(&expected), "{query}: {}", reply.text());
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let site = Site::new().await;
    let conversation = site.conversation("plain").await;
    let nowhere = format!("{LIST}/00000000-0000-7000-8000-000000000000");
    let nobody = "00000000-0000-7000-8000-000000000000";
    for (method, path, body, status, code) in [
        ("POST", LIST.to_owned(), json!({"model": "nobody"}), 404, "model_not_found"),
        ("POST", LIST.to_owned(), json!({"model": "absent"}), 404, "model_not_found"),
        ("POST", LIST.to_owned(), json!({"model": 1}), 400, "invalid_format"),
        ("POST", LIST.to_owned(), json!([]), 400, "invalid_format"),
        ("GET", nowhere.clone(), json!({}), 404, "not_found"),
        ("GET", format!("{LIST}/not-an-id"), json!({}), 404, "not_found"),
        ("PATCH", nowhere.clone(), json!({"title": "x"}), 404, "not_found"),
        ("PATCH", conversation.clone(), json!({"title": " "}), 422, "invalid_parameter"),
        ("PATCH", conversation.clone(), json!({"title": "x".repeat(201)}), 422, "invalid_parameter"),
        ("PATCH", conversation.clone(), json!({"system": "x".repeat(70_000)}), 422, "invalid_parameter"),
        ("PATCH", conversation.clone(), json!({"model": "nobody"}), 404, "model_not_found"),
        ("POST", format!("{nowhere}/messages"), json!({"content": "x"}), 404, "not_found"),
        ("POST", format!("{conversation}/messages"), json!({}), 400, "invalid_format"),
        ("POST", format!("{conversation}/messages"), json!({"content": " \n"}), 422, "invalid_parameter"),
        (
            "POST",
            format!("{conversation}/messages"),
            json!({"content": "x", "parent_id": "y"}),
            404,
            "not_found",
        ),
        (
            "POST",
            format!("{conversation}/messages"),
            json!({"content": "x", "parent_id": nobody}),
            404,
            "not_found",
        ),
        (
            "POST",
            format!("{conversation}/messages"),
            json!({"content": "x", "model": "nobody"}),
            404,
            "model_not_found",
        ),
        ("POST", format!("{conversation}/messages/{nobody}/regenerate"), json!({}), 404, "not_found"),
        ("POST", format!("{conversation}/messages/{nobody}/stop"), json!({}), 404, "not_found"),
        ("GET", format!("{conversation}/messages/{nobody}/stream"), json!({}), 404, "not_found"),
        ("GET", format!("{conversation}/messages/x/stream"), json!({}), 404, "not_found"),
        ("GET", format!("{LIST}/%ff"), json!({}), 404, "not_found"),
        ("GET", format!("{LIST}/%00/messages/%ff/stream"), json!({}), 404, "not_found"),
    ] {
        let reply = site.client.send(method, &path, &body).await;
        assert_eq!(reply.status, status, "{method} {path} {body:.60}: {}", reply.text());
        reply.is_error(status, code);
    }
    let tree = site.client.get(&conversation).await.json();
    assert_eq!(tree["messages"], json!([]), "nothing that was refused is kept");
}

#[tokio::test]
async fn an_answer_being_written_is_neither_replied_to_nor_written_again() {
    let site = Site::new().await;
    let conversation = site.conversation("endless").await;
    site.models.gate.allow(1);
    let (user, assistant) = site.ask(&conversation, json!({"content": "go on"})).await;
    let messages = format!("{conversation}/messages");
    let reply = site.client.post(&messages, &json!({"content": "and?", "parent_id": assistant["id"]})).await;
    reply.is_error(409, "conflict");
    site.client.post(&messages, &json!({"content": "and?"})).await.is_error(409, "conflict");
    let regenerate = |message| format!("{}/regenerate", message_path(&conversation, message));
    site.client.post(&regenerate(&assistant), &json!({})).await.is_error(409, "conflict");
    site.client.post(&regenerate(&user), &json!({})).await.is_error(409, "conflict");
    site.models.gate.open();
}

#[tokio::test]
async fn capacities_hold() {
    let site = Setup::with(|settings| {
        settings.conversations_max = 1;
        settings.conversation.messages_max = 3;
        settings.message_bytes_max = 10;
        settings.answers_max = 1;
    })
    .serve()
    .await;
    let conversation = site.conversation("endless").await;
    site.client.post(LIST, &json!({})).await.is_error(409, "full");
    let messages = format!("{conversation}/messages");
    site.client.post(&messages, &json!({"content": "12345678901"})).await.is_error(413, "message_too_large");
    site.models.gate.allow(1);
    let (_, assistant) = site.ask(&conversation, json!({"content": "1234567890"})).await;
    let busy = site.client.post(&messages, &json!({"content": "x", "parent_id": null})).await;
    busy.is_error(503, "too_many_answers");
    site.models.gate.open();
    site.join(&conversation, &assistant).await.rest().await;
    eventually("its place is free and the conversation full", async || {
        let reply = site.client.post(&messages, &json!({"content": "x", "parent_id": null})).await;
        reply.json()["error"]["code"] == "full"
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_nobody_writes_is_interrupted_when_looked_at() {
    let site = Site::new().await;
    let conversation = site.conversation("plain").await;
    let id = conversation.rsplit('/').next().unwrap().parse().unwrap();
    // As it would be if its end could not be stored.
    let turn = NewTurn {
        conversation_id: id,
        parent: ParentChoice::Root,
        content: "hello".to_owned(),
        model: "plain".to_owned(),
        title_if_none: String::new(),
        limits: Limits { messages_max: 10, bytes_max: 1000 },
    };
    let turn = site.store.add_turn(site.owner().await, turn).await.unwrap();
    let assistant = json!({"id": turn.assistant.id.to_string()});
    let done = assemble(&site.join(&conversation, &assistant).await.rest().await);
    assert_eq!(done["status"], "interrupted");
    let stop = format!("{}/stop", message_path(&conversation, &assistant));
    assert_eq!(site.client.post(&stop, &json!({})).await.json(), done);
    let (_, answer) = site.ask_and_wait(&conversation, json!({"content": "go on"})).await;
    assert_eq!(answer["status"], "complete");
}
