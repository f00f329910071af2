//! The `OpenAPI` document of every endpoint, and `GET /openapi.json`, which gives it to whoever asks.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, SecurityRequirement};
use utoipa::{Modify, OpenApi};

use super::{Audience, api};

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
    components(schemas(wire::ErrorBody)),
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

/// The name of the schema of errors.
const ERROR: &str = "ErrorBody";
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
    }
}

fn complete(operation: &mut Operation, path: &str, anybody: bool) {
    let description = "Refused, or failed: what was allowed and what was given.";
    let schema = RefOr::Ref(Ref::from_schema_name(ERROR));
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

/// The document, as JSON.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) async fn handle() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}
