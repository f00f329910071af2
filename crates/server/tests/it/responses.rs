//! `POST /v1/responses`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Event, Setup, Site, eventually};

const PATH: &str = "/v1/responses";

fn ask(model: &str, more: &Value) -> Value {
    let mut asked = json!({"model": model, "input": "Hi"});
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
    let mut text = String::new();
    for (number, event) in stream.rest().await.into_iter().enumerate() {
        assert_eq!(event.json()["type"], event.name, "the name of an event is in its data too");
        assert_eq!(event.json()["sequence_number"], number);
        text.extend(["event: ", &event.name, "\ndata: ", &event.data, "\n\n"]);
    }
    text
}

#[tokio::test]
async fn stream_of_a_plain_response() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("plain", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn stream_of_a_response_with_reasoning() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("thinker", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn stream_of_a_response_that_is_cut() {
    let site = Site::new().await;
    let asked = ask("plain", &json!({"stream": true, "max_output_tokens": 2, "top_logprobs": 1}));
    insta::assert_snapshot!(transcript(&site.client, &asked).await);
}

#[tokio::test]
async fn stream_of_a_response_that_breaks() {
    let site = Site::new().await;
    insta::assert_snapshot!(transcript(&site.client, &ask("failing", &json!({"stream": true}))).await);
}

#[tokio::test]
async fn whole_response() {
    let site = Site::new().await;
    let more = json!({
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "How deep?"}]}],
        "metadata": {"a": "b"},
        "store": true,
        "reasoning": {"effort": "high"},
        "user": "ann",
    });
    let reply = site.client.post(PATH, &ask("thinker", &more)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.json()).unwrap());
    let short = site.client.post("/responses", &ask("plain", &json!({}))).await.json();
    assert_eq!(short["output"][0]["content"][0]["text"], "Hello, whale! 🐋");
    assert_eq!((&short["status"], &short["store"]), (&json!("completed"), &json!(false)));
}

#[tokio::test]
async fn the_last_event_is_the_response_that_one_would_have_got_whole() {
    let site = Site::new().await;
    for more in
        [json!({}), json!({"max_output_tokens": 3}), json!({"include": ["message.output_text.logprobs"]})]
    {
        let whole = site.client.post(PATH, &ask("plain", &more)).await.json();
        let mut asked = ask("plain", &more);
        asked["stream"] = json!(true);
        let events = site.client.open_post(PATH, &asked).await.rest().await;
        let last = events.last().unwrap().json();
        let mut streamed = last["response"].clone();
        assert_eq!(last["type"], json!(format!("response.{}", whole["status"].as_str().unwrap())));
        // Names differ, and what was read once is in the cache.
        for field in ["id", "usage"] {
            streamed[field] = whole[field].clone();
        }
        streamed["output"][0]["id"] = whole["output"][0]["id"].clone();
        assert_eq!(streamed, whole);
    }
}

#[tokio::test]
async fn functions_are_called_and_their_outputs_taken() {
    let site = Site::new().await;
    let tools = json!([{"type": "function", "name": "depth", "description": "How deep it dives.", "parameters": {
        "type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]}}]);
    let whole = site.client.post(PATH, &ask("caller", &json!({"tools": tools}))).await.json();
    assert_eq!(whole["status"], "completed", "{whole}");
    let [call] = whole["output"].as_array().unwrap().as_slice() else { panic!("{whole}") };
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("depth")));
    let arguments = call["arguments"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(arguments).unwrap().is_object(), "{call}");

    let mut stream =
        site.client.open_post(PATH, &ask("caller", &json!({"tools": tools, "stream": true}))).await;
    let events = stream.rest().await;
    let of =
        |name: &str| events.iter().filter(|event| event.name == name).map(Event::json).collect::<Vec<_>>();
    let pieces = of("response.function_call_arguments.delta");
    let pieces: String = pieces.iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(pieces, arguments);
    assert_eq!(of("response.function_call_arguments.done")[0]["arguments"], arguments);
    assert_eq!(of("response.completed")[0]["response"]["output"][0]["arguments"], arguments);

    let input = json!([
        {"role": "user", "content": "How deep?"},
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "2 km"},
    ]);
    let answered = site.client.post(PATH, &ask("plain", &json!({"tools": tools, "input": input}))).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(answered.json()["output"][0]["content"][0]["text"], "Hello, whale! 🐋");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let site = Site::new().await;
    let check = async |asked: Value, status: u16, code: &str, param: Option<&str>| {
        let reply = site.client.post(PATH, &asked).await;
        reply.is_error(status, code);
        assert_eq!(reply.json()["error"]["param"].as_str(), param, "{}", reply.text());
    };
    check(json!({"model": "plain"}), 400, "invalid_format", Some("input")).await;
    check(ask("plain", &json!({"temperature": 9})), 422, "invalid_parameter", Some("temperature")).await;
    let previous = json!({"previous_response_id": "resp_1"});
    check(ask("plain", &previous), 422, "unsupported", Some("previous_response_id")).await;
    check(ask("plain", &json!({"truncation": "auto"})), 422, "unsupported", Some("truncation")).await;
    check(ask("plain", &json!({"background": true})), 422, "unsupported", Some("background")).await;
    check(ask("nobody", &json!({})), 404, "model_not_found", Some("model")).await;
    check(ask("nobody", &json!({"stream": true})), 404, "model_not_found", Some("model")).await;
    let long = json!({"input": "x".repeat(3000)});
    check(ask("plain", &long), 400, "context_length_exceeded", Some("input")).await;
    check(ask("plain", &json!({"max_output_tokens": 4000})), 400, "context_length_exceeded", Some("input"))
        .await;
    check(ask("failing", &json!({})), 500, "generation_failed", None).await;
}

fn text(event: &Event) -> String {
    let delta = event.name == "response.output_text.delta";
    if delta { event.json()["delta"].as_str().unwrap().to_owned() } else { String::new() }
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
    eventually("the streamed response is cancelled", async || site.running("endless") == 0).await;
    drop(drip);

    site.models.gate.allow(0);
    let client = site.client.clone();
    let asking = tokio::spawn(async move { client.post(PATH, &ask("endless", &json!({}))).await.status });
    eventually("the response is queued", async || site.running("endless") == 1).await;
    asking.abort();
    let _drip = site.models.gate.drip();
    eventually("the whole response is cancelled", async || site.running("endless") == 0).await;
}

#[tokio::test]
async fn a_full_queue_is_said_and_so_is_a_wait_in_vain() {
    let site = Setup::with(|settings| settings.start_timeout = Duration::from_millis(150)).serve().await;
    site.models.gate.allow(1);
    let mut first = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    while text(&first.named().await.unwrap()).is_empty() {}
    let mut second = site.client.open_post(PATH, &ask("endless", &json!({"stream": true}))).await;
    site.client.post(PATH, &ask("endless", &json!({}))).await.is_error(503, "queue_full");
    let events = second.rest().await;
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["response.created", "response.in_progress", "error", "response.failed"]);
    assert_eq!(events[2].json()["code"], "queue_timeout");
    let failed = &events[3].json()["response"];
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("rate_limit_exceeded"))
    );
}
