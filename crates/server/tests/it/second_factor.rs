//! One-time codes after the password, and recovery codes.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use server::Allowance;

use crate::support::{
    ADMINISTRATOR, Authenticator, Client, OneTimeCodes, PASSWORD, Reply, Says, Setup, Site, code_at, events,
    one_time_codes, sign_in,
};

const STEP: Duration = Duration::from_secs(30);

/// A site whose administrator has one-time codes, none of which was taken in this step or the two before.
async fn site_with_codes(setup: Setup) -> (Site, OneTimeCodes) {
    let site = setup.serve().await;
    let codes = one_time_codes(&site, &site.client).await;
    site.clock.advance(3 * STEP);
    (site, codes)
}

fn nobody(site: &Site) -> Client {
    Client::new(site.address)
}

/// The password's half of a login.
async fn ticket(client: &Client) -> Value {
    let reply = sign_in(client, ADMINISTRATOR).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("set-cookie"), "", "it is no sign-in");
    let second = &reply.json()["second_factor"];
    assert_eq!(second["expires_s"], 300);
    assert_eq!(reply.json().as_object().unwrap().len(), 1);
    second["ticket"].clone()
}

async fn second(client: &Client, ticket: &Value, code: &str) -> Reply {
    client.post("/api/login/second", &json!({"ticket": ticket, "code": code})).await
}

/// A whole login.
async fn log_in(client: &Client, code: &str) -> Reply {
    second(client, &ticket(client).await, code).await
}

async fn security(client: &Client) -> Value {
    client.get("/api/account/security").await.json()
}

#[tokio::test]
async fn a_login_asks_for_a_code_from_the_day_they_are_on_to_the_day_they_are_off() {
    let site = Site::new().await;
    assert_eq!(security(&site.client).await["totp"], false);
    let password = json!({"password": PASSWORD});
    let begun = site.client.post("/api/account/totp/begin", &password).await.json();
    let secret = begun["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    let uri = begun["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/Cachalot:captain?") && uri.contains(secret), "{uri}");
    // Nothing is on before a code has shown that the app has the secret.
    assert_eq!(security(&site.client).await["totp"], false);
    assert!(sign_in(&nobody(&site), ADMINISTRATOR).await.json()["user"].is_object());

    let codes = one_time_codes(&site, &site.client).await;
    let state = security(&site.client).await;
    assert_eq!((&state["totp"], &state["recovery_codes_left"]), (&json!(true), &json!(10)));
    let mut distinct = codes.recovery_codes.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 10);
    site.clock.advance(STEP);
    let client = nobody(&site);
    let asked = ticket(&client).await;
    second(&client, &asked, &code_at(&site, "A".repeat(32).as_str(), 0)).await.is_error(401, "wrong_code");
    let signed_in = second(&client, &asked, &code_at(&site, &codes.secret, 0)).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(signed_in.json()["user"]["name"], ADMINISTRATOR);
    assert_eq!(client.signed_in(&signed_in).get("/api/models").await.status, 200);

    site.client.send("DELETE", "/api/account/totp", &json!({})).await.is_error(401, "wrong_password");
    assert_eq!(site.client.send("DELETE", "/api/account/totp", &password).await.status, 204);
    site.client.send("DELETE", "/api/account/totp", &password).await.is_error(404, "not_found");
    let state = security(&site.client).await;
    assert_eq!((&state["totp"], &state["recovery_codes_left"]), (&json!(false), &json!(0)));
    assert!(sign_in(&nobody(&site), ADMINISTRATOR).await.json()["user"].is_object());
    let happened = events(&site).await;
    let expected = ["login", "totp_off", "login", "wrong_code", "second_factor_asked", "totp_on", "login"];
    assert_eq!(happened[..7], expected);
}

#[tokio::test]
async fn a_code_is_good_once_and_none_before_it_is_good_any_more() {
    let (site, codes) = site_with_codes(Setup::default()).await;
    let client = nobody(&site);
    let code = |steps| code_at(&site, &codes.secret, steps);
    // A clock that is one step behind, the step itself, and one that is one step ahead.
    for steps in [-1, 0, 1] {
        assert_eq!(log_in(&client, &code(steps)).await.status, 200, "{steps}");
        log_in(&client, &code(steps)).await.is_error(401, "wrong_code");
    }
    for steps in [-2, -1, 0, 1, 2] {
        log_in(&client, &code(steps)).await.is_error(401, "wrong_code");
    }
    site.clock.advance(2 * STEP);
    assert_eq!(log_in(&client, &code(0)).await.status, 200);
}

#[tokio::test]
async fn of_many_who_have_one_code_one_comes_in() {
    let (site, codes) = site_with_codes(Setup::default()).await;
    let client = nobody(&site);
    let asked = ticket(&client).await;
    for code in [code_at(&site, &codes.secret, 0), codes.recovery_codes[0].clone()] {
        let tries = (0..8).map(|_| {
            let (client, asked, code) = (client.clone(), asked.clone(), code.clone());
            tokio::spawn(async move { second(&client, &asked, &code).await.status })
        });
        let mut statuses = Vec::new();
        for status in tries.collect::<Vec<_>>() {
            statuses.push(status.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401, 401, 401, 401, 401, 401, 401], "{code}");
    }
}

#[tokio::test]
async fn a_recovery_code_is_good_once_and_until_there_are_new_ones() {
    let (site, codes) = site_with_codes(Setup::default()).await;
    let client = nobody(&site);
    let first = &codes.recovery_codes[0];
    assert_eq!(log_in(&client, &first.to_uppercase().replace('-', " ")).await.status, 200);
    log_in(&client, first).await.is_error(401, "wrong_code");
    assert_eq!(security(&site.client).await["recovery_codes_left"], 9);
    let happened = events(&site).await;
    assert_eq!(
        happened[..5],
        ["wrong_code", "second_factor_asked", "login", "recovery_code_used", "second_factor_asked"]
    );

    site.client.post("/api/account/recovery-codes", &json!({})).await.is_error(401, "wrong_password");
    let renewed = site.client.post("/api/account/recovery-codes", &json!({"password": PASSWORD})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    log_in(&client, &codes.recovery_codes[1]).await.is_error(401, "wrong_code");
    let new = renewed.json()["recovery_codes"][9].as_str().unwrap().to_owned();
    assert_eq!(log_in(&client, &new).await.status, 200);
    assert_eq!(security(&site.client).await["recovery_codes_left"], 9);
}

#[tokio::test]
async fn without_one_time_codes_there_are_no_recovery_codes() {
    let site = Site::new().await;
    let reply = site.client.post("/api/account/recovery-codes", &json!({"password": PASSWORD})).await;
    reply.is_error(404, "not_found");
}

#[tokio::test]
async fn guessing_is_slowed_wherever_it_comes_from() {
    let setup = Setup::with(|settings| {
        settings.attempts_at_second_factor = Allowance { burst: 3, interval: STEP };
    });
    let (site, codes) = site_with_codes(setup).await;
    let here = nobody(&site);
    let right = || code_at(&site, &codes.secret, 0);
    let asked = ticket(&here).await;
    // All at once, and through many tickets, are no more than one after the other.
    let tries = (0..20).map(|_| {
        let (client, asked) = (here.clone(), asked.clone());
        tokio::spawn(async move { second(&client, &asked, "no code").await.status })
    });
    let mut wrong = 0;
    for status in tries.collect::<Vec<_>>() {
        match status.await.unwrap() {
            401 => wrong += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(wrong, 3);
    let refused = log_in(&here, &right()).await;
    refused.is_error(429, "too_many_attempts");
    assert!((1..=31).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    // Who has the password and many networks has no more tries than with one.
    for host in 2..5 {
        let elsewhere = Client { from: Some(Ipv4Addr::new(127, 0, 0, host).into()), ..here.clone() };
        log_in(&elsewhere, &right()).await.is_error(429, "too_many_attempts");
    }
    // Another's codes are no concern of it.
    let (pip, _) = site.user("Pip").await;
    let of_pip = one_time_codes(&site, &pip).await;
    site.clock.advance(Duration::from_millis(1));
    let asked_of_pip = sign_in(&here, "Pip").await.json()["second_factor"]["ticket"].clone();
    assert_eq!(second(&here, &asked_of_pip, &of_pip.recovery_codes[0]).await.status, 200);
    // One more each interval, and all of them after the right one.
    site.clock.advance(STEP);
    second(&here, &asked, "no code").await.is_error(401, "wrong_code");
    log_in(&here, &right()).await.is_error(429, "too_many_attempts");
    site.clock.advance(STEP);
    for _ in 0..4 {
        assert_eq!(log_in(&here, &right()).await.status, 200);
        site.clock.advance(STEP);
    }
}

#[tokio::test]
async fn a_ticket_is_good_for_five_minutes_and_for_what_was_true_then() {
    let (site, codes) = site_with_codes(Setup::default()).await;
    let client = nobody(&site);
    let (pip, pip_id) = site.user("Pip").await;
    let of_pip = one_time_codes(&site, &pip).await;
    let login = async |login: &str, password: &str| {
        let asked = json!({"login": login, "password": password});
        let reply = client.post("/api/login", &asked).await;
        reply.json()["second_factor"]["ticket"].clone()
    };
    let expired = async |ticket: &Value, secret: &str| {
        let reply = second(&client, ticket, &code_at(&site, secret, 0)).await;
        reply.is_error(401, "ticket_expired");
        assert_eq!(reply.header("set-cookie"), "");
    };
    for forged in [json!(""), json!("x"), json!("A".repeat(100)), json!("A".repeat(10_000))] {
        expired(&forged, &codes.secret).await;
    }
    // Of another purpose.
    let begun = site.client.post("/api/account/totp/begin", &json!({"password": PASSWORD})).await.json();
    expired(&begun["ticket"], &codes.secret).await;

    let old = ticket(&client).await;
    site.clock.advance(Duration::from_mins(5) - Duration::from_millis(1));
    assert_eq!(second(&client, &old, &code_at(&site, &codes.secret, 0)).await.status, 200);
    site.clock.advance(STEP);
    expired(&old, &codes.secret).await;

    let of_before = login("pip", PASSWORD).await;
    let new = "a harpoon, a rope, a boat";
    let change = json!({"old": PASSWORD, "new": new});
    assert_eq!(pip.post("/api/account/password", &change).await.status, 204);
    expired(&of_before, &of_pip.secret).await;

    let of_before = login("pip", new).await;
    site.store.set_disabled(pip_id, Some(1)).await.unwrap();
    expired(&of_before, &of_pip.secret).await;
    site.store.set_disabled(pip_id, None).await.unwrap();
    assert_eq!(second(&client, &of_before, &code_at(&site, &of_pip.secret, 0)).await.status, 200);

    let of_before = login("pip", new).await;
    site.store.clear_factors(pip_id).await.unwrap();
    expired(&of_before, &of_pip.secret).await;
    site.store.delete_user(pip_id).await.unwrap();
    expired(&of_before, &of_pip.secret).await;
}

#[tokio::test]
async fn a_ticket_is_no_session_and_a_session_is_new() {
    let (site, codes) = site_with_codes(Setup::default()).await;
    let (mallory, _) = site.user("Mallory").await;
    let asked = ticket(&mallory).await;
    let (name, _) = mallory.cookie.as_deref().unwrap().split_once('=').unwrap();
    let forged = Client { cookie: Some(format!("{name}={}", asked.as_str().unwrap())), ..nobody(&site) };
    forged.get("/api/models").await.is_error(401, "not_signed_in");
    // What a visitor brings along is never what they are given.
    let signed_in = second(&mallory, &asked, &code_at(&site, &codes.secret, 0)).await;
    let captain = nobody(&site).signed_in(&signed_in);
    assert_ne!(captain.cookie, mallory.cookie);
    assert_eq!(captain.get("/api/session").await.json()["user"]["name"], ADMINISTRATOR);
    assert_eq!(mallory.get("/api/session").await.json()["user"]["name"], "Mallory");
}

#[tokio::test]
async fn a_secret_is_for_who_asked_for_it_once_and_in_its_time() {
    let site = Site::new().await;
    let begin = async |client: &Client| {
        client.post("/api/account/totp/begin", &json!({"password": PASSWORD})).await.json()
    };
    let end = async |client: &Client, begun: &Value, code: &str| {
        client.post("/api/account/totp", &json!({"ticket": begun["ticket"], "code": code})).await
    };
    let begun = begin(&site.client).await;
    let code = |steps| code_at(&site, begun["secret"].as_str().unwrap(), steps);
    for wrong in ["", "000000x", &code(2), "0000-0000-0000-0000"] {
        end(&site.client, &begun, wrong).await.is_error(401, "wrong_code");
    }
    let (mallory, _) = site.user("Mallory").await;
    let elsewhere = nobody(&site).signed_in(&sign_in(&nobody(&site), ADMINISTRATOR).await);
    for other in [&mallory, &elsewhere] {
        end(other, &begun, &code(0)).await.is_error(401, "ticket_expired");
    }
    assert_eq!(end(&site.client, &begun, &code(0)).await.status, 200);
    end(&site.client, &begun, &code(1)).await.is_error(401, "ticket_expired");
    // The code that turned them on is used up.
    log_in(&nobody(&site), &code(0)).await.is_error(401, "wrong_code");
    assert_eq!(log_in(&nobody(&site), &code(1)).await.status, 200);

    // Another app takes the place of the first.
    let second_app = one_time_codes(&site, &site.client).await;
    site.clock.advance(STEP);
    log_in(&nobody(&site), &code(0)).await.is_error(401, "wrong_code");
    assert_eq!(log_in(&nobody(&site), &code_at(&site, &second_app.secret, 0)).await.status, 200);

    let late = begin(&site.client).await;
    site.clock.advance(Duration::from_mins(15));
    let code = code_at(&site, late["secret"].as_str().unwrap(), 0);
    end(&site.client, &late, &code).await.is_error(401, "ticket_expired");
}

#[tokio::test]
async fn a_passkey_is_two_factors() {
    let (site, _) = site_with_codes(Setup::default()).await;
    let client = Client { by_name: true, ..site.client.clone() };
    let says = Says::truly(&format!("http://{}", client.host()));
    let mut key = Authenticator::new(1);
    let begun = client.post("/api/account/passkeys/options", &json!({"password": PASSWORD})).await.json();
    let credential = key.make(&begun["options"], &says);
    let asked = json!({"ticket": begun["ticket"], "name": "my key", "credential": credential});
    assert_eq!(client.post("/api/account/passkeys", &asked).await.status, 201);
    let begun = client.post("/api/login/passkey/options", &json!({})).await.json();
    let asked = json!({"ticket": begun["ticket"], "credential": key.sign(&begun["options"], &says)});
    let reply = client.post("/api/login/passkey", &asked).await;
    assert_eq!((reply.status, &reply.json()["user"]["name"]), (200, &json!(ADMINISTRATOR)));
    assert!(reply.header("set-cookie").contains("HttpOnly"));
}
