//! What operators and administrators may do, what they may not, and what is noted of it.

use std::time::Duration;

use base::Rng;
use http_body_util::BodyExt as _;
use hyper::Request;
use serde_json::{Value, json};
use server::{Audience, Desk, DeskParts, admin_endpoints};
use store::{Identity, NewPasskey, NewUser, PasskeyBackup, UserRole};

use crate::support::{
    ADMINISTRATOR, Client, PASSWORD, Setup, Site, eventually, one_time_codes, set_up, sign_in,
};

const USERS: &str = "/api/admin/users";

fn nobody(site: &Site) -> Client {
    Client::new(site.address)
}

fn of(user: &str) -> String {
    format!("{USERS}/{user}")
}

impl Site {
    /// Somebody new with a role, signed in, and their id.
    async fn with_role(&self, name: &str, role: &str) -> (Client, String) {
        let (client, id) = self.user(name).await;
        let changed = self.client.send("PATCH", &of(&id.to_string()), &json!({"role": role})).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        (client, id.to_string())
    }

    /// `by event about`, the newest first.
    async fn events(&self, count: usize) -> Vec<String> {
        let log = self.client.get(&format!("/api/admin/audit?limit={count}")).await.json();
        let entries = log["entries"].as_array().unwrap().iter();
        let name = |name: &Value| name.as_str().unwrap_or("-").to_owned();
        entries
            .map(|entry| {
                format!("{} {} {}", name(&entry["by_name"]), name(&entry["event"]), name(&entry["user_name"]))
            })
            .collect()
    }
}

/// Paths of admin endpoints with ids of things that are there, and a body for each that changes little.
async fn endpoints_of(site: &Site, target: &str) -> Vec<(&'static str, String, Audience)> {
    let group = json!({"name": format!("group {}", admin_endpoints().len())});
    let made = site.client.post("/api/admin/groups", &group).await.json();
    let group = made["id"].as_str().unwrap().to_owned();
    let sessions = site.client.get(&format!("{}/sessions", of(target))).await.json();
    let session = sessions["sessions"][0]["id"].as_str().unwrap_or("none").to_owned();
    let key = site.client.post(&format!("{}/keys", of(target)), &json!({"name": "a key"})).await.json();
    let key = key["key"]["id"].as_str().unwrap().to_owned();
    let fill = |path: &str| {
        let id = if path.starts_with("/api/admin/groups") { &group } else { target };
        path.replace("{id}", id).replace("{session}", &session).replace("{key}", &key)
    };
    admin_endpoints().into_iter().map(|(method, path, audience)| (method, fill(path), audience)).collect()
}

#[tokio::test]
async fn every_endpoint_of_operators_asks_who_it_is() {
    let site = Site::new().await;
    let (plain, target) = site.user("Pip").await;
    let (operator, _) = site.with_role("Starbuck", "operator").await;
    let endpoints = endpoints_of(&site, &target.to_string()).await;
    assert!(endpoints.len() >= 16, "{}", endpoints.len());
    let body = json!({"name": "x"});
    for (method, path, audience) in &endpoints {
        nobody(&site).send(method, path, &body).await.is_error(401, "not_signed_in");
        plain.send(method, path, &body).await.is_error(403, "not_allowed");
        match audience {
            Audience::Admin => operator.send(method, path, &body).await.is_error(403, "not_allowed"),
            Audience::Operator => {}
            other => panic!("{method} {path} answers {other:?}"),
        }
    }
    // Nothing of it has changed anything.
    assert_eq!(plain.get("/api/session").await.json()["user"]["name"], "Pip");
    assert_eq!(site.client.get("/api/admin/groups").await.json()["groups"].as_array().unwrap().len(), 2);

    // Those who may come in find what there is. What takes it away comes last.
    let (ends, deeds): (Vec<_>, Vec<_>) =
        endpoints.iter().partition(|(method, path, _)| *method == "DELETE" && path.matches('/').count() == 4);
    assert_eq!(ends.len(), 2);
    for (method, path, audience) in deeds.into_iter().chain(ends) {
        let client = if *audience == Audience::Admin { &site.client } else { &operator };
        let reply = client.send(method, path, &json!({})).await;
        let refused_for_what_it_says = [400, 422].contains(&reply.status);
        // All sessions went before the one.
        let gone = path.contains("/sessions/") && reply.status == 404;
        assert!(reply.status < 300 || refused_for_what_it_says || gone, "{method} {path}: {}", reply.text());
    }
}

#[tokio::test]
async fn every_method_of_an_admin_path_is_in_the_table() {
    let site = Site::new().await;
    let mut asked = 0;
    for (_, pattern, _) in admin_endpoints() {
        let path = pattern.replace("{id}", "0").replace("{session}", "0").replace("{key}", "0");
        let reply = site.client.send("OPTIONS", &path, &json!({})).await;
        reply.is_error(405, "method_not_allowed");
        let allowed: Vec<_> = reply.header("allow").split(',').filter(|method| *method != "HEAD").collect();
        let listed: Vec<_> = admin_endpoints().into_iter().filter(|(_, path, _)| *path == pattern).collect();
        assert_eq!(allowed.len(), listed.len(), "{pattern}: {allowed:?}");
        assert!(listed.iter().all(|(method, _, _)| allowed.contains(method)), "{pattern}: {allowed:?}");
        asked += 1;
    }
    assert_eq!(asked, admin_endpoints().len());
}

#[tokio::test]
async fn operators_touch_neither_operators_nor_administrators() {
    let site = Site::new().await;
    let (operator, own) = site.with_role("Starbuck", "operator").await;
    let (_, other) = site.with_role("Stubb", "operator").await;
    let administrator = site.owner().await.to_string();
    let mut asked = 0;
    for target in [&own, &other, &administrator] {
        let before = site.client.get(&of(target)).await.json();
        let sessions = site.store.sessions(target.parse().unwrap()).await.unwrap().len();
        for (method, path, audience) in endpoints_of(&site, target).await {
            if method == "GET" || audience == Audience::Admin || !path.contains(target.as_str()) {
                continue;
            }
            operator.send(method, &path, &json!({"disabled": true})).await.is_error(403, "not_allowed");
            asked += 1;
        }
        assert_eq!(site.client.get(&of(target)).await.json(), before);
        assert_eq!(site.store.sessions(target.parse().unwrap()).await.unwrap().len(), sessions);
        site.client.send("DELETE", "/api/admin/groups/none", &json!({})).await.is_error(404, "not_found");
        let groups = site.client.get("/api/admin/groups").await.json();
        let made =
            groups["groups"].as_array().unwrap().iter().find(|group| group["name"] != "everyone").unwrap();
        let path = format!("/api/admin/groups/{}", made["id"].as_str().unwrap());
        assert_eq!(site.client.send("DELETE", &path, &json!({})).await.status, 204);
    }
    assert_eq!(asked, 3 * 6);
}

#[tokio::test]
async fn operators_look_after_plain_users_and_change_nothing_else_of_them() {
    let site = Site::new().await;
    let (operator, _) = site.with_role("Starbuck", "operator").await;
    let (pip, id) = site.user("Pip").await;
    let path = of(&id.to_string());
    for asked in [
        json!({"role": "operator"}),
        json!({"name": "Pippin"}),
        json!({"email": "pip@pequod.example"}),
        json!({"email": null}),
        json!({"groups": []}),
        json!({"disabled": true, "role": "user"}),
    ] {
        operator.send("PATCH", &path, &asked).await.is_error(403, "not_allowed");
    }
    assert_eq!(pip.get("/api/models").await.status, 200);
    let disabled = operator.send("PATCH", &path, &json!({"disabled": true})).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    assert!(disabled.json()["disabled_ms"].is_i64());
    pip.get("/api/models").await.is_error(401, "not_signed_in");
    sign_in(&nobody(&site), "Pip").await.is_error(401, "wrong_login");
    // Again is no other time.
    site.clock.advance(std::time::Duration::from_secs(9));
    assert_eq!(operator.send("PATCH", &path, &json!({"disabled": true})).await.json(), disabled.json());
    assert_eq!(operator.send("PATCH", &path, &json!({"disabled": false})).await.status, 200);
    assert_eq!(sign_in(&nobody(&site), "Pip").await.status, 200);
    assert_eq!(site.events(2).await, ["- login Pip", "Starbuck user_enabled Pip"]);
    operator.send("PATCH", &of("no-id"), &json!({})).await.is_error(404, "not_found");
}

#[tokio::test]
async fn powers_are_those_of_the_store_and_not_of_the_cookie() {
    let site = Site::new().await;
    let (client, id) = site.user("Starbuck").await;
    let role = async |role| {
        let reply = site.client.send("PATCH", &of(&id.to_string()), &json!({"role": role})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    client.get(USERS).await.is_error(403, "not_allowed");
    role("operator").await;
    assert_eq!(client.get(USERS).await.status, 200);
    client.post("/api/admin/groups", &json!({"name": "mates"})).await.is_error(403, "not_allowed");
    role("admin").await;
    assert_eq!(client.post("/api/admin/groups", &json!({"name": "mates"})).await.status, 201);
    role("user").await;
    client.get(USERS).await.is_error(403, "not_allowed");
}

#[tokio::test]
async fn the_last_administrator_stays_and_one_s_own_account_has_its_page() {
    let site = Site::new().await;
    let own = site.owner().await.to_string();
    for asked in [json!({"role": "user"}), json!({"disabled": true})] {
        site.client.send("PATCH", &of(&own), &asked).await.is_error(409, "conflict");
    }
    site.client.send("DELETE", &of(&own), &json!({})).await.is_error(403, "not_allowed");
    let password = format!("{}/password", of(&own));
    site.client.post(&password, &json!({})).await.is_error(403, "not_allowed");
    let (second, second_id) = site.with_role("Starbuck", "admin").await;
    assert_eq!(second.send("PATCH", &of(&own), &json!({"role": "user"})).await.status, 200);
    site.client.get(USERS).await.is_error(403, "not_allowed");
    second.send("PATCH", &of(&second_id), &json!({"role": "operator"})).await.is_error(409, "conflict");
    // The machine may do all that, but leave nobody.
    site.control.send("DELETE", &of(&second_id), &json!({})).await.is_error(409, "conflict");
    assert_eq!(site.control.send("DELETE", &of(&own), &json!({})).await.status, 204);
    site.client.get("/api/conversations").await.is_error(401, "not_signed_in");
}

#[tokio::test]
async fn an_account_made_for_somebody_is_theirs() {
    let site = Site::new().await;
    let group = site.client.post("/api/admin/groups", &json!({"name": "mates"})).await.json();
    let group = group["id"].as_str().unwrap();
    let asked = json!({"name": " Starbuck ", "email": "first.mate@pequod.example", "role": "operator", "groups": [group]});
    let made = site.client.post(USERS, &asked).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (user, password) = (made.json()["user"].clone(), made.json()["password"].clone());
    assert_eq!(
        (&user["name"], &user["role"], &user["groups"]),
        (&json!("Starbuck"), &json!("operator"), &json!([group]))
    );
    assert_eq!((&user["disabled_ms"], &user["seen_ms"]), (&Value::Null, &Value::Null));
    let asked = json!({"login": "first.mate@pequod.example", "password": password});
    let signed_in = nobody(&site).post("/api/login", &asked).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let starbuck = nobody(&site).signed_in(&signed_in);
    assert_eq!(starbuck.get(USERS).await.status, 200);

    let given = site.client.post(USERS, &json!({"name": "Pip", "password": PASSWORD})).await;
    assert_eq!((given.status, given.json().get("password")), (201, None));
    assert_eq!(given.json()["user"]["role"], "user");
    assert_eq!(sign_in(&nobody(&site), "Pip").await.status, 200);

    for (asked, status, code) in [
        (json!({"name": "pip"}), 409, "name_taken"),
        (json!({"name": "Flask", "email": "First.Mate@PEQUOD.example"}), 409, "email_taken"),
        (json!({"name": "x"}), 422, "invalid_parameter"),
        (json!({"name": "Flask", "email": "nowhere"}), 422, "invalid_parameter"),
        (json!({"name": "Flask", "password": "password"}), 422, "breached_password"),
        (json!({"name": "Flask", "groups": ["none"]}), 422, "invalid_parameter"),
        (json!({"name": "Flask", "groups": [site.owner().await.to_string()]}), 422, "invalid_parameter"),
        (json!({"name": "Flask", "role": "king"}), 400, "invalid_format"),
        (json!({}), 400, "invalid_format"),
    ] {
        site.client.post(USERS, &asked).await.is_error(status, code);
    }
    let listed = site.client.get(USERS).await.json();
    let names: Vec<_> = listed["users"].as_array().unwrap().iter().map(|user| user["name"].clone()).collect();
    assert_eq!(names, [ADMINISTRATOR, "Pip", "Starbuck"]);
    assert_eq!((&listed["total"], &listed["next"]), (&json!(3), &Value::Null));
    let path = of(user["id"].as_str().unwrap());
    let moved =
        site.client.send("PATCH", &path, &json!({"groups": [], "email": null, "name": "Peleg"})).await;
    assert_eq!((&moved.json()["groups"], &moved.json()["email"]), (&json!([]), &Value::Null));
    assert_eq!(starbuck.get("/api/session").await.json()["user"]["name"], "Peleg");
    let wrong = json!({"groups": ["00000000-0000-7000-8000-000000000000"], "name": "Bildad"});
    site.client.send("PATCH", &path, &wrong).await.is_error(422, "invalid_parameter");
    assert_eq!(site.client.get(&path).await.json()["name"], "Peleg");
}

#[tokio::test]
async fn the_list_of_users_is_searched_and_paged() {
    let site = Site::new().await;
    for name in ["Ishmael", "Queequeg", "Tashtego", "Daggoo"] {
        site.client.post(USERS, &json!({"name": name, "password": PASSWORD})).await;
    }
    let mut found = Vec::new();
    let mut query = format!("{USERS}?q=EG&limit=1");
    loop {
        let page = site.client.get(&query).await.json();
        assert_eq!((page["users"].as_array().unwrap().len(), &page["total"]), (1, &json!(2)));
        found.push(page["users"][0]["name"].clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("{USERS}?q=EG&limit=1&after={next}");
    }
    assert_eq!(found, ["Queequeg", "Tashtego"]);
    for query in ["limit=0", "limit=x", "limit=101", &format!("q={}", "x".repeat(600)), "q=a&q=b"] {
        site.client.get(&format!("{USERS}?{query}")).await.is_error(422, "invalid_parameter");
    }
    assert_eq!(site.client.get(&format!("{USERS}?q=%27%20OR%201%3D1%20--")).await.json()["total"], 0);
}

#[tokio::test]
async fn a_password_set_by_an_operator_signs_the_user_out() {
    let site = Site::new().await;
    let (operator, _) = site.with_role("Starbuck", "operator").await;
    let (pip, id) = site.user("Pip").await;
    let path = format!("{}/password", of(&id.to_string()));
    operator.post(&path, &json!({"password": "12345678"})).await.is_error(422, "breached_password");
    assert_eq!(pip.get("/api/models").await.status, 200);
    let set = operator.post(&path, &json!({})).await;
    assert_eq!((set.status, &set.json()["sessions"]), (200, &json!(1)), "{}", set.text());
    pip.get("/api/models").await.is_error(401, "not_signed_in");
    sign_in(&nobody(&site), "Pip").await.is_error(401, "wrong_login");
    let asked = json!({"login": "Pip", "password": set.json()["password"]});
    assert_eq!(nobody(&site).post("/api/login", &asked).await.status, 200);
    let set = operator.post(&path, &json!({"password": PASSWORD})).await;
    assert_eq!((set.status, set.json().get("password")), (200, None));
    assert_eq!(sign_in(&nobody(&site), "Pip").await.status, 200);
    // Set again by the same means, and noted without what it is.
    assert_eq!(site.events(2).await, ["- login Pip", "Starbuck password_reset Pip"]);
}

#[tokio::test]
async fn whoever_lost_every_way_in_is_seen_by_operators() {
    let site = Site::new().await;
    let (pip, id) = site.user("Pip").await;
    one_time_codes(&site, &pip).await;
    let path = of(&id.to_string());
    let card = site.client.get(&path).await.json();
    assert_eq!((&card["totp"], &card["ways_in"]), (&json!(true), &json!(["password"])));
    let reset = site.client.send("DELETE", &format!("{path}/factors"), &json!({})).await;
    assert_eq!(reset.status, 200, "{}", reset.text());
    assert_eq!((&reset.json()["totp"], &reset.json()["ways_in"]), (&json!(false), &json!(["password"])));

    // Somebody who came by a provider or a passkey has no password. What is lost elsewhere is not theirs to give back.
    let new = |name: &str| NewUser {
        name: name.to_owned(),
        email: None,
        role: UserRole::User,
        password_hash: None,
        first: false,
    };
    let bare = site.store.add_user(new("Flask")).await.unwrap();
    let passkey = NewPasskey {
        credential_id: vec![1; 16],
        public_key: vec![2; 77],
        sign_count: 0,
        backup: PasskeyBackup::Never,
        transports: 0,
        name: "lost".to_owned(),
    };
    site.store.add_passkey(bare.id, passkey, 10).await.unwrap();
    let path = of(&bare.id.to_string());
    assert_eq!(site.client.get(&path).await.json()["ways_in"], json!(["passkey"]));
    let identity = Identity {
        provider: "acme".to_owned(),
        issuer: "https://acme.example".to_owned(),
        subject: "1001".to_owned(),
    };
    let link = site.store.add_link(bare.id, identity).await.unwrap();
    assert_eq!(site.client.get(&path).await.json()["ways_in"], json!(["passkey", "provider"]));
    site.store.remove_link(bare.id, link.id).await.unwrap();
    let reset = site.client.send("DELETE", &format!("{path}/factors"), &json!({})).await;
    assert_eq!((&reset.json()["passkeys"], &reset.json()["ways_in"]), (&json!(0), &json!([])));
    let listed = site.client.get(&format!("{USERS}?q=flask")).await.json();
    assert_eq!(listed["users"][0]["ways_in"], json!([]));
    let given = site.client.post(&format!("{path}/password"), &json!({})).await;
    assert_eq!(given.status, 200, "{}", given.text());
    assert_eq!(site.client.get(&path).await.json()["ways_in"], json!(["password"]));
}

#[tokio::test]
async fn devices_are_signed_out_only_of_the_user_whose_they_are() {
    let site = Site::new().await;
    let (pip, id) = site.user("Pip").await;
    let (flask, other) = site.user("Flask").await;
    let second = nobody(&site).signed_in(&sign_in(&nobody(&site), "Pip").await);
    let sessions = |user: &str| format!("{}/sessions", of(user));
    let (id, other) = (id.to_string(), other.to_string());
    let listed = site.client.get(&sessions(&id)).await.json()["sessions"].as_array().unwrap().clone();
    assert_eq!((listed.len(), &listed[0]["address"]), (2, &json!("127.0.0.1")));
    let session = listed[1]["id"].as_str().unwrap();

    let wrong = format!("{}/{session}", sessions(&other));
    site.client.send("DELETE", &wrong, &json!({})).await.is_error(404, "not_found");
    site.client
        .send("DELETE", &format!("{}/none", sessions(&id)), &json!({}))
        .await
        .is_error(404, "not_found");
    assert_eq!((pip.get("/api/models").await.status, second.get("/api/models").await.status), (200, 200));
    let right = format!("{}/{session}", sessions(&id));
    assert_eq!(site.client.send("DELETE", &right, &json!({})).await.status, 204);
    pip.get("/api/models").await.is_error(401, "not_signed_in");
    assert_eq!(second.get("/api/models").await.status, 200);
    assert_eq!(site.client.send("DELETE", &sessions(&id), &json!({})).await.status, 204);
    second.get("/api/models").await.is_error(401, "not_signed_in");
    assert_eq!(flask.get("/api/models").await.status, 200);
    let nobody = "00000000-0000-7000-8000-000000000000";
    for method in ["GET", "DELETE"] {
        site.client.send(method, &sessions(nobody), &json!({})).await.is_error(404, "not_found");
    }
    assert_eq!(site.events(2).await, ["captain sessions_revoked Pip", "captain session_revoked Pip"]);
}

#[tokio::test]
async fn answers_of_whoever_is_disabled_or_deleted_end() {
    let site = Site::new().await;
    let _drip = site.models.gate.drip();
    for how in ["PATCH", "DELETE"] {
        let (client, id) = site.user(how).await;
        let made = client.post("/api/conversations", &json!({"model": "endless"})).await.json();
        let messages = format!("/api/conversations/{}/messages", made["id"].as_str().unwrap());
        assert_eq!(client.post(&messages, &json!({"content": "go on"})).await.status, 201);
        eventually("the answer is being written", async || site.running("endless") == 1).await;
        let reply = site.client.send(how, &of(&id.to_string()), &json!({"disabled": true})).await;
        assert!(reply.status < 300, "{}", reply.text());
        eventually("the answer ends", async || site.running("endless") == 0).await;
    }
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_to_whom() {
    let site = Site::new().await;
    let (_, id) = site.user("Pip").await;
    let path = of(&id.to_string());
    let all = json!({"name": "Pippin", "role": "operator", "disabled": true, "groups": []});
    site.client.send("PATCH", &path, &all).await;
    site.client.send("PATCH", &path, &all).await;
    site.control.send("PATCH", &path, &json!({"disabled": false})).await;
    site.client.post("/api/admin/groups", &json!({"name": "mates"})).await;
    assert_eq!(
        site.events(6).await,
        [
            "captain group_added -",
            "- user_enabled Pippin",
            "captain user_disabled Pippin",
            "captain role_changed Pippin",
            "captain user_renamed Pippin",
            "- sign_up Pippin",
        ]
    );
    // By pages, and about one user.
    let mut numbers = Vec::new();
    let mut query = format!("/api/admin/audit?user={id}&limit=2");
    loop {
        let page = site.client.get(&query).await.json();
        numbers.extend(
            page["entries"].as_array().unwrap().iter().map(|entry| entry["number"].as_i64().unwrap()),
        );
        let Some(next) = page["next"].as_i64() else { break };
        query = format!("/api/admin/audit?user={id}&limit=2&before={next}");
    }
    assert_eq!(numbers.len(), 5);
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "{numbers:?}");
    let log = site.client.get(&format!("/api/admin/audit?user={id}&limit=1")).await.json();
    let entry = &log["entries"][0];
    assert_eq!((&entry["address"], &entry["by_id"]), (&json!("this machine"), &Value::Null));
    assert_eq!(entry["user_id"], id.to_string());
    for query in ["user=x", "before=x", "limit=0", "before=1&before=2"] {
        site.client.get(&format!("/api/admin/audit?{query}")).await.is_error(422, "invalid_parameter");
    }
}

#[tokio::test]
async fn the_state_of_the_server() {
    let site = Site::new().await;
    site.user("Pip").await;
    let status = site.client.get("/api/admin/status").await.json();
    assert_eq!(
        (&status["users"], &status["sessions"], &status["answers"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert!(status["connections"].as_u64().unwrap() >= 1, "{status}");
    assert!(status["database_bytes"].as_u64().unwrap() > 4096, "{status}");
    assert_eq!((&status["started_ms"], &status["sign_up"]), (&json!(0), &json!(true)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let models = status["models"].as_array().unwrap();
    assert!(models.contains(&json!({"name": "plain", "loaded": false})), "{status}");
    assert!(models.iter().all(|model| model["name"] != "absent"), "{status}");
}

#[tokio::test]
async fn the_control_socket_is_the_machine_and_the_network_never_is() {
    let site = Site::new().await;
    // Without a host, an origin or a cookie, and with those of somebody else.
    assert_eq!(site.control.get(USERS).await.status, 200);
    let (plain, id) = site.user("Pip").await;
    let path = of(&id.to_string());
    assert_eq!(site.control.send("PATCH", &path, &json!({"role": "admin"})).await.status, 200);
    assert_eq!(site.control.send("PATCH", &path, &json!({"role": "user"})).await.status, 200);
    // The machine is nobody who has conversations.
    for path in ["/api/conversations", "/api/sessions", "/api/models"] {
        site.control.get(path).await.is_error(401, "not_signed_in");
    }

    let host = site.address.to_string();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=unix;proto=unix"),
        ("x-real-ip", "unix:"),
        ("machine", "1"),
        ("x-machine", "1"),
        ("authorization", "Machine"),
        ("cookie", "machine=1"),
        ("upgrade", "unix"),
    ] {
        for (method, pattern, _) in admin_endpoints() {
            let path =
                pattern.replace("{id}", &id.to_string()).replace("{session}", "0").replace("{key}", "0");
            let headers = [("host", host.as_str()), (name, value), ("content-type", "application/json")];
            let reply = nobody(&site).request(method, &path, &headers, b"{}".to_vec()).await;
            reply.is_error(401, "not_signed_in");
        }
        let headers = [(name, value)];
        if name != "cookie" {
            plain.request("GET", USERS, &headers, Vec::new()).await.is_error(403, "not_allowed");
        }
        // All of them at once were a flood.
        site.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn the_control_socket_ends_with_the_server() {
    let site = Site::new().await;
    let (control, _folder) = (site.control.clone(), site.folder.clone());
    assert_eq!(control.get("/api/admin/status").await.status, 200);
    site.shut_down().await.unwrap();
    let refused = tokio::net::UnixStream::connect(&control.0).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn whoever_has_the_machine_makes_the_first_administrator() {
    let site = Setup { administrator: false, ..Setup::default() }.serve().await;
    assert_eq!(site.client.get("/api/session").await.json()["setup"], true);
    let made = site.control.send("POST", USERS, &json!({"name": "Ahab", "password": PASSWORD})).await;
    assert_eq!((made.status, &made.json()["user"]["role"]), (201, &json!("admin")), "{}", made.text());
    assert_eq!(site.client.get("/api/session").await.json()["setup"], false);
    set_up(&site.client).await.is_error(409, "already_set_up");
    assert_eq!(sign_in(&site.client, "Ahab").await.status, 200);
    let second = site.control.send("POST", USERS, &json!({"name": "Pip"})).await.json();
    assert_eq!(second["user"]["role"], "user");
}

#[tokio::test]
async fn a_desk_answers_as_the_server_does() {
    let site = Site::new().await;
    let desk = Desk::new(DeskParts {
        settings: Setup::default().settings,
        store: site.store.clone(),
        clock: site.clock.clone(),
        rng: Rng::from_seed(9),
        cookie_key: [5; 32],
    });
    let ask = async |method: &str, path: &str, body: &Value| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let response = desk.ask(request.body(body.to_string()).unwrap()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&bytes).unwrap_or(Value::Null))
    };
    let (status, made) = ask("POST", USERS, &json!({"name": "Pip"})).await;
    assert_eq!(status, 201, "{made}");
    let asked = json!({"login": "Pip", "password": made["password"]});
    assert_eq!(nobody(&site).post("/api/login", &asked).await.status, 200);
    assert_eq!(ask("GET", USERS, &json!({})).await.1["total"], 2);
    let models = ask("GET", "/api/admin/status", &json!({})).await.1["models"].clone();
    assert_eq!(models, json!([]), "no model is needed");
    assert_eq!(ask("GET", "/api/conversations", &json!({})).await.0, 401);
}
