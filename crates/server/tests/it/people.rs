//! Accounts, sessions, and what strangers may not do.

use std::time::Duration;

use defence::challenge::solve;
use serde_json::{Value, json};
use server::{Audience, api_paths};
use store::{NewPasskey, PasskeyBackup};

use crate::gate::read_challenge;
use crate::support::{ADMINISTRATOR, Client, PASSWORD, Reply, SETUP_TOKEN, Setup, Site, set_up, sign_in};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn nobody(site: &Site) -> Client {
    Client::new(site.address)
}

fn without_people() -> Setup {
    Setup { administrator: false, ..Setup::default() }
}

/// The attributes of the cookie that a response sets.
#[track_caller]
fn cookie_of(reply: &Reply) -> (String, Vec<String>) {
    let mut parts = reply.header("set-cookie").split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

#[tokio::test]
async fn the_first_administrator_comes_in_by_the_link_and_nobody_after() {
    let site = without_people().serve().await;
    let state = site.client.get("/api/session").await.json();
    let nothing = json!({
        "user": null, "setup": true, "sign_up": false, "passkeys": false, "mail": false, "providers": [],
    });
    assert_eq!(state, nothing);
    let early = json!({"name": "early bird", "password": PASSWORD});
    site.client.post("/api/sign-up", &early).await.is_error(403, "sign_up_closed");
    for token in ["", "wrong", &SETUP_TOKEN[1..]] {
        let asked = json!({"token": token, "name": "mallory", "password": PASSWORD});
        site.client.post("/api/setup", &asked).await.is_error(403, "wrong_setup_token");
    }
    let weak = json!({"token": SETUP_TOKEN, "name": "captain", "password": "password"});
    site.client.post("/api/setup", &weak).await.is_error(422, "breached_password");

    let made = set_up(&site.client).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["user"]["role"], "admin");
    assert_eq!((&made.json()["setup"], &made.json()["sign_up"]), (&json!(false), &json!(true)));
    set_up(&site.client).await.is_error(409, "already_set_up");
    let captain = site.client.signed_in(&made);
    assert_eq!(captain.get("/api/conversations").await.status, 200);
}

#[tokio::test]
async fn only_one_of_many_who_have_the_link_becomes_the_first() {
    let site = without_people().serve().await;
    let tries = (0..8).map(|number| {
        let client = nobody(&site);
        let asked = json!({"token": SETUP_TOKEN, "name": format!("captain {number}"), "password": PASSWORD});
        tokio::spawn(async move { client.post("/api/setup", &asked).await.status })
    });
    let mut made = 0;
    for status in tries.collect::<Vec<_>>() {
        match status.await.unwrap() {
            201 => made += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(site.store.users_count().await.unwrap(), 1);
}

#[tokio::test]
async fn an_account_from_sign_up_to_deletion() {
    let site = Site::new().await;
    let asked = json!({"name": "Ishmael", "password": PASSWORD});
    let made = nobody(&site).post("/api/sign-up", &asked).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let user = made.json()["user"].clone();
    assert_eq!((&user["name"], &user["role"]), (&json!("Ishmael"), &json!("user")));
    let ishmael = nobody(&site).signed_in(&made);
    assert_eq!(ishmael.get("/api/session").await.json()["user"], user);

    nobody(&site)
        .post("/api/sign-up", &json!({"name": " ISHMAEL ", "password": PASSWORD}))
        .await
        .is_error(409, "name_taken");
    // Without letters nothing would show whose an address is.
    let with_address = json!({"name": "other", "email": "ishmael@example.org", "password": PASSWORD});
    nobody(&site).post("/api/sign-up", &with_address).await.is_error(422, "no_mail");

    for login in ["ishmael", " Ishmael ", "ISHMAEL"] {
        assert_eq!(sign_in(&nobody(&site), login).await.status, 200, "{login}");
    }
    let wrong = json!({"old": "not this one, captain", "new": "a harpoon, a rope, a boat"});
    ishmael.post("/api/account/password", &wrong).await.is_error(401, "wrong_password");
    let weak = json!({"old": PASSWORD, "new": "12345678"});
    ishmael.post("/api/account/password", &weak).await.is_error(422, "breached_password");
    let other = nobody(&site).signed_in(&sign_in(&nobody(&site), "ishmael").await);
    let change = json!({"old": PASSWORD, "new": "a harpoon, a rope, a boat"});
    assert_eq!(ishmael.post("/api/account/password", &change).await.status, 204);
    assert_eq!(ishmael.get("/api/sessions").await.json()["sessions"].as_array().unwrap().len(), 1);
    other.get("/api/sessions").await.is_error(401, "not_signed_in");
    sign_in(&nobody(&site), "ishmael").await.is_error(401, "wrong_login");

    ishmael.post("/api/conversations", &json!({})).await;
    ishmael.post("/api/account/delete", &json!({"password": PASSWORD})).await.is_error(401, "wrong_password");
    let gone = ishmael.post("/api/account/delete", &json!({"password": "a harpoon, a rope, a boat"})).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert!(gone.header("set-cookie").contains("Max-Age=0"));
    ishmael.get("/api/conversations").await.is_error(401, "not_signed_in");
    assert_eq!(ishmael.get("/api/session").await.json()["user"], Value::Null);
    let last = site.client.post("/api/account/delete", &json!({"password": PASSWORD})).await;
    last.is_error(409, "conflict");
}

#[tokio::test]
async fn a_session_is_new_at_every_sign_in_and_ends_when_it_is_revoked() {
    let site = Site::new().await;
    let first = sign_in(&nobody(&site), ADMINISTRATOR).await;
    let (cookie, attributes) = cookie_of(&first);
    assert!(attributes.contains(&"HttpOnly".to_owned()), "{attributes:?}");
    assert!(attributes.contains(&"SameSite=Lax".to_owned()), "{attributes:?}");
    assert!(
        attributes.contains(&"Path=/".to_owned())
            && !attributes.iter().any(|part| part.starts_with("Domain"))
    );
    // Fixation: what a visitor brings along is never what they are given.
    let planted = Client { cookie: Some(cookie.clone()), ..nobody(&site) };
    let second = sign_in(&planted, ADMINISTRATOR).await;
    assert_ne!(cookie_of(&second).0, cookie);

    let (one, two) = (nobody(&site).signed_in(&first), nobody(&site).signed_in(&second));
    let sessions = two.get("/api/sessions").await.json()["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 3);
    let current: Vec<_> = sessions.iter().filter(|session| session["current"] == true).collect();
    assert_eq!((current.len(), &current[0]["address"]), (1, &json!("127.0.0.1")));

    let current_of_one = one.get("/api/sessions").await.json()["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|session| session["current"] == true)
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let revoke = format!("/api/sessions/{current_of_one}");
    assert_eq!(two.send("DELETE", &revoke, &json!({})).await.status, 204);
    two.send("DELETE", &revoke, &json!({})).await.is_error(404, "not_found");
    one.get("/api/models").await.is_error(401, "not_signed_in");
    assert_eq!(two.get("/api/models").await.status, 200);
    assert_eq!(two.send("DELETE", "/api/sessions", &json!({})).await.status, 204);
    site.client.get("/api/models").await.is_error(401, "not_signed_in");
    let out = two.post("/api/logout", &json!({})).await;
    assert_eq!((out.status, out.header("set-cookie").contains("Max-Age=0")), (204, true));
    two.get("/api/models").await.is_error(401, "not_signed_in");
    assert_eq!(two.post("/api/logout", &json!({})).await.status, 204);
}

#[tokio::test]
async fn revoked_sessions_stay_revoked_in_the_next_server_and_others_stay_good() {
    let site = Site::new().await;
    let revoked = nobody(&site).signed_in(&sign_in(&nobody(&site), ADMINISTRATOR).await);
    revoked.post("/api/logout", &json!({})).await;
    let (good, folder) = (site.client.clone(), site.folder.clone());
    site.shut_down().await.unwrap();
    let site = Setup { folder: Some(folder), administrator: false, ..Setup::default() }.serve().await;
    let here = |client: &Client| Client { address: site.address, ..client.clone() };
    here(&revoked).get("/api/models").await.is_error(401, "not_signed_in");
    assert_eq!(here(&good).get("/api/models").await.status, 200);
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let site = Site::new().await;
    site.clock.advance(Duration::from_hours(30 * 24 - 1));
    assert_eq!(site.client.get("/api/models").await.status, 200);
    site.clock.advance(Duration::from_hours(1));
    site.client.get("/api/models").await.is_error(401, "not_signed_in");
}

#[tokio::test]
async fn a_changed_cookie_is_nobody_s() {
    let site = Site::new().await;
    let cookie = site.client.cookie.clone().unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    let mut changed = value.as_bytes().to_vec();
    changed[30] ^= 1;
    let changed = String::from_utf8(changed).unwrap();
    for text in [changed.as_str(), "", "x", &value[1..], &value.repeat(100)[..9000]] {
        let forged = Client { cookie: Some(format!("{name}={text}")), ..nobody(&site) };
        forged.get("/api/models").await.is_error(401, "not_signed_in");
    }
    // Among others, and twice, ours is found.
    let many = Client { cookie: Some(format!("a=b; {name}={changed}; {cookie}; c")), ..nobody(&site) };
    assert_eq!(many.get("/api/models").await.status, 200);
}

/// The methods that a path takes, as the server itself says.
async fn methods_of(client: &Client, path: &str) -> Vec<&'static str> {
    let reply = client.send("OPTIONS", path, &json!({})).await;
    reply.is_error(405, "method_not_allowed");
    let allowed: Vec<_> = reply.header("allow").split(',').collect();
    METHODS.into_iter().filter(|method| allowed.contains(method)).collect()
}

#[tokio::test]
async fn every_endpoint_for_users_refuses_nobody() {
    let site = Site::new().await;
    let mut asked = 0;
    for (path, audience) in api_paths() {
        let path = path
            .replace("{id}", &"0".repeat(8))
            .replace("{message}", "0")
            .replace("{session}", "0")
            .replace("{key}", "0");
        for method in methods_of(&site.client, &path).await {
            let reply = nobody(&site).send(method, &path, &json!({})).await;
            if audience == Audience::Anybody {
                assert_ne!(reply.json_or_null()["error"]["code"], "not_signed_in", "{method} {path}");
            } else {
                reply.is_error(401, "not_signed_in");
                asked += 1;
            }
        }
    }
    assert!(asked >= 23, "{asked}");
}

#[tokio::test]
async fn another_user_s_things_are_not_there_for_every_endpoint_with_an_id() {
    let site = Site::new().await;
    let (ahab, ahab_id) = site.user("Ahab").await;
    let (mallory, _) = site.user("Mallory").await;
    let made = ahab.post("/api/conversations", &json!({"model": "plain"})).await.json();
    let conversation = made["id"].as_str().unwrap().to_owned();
    let turn = ahab
        .post(&format!("/api/conversations/{conversation}/messages"), &json!({"content": "hello"}))
        .await
        .json();
    let message = turn["assistant"]["id"].as_str().unwrap().to_owned();
    let session = ahab.get("/api/sessions").await.json()["sessions"][0]["id"].as_str().unwrap().to_owned();
    let own = mallory.post("/api/conversations", &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let passkey = NewPasskey {
        credential_id: vec![1],
        public_key: vec![2],
        sign_count: 0,
        backup: PasskeyBackup::Never,
        transports: 0,
        name: "my key".to_owned(),
    };
    let passkey = site.store.add_passkey(ahab_id, passkey, 1).await.unwrap();
    let key = ahab.post("/api/keys", &json!({"name": "my key"})).await.json()["key"].clone();
    let key_id = key["id"].as_str().unwrap().to_owned();

    let mut asked = 0;
    let with_ids =
        |(pattern, audience): &(&str, Audience)| *audience == Audience::User && pattern.contains('{');
    for (pattern, _) in api_paths().into_iter().filter(with_ids) {
        let id = match pattern {
            _ if pattern.starts_with("/api/sessions") => &session,
            _ if pattern.starts_with("/api/account/passkeys") => &passkey.id.to_string(),
            _ if pattern.starts_with("/api/keys") => &key_id,
            _ => &conversation,
        };
        // With the other's ids, and with the other's message in a conversation of one's own.
        for id in [id, &own] {
            if id == &own && !pattern.contains("{message}") {
                continue;
            }
            let path = pattern.replace("{id}", id).replace("{message}", &message);
            for method in methods_of(&mallory, &path).await {
                let mine = "mine now";
                let body = json!({"content": mine, "title": mine, "name": mine, "password": PASSWORD});
                mallory.send(method, &path, &body).await.is_error(404, "not_found");
                asked += 1;
            }
        }
    }
    assert!(asked >= 13, "{asked}");
    let asked = json!({"content": "x", "parent_id": message});
    mallory.post(&format!("/api/conversations/{own}/messages"), &asked).await.is_error(404, "not_found");

    // Nothing of it has changed, and the owner has it all.
    let tree = ahab.get(&format!("/api/conversations/{conversation}")).await.json();
    assert_eq!(tree["conversation"]["title"], "hello");
    assert_eq!(tree["messages"].as_array().unwrap().len(), 2);
    assert_eq!(site.store.sessions(ahab_id).await.unwrap().len(), 1);
    assert_eq!(site.store.passkeys(ahab_id).await.unwrap(), [passkey]);
    assert_eq!(ahab.get("/api/keys").await.json()["keys"], json!([key]));
    let list = mallory.get("/api/conversations").await.json();
    assert_eq!(list["conversations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_login_tells_nothing_about_who_there_is() {
    let site = Site::new().await;
    site.user("Queequeg").await;
    let mut bodies = Vec::new();
    for login in ["queequeg", "nobody at all", "nobody@example.org", ""] {
        let reply =
            nobody(&site).post("/api/login", &json!({"login": login, "password": "wrong, but long"})).await;
        reply.is_error(401, "wrong_login");
        bodies.push(reply.text().to_owned());
        assert_eq!(reply.header("set-cookie"), "");
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn guessing_is_slowed_and_the_owner_elsewhere_is_not_locked_out() {
    let tries = 3;
    let setup = Setup::with(|settings| {
        settings.defence.login_limits.pair = tries;
    });
    let site = setup.serve().await;
    let guess = json!({"login": ADMINISTRATOR, "password": "wrong, but long"});
    for _ in 0..tries {
        nobody(&site).post("/api/login", &guess).await.is_error(401, "wrong_login");
    }
    // Each costs a challenge from then on.
    let mut with_answer = guess.clone();
    for _ in tries..3 * tries {
        let asked = nobody(&site).post("/api/login", &guess).await;
        asked.is_error(428, "challenge_required");
        with_answer["challenge"] = json!(solve(&read_challenge(&asked)).unwrap());
        nobody(&site).post("/api/login", &with_answer).await.is_error(401, "wrong_login");
    }
    // And then time.
    let refused = nobody(&site).post("/api/login", &guess).await;
    refused.is_error(429, "too_many_attempts");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=400).contains(&seconds), "{seconds}");
    // Who is signed in goes on; another name may be tried; time lifts it.
    assert_eq!(site.client.get("/api/models").await.status, 200);
    sign_in(&nobody(&site), "somebody else").await.is_error(401, "wrong_login");
    site.clock.advance(2 * Duration::from_secs(seconds));
    assert_eq!(sign_in(&nobody(&site), ADMINISTRATOR).await.status, 200);
    assert_eq!(sign_in(&nobody(&site), ADMINISTRATOR).await.status, 200);
}

#[tokio::test]
async fn however_a_name_is_written_it_is_guessed_at_as_one() {
    for (name, spellings) in [
        // Somebody, and nobody.
        (ADMINISTRATOR, ["captain", " CAPTAIN ", "ｃａｐｔａｉｎ", "Ⓒaptain"]),
        ("ahab", ["ahab", "AHAB\t", "ａｈａｂ", "ⓐhab"]),
    ] {
        let setup = Setup::with(|settings| {
            settings.defence.login_limits.pair = 2;
        });
        let site = setup.serve().await;
        let mut statuses = Vec::new();
        for login in spellings {
            let guess = json!({"login": login, "password": "wrong, but long"});
            statuses.push(nobody(&site).post("/api/login", &guess).await.status);
        }
        assert_eq!(statuses, [401, 401, 428, 428], "{name}");
    }
}

#[tokio::test]
async fn a_stolen_session_is_not_good_for_guessing_the_password() {
    let site = Setup::with(|settings| settings.defence.login_limits.device = 3).serve().await;
    let other = nobody(&site).signed_in(&sign_in(&nobody(&site), ADMINISTRATOR).await);
    for _ in 0..3 {
        let wrong = json!({"password": "wrong, but long"});
        site.client.post("/api/account/delete", &wrong).await.is_error(401, "wrong_password");
    }
    let right = json!({"password": PASSWORD});
    site.client.post("/api/account/delete", &right).await.is_error(429, "too_many_attempts");
    // It is held up for what it did itself; its owner elsewhere is not.
    other.post("/api/account/delete", &right).await.is_error(409, "conflict");
}

#[tokio::test]
async fn other_people_s_pages_can_not_act_for_a_user() {
    let site = Site::new().await;
    let foreign = [("content-type", "application/json"), ("origin", "http://evil.example")];
    for (path, _) in api_paths().into_iter().filter(|(path, _)| !path.contains('{')) {
        let reply = site.client.request("POST", path, &foreign, b"{}".to_vec()).await;
        reply.is_error(403, "forbidden_origin");
    }
    // What a form can send without asking.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        for path in ["/api/logout", "/api/login", "/api/sign-up", "/api/account/delete", "/api/conversations"]
        {
            let reply = site.client.request("POST", path, &[("content-type", kind)], b"{}".to_vec()).await;
            reply.is_error(415, "unsupported_media_type");
        }
    }
    assert_eq!(site.client.get("/api/models").await.status, 200);
}

#[tokio::test]
async fn what_may_not_be_a_name_or_an_address_is_said() {
    let site = Site::new().await;
    for (name, email) in [
        ("x", ""),
        ("a@b.c", ""),
        ("line\nbreak", ""),
        ("Starbuck", "no address"),
        ("Starbuck", "a@b.c\r\nBcc: d@e.f"),
    ] {
        let asked = json!({"name": name, "email": email, "password": PASSWORD});
        let reply = nobody(&site).post("/api/sign-up", &asked).await;
        reply.is_error(422, "invalid_parameter");
        let param = if email.is_empty() { "name" } else { "email" };
        assert_eq!(reply.json()["error"]["param"], param, "{name:?} {email:?}");
    }
    let reply = nobody(&site).post("/api/login", &json!({"login": "x".repeat(600), "password": "y"})).await;
    reply.is_error(422, "invalid_parameter");
}

#[tokio::test]
async fn a_server_that_takes_no_new_accounts_says_so() {
    let site = Setup::with(|settings| settings.sign_up = false).serve().await;
    assert_eq!(nobody(&site).get("/api/session").await.json()["sign_up"], false);
    let asked = json!({"name": "Starbuck", "password": PASSWORD});
    nobody(&site).post("/api/sign-up", &asked).await.is_error(403, "sign_up_closed");
}

#[tokio::test]
async fn many_devices_make_room_for_the_newest() {
    let site = Setup::with(|settings| settings.sessions_max = 2).serve().await;
    let mut clients = vec![site.client.clone()];
    for _ in 0..2 {
        site.clock.advance(Duration::from_mins(1));
        clients.push(nobody(&site).signed_in(&sign_in(&nobody(&site), ADMINISTRATOR).await));
    }
    clients[0].get("/api/models").await.is_error(401, "not_signed_in");
    for client in &clients[1..] {
        assert_eq!(client.get("/api/models").await.status, 200);
    }
}

#[tokio::test]
async fn events_of_security_are_noted_without_what_was_said() {
    let site = Site::new().await;
    nobody(&site).post("/api/login", &json!({"login": ADMINISTRATOR, "password": "wrong, but long"})).await;
    sign_in(&nobody(&site), ADMINISTRATOR).await;
    let entries = site.store.audit_entries(None, 10).await.unwrap();
    let events: Vec<_> = entries.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["login", "login_failed", "first_administrator"]);
    assert!(entries.iter().all(|entry| entry.address == "127.0.0.1"));
}
