//! Keys with which programs ask.

use std::time::Duration;

use base::Clock as _;
use serde_json::{Value, json};
use server::{ForwardedHeader, Proxy, Settings, program_endpoints};

use crate::support::{Client, Keyed, Setup, Site, events, eventually};

const NAME: &str = "chat.example.org";
const CHAT: &str = "/v1/chat/completions";

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
}

/// A server behind a proxy at 127.0.0.1, so that nobody is on this machine.
fn behind(settings: &mut Settings) {
    settings.public_url = Some(format!("https://{NAME}").parse().unwrap());
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    settings.proxy = Some(Proxy { trusted, header: ForwardedHeader::XForwardedFor, protocol: false });
}

/// Asks as from another machine.
async fn ask(client: &Client, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> u16 {
    ask_from("203.0.113.7", client, method, path, fields, body).await
}

async fn ask_from(
    from: &str,
    client: &Client,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> u16 {
    let mut headers = vec![("host", NAME), ("x-forwarded-for", from), ("content-type", "application/json")];
    headers.extend_from_slice(fields);
    client.request(method, path, &headers, serde_json::to_vec(body).unwrap()).await.status
}

#[tokio::test]
async fn a_key_is_shown_once_and_asks_in_its_users_name() {
    let site = Site::new().await;
    let (ahab, _) = site.user("Ahab").await;
    let made = ahab.post("/api/keys", &json!({"name": " my program "})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let (key, secret) = (&made["key"], made["secret"].as_str().unwrap());
    assert!(secret.starts_with("sk-cachalot-") && secret.len() > 150, "{secret}");
    assert_eq!(
        (&key["name"], &key["used_ms"], &key["expires_ms"]),
        (&json!("my program"), &Value::Null, &Value::Null)
    );
    assert!(secret.starts_with(key["start"].as_str().unwrap()));
    let listed = ahab.get("/api/keys").await;
    assert_eq!(listed.json()["keys"], json!([key]));
    assert!(!listed.text().contains(&secret[40..]));
    assert_eq!(events(&site).await[0], "key_added");
    // What is on disk makes nobody a key.
    for name in ["chats.db", "chats.db-wal"] {
        let bytes = std::fs::read(site.folder.path().join(name)).unwrap_or_default();
        assert!(!bytes.windows(40).any(|window| window == &secret.as_bytes()[60..100]), "{name}");
    }

    let bearer = format!("Bearer {secret}");
    let nobody = Client::new(site.address);
    for field in [
        ("authorization", bearer.as_str()),
        ("x-api-key", secret),
        ("authorization", &bearer.replace("Bearer", "bearer")),
    ] {
        let reply = nobody.request("GET", "/user/balance", &[field], Vec::new()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // The web app's endpoints are for people.
    for (path, _) in
        server::api_paths().into_iter().filter(|(_, audience)| *audience == server::Audience::User)
    {
        let path = path.replace("{id}", "0").replace("{message}", "0");
        let reply = nobody.request("GET", &path, &[("authorization", &bearer)], Vec::new()).await;
        assert!([401, 405].contains(&reply.status), "{path}: {}", reply.text());
    }
    nobody
        .request("GET", "/metrics", &[("authorization", &bearer)], Vec::new())
        .await
        .is_error(403, "not_allowed");
    eventually("its use is noted", async || {
        ahab.get("/api/keys").await.json()["keys"][0]["used_ms"].is_i64()
    })
    .await;
}

#[tokio::test]
async fn what_is_no_key_of_ours_is_nobody_s_but_on_this_machine() {
    let site = Site::new().await;
    let key = Keyed::new(&site.client, &json!({})).await;
    let nobody = Client::new(site.address);
    let with = async |given: &str| {
        nobody.request("GET", "/v1/models", &[("authorization", given)], Vec::new()).await
    };
    // Programs that were written for a server without keys.
    for given in ["Bearer ollama", "Bearer sk-1234", "Basic YTpi", "", "Bearer"] {
        assert_eq!(with(given).await.status, 200, "{given}");
    }
    for at in [0, 12, 40, 100, key.secret.len() - 1] {
        let mut forged = key.secret.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let reply = with(&format!("Bearer {}", String::from_utf8(forged).unwrap())).await;
        if at == 0 { assert_eq!(reply.status, 200) } else { reply.is_error(401, "invalid_api_key") }
    }
    with("Bearer sk-cachalot-").await.is_error(401, "invalid_api_key");
    // Pages of others have no use of it either.
    for fields in [[("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")]] {
        let bearer = format!("Bearer {}", key.secret);
        for path in ["/v1/models", "/user/balance"] {
            let headers = [("authorization", bearer.as_str()), fields[0]];
            let reply = nobody.request("GET", path, &headers, Vec::new()).await;
            reply.is_error(403, "forbidden_origin");
        }
    }
}

#[tokio::test]
async fn from_elsewhere_every_endpoint_of_programs_wants_a_key() {
    let site = Setup { administrator: false, ..Setup::with(behind) }.serve().await;
    let reply = crate::support::set_up(&site.client).await;
    let captain = site.client.signed_in(&reply);
    let key = Keyed::new(&captain, &json!({})).await;
    let (nobody, bearer) = (Client::new(site.address), format!("Bearer {}", key.secret));
    assert!(program_endpoints().len() >= 14, "{}", program_endpoints().len());
    for (method, path) in program_endpoints() {
        let path = path.replace("{id}", "plain");
        for fields in [
            &[][..],
            &[("authorization", "Bearer ollama")],
            &[("x-api-key", "sk-cachalot-x")],
            &[("authorization", "Basic YTpi")],
        ] {
            let status = ask(&nobody, method, &path, fields, &json!({})).await;
            assert_eq!(status, 401, "{method} {path} {fields:?}");
        }
        let status = ask(&nobody, method, &path, &[("authorization", &bearer)], &json!({})).await;
        assert_ne!(status, 401, "{method} {path}");
        // A wrong key is wrong, whoever is signed in besides.
        let status = ask(&captain, method, &path, &[("authorization", "Bearer x")], &json!({})).await;
        assert_eq!(status, 401, "{method} {path}");
        // All of them at once were a flood.
        site.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn keys_end_by_revocation_expiry_and_with_their_user() {
    let site = Site::new().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    let (pip, pip_id) = site.user("Pip").await;
    let expires_ms = site.clock.unix_ms() + 60_000;
    let revoked = Keyed::new(&ahab, &json!({})).await;
    let expired = Keyed::new(&ahab, &json!({"expires_ms": expires_ms})).await;
    let (good, pips) = (Keyed::new(&ahab, &json!({})).await, Keyed::new(&pip, &json!({})).await);
    for key in [&revoked, &expired, &good, &pips] {
        assert_eq!(key.get("/v1/models").await.status, 200);
    }
    assert_eq!(ahab.send("DELETE", &format!("/api/keys/{}", revoked.id), &json!({})).await.status, 204);
    revoked.get("/v1/models").await.is_error(401, "invalid_api_key");
    revoked.post(CHAT, &question("plain")).await.is_error(401, "invalid_api_key");
    site.clock.advance(Duration::from_secs(60));
    expired.get("/v1/models").await.is_error(401, "invalid_api_key");

    let path = format!("/api/admin/users/{ahab_id}");
    assert_eq!(site.client.send("PATCH", &path, &json!({"disabled": true})).await.status, 200);
    good.get("/v1/models").await.is_error(401, "invalid_api_key");
    assert_eq!(site.client.send("PATCH", &path, &json!({"disabled": false})).await.status, 200);
    assert_eq!(good.get("/v1/models").await.status, 200, "disabling takes no keys away");
    let path = format!("/api/admin/users/{pip_id}");
    assert_eq!(site.client.send("DELETE", &path, &json!({})).await.status, 204);
    pips.get("/v1/models").await.is_error(401, "invalid_api_key");

    // The next process knows it too.
    let folder = Some(site.folder.clone());
    site.shut_down().await.unwrap();
    let site = Setup { folder, ..Setup::default() }.serve().await;
    let here = |key: &Keyed| Keyed { client: Client::new(site.address), ..key.clone() };
    here(&revoked).get("/v1/models").await.is_error(401, "invalid_api_key");
    assert_eq!(here(&good).get("/v1/models").await.status, 200);
}

#[tokio::test]
async fn a_key_is_for_its_models_addresses_and_numbers() {
    let site = Setup { administrator: false, ..Setup::with(behind) }.serve().await;
    let reply = crate::support::set_up(&site.client).await;
    let captain = site.client.signed_in(&reply);
    let of = async |body: Value| Keyed::new(&captain, &body).await;
    let status = async |key: &Keyed, from: &str, model: &str| {
        let bearer = format!("Bearer {}", key.secret);
        ask_from(from, &key.client, "POST", CHAT, &[("authorization", &bearer)], &question(model)).await
    };
    let key = of(json!({"models": ["thinker"]})).await;
    assert_eq!(status(&key, "203.0.113.7", "plain").await, 403);
    assert_eq!(status(&key, "203.0.113.7", "thinker").await, 200);
    let key = of(json!({"addresses": ["203.0.113.0/24", "2001:db8::/32"]})).await;
    for (from, expected) in [
        ("203.0.113.200", 200),
        ("203.0.114.1", 403),
        ("2001:db8::7", 200),
        ("2001:db9::7", 403),
        ("127.0.0.1", 403),
    ] {
        assert_eq!(status(&key, from, "plain").await, expected, "{from}");
    }
    let key = of(json!({"requests_per_day": 2})).await;
    let asked = async || status(&key, "203.0.113.7", "plain").await;
    assert_eq!((asked().await, asked().await, asked().await), (200, 200, 429));
    site.clock.advance(Duration::from_hours(25));
    assert_eq!(asked().await, 200, "the next day");
    let key = of(json!({"tokens_per_day": 5})).await;
    let asked = async || status(&key, "203.0.113.7", "plain").await;
    assert_eq!((asked().await, asked().await), (200, 429));
    let change = json!({"tokens_per_day": null});
    assert_eq!(captain.send("PATCH", &format!("/api/keys/{}", key.id), &change).await.status, 200);
    assert_eq!(asked().await, 200);
}

#[tokio::test]
async fn requests_with_a_key_at_once_are_counted() {
    let site = Site::new().await;
    let key = Keyed::new(&site.client, &json!({"requests_at_once": 1})).await;
    let drip = site.models.gate.drip();
    let mut stream = json!({"stream": true});
    stream.as_object_mut().unwrap().extend(question("endless").as_object().unwrap().clone());
    let mut first = key.open(CHAT, &stream).await;
    assert_eq!(first.status, 200);
    first.event().await.unwrap();
    let refused = key.post(CHAT, &question("plain")).await;
    refused.is_error(429, "too_many_requests_at_once");
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    drop(first);
    eventually("its place is free", async || key.post(CHAT, &question("plain")).await.status == 200).await;
    drop(drip);
    site.models.gate.open();
}

#[tokio::test]
async fn a_user_has_so_many_keys() {
    let site = Setup::with(|settings| settings.keys_max = 2).serve().await;
    for _ in 0..2 {
        Keyed::new(&site.client, &json!({})).await;
    }
    site.client.post("/api/keys", &json!({"name": "one more"})).await.is_error(409, "full");
    site.client.post("/api/keys", &json!({})).await.is_error(422, "invalid_parameter");
    assert_eq!(site.client.get("/api/keys").await.json()["keys_max"], 2);
}
