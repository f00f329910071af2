use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::accounts::Peer;
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::gate::{Waits, place_gone};

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
    let place = app.open_place(&asked.place, peer).ok_or_else(place_gone)?;
    let answer = app.gatehouse.ask_place(place, app.moment()).ok_or_else(place_gone)?;
    let waiting = app.waiting(answer, peer)?.ok_or_else(place_gone)?;
    Ok(Json(Waits { waiting }))
}
