//! What requests take and cost.

use serde_json::{Value, json};
use server::{Price, Prices, Rate};
use store::{Nanos, UserId};

use crate::support::{Client, Keyed, Setup, Site, eventually};

const CHAT: &str = "/v1/chat/completions";
const RATE: Rate = Rate { hit: Nanos(140), miss: Nanos(550), output: Nanos(2190) };

fn priced() -> Setup {
    Setup::with(|settings| {
        let rules = vec![Price { model: None, class: None, hours: None, rate: RATE }];
        settings.prices = Prices { currency: "USD".to_owned(), rules };
    })
}

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "How deep do they dive?"}]})
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Somebody with a key and so much credit.
async fn customer(site: &Site, name: &str, nanos: i64) -> (Client, UserId, Keyed) {
    let (client, id) = site.user(name).await;
    if nanos > 0 {
        let credit = json!({"kind": "top_up", "amount": Nanos(nanos).to_string(), "note": "paid"});
        let given = site.client.post(&format!("/api/admin/users/{id}/credit"), &credit).await;
        assert_eq!(given.status, 200, "{}", given.text());
    }
    let key = Keyed::new(&client, &json!({})).await;
    (client, id, key)
}

async fn rows(client: &Client) -> Vec<Value> {
    client.get("/api/usage?limit=100").await.json()["rows"].as_array().unwrap().clone()
}

fn nanos(text: &Value) -> i64 {
    text.as_str().unwrap().parse::<Nanos>().unwrap().0
}

fn cost(row: &Value) -> i64 {
    let count = |field: &str| row[field].as_i64().unwrap();
    140 * count("hit_tokens") + 550 * count("miss_tokens") + 2190 * count("output_tokens")
}

/// Checks a row against the usage that the client was told.
#[track_caller]
fn is_that(row: &Value, usage: &Value) {
    assert_eq!(row["hit_tokens"], usage["prompt_cache_hit_tokens"], "{row} {usage}");
    assert_eq!(row["miss_tokens"], usage["prompt_cache_miss_tokens"], "{row} {usage}");
    assert_eq!(row["output_tokens"], usage["completion_tokens"], "{row} {usage}");
    assert_eq!(
        row["reasoning_tokens"], usage["completion_tokens_details"]["reasoning_tokens"],
        "{row} {usage}"
    );
}

const UNIT: i64 = 1_000_000_000;

#[tokio::test]
async fn each_request_leaves_one_row_with_what_the_client_was_told_and_costs_that() {
    let site = priced().serve().await;
    let (ahab, _, key) = customer(&site, "Ahab", UNIT).await;
    let mut told = Vec::new();
    for model in ["plain", "thinker"] {
        told.push(key.post(CHAT, &question(model)).await.json()["usage"].clone());
        let streamed =
            with(question(model), &json!({"stream": true, "stream_options": {"include_usage": true}}));
        let reply = key.post(CHAT, &streamed).await;
        let last = reply.text().lines().rfind(|line| line.contains("\"usage\":{")).unwrap();
        told.push(serde_json::from_str::<Value>(&last["data: ".len()..]).unwrap()["usage"].clone());
    }
    let several = with(question("plain"), &json!({"n": 3}));
    told.push(key.post(CHAT, &several).await.json()["usage"].clone());
    let completion = json!({"model": "plain", "prompt": "To be", "max_tokens": 5});
    told.push(key.post("/v1/completions", &completion).await.json()["usage"].clone());

    let mut rows = rows(&ahab).await;
    rows.reverse();
    assert_eq!(rows.len(), told.len());
    for (row, usage) in rows.iter().zip(&told) {
        is_that(row, usage);
        assert_eq!(
            (&row["class"], &row["outcome"], &row["key_id"]),
            (&json!("key"), &json!("complete"), &json!(key.id))
        );
        assert_eq!(nanos(&row["cost"]), cost(row));
    }
    assert!(
        told.iter().any(|usage| usage["completion_tokens_details"]["reasoning_tokens"].as_u64() > Some(0))
    );
    assert_eq!(rows.last().unwrap()["endpoint"], "/v1/completions");

    // Sums, the key's own account, the balance and the file say the same.
    let all: i64 = rows.iter().map(cost).sum();
    let sums = ahab.get("/api/usage/sums?by=day").await.json();
    let of_sums: i64 = sums["sums"].as_array().unwrap().iter().map(|sum| nanos(&sum["cost"])).sum();
    let requests: u64 =
        sums["sums"].as_array().unwrap().iter().map(|sum| sum["requests"].as_u64().unwrap()).sum();
    assert_eq!((of_sums, requests), (all, told.len() as u64));
    assert_eq!(nanos(&ahab.get("/api/keys").await.json()["keys"][0]["spent"]), all);
    let balance = ahab.get("/api/balance").await.json();
    assert_eq!((nanos(&balance["available"]), nanos(&balance["held"])), (UNIT - all, 0));
    assert_eq!((&balance["free"], &balance["credits"][0]["note"]), (&json!(false), &json!("paid")));
    let csv = ahab.get("/api/usage.csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.text().lines().count(), 1 + told.len());
    assert!(csv.text().lines().skip(1).all(|line| line.matches(',').count() == 15), "{}", csv.text());

    // Others see nothing of it, operators all of it.
    let (pip, _, _) = customer(&site, "Pip", 0).await;
    assert_eq!(pip.get(&format!("/api/usage?key={}", key.id)).await.json()["rows"], json!([]));
    let everybody = site.client.get("/api/admin/usage").await.json();
    assert_eq!(everybody["rows"].as_array().unwrap().len(), told.len());
    let total = site.client.get("/api/admin/usage/sums?by=hour&zone=330").await.json();
    assert_eq!(total["sums"].as_array().unwrap().iter().map(|sum| nanos(&sum["cost"])).sum::<i64>(), all);
}

#[tokio::test]
async fn a_client_that_goes_away_pays_for_what_was_generated() {
    let site = priced().serve().await;
    let (ahab, _, key) = customer(&site, "Ahab", UNIT).await;
    let drip = site.models.gate.drip();
    let mut stream = key.open(CHAT, &with(question("endless"), &json!({"stream": true}))).await;
    for _ in 0..6 {
        stream.event().await.unwrap();
    }
    let held = ahab.get("/api/balance").await.json();
    assert!(nanos(&held["held"]) > 1000 * 2190, "{held}");
    drop(stream);
    eventually("it is settled", async || rows(&ahab).await.len() == 1).await;
    let row = &rows(&ahab).await[0];
    assert_eq!(row["outcome"], "cancelled");
    assert!((4..200).contains(&row["output_tokens"].as_i64().unwrap()), "{row}");
    let balance = ahab.get("/api/balance").await.json();
    assert_eq!((nanos(&balance["held"]), nanos(&balance["available"])), (0, UNIT - cost(row)));
    drop(drip);
    site.models.gate.open();
}

#[tokio::test]
async fn what_fails_costs_nothing_and_what_is_refused_leaves_no_row() {
    let site = priced().serve().await;
    let (ahab, _, key) = customer(&site, "Ahab", UNIT).await;
    assert_eq!(key.post(CHAT, &question("failing")).await.status, 500);
    eventually("it is settled", async || rows(&ahab).await.len() == 1).await;
    let row = &rows(&ahab).await[0];
    assert_eq!((&row["outcome"], &row["cost"]), (&json!("failed"), &json!("0.00")));
    for (body, status) in [
        (question("absent"), 404),
        (question("nothing of the kind"), 404),
        (with(question("plain"), &json!({"messages": [{"role": "user", "content": "x".repeat(3000)}]})), 400),
        (with(question("plain"), &json!({"temperature": 9})), 422),
    ] {
        assert_eq!(key.post(CHAT, &body).await.status, status, "{body:.100}");
    }
    eventually("nothing is held", async || nanos(&ahab.get("/api/balance").await.json()["held"]) == 0).await;
    assert_eq!(rows(&ahab).await.len(), 1);
    assert_eq!(nanos(&ahab.get("/api/balance").await.json()["available"]), UNIT);
}

#[tokio::test]
async fn without_credit_nothing_is_answered_and_with_little_little() {
    let site = priced().serve().await;
    let (pip, _, key) = customer(&site, "Pip", 0).await;
    let refused = key.post(CHAT, &question("plain")).await;
    refused.is_error(402, "insufficient_balance");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Insufficient Balance") && message.contains("0.00 USD"), "{message}");
    let conversation = pip.post("/api/conversations", &json!({"model": "plain"})).await.json();
    let path = format!("/api/conversations/{}/messages", conversation["id"].as_str().unwrap());
    pip.post(&path, &json!({"content": "Hi"})).await.is_error(402, "insufficient_balance");
    assert!(rows(&pip).await.is_empty());

    // The prompt and twenty tokens.
    let (ahab, _, key) = customer(&site, "Ahab", UNIT).await;
    let prompt = key.post(CHAT, &question("plain")).await.json()["usage"]["prompt_tokens"].as_i64().unwrap();
    let left = nanos(&ahab.get("/api/balance").await.json()["available"]);
    let (_, stubb, of_stubb) = customer(&site, "Stubb", 550 * prompt + 20 * 2190).await;
    let long = with(question("endless"), &json!({"max_tokens": 21}));
    of_stubb.post(CHAT, &long).await.is_error(402, "insufficient_balance");
    let cut = of_stubb.post(CHAT, &question("endless")).await.json();
    assert_eq!(cut["choices"][0]["finish_reason"], "length", "{cut}");
    assert_eq!(cut["usage"]["completion_tokens"], 20);
    assert_eq!(site.store.balance(stubb).await.unwrap().available(), Nanos(0));
    of_stubb.post(CHAT, &question("plain")).await.is_error(402, "insufficient_balance");
    assert_eq!(nanos(&ahab.get("/api/balance").await.json()["available"]), left);

    // What a key may spend is another bound.
    let spare = Keyed::new(&ahab, &json!({"spend_max": "0.000001"})).await;
    spare.post(CHAT, &question("plain")).await.is_error(402, "key_spend_limit");
}

#[tokio::test]
async fn many_at_once_do_not_spend_more_than_there_is() {
    let site = priced().serve().await;
    let (ahab, id, key) = customer(&site, "Ahab", UNIT).await;
    let asked = with(question("plain"), &json!({"max_tokens": 30}));
    let prompt = key.post(CHAT, &asked).await.json()["usage"]["prompt_tokens"].as_i64().unwrap();
    let spent = nanos(&ahab.get("/api/balance").await.json()["available"]);
    // As much as three of them may cost.
    let keep = 3 * (550 * prompt + 30 * 2190);
    let take = json!({"kind": "top_up", "amount": Nanos(keep - spent).to_string()});
    assert_eq!(site.client.post(&format!("/api/admin/users/{id}/credit"), &take).await.status, 200);
    let asking = (0..12).map(|_| {
        let (key, asked) = (key.clone(), asked.clone());
        tokio::spawn(async move { key.post(CHAT, &asked).await.status })
    });
    let mut statuses = Vec::new();
    for asking in asking.collect::<Vec<_>>() {
        statuses.push(asking.await.unwrap());
    }
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!(answered >= 3 && statuses.iter().all(|status| [200, 402].contains(status)), "{statuses:?}");
    let rows = rows(&ahab).await;
    assert_eq!(rows.len(), answered + 1);
    let cost: i64 = rows[..answered].iter().map(cost).sum();
    let balance = site.store.balance(id).await.unwrap();
    assert_eq!((balance.available(), balance.held), (Nanos(keep - cost), Nanos(0)));
    assert!(cost <= keep);
}

#[tokio::test]
async fn conversations_and_programs_without_a_key_leave_rows_too() {
    let site = priced().serve().await;
    let (ahab, id, _) = customer(&site, "Ahab", UNIT).await;
    let made = ahab.post("/api/conversations", &json!({"model": "thinker"})).await.json();
    let path = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
    let turn = ahab.post(&path, &json!({"content": "How deep?"})).await.json();
    let answer = turn["assistant"]["id"].as_str().unwrap().to_owned();
    ahab.get(&format!("{path}/{answer}/stream")).await;
    let again = ahab.post(&format!("{path}/{answer}/regenerate"), &json!({})).await.json();
    ahab.get(&format!("{path}/{}/stream", again["assistant"]["id"].as_str().unwrap())).await;
    ahab.post(CHAT, &question("plain")).await;
    let mut rows = rows(&ahab).await;
    rows.reverse();
    let facts: Vec<_> =
        rows.iter().map(|row| (row["endpoint"].as_str().unwrap(), row["class"].as_str().unwrap())).collect();
    assert_eq!(facts, [("chat", "session"), ("chat", "session"), (CHAT, "session")]);
    let tree = ahab.get(&format!("/api/conversations/{}", made["id"].as_str().unwrap())).await.json();
    let answers =
        tree["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "assistant");
    for (row, message) in rows.iter().zip(answers) {
        assert_eq!(row["output_tokens"], message["usage"]["completion_tokens"]);
        let prompt = row["hit_tokens"].as_u64().unwrap() + row["miss_tokens"].as_u64().unwrap();
        assert_eq!(message["usage"]["prompt_tokens"], prompt);
        assert!(nanos(&row["cost"]) > 0);
    }
    let balance = site.store.balance(id).await.unwrap();
    assert_eq!((balance.available().0, balance.held), (UNIT - rows.iter().map(cost).sum::<i64>(), Nanos(0)));

    let nobody = Client::new(site.address);
    assert_eq!(nobody.post(CHAT, &question("plain")).await.status, 200);
    let newest = site.client.get("/api/admin/usage?limit=1").await.json()["rows"][0].clone();
    assert_eq!(
        (&newest["class"], &newest["user_id"], &newest["cost"]),
        (&json!("local"), &Value::Null, &json!("0.00"))
    );
}

#[tokio::test]
async fn a_stopped_answer_is_settled_and_a_deleted_conversation_s_too() {
    let site = priced().serve().await;
    let (ahab, id, _) = customer(&site, "Ahab", UNIT).await;
    let drip = site.models.gate.drip();
    let made = ahab.post("/api/conversations", &json!({"model": "endless"})).await.json();
    let conversation = format!("/api/conversations/{}", made["id"].as_str().unwrap());
    let path = format!("{conversation}/messages");
    let turn = ahab.post(&path, &json!({"content": "How deep?"})).await.json();
    let answer = turn["assistant"]["id"].as_str().unwrap().to_owned();
    eventually("it is held", async || site.store.balance(id).await.unwrap().held > Nanos(0)).await;
    ahab.post(&format!("{path}/{answer}/stop"), &json!({})).await;
    eventually("it is settled", async || rows(&ahab).await.len() == 1).await;
    ahab.post(&format!("{path}/{answer}/continue"), &json!({})).await;
    eventually("it goes on", async || site.store.balance(id).await.unwrap().held > Nanos(0)).await;
    assert_eq!(ahab.send("DELETE", &conversation, &json!({})).await.status, 204);
    eventually("it is settled too", async || rows(&ahab).await.len() == 2).await;
    let rows = rows(&ahab).await;
    assert!(rows.iter().all(|row| row["outcome"] == "cancelled"), "{rows:?}");
    let balance = site.store.balance(id).await.unwrap();
    assert_eq!((balance.available().0, balance.held), (UNIT - rows.iter().map(cost).sum::<i64>(), Nanos(0)));
    drop(drip);
    site.models.gate.open();
}

#[tokio::test]
async fn the_balance_is_in_the_form_that_deepseek_s_clients_read() {
    let mut setup = priced();
    setup.settings.sign_up_credit = Nanos(UNIT / 4);
    let site = setup.serve().await;
    let (_, _, key) = customer(&site, "Ahab", 12 * UNIT).await;
    let expected = json!({"is_available": true, "balance_infos": [{
        "currency": "USD", "total_balance": "12.25", "granted_balance": "0.25", "topped_up_balance": "12.00",
    }]});
    for path in ["/user/balance", "/v1/user/balance"] {
        assert_eq!(key.get(path).await.json(), expected);
    }
    let free = Site::new().await;
    let body = Client::new(free.address).get("/user/balance").await.json();
    assert_eq!(
        (&body["is_available"], &body["balance_infos"][0]["total_balance"]),
        (&json!(true), &json!("0.00"))
    );
}

#[tokio::test]
async fn operators_give_and_take_credit_and_everything_is_noted() {
    let site = priced().serve().await;
    let (ahab, id) = site.user("Ahab").await;
    let path = format!("/api/admin/users/{id}/credit");
    let give = async |body: Value| site.client.post(&path, &body).await;
    assert_eq!(
        give(json!({"kind": "grant", "amount": "1.5", "note": "welcome"})).await.json()["granted"],
        "1.50"
    );
    assert_eq!(give(json!({"kind": "grant", "amount": "-2"})).await.json()["available"], "0.00");
    for (body, status) in [
        (json!({"kind": "grant", "amount": "0"}), 422),
        (json!({"kind": "grant", "amount": 1}), 400),
        (json!({"kind": "gift", "amount": "1"}), 400),
        (json!({"kind": "grant", "amount": "1", "note": "x".repeat(201)}), 422),
    ] {
        assert_eq!(give(body.clone()).await.status, status, "{body}");
    }
    let credits = ahab.get("/api/balance").await.json()["credits"].clone();
    assert_eq!(
        (&credits[0]["amount"], &credits[1]["note"]),
        (&json!("-1.50"), &json!("welcome")),
        "{credits}"
    );
    let prices = site.client.get("/api/admin/prices").await.json();
    let expected = json!({
        "model": null, "class": null, "hours": null, "hit": "0.14", "miss": "0.55", "output": "2.19",
    });
    assert_eq!(prices["prices"], json!([expected]));
    for query in [
        "since=x",
        "since=-1",
        "by=week",
        "zone=7",
        "zone=9000",
        "since=0&until=99999999999999",
        "limit=0",
        "key=x",
        "before=x",
    ] {
        let page = ahab.get(&format!("/api/usage?{query}")).await.status;
        let sums = ahab.get(&format!("/api/usage/sums?{query}")).await.status;
        assert!(page == 422 || sums == 422, "{query}: {page} {sums}");
    }
    site.client
        .get("/api/admin/usage?key=00000000-0000-0000-0000-000000000000")
        .await
        .is_error(422, "invalid_parameter");
}
