use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Security)]
pub(crate) struct SecurityView {
    /// Whether there is one.
    password: bool,
    /// Whether a login asks for a one-time code.
    totp: bool,
    recovery_codes_left: u32,
    passkeys: Vec<PasskeyView>,
    /// Organisations whose login leads to this account.
    providers: Vec<ProviderView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Passkey)]
pub(crate) struct PasskeyView {
    id: String,
    name: String,
    created_ms: i64,
    used_ms: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkedProvider)]
pub(crate) struct ProviderView {
    id: String,
    name: String,
    created_ms: i64,
}

impl From<store::Passkey> for PasskeyView {
    fn from(passkey: store::Passkey) -> Self {
        Self {
            id: passkey.id.to_string(),
            name: passkey.name,
            created_ms: passkey.created_ms,
            used_ms: passkey.used_ms,
        }
    }
}

impl ProviderView {
    fn of(app: &App, link: store::Link) -> Self {
        let known = app.settings.providers.iter().find(|provider| provider.id == link.provider);
        Self {
            id: link.id.to_string(),
            // One that the operator has taken away since is called by its id.
            name: known.map_or(link.provider, |provider| provider.name.clone()),
            created_ms: link.created_ms,
        }
    }
}

/// What the caller can prove themselves with.
#[utoipa::path(
    get,
    path = "/api/account/security",
    operation_id = "security",
    tag = "account",
    responses((status = 200, body = SecurityView)),
)]
pub(crate) async fn handle(State(app): State<App>, caller: Caller) -> Result<Json<SecurityView>, ApiError> {
    let user = caller.account(&app).await?;
    let codes = app.store.one_time_codes(user.id).await?;
    let passkeys = app.store.passkeys(user.id).await?;
    let links = app.store.links(user.id).await?;
    Ok(Json(SecurityView {
        password: user.password_hash.is_some(),
        totp: codes.is_some(),
        recovery_codes_left: codes.map_or(0, |codes| codes.recovery_codes_left),
        passkeys: passkeys.into_iter().map(PasskeyView::from).collect(),
        providers: links.into_iter().map(|link| ProviderView::of(&app, link)).collect(),
    }))
}
