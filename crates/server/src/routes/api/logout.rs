use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use store::StoreError;

use super::end_sessions;
use crate::accounts::{Caller, Peer, no_cookie};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;

/// Ends the session that the cookie names. Who is not signed in is told the same.
#[utoipa::path(
    post,
    path = "/api/logout",
    operation_id = "logout",
    tag = "account",
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    _body: JsonBytes,
) -> Result<impl IntoResponse, ApiError> {
    if let Ok(caller) = caller {
        let worker = App::clone(&app);
        app.detached(async move {
            match worker.store.revoke_session(caller.user, caller.session).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            end_sessions(&worker, &[caller.session]);
            worker.audit("logout", Some(caller.user), peer).await;
            Ok(())
        })
        .await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, no_cookie(&app))]))
}
