//! Who may ask, what is there, and what every response says.

use serde_json::json;

use crate::support::Site;

#[tokio::test]
async fn only_loopback_by_its_own_name() {
    let site = Site::new().await;
    for path in ["/", "/healthz", "/metrics", "/v1/models", "/api/models", "/no/such/path"] {
        let reply = site.client.request("GET", path, &[("host", "evil.example:80")], Vec::new()).await;
        reply.is_error(403, "forbidden_host");
        assert!(reply.text().contains("got \\\"evil.example:80\\\""), "{}", reply.text());
    }
    let long = format!("{}.example", "a".repeat(5000));
    let reply = site.client.request("GET", "/", &[("host", &long)], Vec::new()).await;
    assert!(reply.body.len() < 500, "{}", reply.text());
    let port = site.address.port();
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "127.0.0.1".to_owned()] {
        let reply = site.client.request("GET", "/api/models", &[("host", host.as_str())], Vec::new()).await;
        assert_eq!(reply.status, 200, "{host}");
    }
}

#[tokio::test]
async fn only_pages_of_this_server() {
    let site = Site::new().await;
    let own = format!("http://{}", site.address);
    let body = || b"{}".to_vec();
    let ask = async |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        site.client.request("POST", "/api/conversations", &headers, body()).await
    };
    assert_eq!(ask(&[("origin", own.as_str()), ("sec-fetch-site", "same-origin")]).await.status, 201);
    let reply = ask(&[("origin", "http://evil.example")]).await;
    reply.is_error(403, "forbidden_origin");
    assert!(reply.text().contains("got \\\"http://evil.example\\\""), "{}", reply.text());
    ask(&[("origin", "null")]).await.is_error(403, "forbidden_origin");
    ask(&[("sec-fetch-site", "cross-site")]).await.is_error(403, "forbidden_origin");
    // What a form of another page could send.
    let form = [("content-type", "text/plain")];
    let reply = site.client.request("POST", "/api/conversations", &form, body()).await;
    reply.is_error(415, "unsupported_media_type");
    assert_eq!(
        site.client.get("/api/conversations").await.json()["conversations"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn what_is_not_there_and_what_it_does_not_take() {
    let site = Site::new().await;
    for path in ["/api", "/api/none", "/v1/none", "/v1", "/api/conversations/x/y", "/assets/none.js"] {
        site.client.get(path).await.is_error(404, "not_found");
    }
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET,HEAD"),
        ("DELETE", "/api/conversations", "GET,HEAD,POST"),
        ("PUT", "/api/conversations/x", "GET,HEAD,PATCH,DELETE"),
        ("POST", "/healthz", "GET,HEAD"),
        ("POST", "/", "GET,HEAD"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
    ] {
        let reply = site.client.send(method, path, &json!({})).await;
        reply.is_error(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn every_response_says_how_it_may_be_used() {
    let site = Site::new().await;
    let mut names = Vec::new();
    for path in ["/", "/healthz", "/v1/models", "/api/models", "/api/none", "/assets/none.js"] {
        let reply = site.client.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(!reply.header("content-security-policy").contains("script-src 'self' 'unsafe"), "{path}");
        names.push(reply.header("x-request-id").to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6);
    assert!(names.iter().all(|name| name.len() == 16));
    assert_eq!(site.client.get("/api/models").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_page_is_there_or_says_how_to_build_it() {
    let site = Site::new().await;
    let page = site.client.get("/c/01234567-89ab-7000-8000-000000000000").await;
    assert!(page.header("content-type").starts_with("text/html"), "{:?}", page.headers);
    // What a build without the app says is the other half of it.
    let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist/index.html").is_file();
    assert_eq!(page.status, if built { 200 } else { 503 });
    if built {
        assert!(page.header("content-security-policy").contains("script-src 'self'"));
        assert_eq!(page.header("cache-control"), "no-cache");
    } else {
        assert!(page.text().contains("make build"));
    }
}

#[tokio::test]
async fn long_texts_are_compressed_for_those_who_take_it() {
    let site = Site::new().await;
    let made = site.client.post("/api/conversations", &json!({})).await.json();
    let path = format!("/api/conversations/{}", made["id"].as_str().unwrap());
    site.client.send("PATCH", &path, &json!({"system": "deep ".repeat(1000)})).await;
    let plain = site.client.get(&path).await;
    let packed = site.client.request("GET", &path, &[("accept-encoding", "gzip")], Vec::new()).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(plain.header("content-encoding"), "");
    assert!(packed.body.len() * 10 < plain.body.len());
}
