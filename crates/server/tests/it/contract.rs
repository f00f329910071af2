//! Every endpoint with all that it may answer where all is well, held to the `OpenAPI` document as all tests are; what is not
//! asked here is listed with the tests that ask it.

use std::collections::BTreeSet;

use defence::challenge::solve;
use serde_json::{Value, json};

use crate::data::import;
use crate::hostile::DEEPSEEK;
use crate::support::{Asked, Client, PASSWORD, Reply, Setup, Site, code_at, one_time_codes, sign_in};

/// Asked by the tests of passkeys, of logins elsewhere and of letters, whose other side they bring; and the status, which
/// is a page too, by those of the gate.
const ELSEWHERE: [&str; 13] = [
    "add_passkey",
    "change_email",
    "change_passkey",
    "confirm_reset",
    "delete_passkey",
    "link_provider",
    "login_passkey",
    "login_passkey_options",
    "passkey_options",
    "remove_link",
    "reset",
    "status",
    "verify",
];

/// Asks, and is not refused.
async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> Reply {
    let reply = if body.is_null() {
        client.request(method, path, &[], Vec::new()).await
    } else {
        client.send(method, path, body).await
    };
    assert!(reply.status < 300, "{method} {path}: {} {}", reply.status, reply.text());
    reply
}

async fn get_all(client: &Client, paths: &[&str]) {
    for path in paths {
        ask(client, "GET", path, &Value::Null).await;
    }
}

fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap()
}

async fn chat(site: &Site) {
    let client = &site.client;
    let made = ask(client, "POST", "/api/conversations", &json!({"model": "endless"})).await.json();
    let conversation = format!("/api/conversations/{}", id(&made));
    let change = json!({"title": "Depths", "system": "Be brief."});
    ask(client, "PATCH", &conversation, &change).await;
    site.models.gate.allow(4);
    let asked = json!({"content": "How deep?", "parent_id": null});
    let turn = ask(client, "POST", &format!("{conversation}/messages"), &asked).await.json();
    let message = format!("{conversation}/messages/{}", id(&turn["assistant"]));
    let drip = site.models.gate.drip();
    let mut stream = client.open("GET", &format!("{message}/stream"), &[], Vec::new()).await;
    while stream.named().await.unwrap().json()["content"] == "" {}
    ask(client, "POST", &format!("{message}/stop"), &json!({})).await;
    drop(drip);
    site.models.gate.open();
    ask(client, "POST", &format!("{message}/continue"), &json!({})).await;
    ask(client, "GET", &format!("{message}/stream"), &Value::Null).await;
    ask(client, "POST", &format!("{message}/regenerate"), &json!({"thinking": false})).await;
    get_all(client, &["/api/models", "/api/conversations", &conversation, "/api/search?q=deep"]).await;
    ask(client, "DELETE", &conversation, &Value::Null).await;
}

async fn account(site: &Site) {
    let (ishmael, _) = site.user("ishmael").await;
    sign_in(&ishmael, "ishmael").await;
    get_all(&ishmael, &["/api/session", "/api/sessions", "/api/account/export"]).await;
    ask(&ishmael, "PATCH", "/api/account/settings", &json!({"retention_days": 30})).await;
    get_all(&ishmael, &["/api/account/settings", "/api/balance"]).await;
    assert_eq!(import(&ishmael, DEEPSEEK).await.status, 200);

    let codes = one_time_codes(site, &ishmael).await;
    get_all(&ishmael, &["/api/account/security"]).await;
    let second = sign_in(&ishmael, "ishmael").await.json();
    let asked = json!({"ticket": second["second_factor"]["ticket"], "code": code_at(site, &codes.secret, 1)});
    ask(&ishmael, "POST", "/api/login/second", &asked).await;
    let password = json!({"password": PASSWORD});
    ask(&ishmael, "POST", "/api/account/recovery-codes", &password).await;
    ask(&ishmael, "DELETE", "/api/account/totp", &password).await;

    ask(&ishmael, "DELETE", "/api/sessions", &Value::Null).await;
    let changed = json!({"old": PASSWORD, "new": "seven hundred harpoons at dawn"});
    ask(&ishmael, "POST", "/api/account/password", &changed).await;
    let password = json!({"password": "seven hundred harpoons at dawn"});
    ask(&ishmael, "POST", "/api/account/delete", &password).await;

    let (pip, _) = site.user("pip").await;
    ask(&pip, "POST", "/api/logout", &json!({})).await;
    let (queequeg, _) = site.user("queequeg").await;
    let there = ask(&queequeg, "GET", "/api/sessions", &Value::Null).await.json();
    ask(&queequeg, "DELETE", &format!("/api/sessions/{}", id(&there["sessions"][0])), &Value::Null).await;
}

async fn programs(client: &Client) {
    let key = json!({"name": "a program's", "models": ["plain"], "spend_max": "3", "tokens_per_day": null});
    let made = ask(client, "POST", "/api/keys", &key).await.json();
    let key = format!("/api/keys/{}", id(&made["key"]));
    ask(client, "PATCH", &key, &json!({"addresses": ["192.0.2.0/24"], "spend_max": null})).await;
    let messages = json!([{"role": "user", "content": "How deep?"}]);
    let chat = json!({"model": "plain", "messages": messages, "logprobs": true, "top_logprobs": 2, "n": 2});
    ask(client, "POST", "/v1/chat/completions", &chat).await;
    let reasoned = json!({"model": "thinker", "messages": messages, "stream": true});
    client.open_post("/v1/chat/completions", &reasoned).await.rest().await;
    let texts =
        json!({"model": "plain", "prompt": ["The sea", "is deep"], "logprobs": 1, "echo": true, "stop": "."});
    ask(client, "POST", "/v1/completions", &texts).await;
    ask(client, "POST", "/v1/responses", &json!({"model": "plain", "input": "How deep?"})).await;
    let asked = json!({"model": "plain", "max_tokens": 9, "messages": messages});
    ask(client, "POST", "/anthropic/v1/messages", &asked).await;
    ask(client, "POST", "/anthropic/v1/messages/count_tokens", &asked).await;
    let tokens = json!({"model": "plain", "prompt": "How deep?", "return_token_strs": true});
    let tokens = ask(client, "POST", "/tokenize", &tokens).await.json();
    ask(client, "POST", "/detokenize", &json!({"model": "plain", "tokens": tokens["tokens"]})).await;
    get_all(client, &["/tokenizer_info"]).await;
    let lists = ["/v1/models", "/v1/models/plain", "/anthropic/v1/models", "/anthropic/v1/models/plain"];
    get_all(client, &lists).await;
    let usage = ["/api/usage", "/api/usage/sums?by=hour&since=0&until=9", "/api/usage.csv", "/user/balance"];
    get_all(client, &usage).await;
    get_all(client, &["/api/keys", "/api/models"]).await;
    ask(client, "DELETE", &key, &Value::Null).await;
}

async fn operators(site: &Site) {
    let client = &site.client;
    let group = json!({"name": "Divers", "models": ["plain"], "limits": {"answers_at_once": 2}});
    let group = ask(client, "POST", "/api/admin/groups", &group).await.json();
    let group_path = format!("/api/admin/groups/{}", id(&group));
    let asked = json!({"name": "starbuck", "email": "starbuck@example.org", "groups": [group["id"]]});
    let added = ask(client, "POST", "/api/admin/users", &asked).await.json();
    assert!(added["password"].is_string(), "{added}");
    let user = format!("/api/admin/users/{}", id(&added["user"]));
    ask(client, "PATCH", &user, &json!({"role": "operator", "email": null})).await;
    ask(client, "POST", &format!("{user}/password"), &json!({})).await;
    ask(client, "POST", &format!("{user}/password"), &json!({"password": PASSWORD})).await;
    ask(client, "DELETE", &format!("{user}/factors"), &Value::Null).await;
    sign_in(&Client::new(site.address), "starbuck").await;
    let there = ask(client, "GET", &format!("{user}/sessions"), &Value::Null).await.json();
    let session = format!("{user}/sessions/{}", id(&there["sessions"][0]));
    ask(client, "DELETE", &session, &Value::Null).await;
    ask(client, "DELETE", &format!("{user}/sessions"), &Value::Null).await;

    let key = ask(client, "POST", &format!("{user}/keys"), &json!({"name": "theirs"})).await.json();
    let key = format!("{user}/keys/{}", id(&key["key"]));
    ask(client, "PATCH", &key, &json!({"requests_per_day": 5})).await;
    let credit = json!({"kind": "grant", "amount": "2.5", "note": "for a start"});
    ask(client, "POST", &format!("{user}/credit"), &credit).await;
    get_all(client, &[&user, &format!("{user}/keys"), &format!("{user}/balance"), &group_path]).await;
    ask(client, "DELETE", &key, &Value::Null).await;
    ask(client, "PATCH", &group_path, &json!({"models": null, "limits": {"answers_at_once": null}})).await;

    let usage = ["/api/admin/usage", "/api/admin/usage/sums?since=0&until=9", "/api/admin/usage.csv"];
    get_all(client, &usage).await;
    let lists = ["/api/admin/users", "/api/admin/groups", "/api/admin/audit?limit=5", "/api/admin/prices"];
    get_all(client, &lists).await;
    get_all(client, &["/api/admin/status", "/api/admin/backup"]).await;
    ask(client, "POST", "/api/admin/rotate-key", &json!({})).await;
    ask(client, "DELETE", &user, &Value::Null).await;
    ask(client, "DELETE", &group_path, &Value::Null).await;
}

async fn gate(site: &Site) {
    let (client, nobody) = (&site.client, Client::new(site.address));
    get_all(client, &["/api/admin/gate"]).await;
    // It is easy while the gate is open.
    let given = ask(&nobody, "POST", "/api/challenges", &json!({"action": "sign_up"})).await.json();
    let answer = solve(&serde_json::from_value(given["challenge"].clone()).unwrap()).unwrap();
    let pin = json!({"level": "waiting_list", "reason": "to see it"});
    ask(client, "PUT", "/api/admin/gate", &pin).await;
    let asked = json!({"name": "Pip the second", "password": PASSWORD});
    nobody.post("/api/sign-up", &asked).await.is_error(428, "challenge_required");
    let asked = json!({"name": "Pip the second", "password": PASSWORD, "challenge": answer});
    let waits = ask(&nobody, "POST", "/api/sign-up", &asked).await.json();
    let place = json!({"place": waits["waiting"]["place"]});
    ask(&nobody, "POST", "/api/places", &place).await;
    ask(&nobody, "DELETE", "/api/places", &place).await;
    ask(client, "POST", "/api/admin/invitations", &json!({"count": 1, "days": 90})).await;
    ask(client, "PUT", "/api/admin/gate", &json!({"level": null})).await;
}

#[tokio::test]
async fn every_endpoint_answers_as_the_document_says() {
    // Its administrator has gone through `setup`, and users through `sign_up` and `login`.
    let site = Setup::default().today().await;
    chat(&site).await;
    account(&site).await;
    programs(&site.client).await;
    operators(&site).await;
    gate(&site).await;
    let (all, seen) = Asked::operations_and_answered();
    let unseen: BTreeSet<_> = all.difference(&seen).map(String::as_str).collect();
    assert_eq!(
        unseen,
        BTreeSet::from(ELSEWHERE),
        "not asked here (left), known to be asked elsewhere (right)"
    );
}
