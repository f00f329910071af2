use axum::extract::State;
use axum::http::StatusCode;

use super::place::Asked;
use crate::accounts::Peer;
use crate::app::App;
use crate::body;

/// Gives a place in the waiting list up. One that is gone already is as good as given up.
#[utoipa::path(
    delete,
    path = "/api/places",
    operation_id = "leave_place",
    tag = "account",
    request_body = Asked,
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> StatusCode {
    if let Some(place) = app.open_place(&asked.place, peer) {
        app.gatehouse.leave_place(place);
    }
    StatusCode::NO_CONTENT
}
