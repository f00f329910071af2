//! Holds whatever the tests ask, and whatever they are answered, to the `OpenAPI` document: a field that the document
//! doesn't have is as wrong as one that is missing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use hyper::header::HeaderMap;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// What the paths of the APIs begin with, as far as the document has them.
const PREFIXES: [&str; 11] = [
    "/api/",
    "/v1/",
    "/beta/",
    "/anthropic/",
    "/chat/completions",
    "/completions",
    "/models",
    "/responses",
    "/tokenize",
    "/detokenize",
    "/user/",
];
const JSON: &str = "application/json";

static DOCUMENT: LazyLock<Contract> = LazyLock::new(|| {
    Contract::new(serde_json::from_str(&server::openapi_document()).expect("the document is JSON"))
});

/// A request, as far as the document speaks of it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// What it sent as JSON, if it did.
    pub(crate) body: Option<Value>,
}

impl Asked {
    /// Checks a whole answer, and the request if it was taken.
    pub(crate) fn check(&self, status: u16, headers: &HeaderMap, body: &[u8]) {
        // What is compressed is the same as what isn't.
        if headers.contains_key("content-encoding") {
            return;
        }
        let content_type =
            headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Err(why) = DOCUMENT.check(self, status, content_type, body) {
            panic!("{} {} -> {status} is not as docs/openapi.json says: {why}", self.method, self.path);
        }
    }

    /// The names of all operations, and of those that were answered well in this process.
    pub(crate) fn operations_and_answered() -> (BTreeSet<String>, BTreeSet<String>) {
        let items = DOCUMENT.document["paths"].as_object().into_iter().flat_map(|items| items.values());
        let parts = items.flat_map(|item| item.as_object().into_iter().flat_map(|item| item.values()));
        let names = parts.filter_map(|part| part["operationId"].as_str()).map(str::to_owned);
        (names.collect(), DOCUMENT.answered.lock().expect("no test panics while it holds this").clone())
    }

    /// Checks what an event of a stream holds.
    pub(crate) fn check_event(&self, name: &str, data: &str) {
        if let Err(why) = DOCUMENT.check_event(self, name, data) {
            panic!(
                "an event {name:?} of {} {} is not as docs/openapi.json says: {why}",
                self.method, self.path
            );
        }
    }
}

pub(crate) struct Contract {
    document: Value,
    /// The schemas of objects that may have more fields than are known.
    open: Value,
    /// By whether unknown fields are let through, and the text of the schema.
    validators: Mutex<HashMap<(bool, String), Arc<Validator>>>,
    /// The names of operations that were answered well.
    answered: Mutex<BTreeSet<String>>,
}

impl Contract {
    pub(crate) fn new(mut document: Value) -> Self {
        let open = document["components"].clone();
        close(&mut document["components"]["schemas"]);
        close(&mut document["paths"]);
        Self { document, open, validators: Mutex::default(), answered: Mutex::default() }
    }

    pub(crate) fn check(
        &self,
        asked: &Asked,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) -> Result<(), String> {
        if asked.method == "HEAD" || !PREFIXES.iter().any(|prefix| asked.path.starts_with(prefix)) {
            return Ok(());
        }
        let Some(operation) = self.operation(asked) else {
            return if status < 400 { Err("there is no such operation".to_owned()) } else { Ok(()) };
        };
        if status < 300
            && let Some(sent) = &asked.body
            && let Some(content) = operation["requestBody"]["content"].get(JSON)
        {
            // Clients of other servers send what is not known here, and it is let through; `wire` has a test of its own
            // for the names of fields.
            let is_own = asked.path.starts_with("/api/");
            let components = if is_own { &self.document["components"] } else { &self.open };
            self.valid(components, &content["schema"], sent)
                .map_err(|why| format!("it took {sent}: {why}"))?;
        }
        if status < 300 {
            let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
            self.answered.lock().expect("no test panics while it holds this").insert(name);
        }
        let responses = operation["responses"].as_object().expect("an operation has responses");
        let known =
            responses.get(&status.to_string()).or_else(|| responses.get("default").filter(|_| status >= 400));
        let known = known.ok_or("it has no such status")?;
        if body.is_empty() {
            return match known["content"].as_object() {
                Some(content) if status < 300 && content.contains_key(JSON) => {
                    Err("it has no body".to_owned())
                }
                _ => Ok(()),
            };
        }
        let media = content_type.split(';').next().unwrap_or_default();
        let content =
            known["content"].get(media).ok_or_else(|| format!("it has no body of type {media:?}"))?;
        if media != JSON {
            return Ok(());
        }
        let answer: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        // Whoever was kept waiting has the head of a good answer when it turns out to be none.
        let has_begun = status == 200 && known["content"].get("text/event-stream").is_some();
        let schema = if has_begun && answer["error"].is_object() {
            &responses["default"]["content"][JSON]["schema"]
        } else {
            &content["schema"]
        };
        self.valid(&self.document["components"], schema, &answer).map_err(|why| format!("{why}\n{answer}"))
    }

    pub(crate) fn check_event(&self, asked: &Asked, name: &str, data: &str) -> Result<(), String> {
        let Some(operation) = self.operation(asked) else { return Ok(()) };
        let schema = match (operation["operationId"].as_str().unwrap_or_default(), name) {
            ("stream", "snapshot" | "done") => "Message",
            ("stream", "delta") => "MessageDelta",
            ("stream", "reduced") => "AnswerReduced",
            ("stream", name) => return Err(format!("there is no event {name:?}")),
            ("chat_completions", "") => "ChatCompletionChunk",
            ("completions", "") => "CompletionChunk",
            ("anthropic_messages", _) => "AnthropicStreamEvent",
            ("responses", _) => "ResponsesResponseEvent",
            _ => return Ok(()),
        };
        if data == wire::STREAM_DONE {
            return Ok(());
        }
        let data: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        if schema.ends_with("Event") && data["type"] != name {
            return Err(format!("it is called {name:?} and says that it is {}", data["type"]));
        }
        // A stream that breaks says why in the place of a chunk.
        let schema = if name.is_empty() && data["error"].is_object() { "ErrorBody" } else { schema };
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        self.valid(&self.document["components"], &schema, &data)
    }

    /// The operation that a request asks for, by any of its paths.
    pub(crate) fn operation(&self, asked: &Asked) -> Option<&Value> {
        let plain =
            asked.path.trim_start_matches("/beta").trim_start_matches("/v1").trim_start_matches("/anthropic");
        let plain = plain.trim_start_matches("/v1");
        let others = [format!("/v1{plain}"), plain.to_owned(), format!("/anthropic/v1{plain}")];
        let method = asked.method.to_lowercase();
        let paths = self.document["paths"].as_object().expect("the document has paths");
        [asked.path.clone()].iter().chain(&others).find_map(|path| {
            let fitting =
                paths.iter().filter(|(template, item)| fits(template, path) && item.get(&method).is_some());
            // `/passkeys/options` is not a passkey.
            fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, item)| &item[&method])
        })
    }

    fn valid(&self, components: &Value, schema: &Value, value: &Value) -> Result<(), String> {
        let Value::Object(fields) = schema else { return Err("there is no schema".to_owned()) };
        let validator = self.validator(components, fields);
        let errors: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    fn validator(&self, components: &Value, schema: &Map<String, Value>) -> Arc<Validator> {
        let key = (std::ptr::eq(components, &raw const self.open), Value::Object(schema.clone()).to_string());
        let mut validators = self.validators.lock().expect("no test panics while it holds this");
        let make = || {
            let mut root = schema.clone();
            root.insert("components".to_owned(), components.clone());
            let validator = jsonschema::draft202012::new(&Value::Object(root));
            Arc::new(validator.unwrap_or_else(|error| panic!("{error}: {}", key.1)))
        };
        Arc::clone(validators.entry(key.clone()).or_insert_with(make))
    }
}

/// Lets objects whose fields are known have no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(fields) => {
            let is_one = fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type").is_some_and(|kind| *kind == "object");
            assert!(
                !fields.contains_key("allOf"),
                "an object that is put together can't be closed: {fields:?}"
            );
            if is_one && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        _ => {}
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(known), Some(given)) if known == given || (known.starts_with('{') && !given.is_empty()) => {
            }
            _ => return false,
        }
    }
}
