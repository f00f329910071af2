//! `GET /metrics`: Prometheus text, for programs on this machine and for operators.

use axum::extract::State;
use axum::http::{HeaderName, header};

use crate::accounts::{Caller, Operator};
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    operator: Result<Operator, ApiError>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    // Without a session it is a program on this machine, or the layer had refused it.
    if caller.is_ok() {
        operator?;
    }
    let models: Vec<_> =
        app.hub.loaded().iter().map(|model| (model.name().to_owned(), model.stats())).collect();
    let text = app.metrics.render(&models, app.accounts.hasher.computed());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
