//! Tools and formats of `POST /v1/chat/completions`, as far as the server has to do with them.

use serde_json::{Value, json};

use crate::support::{Event, Site};

const PATH: &str = "/v1/chat/completions";

fn ask(model: &str, more: &Value) -> Value {
    let mut asked = json!({"model": model, "messages": [{"role": "user", "content": "How deep?"}]});
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

fn depth() -> Value {
    json!({"name": "depth", "parameters": {
        "type": "object",
        "properties": {"at": {"type": "integer"}},
        "required": ["at"],
        "additionalProperties": false,
    }})
}

fn tools() -> Value {
    json!([{"type": "function", "function": depth()}])
}

#[tokio::test]
async fn a_call_in_a_whole_answer() {
    let site = Site::new().await;
    let reply = site.client.post(PATH, &ask("caller", &json!({"tools": tools()}))).await.json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{reply}");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("depth")));
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"at": 1}));
    // The next turn: what the tool gave back is read, and what was called is named.
    let turn = json!({"role": "assistant", "content": null, "tool_calls": choice["message"]["tool_calls"]});
    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "2000"});
    let messages = json!([{"role": "user", "content": "How deep?"}, turn, result]);
    let asked = ask("plain", &json!({"tools": tools(), "messages": messages}));
    let answered = site.client.post(PATH, &asked).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(answered.json()["choices"][0]["message"]["content"], "Hello, whale! 🐋");
}

#[tokio::test]
async fn a_call_in_a_stream() {
    let site = Site::new().await;
    let asked = ask("caller", &json!({"tools": tools(), "stream": true}));
    let mut events = site.client.open_post(PATH, &asked).await.rest().await;
    assert_eq!(events.pop().unwrap().data, "[DONE]");
    let chunks: Vec<Value> = events.iter().map(Event::json).collect();
    let calls: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls")).collect();
    assert_eq!(calls[0][0]["function"]["name"], "depth");
    assert!(calls[0][0]["id"].as_str().is_some_and(|id| !id.is_empty()));
    assert!(calls[1..].iter().all(|call| call[0].get("id").is_none() && call[0]["index"] == 0));
    let arguments: String =
        calls.iter().filter_map(|call| call[0]["function"]["arguments"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"at": 1}));
    let both = |chunk: &Value| {
        let delta = &chunk["choices"][0]["delta"];
        delta.get("tool_calls").is_some() && delta.get("content").is_some()
    };
    assert!(!chunks.iter().any(both), "{chunks:?}");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_call_in_the_old_form() {
    let site = Site::new().await;
    let reply = site.client.post(PATH, &ask("caller", &json!({"functions": [depth()]}))).await.json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "function_call", "{reply}");
    assert_eq!(choice["message"]["function_call"]["name"], "depth");
    assert_eq!(choice["message"].get("tool_calls"), None);
}

#[tokio::test]
async fn the_content_has_the_form_that_was_asked_for() {
    let site = Site::new().await;
    let schema = json!({
        "type": "object",
        "properties": {"whale": {"const": "sperm"}},
        "required": ["whale"],
        "additionalProperties": false,
    });
    // What this model says follows from nothing, so it would think for ever if it might.
    let content = async |mut more: Value| {
        more["thinking"] = json!({"type": "disabled"});
        let reply = site.client.post(PATH, &ask("plain", &more)).await.json();
        assert_eq!(reply["choices"][0]["finish_reason"], "stop", "{more}: {reply}");
        reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let described = json!({"name": "answer", "schema": schema, "strict": true});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": described}});
    let valid = json!({"whale": "sperm"});
    assert_eq!(serde_json::from_str::<Value>(&content(format).await).unwrap(), valid);
    let guided = content(json!({"guided_json": schema})).await;
    assert_eq!(serde_json::from_str::<Value>(&guided).unwrap(), valid);
    assert_eq!(content(json!({"guided_choice": ["sperm"]})).await, "sperm");
    assert_eq!(content(json!({"structured_outputs": {"regex": "ab{3}"}})).await, "abbb");
    let completed = json!({"model": "plain", "prompt": "A", "guided_choice": ["blue"]});
    let completed = site.client.post("/v1/completions", &completed).await.json();
    assert_eq!(completed["choices"][0]["text"], "blue", "{completed}");
}

#[tokio::test]
async fn a_form_that_can_not_be_held_to_is_refused() {
    let site = Site::new().await;
    let refused = async |more: Value| {
        let reply = site.client.post(PATH, &ask("plain", &more)).await;
        assert!((400..500).contains(&reply.status), "{more}: {}", reply.status);
        assert!(reply.json()["error"]["param"].is_string(), "{}", reply.text());
    };
    refused(json!({"guided_regex": "("})).await;
    refused(json!({"guided_json": {"type": "whale"}})).await;
    refused(json!({"guided_grammar": "start: ("})).await;
    refused(json!({"tools": tools(), "tool_choice": "required", "thinking": {"type": "enabled"}})).await;
}
