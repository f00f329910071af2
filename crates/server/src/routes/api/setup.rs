use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use store::{NewUser, StoreError, UserRole};
use utoipa::ToSchema;

use super::sign_in_response;
use crate::accounts::{Chosen, Password, Peer, Standing, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SetupAsked)]
pub(crate) struct Asked {
    token: String,
    name: String,
    password: Password,
}

/// The first administrator, made by whoever has the link that the terminal showed.
#[utoipa::path(
    post,
    path = "/api/setup",
    operation_id = "setup",
    tag = "account",
    request_body = Asked,
    responses((status = 201, body = super::session::SessionView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, ApiError> {
    let done = || {
        let message = "there is an administrator already; sign in instead";
        ApiError::new(StatusCode::CONFLICT, "already_set_up", message)
    };
    if !app.accounts.setup.is_open() {
        return Err(done());
    }
    app.accounts.take_network(peer, app.clock.monotonic())?;
    if !app.accounts.setup.matches(&asked.token) {
        let message = "this is not the token of the link that the terminal showed at the start";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_setup_token", message));
    }
    let name = check_name(&asked.name)?;
    let chosen = Chosen { password: asked.password, param: "password", name: name.clone() };
    let password_hash = Some(app.accounts.hasher.hash(chosen, app.random_bytes(), Standing::MACHINE).await?);
    let new = NewUser { name, email: None, role: UserRole::Admin, password_hash, first: true };
    let user = app.store.add_user(new).await.map_err(|error| match error {
        StoreError::Conflict(_) => done(),
        error => error.into(),
    })?;
    app.accounts.setup.close();
    app.welcome(user.id).await;
    app.audit("first_administrator", Some(user.id), peer).await;
    let signed_in = sign_in_response(&app, user, peer, &headers).await?;
    Ok((StatusCode::CREATED, signed_in).into_response())
}
