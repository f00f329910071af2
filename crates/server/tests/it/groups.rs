//! Groups, and that what they give is all that their members have.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Site, eventually};

const GROUPS: &str = "/api/admin/groups";
const EVERYONE: &str = "/api/admin/groups/00000000-0000-0000-0000-000000000000";

impl Site {
    async fn change_everyone(&self, change: Value) {
        let reply = self.client.send("PATCH", EVERYONE, &change).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Makes a group and puts a user into it.
    async fn group_of(&self, user: &str, group: Value) {
        let made = self.client.post(GROUPS, &group).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let path = format!("/api/admin/users/{user}");
        let put = self.client.send("PATCH", &path, &json!({"groups": [made.json()["id"]]})).await;
        assert_eq!(put.status, 200, "{}", put.text());
    }
}

async fn conversation(client: &Client, model: &str) -> String {
    let made = client.post("/api/conversations", &json!({"model": model})).await;
    format!("/api/conversations/{}", made.json()["id"].as_str().unwrap())
}

/// Asks, waits for the end, and gives the answer's id.
async fn ask(client: &Client, conversation: &str) -> String {
    let reply = client.post(&format!("{conversation}/messages"), &json!({"content": "How deep?"})).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let id = reply.json()["assistant"]["id"].as_str().unwrap().to_owned();
    eventually("the answer ends", async || answer(client, conversation, &id).await["status"] != "generating")
        .await;
    id
}

async fn answer(client: &Client, conversation: &str, id: &str) -> Value {
    let tree = client.get(conversation).await.json();
    tree["messages"].as_array().unwrap().iter().find(|message| message["id"] == id).unwrap().clone()
}

#[tokio::test]
async fn a_group_from_its_making_to_its_end() {
    let site = Site::new().await;
    let asked = json!({"name": "mates", "models": ["plain"], "limits": {"messages_per_day": 5}});
    let made = site.client.post(GROUPS, &asked).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let limits = |at_once: Value, per_day: Value, tokens: Value| json!({"answers_at_once": at_once, "messages_per_day": per_day, "output_tokens_max": tokens});
    let mut expected = json!({"id": id, "name": "mates", "models": ["plain"], "members": 0,
        "limits": limits(Value::Null, json!(5), Value::Null)});
    assert_eq!(made.json(), expected);
    let path = format!("{GROUPS}/{id}");
    assert_eq!(site.client.get(&path).await.json(), expected);
    let change = json!({"models": null, "limits": {"messages_per_day": null, "answers_at_once": 2}});
    expected["models"] = Value::Null;
    expected["limits"] = limits(json!(2), Value::Null, Value::Null);
    assert_eq!(site.client.send("PATCH", &path, &change).await.json(), expected);
    let listed = site.client.get(GROUPS).await.json()["groups"].clone();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["members"], &listed[1]),
        (&json!("everyone"), &json!(1), &expected)
    );
    assert_eq!(site.client.send("DELETE", &path, &json!({})).await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        site.client.send(method, &path, &json!({})).await.is_error(404, "not_found");
    }
    site.client.send("DELETE", EVERYONE, &json!({})).await.is_error(409, "conflict");
    site.client.send("PATCH", EVERYONE, &json!({"name": "crew"})).await.is_error(409, "conflict");
}

#[tokio::test]
async fn what_may_not_be_a_group_is_said() {
    let site = Site::new().await;
    let many: Vec<_> = (0..300).map(|number| format!("model {number}")).collect();
    for (asked, status, code) in [
        (json!({"name": "Everyone"}), 409, "name_taken"),
        (json!({"name": "x"}), 422, "invalid_parameter"),
        (json!({"name": "mates\u{202e}"}), 422, "invalid_parameter"),
        (json!({"name": "mates", "models": [""]}), 422, "invalid_parameter"),
        (json!({"name": "mates", "models": ["a\nb"]}), 422, "invalid_parameter"),
        (json!({"name": "mates", "models": ["x".repeat(201)]}), 422, "invalid_parameter"),
        (json!({"name": "mates", "models": many}), 422, "invalid_parameter"),
        (json!({"name": "mates", "limits": {"output_tokens_max": 0}}), 422, "invalid_parameter"),
        (json!({"name": "mates", "limits": {"messages_per_day": 1_000_000_000}}), 422, "invalid_parameter"),
        (json!({"name": "mates", "limits": {"messages_per_day": -1}}), 400, "invalid_format"),
        (json!({"models": []}), 400, "invalid_format"),
    ] {
        site.client.post(GROUPS, &asked).await.is_error(status, code);
    }
    assert_eq!(site.client.get(GROUPS).await.json()["groups"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn models_are_those_of_one_s_groups_and_a_change_counts_at_the_next_message() {
    let site = Site::new().await;
    let (pip, id) = site.user("Pip").await;
    let plain = conversation(&pip, "plain").await;
    let first = ask(&pip, &plain).await;
    site.change_everyone(json!({"models": ["thinker", "absent"]})).await;

    let names = async |client: &Client| {
        let listed = client.get("/api/models").await.json();
        let models = listed["models"].as_array().unwrap().iter();
        (models.map(|model| model["name"].clone()).collect::<Vec<_>>(), listed["default"].clone())
    };
    assert_eq!(names(&pip).await, (vec![json!("thinker"), json!("absent")], json!("thinker")));
    let messages = format!("{plain}/messages");
    let question = json!({"content": "How deep?"});
    let refused = pip.post(&messages, &question).await;
    refused.is_error(403, "model_not_allowed");
    assert_eq!(refused.json()["error"]["param"], "model");
    let regenerate = format!("{messages}/{first}/regenerate");
    pip.post(&regenerate, &json!({})).await.is_error(403, "model_not_allowed");
    // Whether there is such a model is not said.
    for model in ["endless", "no such model"] {
        let asked = json!({"content": "How deep?", "model": model});
        pip.post(&messages, &asked).await.is_error(403, "model_not_allowed");
        pip.post(&regenerate, &json!({"model": model})).await.is_error(403, "model_not_allowed");
    }
    assert_eq!(pip.get(&plain).await.json()["messages"].as_array().unwrap().len(), 2);
    // Whoever names none gets one that they may use.
    let own = pip.post("/api/conversations", &json!({})).await.json();
    assert_eq!(own["model"], "thinker");
    assert_eq!(pip.post(&regenerate, &json!({"model": "thinker"})).await.status, 201);

    site.group_of(&id.to_string(), json!({"name": "mates", "models": ["plain"]})).await;
    assert_eq!(names(&pip).await.1, "plain");
    ask(&pip, &conversation(&pip, "plain").await).await;
    // Administrators are no exception.
    let captains = conversation(&site.client, "plain").await;
    let reply = site.client.post(&format!("{captains}/messages"), &question).await;
    reply.is_error(403, "model_not_allowed");
}

#[tokio::test]
async fn only_so_many_answers_at_once() {
    let site = Site::new().await;
    let _drip = site.models.gate.drip();
    let (pip, _) = site.user("Pip").await;
    site.change_everyone(json!({"limits": {"answers_at_once": 1}})).await;
    let (one, two) = (conversation(&pip, "endless").await, conversation(&pip, "plain").await);
    let question = json!({"content": "go on"});
    let begun = pip.post(&format!("{one}/messages"), &question).await.json();
    let refused = pip.post(&format!("{two}/messages"), &question).await;
    refused.is_error(429, "too_many_answers_at_once");
    assert_eq!(refused.header("retry-after"), "5");
    // Others go on, and so does whoever is given more.
    ask(&site.client, &conversation(&site.client, "plain").await).await;
    site.change_everyone(json!({"limits": {"answers_at_once": 2}})).await;
    ask(&pip, &two).await;
    site.change_everyone(json!({"limits": {"answers_at_once": 1}})).await;
    pip.post(&format!("{two}/messages"), &question).await.is_error(429, "too_many_answers_at_once");
    let stop = format!("{one}/messages/{}/stop", begun["assistant"]["id"].as_str().unwrap());
    assert_eq!(pip.post(&stop, &json!({})).await.status, 200);
    eventually("there is a place again", async || {
        pip.post(&format!("{two}/messages"), &question).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn only_so_many_messages_a_day_whatever_is_deleted() {
    let site = Site::new().await;
    let (pip, _) = site.user("Pip").await;
    site.clock.advance(Duration::from_mins(30));
    let path = conversation(&pip, "plain").await;
    let first = ask(&pip, &path).await;
    // What was asked for before there was a limit counts.
    site.change_everyone(json!({"limits": {"messages_per_day": 2}})).await;
    let messages = format!("{path}/messages");
    let question = json!({"content": "How deep?"});
    // What can't be begun doesn't.
    let orphan = json!({"content": "x", "parent_id": "00000000-0000-7000-8000-000000000000"});
    for _ in 0..3 {
        pip.post(&messages, &orphan).await.is_error(404, "not_found");
        pip.post(&messages, &json!({"content": "x", "model": "absent"}))
            .await
            .is_error(404, "model_not_found");
    }
    let regenerated = pip.post(&format!("{messages}/{first}/regenerate"), &json!({})).await;
    assert_eq!(regenerated.status, 201, "{}", regenerated.text());
    let refused = pip.post(&messages, &question).await;
    refused.is_error(429, "messages_per_day");
    let half_an_hour_and_a_day = 24 * 3600 + 1800;
    assert_eq!(refused.header("retry-after"), half_an_hour_and_a_day.to_string());
    assert_eq!(pip.send("DELETE", &path, &json!({})).await.status, 204);
    let path = conversation(&pip, "plain").await;
    let messages = format!("{path}/messages");
    pip.post(&messages, &question).await.is_error(429, "messages_per_day");
    // Another user has their own.
    ask(&site.client, &conversation(&site.client, "plain").await).await;
    site.clock.advance(Duration::from_secs(half_an_hour_and_a_day - 1));
    pip.post(&messages, &question).await.is_error(429, "messages_per_day");
    site.clock.advance(Duration::from_secs(1));
    ask(&pip, &path).await;
    site.change_everyone(json!({"limits": {"messages_per_day": 0}})).await;
    let refused = pip.post(&messages, &question).await;
    refused.is_error(429, "messages_per_day");
    assert_eq!(refused.header("retry-after"), "86400");
}

#[tokio::test]
async fn many_at_once_get_no_more_than_the_day_s_messages() {
    let site = Site::new().await;
    let (pip, _) = site.user("Pip").await;
    site.change_everyone(json!({"limits": {"messages_per_day": 3}})).await;
    let mut tries = Vec::new();
    for _ in 0..12 {
        let path = format!("{}/messages", conversation(&pip, "plain").await);
        let client = pip.clone();
        tries.push(tokio::spawn(async move { client.post(&path, &json!({"content": "x"})).await.status }));
    }
    let mut begun = 0;
    for status in tries {
        match status.await.unwrap() {
            201 => begun += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(begun, 3);
}

#[tokio::test]
async fn answers_are_no_longer_than_the_group_allows() {
    let site = Site::new().await;
    let (pip, id) = site.user("Pip").await;
    site.change_everyone(json!({"limits": {"output_tokens_max": 3}})).await;
    let path = conversation(&pip, "endless").await;
    let message = ask(&pip, &path).await;
    let first = answer(&pip, &path, &message).await;
    assert_eq!((&first["content"], &first["status"]), (&json!("aaa"), &json!("length")));
    let again = pip.post(&format!("{path}/messages/{message}/regenerate"), &json!({})).await.json();
    let again = again["assistant"]["id"].as_str().unwrap().to_owned();
    eventually("the answer ends", async || answer(&pip, &path, &again).await["status"] == "length").await;
    assert_eq!(answer(&pip, &path, &again).await["content"], "aaa");
    // More than the context holds is as much as it holds.
    site.group_of(&id.to_string(), json!({"name": "mates", "limits": {"output_tokens_max": 1_000_000}}))
        .await;
    let path = conversation(&pip, "endless").await;
    let message = ask(&pip, &path).await;
    let long = answer(&pip, &path, &message).await;
    assert_eq!(long["status"], "length", "{long}");
    assert!(long["content"].as_str().unwrap().len() > 1000);
}

#[tokio::test]
async fn what_groups_give_binds_the_api_for_programs_too() {
    let site = Site::new().await;
    let (pip, _) = site.user("Pip").await;
    let (flask, _) = site.user("Flask").await;
    let program = Client::new(site.address);
    let asked = |model: &str| {
        let long = "How deep is the sea, and how deep can a whale dive? ".repeat(8);
        json!({"model": model, "messages": [{"role": "user", "content": long}]})
    };
    let complete =
        async |client: &Client, model: &str| client.post("/v1/chat/completions", &asked(model)).await;
    let cached = async |client: &Client| {
        let reply = complete(client, "plain").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["usage"]["prompt_cache_hit_tokens"].as_u64().unwrap()
    };
    // What one has read is nobody else's, not even as a number.
    for client in [&pip, &flask, &program] {
        assert_eq!(cached(client).await, 0);
        assert!(cached(client).await > 100);
    }

    site.change_everyone(
        json!({"models": ["plain"], "limits": {"messages_per_day": 4, "output_tokens_max": 3}}),
    )
    .await;
    complete(&pip, "thinker").await.is_error(403, "model_not_allowed");
    let listed = pip.get("/v1/models").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    let reply = complete(&pip, "plain").await.json();
    assert_eq!(
        (&reply["usage"]["completion_tokens"], &reply["choices"][0]["finish_reason"]),
        (&json!(3), &json!("length"))
    );
    // What was refused is not counted.
    let long = json!({"model": "plain", "messages": [{"role": "user", "content": "x".repeat(9000)}]});
    pip.post("/v1/chat/completions", &long).await.is_error(400, "context_length_exceeded");
    assert_eq!(complete(&pip, "plain").await.status, 200);
    complete(&pip, "plain").await.is_error(429, "messages_per_day");
    // A program of this machine has no groups.
    assert_eq!(complete(&program, "thinker").await.status, 200);
    assert!(program.get("/v1/models").await.json()["data"].as_array().unwrap().len() > 1);
    pip.get("/metrics").await.is_error(403, "not_allowed");
    assert_eq!(site.client.get("/metrics").await.status, 200);
}
