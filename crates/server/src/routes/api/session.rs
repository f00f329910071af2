use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::views::UserView;
use crate::accounts::{Caller, RelyingParty};
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    user: Option<UserView>,
    /// Whether there is no user yet, and the first administrator may be made.
    setup: bool,
    /// Whether strangers may make an account.
    sign_up: bool,
    /// Whether browsers make passkeys for this server as it was asked for.
    passkeys: bool,
    /// Whether letters are sent, so that a sign-up wants an address and a password can be reset.
    mail: bool,
    /// Where else one may have an account to sign in with.
    providers: Vec<ProviderView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Provider)]
struct ProviderView {
    id: String,
    name: String,
}

impl SessionView {
    pub(super) fn of(app: &App, user: Option<store::User>, headers: &HeaderMap) -> Self {
        let setup = app.accounts.setup.is_open();
        let providers = app.settings.providers.iter();
        let providers = providers.map(|it| ProviderView { id: it.id.clone(), name: it.name.clone() });
        Self {
            user: user.map(UserView::from),
            setup,
            sign_up: app.settings.sign_up && !setup,
            passkeys: RelyingParty::of(app.settings.public_url.as_ref(), headers).is_some(),
            mail: app.letters.is_some(),
            providers: providers.collect(),
        }
    }
}

/// Who is signed in, if anybody, and what somebody who isn't may do.
#[utoipa::path(
    get,
    path = "/api/session",
    operation_id = "session",
    tag = "account",
    responses((status = 200, body = SessionView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
) -> Result<Json<SessionView>, ApiError> {
    let user = match caller {
        // Somebody whose account is gone is nobody here, not an error.
        Ok(caller) => caller.account_if_any(&app).await?,
        Err(_) => None,
    };
    Ok(Json(SessionView::of(&app, user, &headers)))
}
