//! The `OpenAPI` document: the committed one is that of the program, and no endpoint is missing in it.

use std::collections::BTreeSet;

use serde_json::Value;
use server::{admin_endpoints, api_paths, openapi_document, program_endpoints};

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
