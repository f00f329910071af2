//! `POST /anthropic/v1/messages` and what belongs to it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Event, Reply, Setup, Site, eventually};

const PATH: &str = "/anthropic/v1/messages";
const COUNT: &str = "/anthropic/v1/messages/count_tokens";
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

fn ask(model: &str, more: &Value) -> Value {
    let mut asked =
        json!({"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

/// The whole stream as it came, without the pings, whose number depends on the time.
async fn transcript(client: &Client, asked: &Value) -> String {
    let mut stream = client.open_post(PATH, asked).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["request-id"], stream.headers["x-request-id"]);
    let mut text = String::new();
    for event in stream.rest().await.into_iter().filter(|event| event.name != "ping") {
        assert_eq!(event.json()["type"], event.name, "the name of an event is in its data too");
        text.extend(["event: ", &event.name, "\ndata: ", &event.data, "\n\n"]);
    }
    text
}

#[track_caller]
fn check_error(reply: &Reply, status: u16, kind: &str, says: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains(says)), "{body}");
    assert_eq!(body["request_id"], reply.header("x-request-id"), "{body}");
    assert_eq!(body["request_id"], reply.header("request-id"), "{body}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{body}");
}

#[tokio::test]
async fn stream_of_a_plain_message() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("plain", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn stream_of_a_message_with_thoughts() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("thinker", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn stream_of_a_message_that_breaks() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("failing", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn whole_message() {
    let site = Site::new().await;
    let more = json!({"thinking": {"type": "enabled", "budget_tokens": 500}, "metadata": {"user_id": "ann"}});
    let reply = site.client.post(PATH, &ask("thinker", &more)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.json()).unwrap());
}

fn depth() -> Value {
    json!([{"name": "depth", "description": "How deep it dives.", "input_schema": {
        "type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]}}])
}

#[tokio::test]
async fn tools_are_called_and_their_results_taken() {
    let site = Site::new().await;
    let whole = site.client.post(PATH, &ask("caller", &json!({"tools": depth()}))).await.json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let [call] = whole["content"].as_array().unwrap().as_slice() else { panic!("{whole}") };
    assert_eq!((&call["type"], &call["name"]), (&json!("tool_use"), &json!("depth")));
    assert!(call["input"].is_object(), "{call}");

    let mut stream =
        site.client.open_post(PATH, &ask("caller", &json!({"tools": depth(), "stream": true}))).await;
    let events = stream.rest().await;
    let begun = events.iter().find(|event| event.name == "content_block_start").unwrap().json();
    assert_eq!(begun["content_block"]["input"], json!({}));
    assert_eq!(begun["content_block"]["name"], "depth");
    let pieces =
        events.iter().filter_map(|event| event.json()["delta"]["partial_json"].as_str().map(str::to_owned));
    let input: Value = serde_json::from_str(&pieces.collect::<String>()).unwrap();
    assert_eq!(input, call["input"]);
    let ended = events.iter().find(|event| event.name == "message_delta").unwrap().json();
    assert_eq!(ended["delta"]["stop_reason"], "tool_use");

    let result =
        json!({"type": "tool_result", "tool_use_id": call["id"], "content": "2 km", "is_error": false});
    let messages = json!([
        {"role": "user", "content": "How deep?"},
        {"role": "assistant", "content": whole["content"]},
        {"role": "user", "content": [result]},
    ]);
    let asked = ask("plain", &json!({"tools": depth(), "messages": messages}));
    let answered = site.client.post(PATH, &asked).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(answered.json()["content"][0]["text"], "Hello, whale! 🐋");
    let counted = site.client.post(COUNT, &asked).await.json()["input_tokens"].as_u64().unwrap();
    let without =
        site.client.post(COUNT, &ask("plain", &json!({}))).await.json()["input_tokens"].as_u64().unwrap();
    assert!(counted > without + 100, "tools are counted too: {counted}, without {without}");
}

#[tokio::test]
async fn thoughts_are_left_out_where_that_is_asked_for() {
    let site = Site::new().await;
    let more = json!({"thinking": {"type": "adaptive", "display": "omitted"}});
    let reply = site.client.post(PATH, &ask("thinker", &more)).await.json();
    let thinking = json!({"type": "thinking", "thinking": "", "signature": "unsigned"});
    assert_eq!(reply["content"], json!([thinking, {"type": "text", "text": "Two km."}]));
    assert_eq!(reply["usage"]["output_tokens_details"]["thinking_tokens"], 7);
}

#[tokio::test]
async fn stop_sequences_and_limits_end_a_message() {
    let site = Site::new().await;
    let check = async |more: Value, text: &str, reason: &str, sequence: Option<&str>, tokens: u64| {
        let reply = site.client.post(PATH, &ask("plain", &more)).await.json();
        assert_eq!(reply["content"], json!([{"type": "text", "text": text}]), "{more}");
        assert_eq!(
            (&reply["stop_reason"], reply["stop_sequence"].as_str()),
            (&json!(reason), sequence),
            "{more}"
        );
        assert_eq!(reply["usage"]["output_tokens"], tokens, "{more}");
    };
    check(json!({}), "Hello, whale! 🐋", "end_turn", None, 18).await;
    check(json!({"stop_sequences": ["zzz", "!"]}), "Hello, whale", "stop_sequence", Some("!"), 13).await;
    check(json!({"max_tokens": 5}), "Hello", "max_tokens", None, 5).await;
    // More than fits is no error; if it is the context that ends the message, it says so.
    check(json!({"max_tokens": 1_000_000}), "Hello, whale! 🐋", "end_turn", None, 18).await;
    let reply = site.client.post(PATH, &ask("endless", &json!({"max_tokens": 1_000_000}))).await.json();
    assert_eq!(reply["stop_reason"], "model_context_window_exceeded", "{reply}");
    let taken = &reply["usage"];
    let total = taken["input_tokens"].as_u64().unwrap() + taken["output_tokens"].as_u64().unwrap();
    assert_eq!(total, crate::support::CONTEXT as u64);
}

#[tokio::test]
async fn a_message_goes_on_from_what_the_assistant_has_said() {
    let site = Site::new().await;
    let messages = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well: "}]);
    let with = site.client.post(PATH, &ask("plain", &json!({"messages": messages}))).await.json();
    let without = site.client.post(PATH, &ask("plain", &json!({}))).await.json();
    assert_eq!(with["content"], without["content"], "the beginning is not repeated");
    let more = |reply: &Value| {
        let usage = &reply["usage"];
        usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap()
    };
    assert_eq!(more(&with) - more(&without), 6, "a token for each of its bytes");
}

#[tokio::test]
async fn tokens_are_counted_as_they_are_read() {
    let site = Site::new().await;
    let system = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
    for more in [json!({}), json!({"system": "Be brief."}), json!({"system": system})] {
        let asked = ask("plain", &more);
        let usage = site.client.post(PATH, &asked).await.json()["usage"].clone();
        let read =
            usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap();
        for path in [COUNT, "/v1/messages/count_tokens"] {
            let reply = site.client.post(path, &asked).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.json(), json!({"input_tokens": read}), "{more}");
        }
    }
    // Whoever counts wants to know by how much it doesn't fit.
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(3000)}]});
    let counted =
        site.client.post(COUNT, &ask("plain", &long)).await.json()["input_tokens"].as_u64().unwrap();
    assert!((3000..3100).contains(&counted), "{counted}");
    check_error(&site.client.post(COUNT, &ask("nobody", &json!({}))).await, 404, "not_found_error", "nobody");
}

#[tokio::test]
async fn models_in_both_forms() {
    let site = Site::new().await;
    let own = site.client.get("/anthropic/v1/models").await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&own.json()).unwrap());
    let by_version = site.client.request("GET", "/v1/models", &[VERSION], Vec::new()).await;
    assert_eq!(by_version.json(), own.json());
    assert_eq!(site.client.get("/v1/models").await.json()["object"], "list");
    let one = site.client.get("/anthropic/v1/models/plain").await.json();
    assert_eq!(one, own.json()["data"][0]);
    for path in ["/anthropic/v1/models/claude-opus-4-5", "/anthropic/v1/models/absent"] {
        check_error(&site.client.get(path).await, 404, "not_found_error", "installed are: plain");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_anthropics_form() {
    let site = Site::new().await;
    let check = async |asked: Value, status: u16, kind: &str, says: &str| {
        for path in [PATH, "/v1/messages"] {
            check_error(&site.client.post(path, &asked).await, status, kind, says);
        }
    };
    let invalid = "invalid_request_error";
    check(json!([]), 400, invalid, "the request must be an object").await;
    check(json!({"model": "plain", "max_tokens": 1}), 400, invalid, "messages is missing").await;
    check(json!({"model": "plain", "messages": []}), 400, invalid, "1 to 4096").await;
    check(ask("plain", &json!({"max_tokens": null})), 400, invalid, "max_tokens is missing").await;
    check(ask("plain", &json!({"temperature": 2})), 400, invalid, "between 0 and 1, got 2").await;
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 10}});
    check(ask("plain", &thinking), 400, invalid, "plain does not think").await;
    let image = json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]});
    check(ask("plain", &image), 400, invalid, "messages[0].content[0].type: images are not supported").await;
    let tools = json!({"tools": [{"type": "bash_20250124", "name": "bash"}]});
    check(ask("plain", &tools), 400, invalid, "input_schema").await;
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(3000)}]});
    check(ask("plain", &long), 400, invalid, "the context holds 2048").await;
    check(ask("claude-sonnet-4-5", &json!({})), 404, "not_found_error", "installed are: plain").await;
    check(ask("nobody", &json!({"stream": true})), 404, "not_found_error", "nobody").await;
    check(ask("broken", &json!({})), 529, "overloaded_error", "").await;
    check(ask("failing", &json!({})), 500, "api_error", "").await;
}

#[tokio::test]
async fn what_a_layer_refuses_has_the_same_form() {
    let site = Setup::with(|settings| settings.body_bytes_max = 1000).serve().await;
    let json = ("content-type", "application/json");
    let post = async |path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        site.client.request("POST", path, headers, body).await
    };
    let evil = post(PATH, &[json, ("host", "evil.example")], b"{}".to_vec()).await;
    check_error(&evil, 403, "permission_error", "evil.example");
    let page = post(PATH, &[json, ("sec-fetch-site", "cross-site")], b"{}".to_vec()).await;
    check_error(&page, 403, "permission_error", "only pages of this server");
    check_error(&post(PATH, &[json], vec![b' '; 2000]).await, 413, "request_too_large", "at most 1000 bytes");
    check_error(&post(PATH, &[], b"{}".to_vec()).await, 415, "invalid_request_error", "content-type");
    check_error(&post(PATH, &[json], b"{\"a\": ".to_vec()).await, 400, "invalid_request_error", "line 1");
    check_error(&site.client.get(PATH).await, 405, "invalid_request_error", "method");
    for path in ["/anthropic/v1/complete", "/v1/messages/batches", "/anthropic/v1/organizations/me"] {
        check_error(&site.client.get(path).await, 404, "not_found_error", "no such endpoint");
        check_error(&post(path, &[json], b"{}".to_vec()).await, 404, "not_found_error", "no such endpoint");
    }
    site.models.panics.store(true, std::sync::atomic::Ordering::Relaxed);
    let panicked = site.client.post(PATH, &ask("plain", &json!({}))).await;
    check_error(&panicked, 500, "api_error", "its log has more");
    assert!(!panicked.text().contains("listing panics"), "{}", panicked.text());
    // Others have their own.
    site.client.get("/v1/models").await.is_error(500, "internal_error");
    site.client.get("/v1/none").await.is_error(404, "not_found");
}

fn text(event: &Event) -> String {
    event.json()["delta"]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_stream_says_that_it_is_alive_while_it_waits() {
    let site = Site::new().await;
    site.models.gate.allow(0);
    let asked = ask("endless", &json!({"stream": true, "max_tokens": 3}));
    let mut stream = site.client.open_post(PATH, &asked).await;
    let mut pings = 0;
    while pings < 2 {
        let event = stream.event().await.unwrap();
        match event.name.as_str() {
            "ping" => pings += 1,
            // The engine may say that it has begun, but nothing more.
            name => assert_eq!(name, "message_start"),
        }
        assert_eq!(event.json()["type"], event.name);
    }
    site.models.gate.open();
    assert_eq!(stream.rest().await.iter().map(text).collect::<String>(), "aaa");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_engine() {
    let site = Site::new().await;
    site.models.gate.allow(10);
    let mut stream = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    while text(&stream.named().await.unwrap()).is_empty() {}
    assert_eq!(site.running("endless"), 1);
    drop(stream);
    let drip = site.models.gate.drip();
    eventually("the streamed message is cancelled", async || site.running("endless") == 0).await;
    drop(drip);

    site.models.gate.allow(0);
    let client = site.client.clone();
    let asking = tokio::spawn(async move { client.post(PATH, &ask("endless", &json!({}))).await.status });
    eventually("the message is queued", async || site.running("endless") == 1).await;
    asking.abort();
    let _drip = site.models.gate.drip();
    eventually("the whole message is cancelled", async || site.running("endless") == 0).await;
}

#[tokio::test]
async fn a_full_queue_is_said_and_so_is_a_wait_in_vain() {
    let site = Setup::with(|settings| settings.start_timeout = Duration::from_millis(150)).serve().await;
    site.models.gate.allow(1);
    let mut first = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    while text(&first.named().await.unwrap()).is_empty() {}
    // One is running and never moves on; the next waits, in vain.
    let mut second = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    let third = site.client.post(PATH, &ask("endless", &json!({}))).await;
    check_error(&third, 529, "overloaded_error", "busy");
    assert_eq!(third.header("retry-after"), "5");
    let events: Vec<_> = second.rest().await.into_iter().filter(|event| event.name != "ping").collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].name, "error");
    assert_eq!(events[0].json()["error"]["type"], "overloaded_error");
    // Its place is free again. One that doesn't stream has had its head by then, and the body says the same.
    let _drip = site.models.gate.drip();
    eventually("the place is free", async || site.running("endless") <= 1).await;
    let fourth = site.client.post(PATH, &ask("endless", &json!({}))).await;
    assert_eq!(fourth.status, 200);
    assert!(fourth.text().starts_with('\n'), "{}", fourth.text());
    assert_eq!(fourth.json()["error"]["type"], "overloaded_error");
}
