//! `GET /metrics`: Prometheus text.

use axum::extract::State;
use axum::http::{HeaderName, header};

use crate::app::App;

pub(crate) async fn handle(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    let models: Vec<_> =
        app.hub.loaded().iter().map(|model| (model.name().to_owned(), model.stats())).collect();
    let text = app.metrics.render(&models, app.accounts.hasher.computed());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
