//! `POST /v1/chat/completions`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Event, Setup, Site, eventually};

const PATH: &str = "/v1/chat/completions";

fn ask(model: &str, more: &Value) -> Value {
    let mut asked = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

/// The whole stream as it came, without the comments, whose number depends on the time.
async fn transcript(client: &Client, asked: &Value) -> String {
    let mut stream = client.open_post(PATH, asked).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    let mut text = String::new();
    for event in stream.rest().await {
        assert_eq!(event.name, "", "events of this API have no names");
        text.extend(["data: ", &event.data, "\n\n"]);
    }
    any_version(&text)
}

/// Without the version, so that the next one needs no other snapshots.
fn any_version(text: &str) -> String {
    text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[tokio::test]
async fn stream_of_a_plain_answer() {
    let site = Site::new().await;
    let asked = ask("plain", &json!({"stream": true}));
    insta::assert_snapshot!(transcript(&site.client, &asked).await);
}

#[tokio::test]
async fn stream_of_a_reasoned_answer_with_usage_asked_for() {
    let site = Site::new().await;
    let asked = ask("thinker", &json!({"stream": true, "stream_options": {"include_usage": true}}));
    insta::assert_snapshot!(transcript(&site.client, &asked).await);
}

#[tokio::test]
async fn stream_with_logprobs() {
    let site = Site::new().await;
    let more =
        json!({"stream": true, "logprobs": true, "top_logprobs": 1, "max_tokens": 2, "temperature": 0});
    insta::assert_snapshot!(transcript(&site.client, &ask("plain", &more)).await);
}

#[tokio::test]
async fn stream_of_an_answer_that_breaks() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("failing", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn whole_answer() {
    let site = Site::new().await;
    let reply = site.client.post(PATH, &ask("thinker", &json!({}))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    insta::assert_json_snapshot!(serde_json::from_str::<Value>(&any_version(reply.text())).unwrap());
}

#[tokio::test]
async fn several_answers_at_once() {
    let site = Site::new().await;
    let reply = site.client.post(PATH, &ask("thinker", &json!({"n": 3}))).await.json();
    let alone = site.client.post(PATH, &ask("thinker", &json!({}))).await.json();
    let choices = reply["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        assert_eq!(choice["message"], alone["choices"][0]["message"]);
    }
    // The prompt counts once, what is written each time.
    assert_eq!(reply["usage"]["prompt_tokens"], alone["usage"]["prompt_tokens"]);
    let written = |reply: &Value| reply["usage"]["completion_tokens"].as_u64().unwrap();
    assert_eq!(written(&reply), 3 * written(&alone));

    let more = json!({"n": 3, "stream": true, "stream_options": {"include_usage": true}});
    let mut stream = site.client.open_post(PATH, &ask("thinker", &more)).await;
    let mut events = stream.rest().await;
    assert_eq!(events.pop().unwrap().data, "[DONE]");
    let last = events.pop().unwrap().json();
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &reply["usage"]["total_tokens"])
    );
    for index in 0..3 {
        let of = |name: &str| -> String {
            let chunks = events.iter().map(Event::json).filter(|chunk| chunk["choices"][0]["index"] == index);
            chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"][name].as_str()?.to_owned())).collect()
        };
        assert_eq!(
            (of("role"), of("reasoning_content"), of("content")),
            ("assistant".to_owned(), "Deep.".to_owned(), "Two km.".to_owned())
        );
    }
    let ended = events.iter().filter(|event| event.json()["choices"][0]["finish_reason"] == "stop").count();
    assert_eq!(ended, 3);
    assert!(events.iter().all(|event| event.json()["usage"].is_null()));
}

#[tokio::test]
async fn answers_that_find_no_place_in_the_queue_wait_for_their_fellows() {
    let site = Site::new().await;
    // One is written at once and one may wait.
    let more = json!({"n": 5, "max_tokens": 2});
    let reply = site.client.post(PATH, &ask("endless", &more)).await.json();
    let said: Vec<_> =
        reply["choices"].as_array().unwrap().iter().map(|choice| &choice["message"]["content"]).collect();
    assert_eq!(said, ["aa"; 5], "{reply}");
    assert_eq!(reply["usage"]["completion_tokens"], 10);
}

#[tokio::test]
async fn an_answer_goes_on_from_its_beginning() {
    let site = Site::new().await;
    let with = |beginning: Value| json!({"model": "plain", "messages": [{"role": "user", "content": "Hi"}, beginning]});
    let begun = json!({"role": "assistant", "content": "Well: ", "prefix": true});
    for path in [PATH, "/beta/chat/completions"] {
        let reply = site.client.post(path, &with(begun.clone())).await.json();
        assert_eq!(reply["choices"][0]["message"]["content"], "Hello, whale! 🐋", "what comes is the rest");
        let without = site.client.post(path, &ask("plain", &json!({}))).await.json();
        let read = |reply: &Value| reply["usage"]["prompt_tokens"].as_u64().unwrap();
        assert_eq!(read(&reply), read(&without) + "Well: ".len() as u64);
    }
    let mut said = begun;
    said["prefix"] = json!(false);
    site.client.post(PATH, &with(said)).await.is_error(422, "invalid_parameter");
}

#[tokio::test]
async fn whole_answer_with_logprobs() {
    let site = Site::new().await;
    let more = json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 1, "temperature": 0});
    let reply = site.client.post(PATH, &ask("plain", &more)).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    let tokens = &reply["choices"][0]["logprobs"]["content"];
    assert_eq!(tokens.as_array().map(Vec::len), Some(1), "{reply}");
    assert_eq!(tokens[0]["token"], "H");
    assert_eq!(tokens[0]["bytes"], json!([72]));
    assert!(
        tokens[0]["logprob"].as_f64().is_some_and(|logprob| (-0.01..=0.0).contains(&logprob)),
        "{tokens}"
    );
    assert_eq!(tokens[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
    let without = site.client.post(PATH, &ask("plain", &json!({}))).await.json();
    assert_eq!(without["choices"][0]["logprobs"], Value::Null);
}

#[tokio::test]
async fn stop_strings_and_limits_end_an_answer() {
    let site = Site::new().await;
    let check = async |more: Value, content: &str, reason: &str, tokens: u64| {
        let reply = site.client.post(PATH, &ask("plain", &more)).await.json();
        assert_eq!(reply["choices"][0]["message"]["content"], content, "{more}");
        assert_eq!(reply["choices"][0]["finish_reason"], reason, "{more}");
        assert_eq!(reply["usage"]["completion_tokens"], tokens, "{more}");
    };
    check(json!({}), "Hello, whale! 🐋", "stop", 18).await;
    check(json!({"stop": ", wh"}), "Hello", "stop", 9).await;
    check(json!({"stop": ["zzz", "!"]}), "Hello, whale", "stop", 13).await;
    check(json!({"max_tokens": 5}), "Hello", "length", 5).await;
    check(json!({"max_completion_tokens": 1}), "H", "length", 1).await;
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let site = Site::new().await;
    let check = async |asked: Value, status: u16, code: &str, param: Option<&str>| {
        let reply = site.client.post(PATH, &asked).await;
        reply.is_error(status, code);
        assert_eq!(reply.json()["error"]["param"].as_str(), param, "{}", reply.text());
    };
    let user = json!([{"role": "user", "content": "Hi"}]);
    check(json!([]), 400, "invalid_format", None).await;
    check(json!({"messages": user}), 400, "invalid_format", Some("model")).await;
    check(json!({"model": "plain"}), 400, "invalid_format", Some("messages")).await;
    check(ask("plain", &json!({"temperature": "hot"})), 400, "invalid_format", Some("temperature")).await;
    check(ask("plain", &json!({"temperature": 9})), 422, "invalid_parameter", Some("temperature")).await;
    check(ask("plain", &json!({"n": 9})), 422, "invalid_parameter", Some("n")).await;
    check(ask("plain", &json!({"best_of": 2})), 422, "unsupported", Some("best_of")).await;
    check(ask("plain", &json!({"stream_options": {}})), 400, "invalid_format", Some("stream_options")).await;
    check(ask("nobody", &json!({})), 404, "model_not_found", Some("model")).await;
    check(ask("absent", &json!({})), 404, "model_not_found", Some("model")).await;
    check(ask("broken", &json!({})), 503, "model_failed", None).await;
    check(
        ask("plain", &json!({"thinking": {"type": "enabled"}})),
        422,
        "invalid_parameter",
        Some("thinking"),
    )
    .await;
    check(ask("plain", &json!({"max_tokens": 4000})), 400, "context_length_exceeded", Some("messages")).await;
    let long = json!({"model": "plain", "messages": [{"role": "user", "content": "x".repeat(3000)}]});
    check(long, 400, "context_length_exceeded", Some("messages")).await;
    check(ask("plain", &json!({"logit_bias": {"9999": 1}})), 422, "invalid_parameter", Some("logit_bias"))
        .await;
    // An error before the stream begins is an error, not a stream.
    check(ask("nobody", &json!({"stream": true})), 404, "model_not_found", Some("model")).await;
    check(ask("failing", &json!({})), 500, "generation_failed", None).await;

    let headers = [("content-type", "application/json")];
    site.client
        .request("POST", PATH, &headers, b"{\"model\": ".to_vec())
        .await
        .is_error(400, "invalid_format");
    let text = [("content-type", "text/plain")];
    let asked = serde_json::to_vec(&ask("plain", &json!({}))).unwrap();
    site.client.request("POST", PATH, &text, asked.clone()).await.is_error(415, "unsupported_media_type");
    site.client.request("POST", PATH, &[], asked.clone()).await.is_error(415, "unsupported_media_type");
    let with_charset = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(site.client.request("POST", PATH, &with_charset, asked).await.status, 200);
}

#[tokio::test]
async fn a_stream_says_that_it_is_alive_while_it_waits() {
    let site = Site::new().await;
    site.models.gate.allow(0);
    let mut stream =
        site.client.open_post(PATH, &ask("endless", &json!({"stream": true, "max_tokens": 3}))).await;
    for _ in 0..2 {
        // The engine may say that it has begun, but nothing more.
        let mut event = stream.event().await.unwrap();
        if event.name.is_empty() {
            assert_eq!(event.json()["choices"][0]["delta"]["role"], "assistant");
            event = stream.event().await.unwrap();
        }
        assert_eq!(event, Event { name: ":".to_owned(), data: "keep-alive".to_owned() });
    }
    site.models.gate.open();
    let text: String =
        stream.rest().await.iter().filter(|event| event.data != "[DONE]").map(content).collect();
    assert_eq!(text, "aaa");
}

#[tokio::test]
async fn a_whole_answer_says_so_too() {
    let site = Site::new().await;
    site.models.gate.allow(0);
    let mut reply = site.client.open_post(PATH, &ask("endless", &json!({"max_tokens": 3}))).await;
    assert_eq!((reply.status, reply.headers["content-type"].as_bytes()), (200, &b"application/json"[..]));
    for _ in 0..3 {
        assert_eq!(reply.piece().await.unwrap(), "\n");
    }
    site.models.gate.open();
    let whole = reply.whole().await.json();
    assert_eq!(whole["choices"][0]["message"]["content"], "aaa");

    // Whoever need not wait gets no empty lines.
    let quick = site.client.post(PATH, &ask("plain", &json!({}))).await;
    assert!(quick.text().starts_with('{') && !quick.header("content-length").is_empty());
    // What is wrong after the head went out can't have a status of its own.
    site.models.gate.allow(1);
    let asked = ask("failing-late", &json!({}));
    let mut reply = site.client.open_post(PATH, &asked).await;
    assert_eq!((reply.status, reply.piece().await.unwrap()), (200, bytes::Bytes::from("\n")));
    site.models.gate.open();
    let failed = reply.whole().await.json();
    assert_eq!(failed["error"]["code"], "generation_failed", "{failed}");
}

fn content(event: &Event) -> String {
    event.json()["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_engine() {
    let site = Site::new().await;
    site.models.gate.allow(10);
    let mut stream = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    while content(&stream.named().await.unwrap()).is_empty() {}
    assert_eq!(site.running("endless"), 1);
    drop(stream);
    let drip = site.models.gate.drip();
    eventually("the streamed answer is cancelled", async || site.running("endless") == 0).await;
    drop(drip);

    // The same without a stream: the response has not begun when the client goes.
    site.models.gate.allow(0);
    let client = site.client.clone();
    let asking = tokio::spawn(async move { client.post(PATH, &ask("endless", &json!({}))).await.status });
    eventually("the answer is queued", async || site.running("endless") == 1).await;
    asking.abort();
    let drip = site.models.gate.drip();
    eventually("the whole answer is cancelled", async || site.running("endless") == 0).await;
    drop(drip);

    // And with several answers, of which one is written, one waits in the model's queue and one before it.
    site.models.gate.allow(10);
    let more = json!({"stream": true, "n": 3});
    let mut stream = site.client.open_post(PATH, &ask("endless", &more)).await;
    while content(&stream.named().await.unwrap()).is_empty() {}
    assert_eq!(site.running("endless"), 2);
    drop(stream);
    let _drip = site.models.gate.drip();
    eventually("all of them are cancelled", async || site.running("endless") == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(site.running("endless"), 0, "the one that waited is not begun");
}

#[tokio::test]
async fn a_full_queue_is_said_and_so_is_a_wait_in_vain() {
    let site = Setup::with(|settings| settings.start_timeout = Duration::from_millis(150)).serve().await;
    site.models.gate.allow(1);
    let mut first = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    while content(&first.named().await.unwrap()).is_empty() {}
    // One is running and never moves on; the next waits, in vain.
    let mut second = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    let third = site.client.post(PATH, &ask("endless", &json!({}))).await;
    third.is_error(503, "queue_full");
    assert_eq!(third.header("retry-after"), "5");
    let events = second.rest().await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0].json()["error"]["code"], "queue_timeout");
    assert_eq!(events[1].data, "[DONE]");
    // Its place is free again, and the same happens to one that doesn't stream.
    let _drip = site.models.gate.drip();
    eventually("the place is free", async || site.running("endless") <= 1).await;
    let waited = site.client.post(PATH, &ask("endless", &json!({}))).await;
    assert_eq!(waited.status, 200, "the head went out with the first sign of life");
    assert!(waited.text().starts_with("\n\n"), "{:?}", waited.text());
    assert_eq!(waited.json()["error"]["code"], "queue_timeout");
}

#[tokio::test]
async fn a_panic_is_an_error_and_not_the_end() {
    let site = Site::new().await;
    site.models.panics.store(true, std::sync::atomic::Ordering::Relaxed);
    let reply = site.client.post(PATH, &ask("plain", &json!({}))).await;
    reply.is_error(500, "internal_error");
    assert!(!reply.text().contains("listing panics"), "{}", reply.text());
    site.client.get("/api/models").await.is_error(500, "internal_error");
    site.models.panics.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(site.client.post(PATH, &ask("plain", &json!({}))).await.status, 200);
}
