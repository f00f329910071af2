//! The `OpenAPI` document: the committed one is that of the program, and no endpoint is missing in it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use server::{admin_endpoints, api_paths, openapi_document, program_endpoints};

use crate::support::{Asked, Contract};

const COMMITTED: &str = include_str!("../../../../docs/openapi.json");

#[test]
fn the_committed_document_is_that_of_the_program() {
    assert!(
        openapi_document() == COMMITTED,
        "docs/openapi.json is not what the endpoints say: run `make openapi`"
    );
}

#[test]
fn every_endpoint_is_in_the_document() {
    let document: Value = serde_json::from_str(&openapi_document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let known: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    for (path, _) in api_paths() {
        assert!(known.contains(path), "{path} is not in the document");
    }
    for (method, path, _) in admin_endpoints() {
        assert!(paths[path].get(method.to_lowercase()).is_some(), "{method} {path} is not in the document");
    }
    for (method, path) in program_endpoints() {
        // The same endpoints by DeepSeek's other paths.
        let plain =
            path.trim_start_matches("/beta").trim_start_matches("/v1").trim_start_matches("/anthropic");
        let names =
            [path.to_owned(), format!("/v1{plain}"), plain.to_owned(), format!("/anthropic/v1{plain}")];
        let there =
            |name: &String| paths.get(name).is_some_and(|item| item.get(method.to_lowercase()).is_some());
        assert!(names.iter().any(there), "{method} {path} is not in the document");
    }
}

#[test]
fn operations_have_names_of_their_own_and_say_how_they_fail() {
    let document: Value = serde_json::from_str(&openapi_document()).unwrap();
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in
            item.as_object().unwrap().values().filter(|operation| operation.get("responses").is_some())
        {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            assert!(operation["responses"].get("default").is_some(), "{name} does not say how it fails");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name}");
        }
    }
}

fn document() -> Value {
    serde_json::from_str(&openapi_document()).unwrap()
}

/// The schemas that parts of the document refer to, with those that these refer to.
fn schemas_of<'a>(document: &'a Value, parts: impl Iterator<Item = &'a Value>) -> BTreeSet<&'a str> {
    fn names<'a>(part: &'a Value, found: &mut Vec<&'a str>) {
        match part {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).and_then(|to| to.rsplit('/').next()));
                fields.values().for_each(|part| names(part, found));
            }
            Value::Array(parts) => parts.iter().for_each(|part| names(part, found)),
            _ => {}
        }
    }
    let mut waiting = Vec::new();
    parts.for_each(|part| names(part, &mut waiting));
    let mut known = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if known.insert(name) {
            names(&document["components"]["schemas"][name], &mut waiting);
        }
    }
    known
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let items = document["paths"].as_object().unwrap().values();
    items.flat_map(|item| item.as_object().unwrap().values()).filter(|part| part.get("responses").is_some())
}

/// Whatever a schema says of a field: `Some(true)` where it may be null.
fn may_be_null(property: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    is_null(&property["type"])
        || property["type"].as_array().is_some_and(|kinds| kinds.iter().any(is_null))
        || property["oneOf"].as_array().is_some_and(|some| some.iter().any(may_be_null))
}

fn objects<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) {
                found.push(schema);
            }
            fields.values().for_each(|part| objects(part, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| objects(part, found)),
        _ => {}
    }
}

#[test]
fn a_field_of_a_response_is_there_or_left_out_but_not_both_null_and_left_out() {
    let document = document();
    let responses = schemas_of(&document, operations(&document).map(|operation| &operation["responses"]));
    let requests = schemas_of(&document, operations(&document).map(|operation| &operation["requestBody"]));
    let mut checked = 0;
    for name in responses {
        let mut found = Vec::new();
        objects(&document["components"]["schemas"][name], &mut found);
        // What is asked and what is answered are told in different ways.
        assert!(found.is_empty() || !requests.contains(name), "{name} is in requests and in responses");
        for object in found {
            let required: Vec<_> = object["required"].as_array().into_iter().flatten().collect();
            for (field, property) in object["properties"].as_object().unwrap() {
                let is_required = required.iter().any(|required| *required == field);
                assert!(is_required || !may_be_null(property), "{name}.{field} may be null, and absent");
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "only {checked} fields of responses were looked at");
}

/// What the test of every answer finds. It has to find it, or the others say nothing.
#[test]
fn an_answer_that_differs_from_the_document_is_found() {
    let contract = Contract::new(document());
    let check = |status, answer: &Value, sent: Value, expected: Option<&str>| {
        let asked = Asked { method: "POST".into(), path: "/api/conversations".into(), body: Some(sent) };
        let found = contract.check(&asked, status, "application/json", answer.to_string().as_bytes());
        match expected {
            None => assert_eq!(found, Ok(())),
            Some(expected) => assert!(found.as_ref().is_err_and(|why| why.contains(expected)), "{found:?}"),
        }
    };
    let right = json!({
        "id": "1", "title": "", "model": "m", "system": null, "created_ms": 1, "updated_ms": 2,
    });
    let with = |field: &str, value: Value| {
        let mut answer = right.clone();
        answer[field] = value;
        answer
    };
    let mut without = right.clone();
    without.as_object_mut().unwrap().remove("system");
    check(201, &right, json!({}), None);
    check(201, &right, json!({"model": "m"}), None);
    check(201, &without, json!({}), Some("system"));
    check(201, &with("more", json!(1)), json!({}), Some("more"));
    check(201, &with("title", Value::Null), json!({}), Some("/title"));
    check(201, &right, json!({"modelz": "m"}), Some("modelz"));
    check(200, &right, json!({}), Some("no such status"));
    let error = json!({"error": {"message": "m", "type": "t", "param": null, "code": "c"}});
    check(404, &error, json!({}), None);
    check(404, &json!({"error": {"message": "m", "type": "t", "code": "c"}}), json!({}), Some("param"));
    // What was refused may be anything.
    check(404, &error, json!({"modelz": "m"}), None);
}

/// The same of what streams hold.
#[test]
fn an_event_that_differs_from_the_document_is_found() {
    let contract = Contract::new(document());
    let check = |path: &str, name: &str, event: Value, expected: Option<&str>| {
        let asked = Asked { method: "POST".into(), path: path.into(), body: None };
        let found = contract.check_event(&asked, name, &event.to_string());
        match expected {
            None => assert_eq!(found, Ok(()), "{event}"),
            Some(expected) => assert!(found.as_ref().is_err_and(|why| why.contains(expected)), "{found:?}"),
        }
    };
    let messages = "/anthropic/v1/messages";
    let delta =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}});
    check(messages, "content_block_delta", delta.clone(), None);
    check(messages, "ping", json!({"type": "ping"}), None);
    check(messages, "ping", delta, Some("says that it is"));
    check(messages, "ping", json!({"type": "ping", "more": 1}), Some("oneOf"));
    check(messages, "pong", json!({"type": "pong"}), Some("oneOf"));
    let error = json!({
        "type": "error", "error": {"type": "api_error", "message": "m"}, "request_id": null,
    });
    check(messages, "error", error, None);
    let delta = |more: Value| {
        let mut event = json!({
            "type": "response.reasoning_text.delta", "sequence_number": 3, "item_id": "rs_1", "output_index": 0,
            "content_index": 0, "delta": "a",
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let (path, name) = ("/v1/responses", "response.reasoning_text.delta");
    check(path, name, delta(json!({})), None);
    check(path, name, delta(json!({"more": 1})), Some("oneOf"));
    check(path, name, delta(json!({"sequence_number": null})), Some("oneOf"));
    check(path, name, delta(json!({"output_index": -1})), Some("oneOf"));
    let mut without = delta(json!({}));
    without.as_object_mut().unwrap().remove("item_id");
    check(path, name, without, Some("oneOf"));
}
