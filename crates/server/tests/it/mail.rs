//! Letters, and what whoever reads them may do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use server::{Allowance, MailSecurity};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::logs::Kept;
use crate::support::{
    ADMINISTRATOR, Client, PASSWORD, PostOffice, Reply, Setup, Site, TlsBegins, eventually, sign_in,
};
use crate::tls::{Authority, names};

const NEW_PASSWORD: &str = "a harpoon, a rope, a boat";

fn nobody(site: &Site) -> Client {
    Client::new(site.address)
}

async fn served() -> (PostOffice, Site) {
    let office = PostOffice::new().await;
    let site = office.setup(|_| {}).serve().await;
    (office, site)
}

async fn ask(site: &Site, name: &str, email: &str) -> Reply {
    let asked = json!({"name": name, "email": email, "password": PASSWORD});
    nobody(site).post("/api/sign-up", &asked).await
}

async fn verify(site: &Site, ticket: &str) -> Reply {
    nobody(site).post("/api/verify", &json!({"ticket": ticket})).await
}

async fn reset(site: &Site, email: &str) -> Reply {
    nobody(site).post("/api/reset", &json!({"email": email})).await
}

async fn confirm(site: &Site, ticket: &str, password: &str) -> Reply {
    nobody(site).post("/api/reset/confirm", &json!({"ticket": ticket, "password": password})).await
}

#[track_caller]
fn is_mailed(reply: &Reply) {
    assert_eq!((reply.status, reply.text()), (202, "{\"mailed\":true}"));
}

/// Somebody new whose address is verified, signed in. The office has had `before` letters.
async fn member(office: &PostOffice, site: &Site, before: usize, name: &str, email: &str) -> Client {
    is_mailed(&ask(site, name, email).await);
    let ticket = office.newest(before + 1).await.ticket("verify");
    let made = verify(site, &ticket).await;
    assert_eq!(made.status, 201, "{}", made.text());
    nobody(site).signed_in(&made)
}

/// Hashes of passwords that the server has computed.
async fn hashes(site: &Site) -> u64 {
    let metrics = site.client.get("/metrics").await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix("cachalot_password_hashes_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_account_is_made_by_the_link_of_a_letter_and_not_before() {
    let (office, site) = served().await;
    assert_eq!(nobody(&site).get("/api/session").await.json()["mail"], true);
    is_mailed(&ask(&site, "Ishmael", "Ishmael@pequod.example").await);
    let letter = office.newest(1).await;
    assert_eq!(letter.to, "Ishmael@pequod.example");
    assert!(letter.head.contains("From: Cachalot <chat@chat.example>"), "{}", letter.head);
    assert!(letter.head.contains("To: Ishmael@pequod.example"), "{}", letter.head);
    assert!(letter.head.contains("Auto-Submitted: auto-generated"), "{}", letter.head);
    assert!(
        letter.head.contains("Message-ID: <") && letter.head.contains("Date: Thu, 01 Jan 1970"),
        "{}",
        letter.head
    );
    assert!(
        !letter.body.contains("Ishmael") && !letter.body.contains(PASSWORD),
        "nothing that a stranger wrote"
    );
    assert_eq!(site.store.users_count().await.unwrap(), 1);
    sign_in(&nobody(&site), "Ishmael").await.is_error(401, "wrong_login");

    let made = verify(&site, &letter.ticket("verify")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let user = made.json()["user"].clone();
    assert_eq!((&user["name"], &user["email"]), (&json!("Ishmael"), &json!("Ishmael@pequod.example")));
    assert_eq!(user["email_verified"], true);
    assert_eq!(nobody(&site).signed_in(&made).get("/api/session").await.json()["user"], user);
    for login in ["ishmael", " ISHMAEL@pequod.example"] {
        assert_eq!(sign_in(&nobody(&site), login).await.status, 200, "{login}");
    }
    // The link again is no second account and no way in.
    let again = verify(&site, &letter.ticket("verify")).await;
    again.is_error(400, "ticket_invalid");
    assert_eq!((again.header("set-cookie"), site.store.users_count().await.unwrap()), ("", 2));
}

#[tokio::test]
async fn a_link_makes_a_deleted_account_no_second_time() {
    let (office, site) = served().await;
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    is_mailed(&ask(&site, "Ishmael", "Ishmael@pequod.example").await);
    let tickets: Vec<_> = office.wait_for(2).await.iter().map(|letter| letter.ticket("verify")).collect();
    let ishmael = nobody(&site).signed_in(&verify(&site, &tickets[0]).await);
    let gone = ishmael.post("/api/account/delete", &json!({"password": PASSWORD})).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    // Neither the link that made it nor another of that time, in this process and in the next.
    let refused = async |site: &Site| {
        for ticket in &tickets {
            let again = verify(site, ticket).await;
            again.is_error(400, "ticket_invalid");
            assert_eq!((again.header("set-cookie"), site.store.users_count().await.unwrap()), ("", 1));
        }
    };
    refused(&site).await;
    let folder = site.folder.clone();
    site.shut_down().await.unwrap();
    let setup = office.setup(|_| {});
    let site = Setup { folder: Some(folder), administrator: false, ..setup }.serve().await;
    refused(&site).await;
    // Whoever wants an account again asks again.
    site.clock.advance(Duration::from_millis(1));
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    let ticket = office.newest(3).await.ticket("verify");
    assert_eq!(verify(&site, &ticket).await.status, 201);
}

#[tokio::test]
async fn a_known_address_gets_another_letter_after_the_same_answer_and_the_same_work() {
    let (office, site) = served().await;
    member(&office, &site, 0, "Ishmael", "ishmael@pequod.example").await;
    let mut seen = Vec::new();
    for (name, email) in [("Flask", "flask@pequod.example"), ("Stubb", "ISHMAEL@pequod.example")] {
        let before = hashes(&site).await;
        let reply = ask(&site, name, email).await;
        let mut fields: Vec<_> = reply.headers.keys().map(|name| name.as_str().to_owned()).collect();
        fields.sort();
        seen.push((reply.status, reply.text().to_owned(), fields, hashes(&site).await - before));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].3, 1);
    let letters = office.wait_for(3).await;
    assert_eq!(letters[2].to, "ISHMAEL@pequod.example");
    assert!(letters[2].body.contains("You have one already"), "{}", letters[2].body);
    assert!(letters[2].body.contains("https://chat.example/reset\r\n") && !letters[2].body.contains('#'));

    // Who signs in in vain makes as much work for a name that there is, one that there isn't and one that is disabled.
    let disabled = site.store.user_by_login("ishmael".to_owned()).await.unwrap().unwrap().id;
    site.store.set_disabled(disabled, Some(1)).await.unwrap();
    for login in [ADMINISTRATOR, "nobody", "nobody@pequod.example", "ishmael"] {
        let before = hashes(&site).await;
        let asked = json!({"login": login, "password": "wrong, but long"});
        nobody(&site).post("/api/login", &asked).await.is_error(401, "wrong_login");
        assert_eq!(hashes(&site).await - before, 1, "{login}");
    }
}

#[tokio::test]
async fn a_link_is_good_for_a_day_and_only_as_it_was_sent() {
    let (office, site) = served().await;
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    let ticket = office.newest(1).await.ticket("verify");
    let mut changed = ticket.clone().into_bytes();
    changed[50] = if changed[50] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for wrong in ["", "x", changed.as_str(), &ticket[1..], &ticket.repeat(100)] {
        verify(&site, wrong).await.is_error(400, "ticket_invalid");
    }
    // Each is good for what it was sent for.
    confirm(&site, &ticket, NEW_PASSWORD).await.is_error(400, "ticket_invalid");
    site.clock.advance(Duration::from_hours(24) - Duration::from_millis(1));
    assert_eq!(verify(&site, &ticket).await.status, 201);
    is_mailed(&ask(&site, "Stubb", "stubb@pequod.example").await);
    let ticket = office.newest(2).await.ticket("verify");
    site.clock.advance(Duration::from_hours(24));
    verify(&site, &ticket).await.is_error(400, "ticket_expired");
    assert_eq!(site.store.users_count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_name_goes_to_whoever_opens_their_link_first() {
    let (office, site) = served().await;
    is_mailed(&ask(&site, "Ishmael", "one@pequod.example").await);
    is_mailed(&ask(&site, "ISHMAEL", "two@pequod.example").await);
    let letters = office.wait_for(2).await;
    assert_eq!(verify(&site, &letters[1].ticket("verify")).await.status, 201);
    verify(&site, &letters[0].ticket("verify")).await.is_error(409, "name_taken");
    ask(&site, "ishmael", "three@pequod.example").await.is_error(409, "name_taken");
    assert_eq!(office.letters().len(), 2);
}

#[tokio::test]
async fn a_password_is_reset_once_and_signs_everybody_out() {
    let (office, site) = served().await;
    let ishmael = member(&office, &site, 0, "Ishmael", "ishmael@pequod.example").await;
    assert_eq!(ishmael.get("/api/models").await.status, 200);
    is_mailed(&reset(&site, "nobody@pequod.example").await);
    is_mailed(&reset(&site, "ISHMAEL@pequod.example").await);
    let letter = office.newest(2).await;
    assert_eq!(letter.to, "ishmael@pequod.example", "as it is kept, however it was typed");
    let ticket = letter.ticket("reset");
    verify(&site, &ticket).await.is_error(400, "ticket_invalid");
    confirm(&site, &ticket, "password123").await.is_error(422, "breached_password");
    confirm(&site, &ticket, "Ishmael1").await.is_error(422, "weak_password");
    assert_eq!(ishmael.get("/api/models").await.status, 200);

    let done = confirm(&site, &ticket, NEW_PASSWORD).await;
    assert_eq!((done.status, done.header("set-cookie")), (204, ""));
    ishmael.get("/api/models").await.is_error(401, "not_signed_in");
    sign_in(&nobody(&site), "ishmael").await.is_error(401, "wrong_login");
    let asked = json!({"login": "ishmael", "password": NEW_PASSWORD});
    assert_eq!(nobody(&site).post("/api/login", &asked).await.status, 200);
    let before = hashes(&site).await;
    confirm(&site, &ticket, "another boat, another whale").await.is_error(400, "ticket_invalid");
    assert_eq!(hashes(&site).await, before, "nothing is hashed for a link that is used");

    // A change of the password by other means takes the link away too, and so does time.
    is_mailed(&reset(&site, "ishmael@pequod.example").await);
    let ticket = office.newest(3).await.ticket("reset");
    let ishmael = nobody(&site).signed_in(&nobody(&site).post("/api/login", &asked).await);
    let change = json!({"old": NEW_PASSWORD, "new": PASSWORD});
    assert_eq!(ishmael.post("/api/account/password", &change).await.status, 204);
    confirm(&site, &ticket, NEW_PASSWORD).await.is_error(400, "ticket_invalid");
    site.clock.advance(Duration::from_hours(1));
    is_mailed(&reset(&site, "ishmael@pequod.example").await);
    let ticket = office.newest(4).await.ticket("reset");
    site.clock.advance(Duration::from_hours(1));
    confirm(&site, &ticket, NEW_PASSWORD).await.is_error(400, "ticket_expired");
}

#[tokio::test]
async fn two_who_use_a_reset_at_once_do_not_both_succeed() {
    let (office, site) = served().await;
    member(&office, &site, 0, "Ishmael", "ishmael@pequod.example").await;
    is_mailed(&reset(&site, "ishmael@pequod.example").await);
    let ticket = office.newest(2).await.ticket("reset");
    let tries: Vec<_> = (0..4)
        .map(|number| {
            let client = nobody(&site);
            let password = format!("{NEW_PASSWORD}, {number}");
            let asked = json!({"ticket": ticket, "password": password});
            tokio::spawn(async move { client.post("/api/reset/confirm", &asked).await.status })
        })
        .collect();
    let mut done = 0;
    for status in tries {
        done += usize::from(status.await.unwrap() == 204);
    }
    assert_eq!(done, 1);
}

#[tokio::test]
async fn the_disabled_and_the_unknown_get_no_letter_and_the_same_answer() {
    let (office, site) = served().await;
    member(&office, &site, 0, "Ishmael", "ishmael@pequod.example").await;
    let id = site.store.user_by_login("ishmael".to_owned()).await.unwrap().unwrap().id;
    is_mailed(&reset(&site, "ishmael@pequod.example").await);
    let ticket = office.newest(2).await.ticket("reset");
    site.store.set_disabled(id, Some(1)).await.unwrap();
    is_mailed(&reset(&site, "ishmael@pequod.example").await);
    is_mailed(&reset(&site, "nobody@pequod.example").await);
    confirm(&site, &ticket, NEW_PASSWORD).await.is_error(400, "ticket_invalid");
    // A letter that comes after theirs would have come shows that there was none.
    is_mailed(&ask(&site, "Stubb", "stubb@pequod.example").await);
    assert_eq!(office.newest(3).await.to, "stubb@pequod.example");
}

#[tokio::test]
async fn an_address_changes_when_the_letter_to_it_is_answered() {
    let (office, site) = served().await;
    let ishmael = member(&office, &site, 0, "Ishmael", "old@pequod.example").await;
    let change = async |password: &str| {
        let asked = json!({"email": "new@rachel.example", "password": password});
        ishmael.post("/api/account/email", &asked).await
    };
    change("wrong, but long").await.is_error(401, "wrong_password");
    let without = json!({"email": "new@rachel.example"});
    ishmael.post("/api/account/email", &without).await.is_error(401, "wrong_password");
    is_mailed(&change(PASSWORD).await);
    let letters = office.wait_for(3).await;
    assert_eq!(
        (letters[1].to.as_str(), letters[2].to.as_str()),
        ("new@rachel.example", "old@pequod.example")
    );
    assert!(!letters[2].body.contains("new@rachel.example") && !letters[2].body.contains('#'));
    assert_eq!(ishmael.get("/api/session").await.json()["user"]["email"], "old@pequod.example");

    // Whoever opens the link need not be signed in, and is not by it.
    let ticket = letters[1].ticket("verify");
    let opened = verify(&site, &ticket).await;
    assert_eq!((opened.status, opened.header("set-cookie")), (200, ""));
    assert_eq!(opened.json()["user"], Value::Null);
    let user = ishmael.get("/api/session").await.json()["user"].clone();
    assert_eq!((&user["email"], &user["email_verified"]), (&json!("new@rachel.example"), &json!(true)));
    verify(&site, &ticket).await.is_error(400, "ticket_invalid");
    is_mailed(&reset(&site, "new@rachel.example").await);
    assert_eq!(office.newest(4).await.to, "new@rachel.example");

    // Another's address stays theirs, and only they are told.
    let stubb = member(&office, &site, 4, "Stubb", "stubb@pequod.example").await;
    let asked = json!({"email": "NEW@rachel.example", "password": PASSWORD});
    is_mailed(&stubb.post("/api/account/email", &asked).await);
    let letters = office.wait_for(7).await;
    assert_eq!(letters[5].to, "NEW@rachel.example");
    assert!(
        letters[5].body.contains("stays with that") && !letters[5].body.contains('#'),
        "{}",
        letters[5].body
    );
    let opened = stubb.get("/api/session").await.json();
    assert_eq!(opened["user"]["email"], "stubb@pequod.example");
}

#[tokio::test]
async fn an_address_asked_for_under_an_old_password_does_not_become_the_account_s() {
    let (office, site) = served().await;
    let ishmael = member(&office, &site, 0, "Ishmael", "old@pequod.example").await;
    let change = async |client: &Client, password: &str| {
        let asked = json!({"email": "mallory@rachel.example", "password": password});
        is_mailed(&client.post("/api/account/email", &asked).await);
    };
    // Somebody who knows the password asks, and its owner sets another by a letter.
    change(&ishmael, PASSWORD).await;
    let pending = office.wait_for(3).await[1].ticket("verify");
    is_mailed(&reset(&site, "old@pequod.example").await);
    let ticket = office.newest(4).await.ticket("reset");
    assert_eq!(confirm(&site, &ticket, NEW_PASSWORD).await.status, 204);
    verify(&site, &pending).await.is_error(400, "ticket_invalid");
    // And the same when the owner changes it on the account's page.
    let asked = json!({"login": "ishmael", "password": NEW_PASSWORD});
    let ishmael = nobody(&site).signed_in(&nobody(&site).post("/api/login", &asked).await);
    change(&ishmael, NEW_PASSWORD).await;
    let pending = office.wait_for(6).await[4].ticket("verify");
    let other = json!({"old": NEW_PASSWORD, "new": PASSWORD});
    assert_eq!(ishmael.post("/api/account/password", &other).await.status, 204);
    verify(&site, &pending).await.is_error(400, "ticket_invalid");
    assert_eq!(ishmael.get("/api/session").await.json()["user"]["email"], "old@pequod.example");
}

#[tokio::test]
async fn an_address_that_only_folds_to_somebody_s_gets_no_letter() {
    let (office, site) = served().await;
    member(&office, &site, 0, "Kit", "kit@pequod.example").await;
    for other in [
        "\u{212a}it@pequod.example",
        "k\u{131}t@pequod.example",
        "kit@pe\u{17f}uod.example",
        "kit@péquod.example",
    ] {
        reset(&site, other).await.is_error(422, "invalid_parameter");
        ask(&site, "Mallory", other).await.is_error(422, "invalid_parameter");
    }
}

#[tokio::test]
async fn an_account_without_an_address_gets_one() {
    let (office, site) = served().await;
    let asked = json!({"email": "captain@pequod.example", "password": PASSWORD});
    is_mailed(&site.client.post("/api/account/email", &asked).await);
    let ticket = office.newest(1).await.ticket("verify");
    let opened = site.client.post("/api/verify", &json!({"ticket": ticket})).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    assert_eq!(opened.json()["user"]["email"], "captain@pequod.example");
    assert_eq!(sign_in(&nobody(&site), "captain@pequod.example").await.status, 200);
}

#[tokio::test]
async fn nothing_that_somebody_sends_becomes_a_field_or_a_command() {
    let (office, site) = served().await;
    for email in [
        "a@b.example\r\nBcc: c@d.example",
        "a@b.example\nBcc: c@d.example",
        "a@b.example\r\n\r\nHello",
        "a@b.example>\r\nRCPT TO:<c@d.example",
        "a@b.example> SIZE=1",
        "a@b.example, c@d.example",
        "Ada <a@b.example>",
        "\"a b\"@b.example",
        "a\u{0}@b.example",
        "a@b.example\u{85}Bcc: c@d.example",
        "a@b.example\u{2028}Bcc: c@d.example",
        "a@b",
        "a@-b.example",
        "",
    ] {
        ask(&site, "Mallory", email).await.is_error(422, "invalid_parameter");
        if !email.is_empty() {
            reset(&site, email).await.is_error(422, "invalid_parameter");
        }
        let asked = json!({"email": email, "password": PASSWORD});
        site.client.post("/api/account/email", &asked).await.is_error(422, "invalid_parameter");
    }
    ask(&site, "Mallory\r\nBcc: c@d.example", "a@b.example").await.is_error(422, "invalid_parameter");
    let headers = [
        ("content-type", "application/json"),
        ("accept-language", "fr;q=1, {link}"),
        ("referer", "http://evil.example"),
    ];
    let body =
        json!({"name": "{base}{link}", "email": "{link}@evil.example", "password": PASSWORD}).to_string();
    is_mailed(&nobody(&site).request("POST", "/api/sign-up", &headers, body.into_bytes()).await);
    let letter = office.newest(1).await;
    assert!(!letter.head.contains("Bcc") && !letter.body.contains("evil.example"), "{letter:?}");
    let recipients = office.commands().iter().filter(|command| command.starts_with("RCPT")).count();
    assert_eq!(recipients, 1);
}

#[tokio::test]
async fn letters_are_written_in_the_reader_s_language() {
    let (office, site) = served().await;
    let mut count = 0;
    for (language, words) in [
        ("fr-CA, en;q=0.5", "ouvrez ce lien"),
        ("zh-CN", "请在 24 小时内打开此链接"),
        ("de, en;q=0.1", "open this link within 24 hours"),
    ] {
        let headers = [("content-type", "application/json"), ("accept-language", language)];
        let email = format!("{count}@pequod.example");
        let body =
            json!({"name": format!("Ishmael {count}"), "email": email, "password": PASSWORD}).to_string();
        is_mailed(&nobody(&site).request("POST", "/api/sign-up", &headers, body.into_bytes()).await);
        count += 1;
        let letter = office.newest(count).await;
        assert!(letter.body.contains(words), "{}", letter.body);
        assert!(letter.head.contains("Content-Type: text/plain; charset=utf-8"), "{}", letter.head);
        assert_eq!(verify(&site, &letter.ticket("verify")).await.status, 201);
    }
}

#[tokio::test]
async fn letters_to_an_address_and_from_a_network_are_few() {
    let office = PostOffice::new().await;
    let hour = Duration::from_hours(1);
    let setup = office.setup(|settings| {
        settings.letters_by_address = Allowance { burst: 2, interval: hour };
        settings.letters_by_network = Allowance { burst: 5, interval: hour };
    });
    let site = setup.serve().await;
    // Whether there is somebody with the address makes no difference.
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    is_mailed(&reset(&site, "Ishmael@PEQUOD.example").await);
    let refused = reset(&site, "ishmael@pequod.example").await;
    refused.is_error(429, "too_many_attempts");
    assert!((1..=3601).contains(&refused.header("retry-after").parse().unwrap()), "{:?}", refused.headers);
    ask(&site, "Stubb", "ishmael@pequod.example").await.is_error(429, "too_many_attempts");
    for number in 0..3 {
        is_mailed(&reset(&site, &format!("{number}@pequod.example")).await);
    }
    reset(&site, "another@pequod.example").await.is_error(429, "too_many_attempts");
    site.clock.advance(hour);
    is_mailed(&reset(&site, "another@pequod.example").await);
}

#[tokio::test]
async fn a_full_queue_is_said_to_everybody_alike() {
    let office = PostOffice::new().await;
    let site = office.setup(|settings| settings.letters_max = 2).serve().await;
    member(&office, &site, 0, "Ishmael", "ishmael@pequod.example").await;
    office.hold(true);
    is_mailed(&ask(&site, "Flask", "flask@pequod.example").await);
    eventually("the first letter is being sent", async || {
        office.commands().iter().filter(|command| *command == "DATA").count() == 2
    })
    .await;
    // A letter to nobody takes its place like any other.
    is_mailed(&reset(&site, "nobody@pequod.example").await);
    for email in ["ishmael@pequod.example", "nobody@pequod.example"] {
        let full = reset(&site, email).await;
        full.is_error(503, "too_many_letters");
        assert_ne!(full.header("retry-after"), "");
    }
    ask(&site, "Stubb", "stubb@pequod.example").await.is_error(503, "too_many_letters");
    office.hold(false);
    office.wait_for(2).await;
    eventually("there is room again", async || reset(&site, "ishmael@pequod.example").await.status == 202)
        .await;
}

/// What is logged on this thread until it is dropped.
pub(crate) fn log() -> (Kept, tracing::subscriber::DefaultGuard) {
    let log = Kept::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

/// Waits until a letter was given up; nothing in the log says whose it was.
async fn given_up(log: &Kept) -> String {
    eventually("a letter was given up", async || log.text().contains("a letter was given up")).await;
    let text = log.text();
    assert!(!text.contains("pequod") && !text.contains("Ishmael") && !text.contains(PASSWORD), "{text}");
    text
}

#[tokio::test]
async fn a_letter_that_is_refused_for_now_is_tried_again_and_then_given_up() {
    let (log, _guard) = log();
    let (office, site) = served().await;
    office.refuse(&["450 greylisted ishmael@pequod.example", "451 not now"]);
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    office.wait_for(1).await;
    assert!(log.text().contains("will be tried again"), "{}", log.text());

    office.refuse(&["450 no ishmael@pequod.example", "450 no", "450 no"]);
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    assert!(given_up(&log).await.contains("tries=3"));
    let tried = || office.commands().iter().filter(|command| command.starts_with("RCPT")).count();
    assert_eq!((tried(), office.letters().len()), (6, 1));
    // Others are not held up by it.
    is_mailed(&ask(&site, "Stubb", "stubb@pequod.example").await);
    office.wait_for(2).await;
}

#[tokio::test]
async fn a_letter_that_is_refused_for_good_is_not_tried_again() {
    let (log, _guard) = log();
    let (office, site) = served().await;
    office.refuse(&["550 there is no ishmael@pequod.example"]);
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    assert!(given_up(&log).await.contains("tries=1"));
    assert_eq!(office.letters().len(), 0);
}

#[tokio::test]
async fn a_mail_server_that_is_down_is_tried_three_times() {
    let (log, _guard) = log();
    // Nobody listens here any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let office = PostOffice::new().await;
    let site = office.setup(|settings| settings.mail.as_mut().unwrap().port = port).serve().await;
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    let text = given_up(&log).await;
    assert_eq!(text.matches("will be tried again").count(), 2, "{text}");
    assert!(text.contains("tries=3") && text.contains("could not be reached"), "{text}");
}

#[tokio::test]
async fn without_the_starttls_that_is_asked_for_there_is_no_letter() {
    let (log, _guard) = log();
    let office = PostOffice::new().await;
    let setup = office.setup(|settings| {
        let mail = settings.mail.as_mut().unwrap();
        mail.security = MailSecurity::StartTls;
        mail.login = Some(("chat".to_owned(), "the secret of the chat".to_owned()));
    });
    let site = setup.serve().await;
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    assert!(given_up(&log).await.contains("STARTTLS"));
    assert_eq!(office.connections(), 1);
    let said = office.commands().join("\n");
    for word in ["AUTH", "MAIL", "RCPT", "DATA"] {
        assert!(!said.contains(word), "{said}");
    }
    assert!(!log.text().contains("the secret"), "{}", log.text());
}

/// A mail server with TLS, whose certificate is its authority's.
async fn secured(begins: TlsBegins) -> (PostOffice, TempDir) {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (chain, key) = authority.issue(names(&["127.0.0.1"]));
    std::fs::write(folder.path().join("ca.pem"), authority.certificate.pem()).unwrap();
    std::fs::write(folder.path().join("other.pem"), Authority::new().certificate.pem()).unwrap();
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (PostOffice::with_tls(TlsAcceptor::from(Arc::new(config)), begins).await, folder)
}

/// A server that sends its letters there, with a password, and trusts what is in this file.
fn trusting(office: &PostOffice, begins: TlsBegins, authority: Option<PathBuf>) -> Setup {
    office.setup(|settings| {
        let mail = settings.mail.as_mut().unwrap();
        mail.security = match begins {
            TlsBegins::AtOnce => MailSecurity::Tls,
            TlsBegins::WhenAsked => MailSecurity::StartTls,
        };
        mail.server_ca = authority;
        mail.login = Some(("chat".to_owned(), "the secret of the chat".to_owned()));
    })
}

#[tokio::test]
async fn letters_go_by_tls_to_a_server_whose_certificate_is_trusted() {
    for begins in [TlsBegins::AtOnce, TlsBegins::WhenAsked] {
        let (office, folder) = secured(begins).await;
        let site = trusting(&office, begins, Some(folder.path().join("ca.pem"))).serve().await;
        is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
        let letter = office.newest(1).await;
        assert!(letter.by_tls && letter.to == "ishmael@pequod.example", "{begins:?}");
        let said = office.commands();
        let place = |verb: &str| said.iter().position(|command| command.starts_with(verb));
        assert_eq!(place("STARTTLS").is_some(), begins == TlsBegins::WhenAsked, "{said:?}");
        assert!(place("AUTH PLAIN") > place("STARTTLS") && place("AUTH PLAIN") < place("MAIL"), "{said:?}");
    }
}

#[tokio::test]
async fn a_mail_server_that_nobody_trusted_vouches_for_gets_no_letter() {
    for begins in [TlsBegins::AtOnce, TlsBegins::WhenAsked] {
        for authority in [None, Some("other.pem")] {
            let (log, _guard) = log();
            let (office, folder) = secured(begins).await;
            let authority = authority.map(|name| folder.path().join(name));
            let site = trusting(&office, begins, authority).serve().await;
            is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
            let text = given_up(&log).await;
            assert!(text.contains("TLS with the mail server failed"), "{begins:?}: {text}");
            let said = office.commands().join("\n");
            assert!(!said.contains("AUTH") && !said.contains("MAIL"), "{said}");
            assert_eq!(office.letters().len(), 0);
        }
    }
}

#[tokio::test]
async fn an_authority_that_is_none_is_said_at_the_start() {
    let (office, folder) = secured(TlsBegins::AtOnce).await;
    let path = folder.path().join("none.pem");
    let fails = async || trusting(&office, TlsBegins::AtOnce, Some(path.clone())).fails().await;
    assert!(fails().await.contains("none.pem can't be used"), "{}", fails().await);
    std::fs::write(&path, "no certificate").unwrap();
    assert!(fails().await.contains("it holds no certificate in PEM"), "{}", fails().await);
}

#[tokio::test]
async fn letters_that_wait_are_sent_before_the_server_ends() {
    let (office, site) = served().await;
    office.hold(true);
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    is_mailed(&ask(&site, "Stubb", "stubb@pequod.example").await);
    let ended = site.shut_down();
    office.hold(false);
    ended.await.unwrap();
    assert_eq!(office.letters().len(), 2);
}

#[tokio::test]
async fn without_a_mail_server_there_are_no_letters_and_no_addresses() {
    let site = Site::new().await;
    reset(&site, "ishmael@pequod.example").await.is_error(422, "no_mail");
    ask(&site, "Ishmael", "ishmael@pequod.example").await.is_error(422, "no_mail");
    let asked = json!({"email": "captain@pequod.example", "password": PASSWORD});
    site.client.post("/api/account/email", &asked).await.is_error(422, "no_mail");
    verify(&site, "x").await.is_error(400, "ticket_invalid");
}

#[tokio::test]
async fn a_server_that_takes_no_new_accounts_makes_none_by_letter() {
    let (office, site) = served().await;
    is_mailed(&ask(&site, "Ishmael", "ishmael@pequod.example").await);
    let ticket = office.newest(1).await.ticket("verify");
    let folder = site.folder.clone();
    site.shut_down().await.unwrap();
    let setup = office.setup(|settings| settings.sign_up = false);
    let site = Setup { folder: Some(folder), administrator: false, ..setup }.serve().await;
    ask(&site, "Stubb", "stubb@pequod.example").await.is_error(403, "sign_up_closed");
    verify(&site, &ticket).await.is_error(403, "sign_up_closed");
}

#[tokio::test]
async fn settings_that_can_not_work_are_said_at_the_start() {
    let office = PostOffice::new().await;
    for (change, expected) in [
        (
            &(|settings: &mut server::Settings| settings.public_url = None) as &dyn Fn(&mut server::Settings),
            "public_url",
        ),
        (
            &|settings| settings.mail.as_mut().unwrap().from = "nobody".to_owned(),
            "letters must be from an address",
        ),
    ] {
        let error = office.setup(|settings| change(settings)).fails().await;
        assert!(error.contains(expected), "{error}");
    }
}
