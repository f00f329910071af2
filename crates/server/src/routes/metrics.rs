//! `GET /metrics`: Prometheus text, for programs on this machine and for operators.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};

use crate::accounts::{Client, Operator};
use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    operator: Result<Operator, ApiError>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    match client {
        Client::Local => {}
        Client::Session(_) => drop(operator?),
        // A key is for models, whoever its user is.
        Client::Key(_) => {
            let message = "API keys are not for this; sign in as an operator, or ask from this machine";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "not_allowed", message));
        }
    }
    let models: Vec<_> =
        app.hub.loaded().iter().map(|model| (model.name().to_owned(), model.stats())).collect();
    let text = app.metrics.render(&models, app.accounts.hasher.computed());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
