//! `POST /v1/completions`, `GET /v1/models`, and the paths under which DeepSeek has them.

use serde_json::{Value, json};
use server::program_endpoints;

use crate::support::{Site, eventually};

const PATH: &str = "/v1/completions";

fn ask(model: &str, prompt: Value, more: &Value) -> Value {
    let mut asked = json!({"model": model, "prompt": prompt});
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

/// The text of all pieces of one choice.
fn text_of(events: &[Value], index: usize) -> String {
    let of = events.iter().filter(|chunk| chunk["choices"][0]["index"] == index);
    of.filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect()
}

async fn streamed(site: &Site, asked: &Value) -> Vec<Value> {
    let mut stream = site.client.open_post(PATH, asked).await;
    assert_eq!(stream.status, 200);
    let mut events = stream.rest().await;
    assert_eq!(events.pop().unwrap().data, "[DONE]");
    events.iter().map(crate::support::Event::json).collect()
}

#[tokio::test]
async fn a_text_is_continued() {
    let site = Site::new().await;
    let reply = site.client.post(PATH, &ask("plain", json!("Once"), &json!({"max_tokens": 50}))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let any_version = reply.text().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_json_snapshot!(serde_json::from_str::<Value>(&any_version).unwrap());
    // As OpenAI has it, sixteen tokens where nobody says how many.
    let short = site.client.post(PATH, &ask("plain", json!("Once"), &json!({}))).await.json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 16);
}

#[tokio::test]
async fn texts_and_tokens_are_continued_side_by_side() {
    let site = Site::new().await;
    let more = json!({"max_tokens": 5, "n": 2, "echo": true});
    let asked = ask("plain", json!(["Once", [82, 83]]), &more);
    let reply = site.client.post(PATH, &asked).await.json();
    let choices = reply["choices"].as_array().unwrap();
    let texts: Vec<_> = choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["OnceHello", "OnceHello", "RSHello", "RSHello"]);
    assert!(choices.iter().enumerate().all(|(index, choice)| choice["index"] == index));
    assert_eq!(reply["usage"]["prompt_tokens"], 4 + 2);
    assert_eq!(reply["usage"]["completion_tokens"], 20);
    let mut asked = asked;
    asked["stream"] = json!(true);
    let events = streamed(&site, &asked).await;
    let texts: Vec<_> = (0..4).map(|index| text_of(&events, index)).collect();
    assert_eq!(texts, ["OnceHello", "OnceHello", "RSHello", "RSHello"]);
    assert_eq!(events.last().unwrap()["usage"], reply["usage"]);

    // More than may be in the queue at once.
    let asked = ask("endless", json!(vec!["a"; 20]), &json!({"max_tokens": 2}));
    let reply = site.client.post(PATH, &asked).await.json();
    assert_eq!(reply["choices"].as_array().unwrap().len(), 20);
    assert!(reply["choices"].as_array().unwrap().iter().all(|choice| choice["text"] == "aa"), "{reply}");
}

#[tokio::test]
async fn prompts_are_weighed_as_lm_eval_asks_for_it() {
    let site = Site::new().await;
    // What its `local-completions` sends, and what it reads of the answer.
    let more = json!({"echo": true, "logprobs": 1, "max_tokens": 1, "temperature": 0, "seed": 1234});
    let asked = ask("plain", json!([[79, 110, 99, 101], [82, 83]]), &more);
    let reply = site.client.post(PATH, &asked).await.json();
    for (index, (text, tokens)) in [("OnceH", 4), ("RSH", 2)].into_iter().enumerate() {
        let choice = &reply["choices"][index];
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(text), &json!("length")), "{reply}");
        let logprobs = &choice["logprobs"];
        let list = |name: &str| logprobs[name].as_array().unwrap().clone();
        let joined: String = list("tokens").iter().filter_map(Value::as_str).collect();
        assert_eq!(joined, text);
        for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            assert_eq!(list(name).len(), tokens + 1, "{name}");
        }
        assert_eq!(list("text_offset"), (0..=tokens).map(|offset| json!(offset)).collect::<Vec<_>>());
        assert_eq!((&list("token_logprobs")[0], &list("top_logprobs")[0]), (&Value::Null, &Value::Null));
        for (token, (logprob, top)) in
            list("tokens").iter().zip(list("token_logprobs").iter().zip(list("top_logprobs"))).skip(1)
        {
            let top = top.as_object().unwrap();
            assert_eq!(top[token.as_str().unwrap()], *logprob);
            assert!((1..=2).contains(&top.len()));
        }
        // Nothing else may come first, so it is what the greedy choice would have been.
        let last = list("token_logprobs")[tokens].as_f64().unwrap();
        let best = list("top_logprobs")[tokens]
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_f64)
            .fold(f64::MIN, f64::max);
        assert!((last - best).abs() < f64::EPSILON, "{reply}");
    }
    // The same in a stream, and of the prompt alone.
    let mut streaming = asked.clone();
    streaming["stream"] = json!(true);
    let events = streamed(&site, &streaming).await;
    for index in 0..2 {
        assert_eq!(text_of(&events, index), reply["choices"][index]["text"]);
        for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            let of =
                events.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index);
            let all: Vec<_> =
                of.filter_map(|choice| choice["logprobs"][name].as_array()).flatten().cloned().collect();
            assert_eq!(Value::Array(all), reply["choices"][index]["logprobs"][name], "{name}");
        }
    }
    let mut alone = asked;
    alone["max_tokens"] = json!(0);
    let alone = site.client.post(PATH, &alone).await.json();
    assert_eq!(alone["choices"][0]["text"], "Once");
    assert_eq!(alone["choices"][0]["logprobs"]["tokens"], json!(["O", "n", "c", "e"]));
    assert_eq!(alone["usage"]["completion_tokens"], 0);
    let echoed = ask("plain", json!("Once"), &json!({"echo": true, "max_tokens": 0}));
    assert_eq!(site.client.post(PATH, &echoed).await.json()["choices"][0]["text"], "Once");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let site = Site::new().await;
    let check = async |asked: Value, status: u16, code: &str, param: Option<&str>| {
        let reply = site.client.post(PATH, &asked).await;
        reply.is_error(status, code);
        assert_eq!(reply.json()["error"]["param"].as_str(), param, "{}", reply.text());
    };
    check(json!({"model": "plain"}), 400, "invalid_format", Some("prompt")).await;
    check(ask("plain", json!("a"), &json!({"logprobs": 21})), 422, "invalid_parameter", Some("logprobs"))
        .await;
    check(ask("nobody", json!("a"), &json!({})), 404, "model_not_found", Some("model")).await;
    let long = json!("x".repeat(3000));
    check(ask("plain", long, &json!({})), 400, "context_length_exceeded", Some("prompt")).await;
    let more = json!({"max_tokens": 4000});
    check(ask("plain", json!("a"), &more), 400, "context_length_exceeded", Some("prompt")).await;
    check(ask("plain", json!([99_999]), &json!({})), 422, "invalid_parameter", Some("prompt")).await;
    check(ask("plain", json!("a"), &json!({"suffix": "b"})), 422, "invalid_parameter", Some("suffix")).await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_engine() {
    let site = Site::new().await;
    site.models.gate.allow(0);
    let client = site.client.clone();
    let asked = ask("endless", json!(["a", "b", "c"]), &json!({"max_tokens": 1000}));
    let asking = tokio::spawn(async move { client.post(PATH, &asked).await.status });
    eventually("two are queued", async || site.running("endless") == 2).await;
    asking.abort();
    let _drip = site.models.gate.drip();
    eventually("all are cancelled", async || site.running("endless") == 0).await;
}

#[tokio::test]
async fn models_are_listed_and_looked_up() {
    let site = Site::new().await;
    let listed = site.client.get("/v1/models").await.json();
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert!(names.contains(&json!("plain")) && !names.contains(&json!("absent")), "{listed}");
    let one = site.client.get("/v1/models/plain").await.json();
    assert_eq!(one, json!({"id": "plain", "object": "model", "created": 0, "owned_by": "cachalot"}));
    for name in ["absent", "nobody", "a%2Fb"] {
        site.client.get(&format!("/v1/models/{name}")).await.is_error(404, "model_not_found");
    }
}

#[tokio::test]
async fn aliases_answer_alike() {
    let site = Site::new().await;
    let chat = json!({"model": "thinker", "messages": [{"role": "user", "content": "Hi"}]});
    let text = json!({"model": "plain", "prompt": "Hi"});
    // What differs from one answer to the next.
    let unnamed = |mut reply: Value| {
        if let Some(reply) = reply.as_object_mut() {
            reply.remove("id");
            reply.remove("usage");
        }
        reply
    };
    let answer = async |method: &str, path: &str, canonical: &str| {
        let reply = match (method, canonical) {
            ("POST", "/chat/completions") => site.client.post(path, &chat).await,
            ("POST", _) => site.client.post(path, &text).await,
            _ => site.client.get(&path.replace("{id}", "plain")).await,
        };
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        unnamed(reply.json())
    };
    let mut counted = 0;
    for (method, path) in program_endpoints() {
        let canonical = path.strip_prefix("/v1").or_else(|| path.strip_prefix("/beta")).unwrap_or(path);
        if !["/chat/completions", "/completions", "/models", "/models/{id}"].contains(&canonical) {
            continue;
        }
        counted += 1;
        let expected = answer(method, &format!("/v1{canonical}"), canonical).await;
        assert_eq!(answer(method, path, canonical).await, expected, "{path}");
    }
    assert_eq!(counted, 12);
}

#[tokio::test]
async fn no_page_of_another_site_reaches_an_endpoint() {
    let site = Site::new().await;
    for (method, path) in program_endpoints() {
        for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")] {
            let headers = [("content-type", "application/json"), (name, value)];
            let reply = site.client.request(method, path, &headers, b"{}".to_vec()).await;
            // Each in the form of its API.
            assert_eq!(reply.status, 403, "{method} {path}: {}", reply.text());
            assert!(reply.text().contains("only pages of this server may call it"), "{}", reply.text());
        }
        let headers = [("content-type", "application/json"), ("host", "evil.example")];
        let reply = site.client.request(method, path, &headers, b"{}".to_vec()).await;
        assert_eq!(reply.status, 403, "{method} {path}: {}", reply.text());
        assert!(reply.text().contains("are answered"), "{}", reply.text());
    }
}
