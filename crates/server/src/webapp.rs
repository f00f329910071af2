//! The web app, embedded in the program.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

use crate::error::ApiError;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// No script but our own files; styles inline too, as formulas and highlighted code carry them; no picture, font or
/// request from elsewhere, so that an answer can't make the browser call out.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The bundler puts a hash of the content in the names of the files under this folder.
const HASHED: &str = "assets/";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Cachalot</title>\
     <h1>The web app is not built into this program</h1>\
     <p>Run <code>make build</code> in the source tree (or <code>make web</code>, then build the program again). \
     The API at <code>/v1</code> works without it.</p></html>";

/// A file of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    bytes: Cow<'static, [u8]>,
    sha256: [u8; 32],
    kind: String,
}

/// The app's files.
#[derive(Debug)]
pub(crate) struct WebApp {
    find: fn(&str) -> Option<File>,
    /// Compressed files by the hash of what they hold, each made when it is first asked for: to compress them for whoever
    /// asks would cost a hundred times what it costs to ask.
    compressed: Mutex<HashMap<[u8; 32], Bytes>>,
}

/// Smaller files don't get smaller.
const COMPRESSED_BYTES_MIN: usize = 1024;

impl WebApp {
    /// What was in `web/dist` when the program was built.
    pub(crate) fn embedded() -> Self {
        Self::of(|path| {
            let file = Dist::get(path)?;
            let kind = file.metadata.mimetype().to_owned();
            Some(File { bytes: file.data, sha256: file.metadata.sha256_hash(), kind })
        })
    }

    fn of(find: fn(&str) -> Option<File>) -> Self {
        Self { find, compressed: Mutex::default() }
    }

    /// Answers a request that no endpoint does: a file of the app, or its page, which knows its own routes.
    pub(crate) fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let path = path.trim_start_matches('/');
        let is_api = ["api", "v1", "beta", "anthropic"]
            .into_iter()
            .any(|api| path == api || path.starts_with(&format!("{api}/")));
        if is_api {
            return ApiError::not_found("there is no such endpoint").into_response();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return not_allowed();
        }
        if let Some(file) = (self.find)(path).filter(|_| path != "index.html") {
            let policy =
                if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
            return self.respond_with(file, policy, headers);
        }
        // A name with a dot is a file that is not there: a page in its place would only confuse.
        if path.rsplit('/').next().is_some_and(|name| name.contains('.') && name != "index.html") {
            return ApiError::not_found("there is no such file").into_response();
        }
        match (self.find)("index.html") {
            Some(page) => self.respond_with(page, "no-cache", headers),
            None => not_built(),
        }
    }

    /// The file compressed, if that is worth it.
    fn gzip(&self, file: &File) -> Option<Bytes> {
        let kind = file.kind.as_str();
        let is_text = kind.starts_with("text/")
            || ["javascript", "json", "xml", "wasm"].iter().any(|end| kind.ends_with(end));
        if !is_text || file.bytes.len() < COMPRESSED_BYTES_MIN {
            return None;
        }
        // What is in it is whole wherever a panic leaves it.
        let mut compressed = self.compressed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = compressed.get(&file.sha256) {
            return Some(bytes.clone());
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&file.bytes).ok()?;
        let bytes = Bytes::from(encoder.finish().ok()?);
        compressed.insert(file.sha256, bytes.clone());
        Some(bytes)
    }

    fn respond_with(&self, file: File, cache: &'static str, headers: &HeaderMap) -> Response {
        let mut tag = String::from("\"");
        for byte in &file.sha256[..16] {
            // Writing to a String can't fail.
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        let gzip = if takes_gzip(headers) { self.gzip(&file) } else { None };
        // Compressed it is the same, but not byte for byte (RFC 9110, section 8.8.3).
        let shown_tag = if gzip.is_some() { format!("W/{tag}") } else { tag.clone() };
        let mut response = Response::new(Body::empty());
        let fields = response.headers_mut();
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(tag) = HeaderValue::from_str(&shown_tag) {
            fields.insert(header::ETAG, tag);
        }
        let known =
            headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
        if known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let kind =
            if file.kind.starts_with("text/") { format!("{}; charset=utf-8", file.kind) } else { file.kind };
        if let Ok(kind) = HeaderValue::from_str(&kind) {
            fields.insert(header::CONTENT_TYPE, kind);
        }
        if let Some(bytes) = gzip {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            *response.body_mut() = Body::from(bytes);
            return response;
        }
        *response.body_mut() = match file.bytes {
            Cow::Borrowed(bytes) => Body::from(bytes),
            Cow::Owned(bytes) => Body::from(bytes),
        };
        response
    }
}

/// Whether gzip is among what may be sent, and not with a weight of 0 (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

fn not_built() -> Response {
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (StatusCode::SERVICE_UNAVAILABLE, [kind], NOT_BUILT).into_response()
}

fn not_allowed() -> Response {
    let message = "this path can only be read";
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    ([(header::ALLOW, "GET,HEAD")], error).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(path: &str) -> Option<File> {
        let (bytes, kind): (&'static [u8], _) = match path {
            "index.html" => (b"<page>", "text/html"),
            "assets/app-1a2b.js" => (b"code", "text/javascript"),
            "favicon.svg" => (b"<svg>", "image/svg+xml"),
            _ => return None,
        };
        Some(File { bytes: bytes.into(), sha256: [bytes[1]; 32], kind: kind.to_owned() })
    }

    fn get(find: fn(&str) -> Option<File>, path: &str) -> Response {
        WebApp::of(find).respond(&Method::GET, path, &HeaderMap::new())
    }

    fn field(response: &Response, name: header::HeaderName) -> String {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_page_stands_for_every_route_of_the_client() {
        for path in ["/", "/index.html", "/c/01234567-89ab-7000-8000-000000000000", "/settings"] {
            let response = get(built, path);
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(field(&response, header::CONTENT_TYPE), "text/html; charset=utf-8");
            assert_eq!(field(&response, header::CACHE_CONTROL), "no-cache");
            let policy = field(&response, header::CONTENT_SECURITY_POLICY);
            assert!(
                policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
        }
    }

    #[test]
    fn hashed_files_are_kept_for_ever_and_others_asked_for_again() {
        assert_eq!(
            field(&get(built, "/assets/app-1a2b.js"), header::CACHE_CONTROL),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(field(&get(built, "/favicon.svg"), header::CACHE_CONTROL), "no-cache");
        let tag = field(&get(built, "/favicon.svg"), header::ETAG);
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            assert_eq!(WebApp::of(built).respond(&Method::GET, "/favicon.svg", &headers).status(), 304);
            assert_eq!(WebApp::of(built).respond(&Method::GET, "/", &headers).status(), 200);
        }
    }

    #[test]
    fn large_texts_are_compressed_once_for_who_takes_it() {
        let find = |path: &str| {
            let file = |kind: &str, byte: u8| File {
                bytes: Cow::Owned(vec![byte; 5000]),
                sha256: [byte; 32],
                kind: kind.to_owned(),
            };
            match path {
                "assets/a.js" => Some(file("text/javascript", 1)),
                "assets/b.woff2" => Some(file("font/woff2", 2)),
                _ => None,
            }
        };
        let app = WebApp::of(find);
        let get = |path: &str, accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accept.parse().unwrap())]);
            app.respond(&Method::GET, path, &headers)
        };
        for accept in ["gzip", "br, GZIP;q=0.5"] {
            let response = get("/assets/a.js", accept);
            assert_eq!(field(&response, header::CONTENT_ENCODING), "gzip");
            assert!(field(&response, header::ETAG).starts_with("W/"));
            assert_eq!(field(&response, header::VARY), "accept-encoding");
        }
        for (path, accept) in
            [("/assets/a.js", "br"), ("/assets/a.js", "gzip;q=0"), ("/assets/b.woff2", "gzip")]
        {
            let response = get(path, accept);
            assert_eq!(field(&response, header::CONTENT_ENCODING), "", "{path} {accept}");
            assert!(!field(&response, header::ETAG).starts_with("W/"));
        }
        assert_eq!(app.compressed.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_there_is_an_error_and_not_the_page() {
        for path in
            ["/assets/gone-1a2b.js", "/robots.txt", "/../Cargo.toml", "/api/none", "/v1/none", "/api", "/v1"]
        {
            assert_eq!(get(built, path).status(), 404, "{path}");
        }
        let response = WebApp::of(built).respond(&Method::POST, "/", &HeaderMap::new());
        assert_eq!(response.status(), 405);
        assert_eq!(field(&response, header::ALLOW), "GET,HEAD");
    }

    #[test]
    fn a_program_without_the_app_says_how_to_build_it() {
        let response = get(|_| None, "/");
        assert_eq!(response.status(), 503);
        assert_eq!(field(&response, header::CONTENT_TYPE), "text/html; charset=utf-8");
    }
}
