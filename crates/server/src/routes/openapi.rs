//! The `OpenAPI` document of every endpoint, and `GET /openapi.json`, which gives it to whoever asks.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ArrayItems, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OneOfBuilder, Ref, RefOr, ResponseBuilder, Schema, SecurityRequirement,
};
use utoipa::{Modify, OpenApi};

use super::whole::put_together;
use super::{Audience, api};
use crate::layers::anthropic::asks_anthropic;

/// What is in the document beside the endpoints themselves.
#[derive(OpenApi)]
#[openapi(
    info(title = "Cachalot", description = "A chatbot that reasons: its API for programs and that of its web app."),
    paths(
        api::add_conversation::handle,
        api::add_key::handle,
        api::add_message::handle,
        api::add_passkey::handle,
        api::add_totp::handle,
        api::admin::add_credit::handle,
        api::admin::add_group::handle,
        api::admin::add_invitations::handle,
        api::admin::add_user::handle,
        api::admin::add_user_key::handle,
        api::admin::audit::handle,
        api::admin::backup::handle,
        api::admin::change_group::handle,
        api::admin::change_user::handle,
        api::admin::change_user_key::handle,
        api::admin::delete_group::handle,
        api::admin::delete_user::handle,
        api::admin::gate::handle,
        api::admin::group::handle,
        api::admin::groups::handle,
        api::admin::pin_gate::handle,
        api::admin::prices::handle,
        api::admin::reset_factors::handle,
        api::admin::revoke_user_key::handle,
        api::admin::revoke_user_session::handle,
        api::admin::revoke_user_sessions::handle,
        api::admin::rotate_key::handle,
        api::admin::set_password::handle,
        api::admin::status::handle,
        api::admin::usage::handle,
        api::admin::usage_csv::handle,
        api::admin::usage_sums::handle,
        api::admin::user::handle,
        api::admin::user_balance::handle,
        api::admin::user_keys::handle,
        api::admin::user_sessions::handle,
        api::admin::users::handle,
        api::balance::handle,
        api::begin_totp::handle,
        api::challenges::handle,
        api::change_conversation::handle,
        api::change_email::handle,
        api::change_key::handle,
        api::change_passkey::handle,
        api::change_password::handle,
        api::change_settings::handle,
        api::confirm_reset::handle,
        api::continue_answer::handle,
        api::conversation::handle,
        api::conversations::handle,
        api::delete_account::handle,
        api::delete_conversation::handle,
        api::delete_passkey::handle,
        api::delete_totp::handle,
        api::export::handle,
        api::import::handle,
        api::keys::handle,
        api::leave_place::handle,
        api::link_provider::handle,
        api::login::handle,
        api::login_passkey::handle,
        api::login_passkey_options::handle,
        api::login_second::handle,
        api::logout::handle,
        api::models::handle,
        api::passkey_options::handle,
        api::place::handle,
        api::regenerate::handle,
        api::remove_link::handle,
        api::renew_recovery_codes::handle,
        api::reset::handle,
        api::revoke_key::handle,
        api::revoke_session::handle,
        api::revoke_sessions::handle,
        api::search::handle,
        api::security::handle,
        api::session::handle,
        api::sessions::handle,
        api::settings::handle,
        api::setup::handle,
        api::sign_up::handle,
        api::stop::handle,
        api::stream::handle,
        api::usage::handle,
        api::usage_csv::handle,
        api::usage_sums::handle,
        api::verify::handle,
        super::v1::chat_completions::handle,
        super::v1::completions::handle,
        super::v1::models::handle,
        super::v1::model::handle,
        super::v1::responses::handle,
        super::v1::tokenize::handle,
        super::v1::detokenize::handle,
        super::v1::tokenizer_info::handle,
        super::anthropic::messages::handle,
        super::anthropic::count_tokens::handle,
        super::anthropic::models::handle,
        super::anthropic::model::handle,
        super::user::balance::handle,
        super::status::handle,
    ),
    components(schemas(
        wire::ErrorBody,
        wire::anthropic::ErrorReply,
        wire::anthropic::StreamEvent,
        wire::chat::ChatCompletionChunk,
        wire::completions::CompletionChunk,
        wire::responses::ResponseEvent,
        api::stream::DeltaView,
        crate::bulwark::Cut,
    )),
    modifiers(&Common),
    tags(
        (name = "programs", description = "What programs ask, with a key, in the forms of DeepSeek, OpenAI and Anthropic. The paths of DeepSeek without /v1, and those under /beta, are the same endpoints."),
        (name = "account", description = "Accounts: how one comes in, and what is one's own."),
        (name = "chat", description = "Conversations of the web app."),
        (name = "admin", description = "What operators and administrators do."),
    ),
)]
struct Document;

/// What all endpoints have in common.
struct Common;

/// The names of the schemas of errors.
const ERROR: &str = "ErrorBody";
const ANTHROPIC_ERROR: &str = "AnthropicErrorReply";
/// The schemas of what streams hold, which no response names.
const STREAMED: [&str; 6] = [
    "ChatCompletionChunk",
    "CompletionChunk",
    "AnthropicStreamEvent",
    "ResponsesResponseEvent",
    "MessageDelta",
    "AnswerReduced",
];
/// Those of them that are put together of others, and the schemas that are only parts of them.
const IN_PARTS: [&str; 2] = ["AnthropicStreamEvent", "ResponsesResponseEvent"];
const PARTS: [&str; 3] = ["ResponsesEventKind", "ResponsesItemPlace", "ResponsesPartPlace"];
const COOKIE: &str = "session";

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        // Of the API, not of the program: it changes when something in it does.
        document.info.version = "1".to_owned();
        let components = document.components.get_or_insert_default();
        let cookie = "The signed cookie of a session; its name differs from server to server.";
        components.add_security_scheme(
            COOKIE,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description("cachalot", cookie))),
        );
        let audiences: Vec<_> = super::api_paths();
        for (path, item) in &mut document.paths.paths {
            let anybody =
                audiences.iter().any(|&(given, audience)| given == path && audience == Audience::Anybody);
            let operations =
                [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                complete(operation, path, anybody);
            }
        }
        if let Some(components) = &mut document.components {
            for name in IN_PARTS {
                put_together(components, name);
            }
            components.schemas.retain(|name, _| !PARTS.contains(&name.as_str()));
        }
        require_what_is_written(document);
    }
}

/// Says of the fields of responses that may be `null` that they are there. utoipa takes every `Option` for a field that may be
/// absent, as it may in a request; serde writes `null` for one that is empty, unless it is told to leave it out, and such
/// a field is marked `nullable = false`.
fn require_what_is_written(document: &mut utoipa::openapi::OpenApi) {
    let mut names: Vec<String> = STREAMED.map(str::to_owned).to_vec();
    for item in document.paths.paths.values() {
        let operations = [&item.get, &item.post, &item.patch, &item.put, &item.delete];
        let responses = operations.into_iter().flatten().flat_map(|it| it.responses.responses.values());
        for response in responses {
            let RefOr::T(response) = response else { continue };
            for content in response.content.values() {
                let RefOr::T(content) = content else { continue };
                content.schema.clone().iter_mut().for_each(|schema| require(schema, &mut names));
            }
        }
    }
    let Some(components) = &mut document.components else { return };
    let mut known = BTreeSet::new();
    while let Some(name) = names.pop() {
        if known.insert(name.clone())
            && let Some(schema) = components.schemas.get_mut(&name)
        {
            require(schema, &mut names);
        }
    }
}

/// Does so for a schema and those within it; adds the names of others that it refers to.
fn require(schema: &mut RefOr<Schema>, names: &mut Vec<String>) {
    let schema = match schema {
        RefOr::Ref(to) => {
            return names.extend(to.ref_location.rsplit('/').next().map(str::to_owned));
        }
        RefOr::T(schema) => schema,
    };
    match schema {
        Schema::Object(object) => {
            for (name, property) in &mut object.properties {
                if may_be_null(property) && !object.required.contains(name) {
                    object.required.push(name.clone());
                }
                require(property, names);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                require(items, names);
            }
        }
        Schema::OneOf(some) => some.items.iter_mut().for_each(|item| require(item, names)),
        Schema::AllOf(all) => all.items.iter_mut().for_each(|item| require(item, names)),
        Schema::AnyOf(some) => some.items.iter_mut().for_each(|item| require(item, names)),
        _ => {}
    }
}

fn may_be_null(schema: &RefOr<Schema>) -> bool {
    let is_null = |given: &SchemaType| match given {
        SchemaType::Type(given) => *given == Type::Null,
        SchemaType::Array(given) => given.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => is_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => is_null(&array.schema_type),
        RefOr::T(Schema::OneOf(some)) => some.items.iter().any(may_be_null),
        _ => false,
    }
}

fn complete(operation: &mut Operation, path: &str, anybody: bool) {
    let description = "Refused, or failed: what was allowed and what was given.";
    let schema = error_schema(path);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let error = ResponseBuilder::new().description(description).content("application/json", content);
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = "Done.".to_owned();
        }
    }
    operation.responses.responses.insert("default".to_owned(), error.build().into());
    if path.starts_with("/api/") && !anybody {
        operation.security = Some(vec![SecurityRequirement::new(COOKIE, Vec::<String>::new())]);
    }
}

/// In whose form an endpoint's errors are; where two APIs have the path, it is that of the client.
fn error_schema(path: &str) -> RefOr<Schema> {
    let named = |name: &str| RefOr::Ref(Ref::from_schema_name(name));
    let mut version = HeaderMap::new();
    let by_itself = asks_anthropic(path, &version);
    version.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    match (by_itself, asks_anthropic(path, &version)) {
        (true, _) => named(ANTHROPIC_ERROR),
        (false, false) => named(ERROR),
        (false, true) => {
            let either = OneOfBuilder::new().item(named(ERROR)).item(named(ANTHROPIC_ERROR));
            RefOr::T(either.build().into())
        }
    }
}

/// The document, as JSON.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Made once: it takes some milliseconds, and whoever likes may ask.
pub(crate) async fn handle() -> impl IntoResponse {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().into());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone())
}
