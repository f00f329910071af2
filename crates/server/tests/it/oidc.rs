//! Login with an account at an organisation's provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use server::Settings;
use store::Identity;
use url::Url;

use crate::mail::log;
use crate::support::{
    ADMINISTRATOR, Acme, CLIENT_SECRET, Client, PASSWORD, PostOffice, Reply, Setup, Site, Wrong, events,
    eventually, one_time_codes, sign_in,
};

fn nobody(site: &Site) -> Client {
    Client::new(site.address)
}

async fn served() -> (Acme, Site) {
    let acme = Acme::new().await;
    let site = acme.setup(|_| {}).serve().await;
    (acme, site)
}

/// All cookies that a response sets, with their attributes. Fails on one that a browser would not take: what is called
/// `__Host-` is for all of one host, and comes by TLS (RFC 6265bis, section 4.1.3.2).
#[track_caller]
fn cookies(reply: &Reply) -> Vec<&str> {
    let cookies: Vec<_> =
        reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    for cookie in cookies.iter().filter(|cookie| cookie.starts_with("__Host-")) {
        let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
        let taken = attributes.contains(&"Path=/")
            && attributes.contains(&"Secure")
            && !attributes.iter().any(|attribute| attribute.to_lowercase().starts_with("domain"));
        assert!(taken, "browsers refuse {cookie}");
    }
    cookies
}

/// `name=value` of what the browser is to keep while it is away.
#[track_caller]
fn kept(reply: &Reply) -> String {
    let found = cookies(reply).into_iter().find(|cookie| cookie.contains("-oidc="));
    found.expect("a cookie of the journey").split(';').next().unwrap().to_owned()
}

/// Comes back with what a browser has: its session, and what it kept.
async fn come_back(client: &Client, kept: &str, path: &str) -> Reply {
    let session = client.cookie.as_deref().map(|cookie| format!("; {cookie}")).unwrap_or_default();
    client.request("GET", path, &[("cookie", &format!("{kept}{session}"))], Vec::new()).await
}

/// The whole way, as a browser goes it.
async fn travel(acme: &Acme, client: &Client, query: &str) -> Reply {
    let sent = client.get(&format!("/oidc/acme/start{query}")).await;
    let path = acme.visit(&sent).await;
    come_back(client, &kept(&sent), &path).await
}

/// The query that begins linking, after the confirmation that it asks for.
async fn linking(client: &Client) -> String {
    let asked = json!({"password": PASSWORD});
    let confirmed = client.post("/api/account/providers/acme/link", &asked).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    format!("?link={}", confirmed.json()["ticket"].as_str().unwrap())
}

#[track_caller]
fn goes_to(reply: &Reply, location: &str) {
    assert_eq!((reply.status, reply.header("location")), (303, location), "{}", reply.text());
}

/// A refusal: the page says why, nobody is signed in, and the browser keeps nothing.
#[track_caller]
fn is_refused(reply: &Reply, code: &str) {
    goes_to(reply, &format!("/login?error={code}"));
    let cookies = cookies(reply);
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert!(cookies[0].contains("-oidc=; ") && cookies[0].contains("Max-Age=0"), "{cookies:?}");
}

/// The session that a login gave.
#[track_caller]
fn signed_in(site: &Site, reply: &Reply) -> Client {
    let cookie = cookies(reply).into_iter().find(|cookie| !cookie.contains("-oidc=")).expect("a session");
    Client { cookie: Some(cookie.split(';').next().unwrap().to_owned()), ..nobody(site) }
}

async fn user(client: &Client) -> Value {
    client.get("/api/session").await.json()["user"].clone()
}

#[tokio::test]
async fn somebody_new_gets_an_account_and_comes_back_to_it() {
    let (acme, site) = served().await;
    let session = nobody(&site).get("/api/session").await.json();
    assert_eq!(session["providers"], json!([{"id": "acme", "name": "Acme Corp."}]));

    let sent = nobody(&site).get("/oidc/acme/start?next=/c/0123%3Fa=b%23c").await;
    let there = Url::parse(sent.header("location")).unwrap();
    let value = |name: &str| there.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!(value("redirect_uri"), "https://chat.example/oidc/acme/callback");
    assert!(value("state").len() >= 43 && value("nonce").len() >= 43 && value("state") != value("nonce"));
    let [cookie] = cookies(&sent)[..] else { panic!("{:?}", cookies(&sent)) };
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    for attribute in ["; Path=/;", "; Max-Age=600", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains(&value("state")) && !cookie.contains(&value("nonce")), "it is sealed");

    let path = acme.visit(&sent).await;
    let back = come_back(&nobody(&site), &kept(&sent), &path).await;
    goes_to(&back, "/c/0123?a=b#c");
    let ada = signed_in(&site, &back);
    let account = user(&ada).await;
    assert_eq!((&account["name"], &account["email"]), (&json!("ada"), &json!("ada@acme.example")));
    assert_eq!((&account["email_verified"], &account["role"]), (&json!(true), &json!("user")));
    assert_eq!(ada.get("/api/conversations").await.status, 200);

    // The second time it is the same account, whatever they are called by then.
    acme.lock().claims = json!({"preferred_username": "countess"});
    let again = travel(&acme, &nobody(&site), "").await;
    goes_to(&again, "/");
    assert_eq!(user(&signed_in(&site, &again)).await, account);
    assert_eq!(site.store.users_count().await.unwrap(), 2);
    let events: Vec<_> =
        site.store.audit_entries(None, 3).await.unwrap().into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, ["provider_login", "provider_login", "provider_sign_up"]);
}

#[tokio::test]
async fn names_are_made_unique() {
    let (acme, site) = served().await;
    site.user("Ada").await;
    for (subject, email, expected) in [("1", "a@acme.example", "ada 2"), ("2", "b@acme.example", "ada 3")] {
        acme.lock().subject = subject.to_owned();
        acme.lock().claims =
            json!({"preferred_username": "ada@acme.example", "email": email, "email_verified": true});
        let back = travel(&acme, &nobody(&site), "").await;
        assert_eq!(user(&signed_in(&site, &back)).await["name"], expected);
    }
}

#[tokio::test]
async fn what_the_token_does_not_say_the_userinfo_endpoint_does() {
    let (acme, site) = served().await;
    acme.lock().userinfo = true;
    let account = user(&signed_in(&site, &travel(&acme, &nobody(&site), "").await)).await;
    assert_eq!((&account["name"], &account["email"]), (&json!("ada"), &json!("ada@acme.example")));
    assert_eq!(acme.asked("userinfo"), 1);
}

#[tokio::test]
async fn an_account_is_linked_and_unlinked_by_its_owner() {
    let acme = Acme::new().await;
    let site = acme.setup(|settings| settings.providers[0].creates_accounts = false).serve().await;
    let owner = site.owner().await;
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_unknown");
    goes_to(&travel(&acme, &site.client, &linking(&site.client).await).await, "/account");
    let back = travel(&acme, &nobody(&site), "").await;
    assert_eq!(user(&signed_in(&site, &back)).await["name"], ADMINISTRATOR);

    // It is one account's only.
    let (stubb, _) = site.user("Stubb").await;
    goes_to(&travel(&acme, &stubb, &linking(&stubb).await).await, "/account?error=oidc_taken");
    let links = site.store.links(owner).await.unwrap();
    assert_eq!(links.len(), 1);
    let path = format!("/api/account/providers/{}", links[0].id);
    let body = json!({"password": PASSWORD});
    stubb.send("DELETE", &path, &body).await.is_error(404, "not_found");
    stubb.send("DELETE", "/api/account/providers/x", &body).await.is_error(404, "not_found");
    site.client.send("DELETE", &path, &json!({})).await.is_error(401, "wrong_password");
    let wrong = json!({"password": "wrong, but long"});
    site.client.send("DELETE", &path, &wrong).await.is_error(401, "wrong_password");
    assert_eq!(site.client.send("DELETE", &path, &body).await.status, 204);
    site.client.send("DELETE", &path, &body).await.is_error(404, "not_found");
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_unknown");
}

#[tokio::test]
async fn whoever_links_a_provider_gets_a_letter() {
    let (acme, office) = (Acme::new().await, PostOffice::new().await);
    let setup = office.setup(|settings| settings.providers = vec![acme.provider()]);
    let site = setup.serve().await;
    let asked = json!({"email": "captain@pequod.example", "password": PASSWORD});
    assert_eq!(site.client.post("/api/account/email", &asked).await.status, 202);
    // An address that nobody has shown to be theirs gets none.
    goes_to(&travel(&acme, &site.client, &linking(&site.client).await).await, "/account");
    let ticket = office.newest(1).await.ticket("verify");
    assert_eq!(nobody(&site).post("/api/verify", &json!({"ticket": ticket})).await.status, 200);
    acme.lock().subject = "another".to_owned();
    goes_to(&travel(&acme, &site.client, &linking(&site.client).await).await, "/account");
    let letter = office.newest(2).await;
    assert_eq!(letter.to, "captain@pequod.example");
    assert!(letter.body.contains("linked with an account elsewhere"), "{}", letter.body);
    assert!(!letter.body.contains("acme") && !letter.body.contains('#'), "{}", letter.body);
}

#[tokio::test]
async fn linking_is_confirmed_by_its_owner_first() {
    let acme = Acme::new().await;
    let site = acme
        .setup(|settings| {
            let other = server::Provider { id: "other".to_owned(), ..settings.providers[0].clone() };
            settings.providers.push(other);
        })
        .serve()
        .await;
    let (client, path) = (&site.client, "/api/account/providers/acme/link");
    nobody(&site).post(path, &json!({"password": PASSWORD})).await.is_error(401, "not_signed_in");
    client.post(path, &json!({})).await.is_error(401, "wrong_password");
    client.post(path, &json!({"password": "wrong, but long"})).await.is_error(401, "wrong_password");
    let missing = client.post("/api/account/providers/x/link", &json!({"password": PASSWORD})).await;
    missing.is_error(404, "not_found");
    // What nobody confirmed, here and now, is not begun.
    let start = async |client: &Client, provider: &str, query: &str| {
        client.get(&format!("/oidc/{provider}/start{query}")).await
    };
    let expired = "/account?error=oidc_expired";
    for forged in ["?link=1", "?link=", "?link=AAAA"] {
        goes_to(&start(client, "acme", forged).await, expired);
    }
    let query = linking(client).await;
    goes_to(&start(&nobody(&site), "acme", &query).await, "/login?error=oidc_expired");
    let (stubb, _) = site.user("Stubb").await;
    let elsewhere = nobody(&site).signed_in(&sign_in(&nobody(&site), ADMINISTRATOR).await);
    for other in [&stubb, &elsewhere] {
        goes_to(&start(other, "acme", &query).await, expired);
    }
    goes_to(&start(client, "other", &query).await, expired);
    assert!(start(client, "acme", &query).await.header("location").starts_with(&acme.issuer()));
    goes_to(&start(client, "acme", &query).await, expired);
    let query = linking(client).await;
    site.clock.advance(Duration::from_mins(1));
    goes_to(&start(client, "acme", &query).await, expired);
    // Of whoever has no password it is wanted that they signed in just now.
    let ada = signed_in(&site, &travel(&acme, &nobody(&site), "").await);
    assert_eq!(ada.post(path, &json!({})).await.status, 200);
    site.clock.advance(Duration::from_mins(10) + Duration::from_millis(1));
    ada.post(path, &json!({})).await.is_error(403, "sign_in_again");
}

#[tokio::test]
async fn only_the_user_who_set_out_to_link_is_linked() {
    let (acme, site) = served().await;
    let (stubb, stubb_id) = site.user("Stubb").await;
    let sent = stubb.get(&format!("/oidc/acme/start{}", linking(&stubb).await)).await;
    let path = acme.visit(&sent).await;
    // Somebody else sits there by now, who is not linked, nor signed in as another.
    let back = come_back(&site.client, &kept(&sent), &path).await;
    goes_to(&back, "/account?error=oidc_expired");
    assert_eq!(cookies(&back).len(), 1);
    let issuer = Url::parse(&acme.issuer()).unwrap().to_string();
    let identity = Identity { provider: "acme".to_owned(), issuer, subject: "1001".to_owned() };
    assert_eq!(site.store.user_by_identity(identity).await.unwrap(), None);
    assert_eq!(site.store.links(stubb_id).await.unwrap(), []);
    // Signing in may begin at a page of the organisation.
    let headers = [("sec-fetch-site", "cross-site")];
    let sent = nobody(&site).request("GET", "/oidc/acme/start", &headers, Vec::new()).await;
    let path = acme.visit(&sent).await;
    let headers = [("sec-fetch-site", "cross-site"), ("cookie", &kept(&sent))];
    goes_to(&nobody(&site).request("GET", &path, &headers, Vec::new()).await, "/");
}

#[tokio::test]
async fn the_last_way_in_stays_and_goes_only_soon_after_a_login() {
    let (acme, site) = served().await;
    let ada = signed_in(&site, &travel(&acme, &nobody(&site), "").await);
    let id = user(&ada).await["id"].as_str().unwrap().parse().unwrap();
    let link = site.store.links(id).await.unwrap()[0].id;
    let path = format!("/api/account/providers/{link}");
    ada.send("DELETE", &path, &json!({})).await.is_error(409, "conflict");
    acme.lock().subject = "another".to_owned();
    goes_to(&travel(&acme, &ada, &format!("{}&next=/", linking(&ada).await)).await, "/");
    site.clock.advance(Duration::from_mins(10) + Duration::from_millis(1));
    ada.send("DELETE", &path, &json!({})).await.is_error(403, "sign_in_again");
    let ada = signed_in(&site, &travel(&acme, &nobody(&site), "").await);
    assert_eq!(ada.send("DELETE", &path, &json!({})).await.status, 204);
    assert_eq!(site.store.links(id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_was_not_sent_away_is_not_taken_in() {
    let (acme, site) = served().await;
    let client = nobody(&site);
    let sent = client.get("/oidc/acme/start").await;
    let path = acme.visit(&sent).await;
    let cookie = kept(&sent);
    let (start, state) = path.split_once("state=").unwrap();
    let (state, code) = state.split_once('&').unwrap();
    let mut other = state.to_owned().into_bytes();
    other[3] = if other[3] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).unwrap();

    // Another state: a page that sends somebody here with its own code, to sign them in as itself.
    is_refused(&come_back(&client, &cookie, &format!("{start}state={other}&{code}")).await, "oidc_failed");
    is_refused(&come_back(&client, &cookie, &format!("{start}{code}")).await, "oidc_failed");
    is_refused(&come_back(&client, &cookie, &format!("{start}state=&{code}")).await, "oidc_failed");
    // No cookie, another's, one that is changed, one of the session's kind.
    is_refused(&client.get(&path).await, "oidc_expired");
    is_refused(&come_back(&client, &kept(&client.get("/oidc/acme/start").await), &path).await, "oidc_failed");
    let changed = format!("{}A", &cookie[..cookie.len() - 1]);
    let changed = if changed == cookie { format!("{}B", &cookie[..cookie.len() - 1]) } else { changed };
    is_refused(&come_back(&client, &changed, &path).await, "oidc_expired");
    let session = site.client.cookie.as_deref().unwrap().split_once('=').unwrap().1;
    let (name, _) = cookie.split_once('=').unwrap();
    is_refused(&come_back(&client, &format!("{name}={session}"), &path).await, "oidc_expired");
    is_refused(
        &come_back(&client, &cookie, &format!("{path}&iss=https://evil.example")).await,
        "oidc_failed",
    );
    assert_eq!(acme.asked("token"), 0, "no code was given away");
    assert_eq!(site.store.users_count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_journey_ends_once_and_in_its_time() {
    let (acme, site) = served().await;
    let client = nobody(&site);
    let sent = client.get("/oidc/acme/start").await;
    let path = acme.visit(&sent).await;
    goes_to(&come_back(&client, &kept(&sent), &path).await, "/");
    is_refused(&come_back(&client, &kept(&sent), &path).await, "oidc_expired");
    assert_eq!(acme.asked("token"), 1, "a replayed code is not even tried");

    let sent = client.get("/oidc/acme/start").await;
    let path = acme.visit(&sent).await;
    site.clock.advance(Duration::from_mins(10));
    is_refused(&come_back(&client, &kept(&sent), &path).await, "oidc_expired");
}

#[tokio::test]
async fn a_provider_s_answer_is_another_s_in_vain() {
    let acme = Acme::new().await;
    let site = acme
        .setup(|settings| {
            let other = server::Provider { id: "other".to_owned(), ..settings.providers[0].clone() };
            settings.providers.push(other);
        })
        .serve()
        .await;
    let sent = nobody(&site).get("/oidc/acme/start").await;
    let path = acme.visit(&sent).await.replace("/oidc/acme/", "/oidc/other/");
    is_refused(&come_back(&nobody(&site), &kept(&sent), &path).await, "oidc_failed");
    nobody(&site).get("/oidc/nobody/start").await.is_error(404, "not_found");
    nobody(&site).get("/oidc/nobody/callback").await.is_error(404, "not_found");
}

#[tokio::test]
async fn tokens_that_are_not_what_they_must_be_sign_nobody_in() {
    let (log, _guard) = log();
    let (acme, site) = served().await;
    for wrong in Wrong::TOKENS {
        acme.lock().wrong = wrong;
        let back = travel(&acme, &nobody(&site), "").await;
        assert_eq!(back.header("location"), "/login?error=oidc_failed", "{wrong:?}");
        is_refused(&back, "oidc_failed");
        assert_eq!(site.store.users_count().await.unwrap(), 1, "{wrong:?}");
    }
    let text = log.text();
    for reason in ["has expired", "for somebody else", "another issuer", "another request", "signature"] {
        assert!(text.contains(reason), "{reason:?} is not in {text}");
    }
    let secrets = acme.lock().secrets.clone();
    for secret in secrets.iter().map(String::as_str).chain([CLIENT_SECRET, "ada@acme", "1001"]) {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    acme.lock().wrong = Wrong::Nothing;
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
}

#[tokio::test]
async fn tokens_signed_by_rsa_are_believed_as_far_as_others() {
    let (acme, site) = served().await;
    acme.sign_by_rsa();
    let back = travel(&acme, &nobody(&site), "").await;
    goes_to(&back, "/");
    assert_eq!(user(&signed_in(&site, &back)).await["name"], "ada");
    let before = site.store.audit_entries(None, 100).await.unwrap().len();
    let wrong =
        [Wrong::Key, Wrong::Unsigned, Wrong::SharedSecret, Wrong::Nonce, Wrong::Expired, Wrong::AccessToken];
    for (number, wrong) in wrong.into_iter().enumerate() {
        acme.lock().wrong = wrong;
        is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_failed");
        assert_eq!(
            site.store.audit_entries(None, 100).await.unwrap().len(),
            before + number + 1,
            "{wrong:?}"
        );
    }
    acme.lock().wrong = Wrong::Nothing;
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
    // From one kind of key to the other, as providers change them.
    acme.lock().rsa = None;
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
}

#[tokio::test]
async fn who_says_no_at_the_provider_is_told_so() {
    let (acme, site) = served().await;
    acme.lock().wrong = Wrong::Denied;
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_denied");
    goes_to(&travel(&acme, &site.client, &linking(&site.client).await).await, "/account?error=oidc_denied");
    acme.lock().wrong = Wrong::ServerError;
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_failed");
}

#[tokio::test]
async fn where_it_goes_on_is_a_page_of_ours() {
    let (_acme, site) = served().await;
    for next in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "/%0A/evil.example",
        "/%0D%0ASet-Cookie:%20a=b",
        "javascript:alert(1)",
        "evil.example",
        "%20//evil.example",
        "",
        "%FF",
    ] {
        for link in ["", "&link=x"] {
            let reply = site.client.get(&format!("/oidc/acme/start?next={next}{link}")).await;
            reply.is_error(422, "invalid_parameter");
            assert_eq!(
                (reply.header("location"), reply.json()["error"]["param"].as_str()),
                ("", Some("next"))
            );
        }
    }
}

#[tokio::test]
async fn only_those_of_the_domain_come_in() {
    let acme = Acme::new().await;
    let site = acme.setup(|settings| settings.providers[0].email_domains = vec!["Acme.example".to_owned()]);
    let site = site.serve().await;
    for claims in [
        json!({"email": "ada@evil.example", "email_verified": true}),
        json!({"email": "ada@sub.acme.example", "email_verified": true}),
        json!({"email": "ada@notacme.example", "email_verified": true}),
        json!({"email": "ada@evil.example@acme.example", "email_verified": true}),
        json!({"email": "ada@acme.example", "email_verified": false}),
        json!({"email": "ada@acme.example"}),
        json!({"preferred_username": "ada@acme.example"}),
    ] {
        acme.lock().claims = claims.clone();
        let back = travel(&acme, &nobody(&site), "").await;
        assert_eq!(back.header("location"), "/login?error=oidc_domain", "{claims}");
    }
    assert_eq!(site.store.users_count().await.unwrap(), 1);
    acme.lock().claims = json!({"email": "ada@ACME.example", "email_verified": true});
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
    // Whoever leaves the organisation stays out, and links nothing.
    acme.lock().claims = json!({"email": "ada@evil.example", "email_verified": true});
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_domain");
    goes_to(&travel(&acme, &site.client, &linking(&site.client).await).await, "/account?error=oidc_domain");
}

#[tokio::test]
async fn an_address_alone_opens_no_account() {
    let (acme, site) = served().await;
    let owner = site.owner().await;
    let hash = site.store.user(owner).await.unwrap().password_hash;
    site.store.change_email(owner, None, hash, "ada@acme.example".to_owned()).await.unwrap();
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_email_taken");
    assert_eq!(site.store.links(owner).await.unwrap(), []);
    // An address that the provider has not seen proven is nobody's: it neither opens nor blocks anything.
    acme.lock().claims = json!({"email": "ada@acme.example", "email_verified": false});
    let account = user(&signed_in(&site, &travel(&acme, &nobody(&site), "").await)).await;
    assert_eq!((&account["name"], &account["email"]), (&json!("ada"), &Value::Null));
}

#[tokio::test]
async fn the_disabled_stay_out_by_every_way() {
    let (acme, site) = served().await;
    let ada = signed_in(&site, &travel(&acme, &nobody(&site), "").await);
    let id = user(&ada).await["id"].as_str().unwrap().parse().unwrap();
    site.store.set_disabled(id, Some(1)).await.unwrap();
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_failed");
    assert_eq!(site.store.sessions(id).await.unwrap(), []);
    assert_eq!(site.store.users_count().await.unwrap(), 2);
}

#[tokio::test]
async fn nobody_comes_before_the_first_administrator() {
    let acme = Acme::new().await;
    let setup = acme.setup(|_| {});
    let site = Setup { administrator: false, ..setup }.serve().await;
    is_refused(&travel(&acme, &nobody(&site), "").await, "oidc_unknown");
    assert_eq!(site.store.users_count().await.unwrap(), 0);
}

#[tokio::test]
async fn new_keys_of_a_provider_are_learned() {
    let (acme, site) = served().await;
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
    assert_eq!((acme.asked("discovery"), acme.asked("keys")), (1, 1), "they are not asked for each time");
    acme.rotate();
    site.clock.advance(Duration::from_secs(1));
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
    assert_eq!((acme.asked("discovery"), acme.asked("keys")), (2, 2));
    site.clock.advance(Duration::from_mins(10));
    goes_to(&travel(&acme, &nobody(&site), "").await, "/");
    assert_eq!((acme.asked("discovery"), acme.asked("keys")), (3, 3), "and are not believed for ever");
}

#[tokio::test]
async fn failing_again_and_again_is_slowed() {
    let acme = Acme::new().await;
    let setup = acme.setup(|settings| {
        settings.attempts_by_network = server::Allowance { burst: 4, interval: Duration::from_secs(30) };
    });
    let site = setup.serve().await;
    // Other sites' pages can send a browser here: that is no failure of its network, and nothing happened.
    let path = "/oidc/acme/callback?code=x&state=y";
    for _ in 0..10 {
        is_refused(&nobody(&site).get(path).await, "oidc_expired");
        is_refused(&come_back(&nobody(&site), "a-oidc=x", path).await, "oidc_expired");
    }
    assert!(!events(&site).await.contains(&"provider_login_failed".to_owned()));
    // The administrator took one to be made, and setting out takes one.
    let kept = kept(&nobody(&site).get("/oidc/acme/start").await);
    for _ in 0..2 {
        is_refused(&come_back(&nobody(&site), &kept, path).await, "oidc_failed");
    }
    assert_eq!(events(&site).await[..2], ["provider_login_failed", "provider_login_failed"]);
    nobody(&site).get(path).await.is_error(429, "too_many_attempts");
    nobody(&site).get("/oidc/acme/start").await.is_error(429, "too_many_attempts");
    site.clock.advance(Duration::from_secs(31));
    assert_eq!(nobody(&site).get("/oidc/acme/start").await.status, 303);
    nobody(&site).get("/oidc/acme/start").await.is_error(429, "too_many_attempts");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_left_alone_for_a_while() {
    let acme = Acme::new().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outer = listener.local_addr().unwrap();
    let count = Arc::clone(&asked);
    let router = axum::Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        axum::http::StatusCode::INTERNAL_SERVER_ERROR
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let site = with_issuer(&acme, &format!("http://{outer}"), true).await;
    let fails = async || goes_to(&nobody(&site).get("/oidc/acme/start").await, "/login?error=oidc_failed");
    fails().await;
    let once = asked.load(Ordering::SeqCst);
    assert!(once > 0);
    site.clock.advance(Duration::from_secs(10) - Duration::from_millis(1));
    fails().await;
    assert_eq!(asked.load(Ordering::SeqCst), once);
    site.clock.advance(Duration::from_millis(1));
    fails().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2 * once);
}

#[tokio::test]
async fn a_login_at_a_provider_is_two_factors() {
    let (acme, site) = served().await;
    goes_to(&travel(&acme, &site.client, &linking(&site.client).await).await, "/account");
    one_time_codes(&site, &site.client).await;
    let back = travel(&acme, &nobody(&site), "").await;
    assert_eq!(user(&signed_in(&site, &back)).await["name"], ADMINISTRATOR);
}

/// A server whose provider is at this address.
async fn with_issuer(acme: &Acme, issuer: &str, private: bool) -> Site {
    let issuer = Url::parse(issuer).unwrap();
    acme.setup(|settings| {
        settings.providers[0].issuer = issuer;
        settings.providers[0].private = private;
    })
    .serve()
    .await
}

#[tokio::test]
async fn a_provider_that_is_not_private_is_not_looked_for_at_home() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let acme = Acme::new().await;
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"] {
        let site = with_issuer(&acme, &format!("https://{host}:{port}"), false).await;
        let reply = nobody(&site).get("/oidc/acme/start").await;
        goes_to(&reply, "/login?error=oidc_failed");
        assert_eq!(cookies(&reply).len(), 0);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody was called");
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let inner = Acme::new().await;
    let location = format!("{}/.well-known/openid-configuration", inner.issuer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outer = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async move || axum::response::Redirect::temporary(&location));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let site = with_issuer(&inner, &format!("http://{outer}"), true).await;
    goes_to(&nobody(&site).get("/oidc/acme/start").await, "/login?error=oidc_failed");
    assert_eq!(inner.asked("discovery"), 0);
}

#[tokio::test]
async fn providers_that_can_not_work_are_said_at_the_start() {
    let acme = Acme::new().await;
    let check = async |change: &dyn Fn(&mut Settings), expected: &str| {
        let error = acme.setup(|settings| change(settings)).fails().await;
        assert!(error.contains(expected), "{error}");
    };
    check(&|settings| settings.public_url = None, "public_url").await;
    for id in ["", "Acme", "a/b", "a b", "é", &"a".repeat(33)] {
        check(&|settings| id.clone_into(&mut settings.providers[0].id), "a provider's id is").await;
    }
    check(
        &|settings| settings.providers.push(settings.providers[0].clone()),
        "two providers have the id acme",
    )
    .await;
    check(&|settings| settings.providers[0].private = false, "must begin with https").await;
    check(
        &|settings| settings.providers[0].issuer = Url::parse("file:///etc/passwd").unwrap(),
        "must begin with https or http",
    )
    .await;
    // A password works beside it.
    let site = acme.setup(|_| {}).serve().await;
    assert_eq!(sign_in(&nobody(&site), ADMINISTRATOR).await.status, 200);
}

#[tokio::test]
async fn a_first_login_passes_the_gate_and_the_next_does_not_meet_it() {
    let acme = Acme::new().await;
    let tick_interval = Duration::from_millis(2);
    let site = acme.setup(|settings| settings.registration.tick_interval = tick_interval).serve().await;
    let pin = async |level: &str| {
        let pinned = site.control.send("PUT", "/api/admin/gate", &json!({"level": level})).await;
        assert_eq!(pinned.status, 200, "{}", pinned.text());
    };
    pin("waiting_list").await;
    let users = site.store.users_count().await.unwrap();
    let waits = travel(&acme, &nobody(&site), "").await;
    let place = waits.header("location").strip_prefix("/sign-up?provider=acme#place=");
    let place = place.unwrap_or_else(|| panic!("{:?}", waits.headers)).to_owned();
    assert_eq!((waits.status, cookies(&waits).len()), (303, 1), "nobody is signed in");
    assert_eq!(site.store.users_count().await.unwrap(), users);
    assert_eq!(
        events(&site).await.first().map(String::as_str),
        Some("gate_pinned"),
        "it was no failed login"
    );

    site.clock.advance(Duration::from_secs(1));
    let called_up = async || {
        let asked = nobody(&site).post("/api/places", &json!({"place": place})).await;
        asked.json()["waiting"]["called_up"] == true
    };
    eventually("the place is called up", called_up).await;
    let arrived = travel(&acme, &nobody(&site), &format!("?place={place}")).await;
    goes_to(&arrived, "/");
    signed_in(&site, &arrived);
    assert_eq!(site.store.users_count().await.unwrap(), users + 1);
    pin("suspended").await;
    let again = travel(&acme, &nobody(&site), "").await;
    goes_to(&again, "/");
    signed_in(&site, &again);
}
