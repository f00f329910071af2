use serde_json::json;

use crate::support::{Client, Setup, Site, eventually};

#[tokio::test]
async fn the_process_is_up_and_ready() {
    let site = Site::new().await;
    for path in ["/healthz", "/readyz"] {
        let reply = site.client.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn not_ready_without_the_default_model() {
    let site = Setup { default_model: "absent", ..Setup::default() }.serve().await;
    assert_eq!(site.client.get("/healthz").await.status, 200);
    let reply = site.client.get("/readyz").await;
    reply.is_error(503, "model_not_installed");
    assert_eq!(reply.header("retry-after"), "5");
}

#[tokio::test]
async fn not_ready_without_the_database() {
    let site = Site::new().await;
    site.store.close().await.unwrap();
    site.client.get("/readyz").await.is_error(503, "database_busy");
    site.client.get("/api/conversations").await.is_error(500, "internal_error");
}

#[tokio::test]
async fn metrics_have_the_names_of_the_field() {
    let site = Site::new().await;
    let asked = json!({"model": "plain", "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(site.client.post("/v1/chat/completions", &asked).await.status, 200);
    site.client.get("/no/such/page.html").await.is_error(404, "not_found");
    // The engine counts an end after it has said it.
    let ended = r#"cachalot_request_finished_total{model_name="plain",finished_reason="stop"} 1"#;
    eventually("the end is counted", async || site.client.get("/metrics").await.text().contains(ended)).await;
    let reply = site.client.get("/metrics").await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    for line in [
        r#"cachalot_http_requests_total{route="/v1/chat/completions",method="POST",status="200",class="session"} 1"#,
        r#"cachalot_http_requests_total{route="other",method="GET",status="404",class="session"} 1"#,
        r#"cachalot_time_to_first_token_seconds_count{model_name="plain"} 1"#,
        r#"cachalot_request_queue_time_seconds_count{model_name="plain"} 1"#,
        r#"cachalot_generation_tokens_total{model_name="plain"} 18"#,
        r#"cachalot_num_requests_running{model_name="plain"} 0"#,
        r#"cachalot_num_requests_waiting{model_name="plain"} 0"#,
        "# TYPE cachalot_inter_token_latency_seconds histogram",
        "# TYPE cachalot_http_request_duration_seconds histogram",
        "# TYPE cachalot_kv_blocks_free gauge",
        "# TYPE cachalot_http_connections gauge",
        "cachalot_http_requests_in_flight 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn answers_are_counted_by_who_asked_and_how_they_ended() {
    let site = Site::new().await;
    let made = site.client.post("/api/conversations", &json!({"model": "plain"})).await.json();
    let path = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    for (model, outcome) in [("plain", "complete"), ("failing", "failed")] {
        let asked = json!({"content": "Hi", "model": model});
        let turn = site.client.post(&path, &asked).await.json();
        let id = turn["assistant"]["id"].as_str().unwrap();
        site.client.get(&format!("{path}/{id}/stream")).await;
        let labels = format!(r#"endpoint="chat",class="session",model_name="{model}",outcome="{outcome}""#);
        let line = format!("cachalot_requests_total{{{labels}}} 1");
        let metrics = site.client.get("/metrics").await;
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in\n{}", metrics.text());
    }
    // The machine's own programs are a class too, and who is nobody.
    let nobody = Client::new(site.address);
    nobody.get("/v1/models").await;
    let elsewhere = [("via", "1.1 relay")];
    nobody.request("GET", "/v1/models", &elsewhere, Vec::new()).await.is_error(401, "invalid_api_key");
    let metrics = site.client.get("/metrics").await;
    for line in [
        r#"cachalot_http_requests_total{route="/v1/models",method="GET",status="200",class="local"} 1"#,
        r#"cachalot_http_requests_total{route="/v1/models",method="GET",status="401",class="anonymous"} 1"#,
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in\n{}", metrics.text());
    }
}

#[tokio::test]
async fn models_that_can_be_asked_and_models_that_there_are() {
    let site = Site::new().await;
    let listed = site.client.get("/v1/models").await.json();
    assert_eq!(listed["object"], "list");
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["plain", "thinker", "endless", "failing", "broken", "caller", "failing-late"]);

    let asked = json!({"model": "thinker", "messages": [{"role": "user", "content": "Hi"}]});
    site.client.post("/v1/chat/completions", &asked).await;
    let all = site.client.get("/api/models").await.json();
    assert_eq!(all["default"], "plain");
    let expected = json!({
        "name": "thinker", "title": "THINKER", "installed": true, "loaded": true, "context": 2048,
        "thinking": "always", "parameters": 135, "bytes": 1000,
    });
    assert_eq!(all["models"][1], expected);
    assert_eq!(all["models"][0]["loaded"], false);
    assert_eq!(all["models"][4]["installed"], false);
}
