//! `POST /api/logout`: ends the session that the cookie names. Who is not signed in is told the same.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use store::StoreError;

use super::end_sessions;
use crate::accounts::{Caller, Peer, no_cookie};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    _body: JsonBytes,
) -> Result<impl IntoResponse, ApiError> {
    if let Ok(caller) = caller {
        match app.store.revoke_session(caller.user, caller.session).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        end_sessions(&app, &[caller.session]);
        app.audit("logout", Some(caller.user), peer).await;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, no_cookie(&app))]))
}
