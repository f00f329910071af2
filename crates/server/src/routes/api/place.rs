use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::accounts::Peer;
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::gate::Waits;

#[derive(Deserialize, ToSchema)]
#[schema(as = PlaceAsked)]
pub(crate) struct Asked {
    pub(super) place: String,
}

/// Where a place in the waiting list stands. Whoever is called up signs up again with it.
#[utoipa::path(
    post,
    path = "/api/places",
    operation_id = "place",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = Waits)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<Waits>, ApiError> {
    let place = app.open_place(&asked.place, peer).ok_or_else(gone)?;
    let answer = app.gatehouse.ask_place(place, app.moment()).ok_or_else(gone)?;
    let waiting = app.waiting(answer, peer)?.ok_or_else(gone)?;
    Ok(Json(Waits { waiting }))
}

/// One text for a place that was used or lost, and for one that is another's.
fn gone() -> ApiError {
    let message =
        "this place in the waiting list is gone, or was given out elsewhere; sign up again for another";
    ApiError::new(StatusCode::GONE, "place_gone", message)
}
