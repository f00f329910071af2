use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::gate::StatusView;

/// How the service is: whether new accounts are taken, what happened at the gate and why. For everybody; a browser that
/// opens the address gets the page.
#[utoipa::path(
    get,
    path = "/status",
    operation_id = "status",
    tag = "account",
    responses((status = 200, body = StatusView)),
)]
pub(crate) async fn handle(State(app): State<App>, headers: HeaderMap) -> Response {
    let mut response = if prefers_page(&headers) {
        app.web.respond(&Method::GET, "/status", &headers)
    } else {
        let fresh: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];
        (fresh, Json(app.gate_status())).into_response()
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether whoever asks would rather have HTML than JSON (RFC 9110, section 12.5.1).
fn prefers_page(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT).into_iter().filter_map(|field| field.to_str().ok());
    let (mut html, mut json) = (Weight::default(), Weight::default());
    for range in fields.flat_map(|field| field.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        html.hear(&kind, weight, ["text/html", "text/*"]);
        json.hear(&kind, weight, ["application/json", "application/*"]);
    }
    html.weight > json.weight
}

/// How much a type is wanted, by the range that names it most closely.
#[derive(Default)]
struct Weight {
    weight: f32,
    closeness: u8,
}

impl Weight {
    fn hear(&mut self, kind: &str, weight: f32, [exact, family]: [&str; 2]) {
        let closeness = match kind {
            kind if kind == exact => 3,
            kind if kind == family => 2,
            "*/*" => 1,
            _ => return,
        };
        if closeness >= self.closeness {
            *self = Self { weight, closeness };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, page: bool) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        assert_eq!(prefers_page(&headers), page, "{accept}");
    }

    #[test]
    fn browsers_get_the_page_and_programs_the_json() {
        check("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true);
        check("text/html", true);
        check("TEXT/HTML;charset=utf-8, application/json;q=0.5", true);
        check("text/*", true);
        check("*/*", false);
        check("application/json", false);
        check("application/json, text/html", false);
        check("text/html;q=0.5, */*", false);
        check("text/html;q=x, */*;q=0.1", false);
        check("", false);
        assert!(!prefers_page(&HeaderMap::new()));
    }
}
