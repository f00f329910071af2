//! Passkeys, from an authenticator in software through the real endpoints.

use std::time::Duration;

use serde_json::{Value, json};
use server::Allowance;
use store::{NewPasskey, NewUser, Passkey, UserId, UserRole};

use crate::support::{
    ADMINISTRATOR, Authenticator, Client, PASSWORD, PostOffice, Reply, Says, Setup, Site, encode, events,
    sign_in,
};

/// Somebody's browser, on the page that it knows as `http://localhost`.
struct Browser {
    client: Client,
    says: Says,
}

impl Browser {
    fn new(client: &Client) -> Self {
        let client = Client { by_name: true, ..client.clone() };
        let says = Says::truly(&format!("http://{}", client.host()));
        Self { client, says }
    }

    /// Nobody's.
    fn of_nobody(site: &Site) -> Self {
        Self::new(&Client::new(site.address))
    }

    async fn begin(&self) -> Value {
        let begun = self.client.post("/api/account/passkeys/options", &json!({"password": PASSWORD})).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        begun.json()
    }

    async fn add(&self, begun: &Value, authenticator: &mut Authenticator, says: &Says) -> Reply {
        let credential = authenticator.make(&begun["options"], says);
        let asked = json!({"ticket": begun["ticket"], "name": "my key", "credential": credential});
        self.client.post("/api/account/passkeys", &asked).await
    }

    /// Makes a passkey, and gives its id.
    async fn register(&self, authenticator: &mut Authenticator) -> String {
        let made = self.add(&self.begin().await, authenticator, &self.says).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["id"].as_str().unwrap().to_owned()
    }

    async fn begin_login(&self) -> Value {
        let begun = self.client.post("/api/login/passkey/options", &json!({})).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        begun.json()
    }

    async fn login(&self, begun: &Value, authenticator: &mut Authenticator, says: &Says) -> Reply {
        let credential = authenticator.sign(&begun["options"], says);
        self.client
            .post("/api/login/passkey", &json!({"ticket": begun["ticket"], "credential": credential}))
            .await
    }

    /// A whole sign-in.
    async fn sign_in(&self, authenticator: &mut Authenticator) -> Reply {
        self.login(&self.begin_login().await, authenticator, &self.says).await
    }

    async fn security(&self) -> Value {
        self.client.get("/api/account/security").await.json()
    }
}

fn is_refused(reply: &Reply) {
    reply.is_error(401, "wrong_passkey");
    assert_eq!(reply.header("set-cookie"), "");
}

#[tokio::test]
async fn a_passkey_from_its_making_to_its_end() {
    let site = Site::new().await;
    let (client, id) = site.user("Ishmael").await;
    let browser = Browser::new(&client);
    assert_eq!(browser.client.get("/api/session").await.json()["passkeys"], true);
    let none =
        json!({"password": true, "totp": false, "recovery_codes_left": 0, "passkeys": [], "providers": []});
    assert_eq!(browser.security().await, none);

    let begun = browser.begin().await;
    let options = &begun["options"];
    assert_eq!(options["rp"], json!({"id": "localhost", "name": "Cachalot"}));
    let user = json!({"id": encode(&<[u8; 16]>::from(id)), "name": "Ishmael", "displayName": "Ishmael"});
    assert_eq!(options["user"], user);
    let selection = &options["authenticatorSelection"];
    assert_eq!(
        (&selection["residentKey"], &selection["userVerification"]),
        (&json!("required"), &json!("required"))
    );
    assert_eq!((&options["attestation"], &options["excludeCredentials"]), (&json!("none"), &json!([])));
    let mut key = Authenticator::new(1);
    site.clock.advance(Duration::from_secs(7));
    let made = browser.add(&begun, &mut key, &browser.says).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let view = json!({"id": made.json()["id"], "name": "my key", "created_ms": 7000, "used_ms": null});
    assert_eq!(made.json(), view);
    assert_eq!(browser.security().await["passkeys"], json!([view]));
    let excluded = &browser.begin().await["options"]["excludeCredentials"];
    assert_eq!(excluded[0]["id"], encode(&key.credential_id));

    let nobody = Browser::of_nobody(&site);
    let begun = nobody.begin_login().await;
    let options = &begun["options"];
    assert_eq!((&options["rpId"], &options["userVerification"]), (&json!("localhost"), &json!("required")));
    assert_eq!(options["allowCredentials"], json!([]), "nobody is named");
    let signed_in = nobody.login(&begun, &mut key, &nobody.says).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(signed_in.json()["user"]["name"], "Ishmael");
    let again = Browser::new(&nobody.client.signed_in(&signed_in));
    assert_eq!(again.security().await["passkeys"][0]["used_ms"], 7000);

    let path = format!("/api/account/passkeys/{}", made.json()["id"].as_str().unwrap());
    let renamed = browser.client.send("PATCH", &path, &json!({"name": " of the boat "})).await;
    assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!("of the boat")));
    browser.client.send("PATCH", &path, &json!({"name": " "})).await.is_error(422, "invalid_parameter");
    browser.client.send("DELETE", &path, &json!({})).await.is_error(401, "wrong_password");
    let gone = browser.client.send("DELETE", &path, &json!({"password": PASSWORD})).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    browser.client.send("DELETE", &path, &json!({"password": PASSWORD})).await.is_error(404, "not_found");
    assert_eq!(browser.security().await, none);
    is_refused(&nobody.sign_in(&mut key).await);
    // Who signed in with it stays signed in, as with a password that was changed by its owner elsewhere.
    let happened = events(&site).await;
    assert_eq!(happened[..3], ["passkey_refused", "passkey_removed", "passkey_login"]);
    assert!(happened.contains(&"passkey_added".to_owned()));
}

#[tokio::test]
async fn whoever_adds_a_passkey_gets_a_letter() {
    let office = PostOffice::new().await;
    let site = office.setup(|_| {}).serve().await;
    let nobody = Client::new(site.address);
    let asked = json!({"name": "Ishmael", "email": "ishmael@pequod.example", "password": PASSWORD});
    assert_eq!(nobody.post("/api/sign-up", &asked).await.status, 202);
    let ticket = office.newest(1).await.ticket("verify");
    let client = nobody.signed_in(&nobody.post("/api/verify", &json!({"ticket": ticket})).await);
    let browser = Browser { client, says: Says::truly("https://chat.example") };
    browser.register(&mut Authenticator::new(1)).await;
    let letter = office.newest(2).await;
    assert_eq!(letter.to, "ishmael@pequod.example");
    assert!(letter.body.contains("A passkey was added"), "{}", letter.body);
    assert!(!letter.body.contains("my key") && !letter.body.contains('#'), "nothing that somebody wrote");
}

#[tokio::test]
async fn where_browsers_make_none_none_is_offered() {
    let site = Site::new().await;
    assert_eq!(site.client.get("/api/session").await.json()["passkeys"], false);
    let credential = json!({"ticket": "", "name": "x", "credential": {}, "password": PASSWORD});
    for path in [
        "/api/login/passkey/options",
        "/api/login/passkey",
        "/api/account/passkeys/options",
        "/api/account/passkeys",
    ] {
        let reply = site.client.post(path, &credential).await;
        reply.is_error(409, "passkeys_unavailable");
        assert!(reply.text().contains("https://NAME"), "{}", reply.text());
    }
}

#[tokio::test]
async fn the_public_address_is_what_passkeys_belong_to() {
    let public = "https://chat.example.org:8443/";
    let site = Setup::with(|settings| settings.public_url = Some(public.parse().unwrap())).serve().await;
    let browser = Browser::new(&site.client);
    assert_eq!(site.client.get("/api/session").await.json()["passkeys"], true);
    let begun = browser.begin().await;
    assert_eq!(begun["options"]["rp"]["id"], "chat.example.org");
    let mut key = Authenticator::new(1);
    for origin in [browser.says.origin.as_str(), "https://chat.example.org", "http://chat.example.org:8443"] {
        browser.add(&begun, &mut key, &Says::truly(origin)).await.is_error(422, "wrong_passkey");
    }
    let says = Says::truly("https://chat.example.org:8443");
    assert_eq!(browser.add(&begun, &mut key, &says).await.status, 201);
    let nobody = Browser::of_nobody(&site);
    is_refused(&nobody.login(&nobody.begin_login().await, &mut key, &nobody.says).await);
    assert_eq!(nobody.login(&nobody.begin_login().await, &mut key, &says).await.status, 200);
}

/// What neither ceremony takes.
fn lies(truth: &Says) -> Vec<Says> {
    let with = |change: &dyn Fn(&mut Says)| {
        let mut says = truth.clone();
        change(&mut says);
        says
    };
    let mut lies = vec![
        with(&|says| says.verified = false),
        with(&|says| says.present = false),
        with(&|says| says.cross_origin = true),
        with(&|says| says.challenge = Some(encode(&[7; 16]))),
        with(&|says| says.kind = Some("payment.get")),
    ];
    for domain in ["evil.example", "localhost.evil.example", ""] {
        lies.push(with(&|says| says.domain = Some(domain)));
    }
    for origin in
        ["http://evil.example", "http://localhost:1", "https://localhost", "http://127.0.0.1", "null", ""]
    {
        lies.push(with(&|says| says.origin = origin.to_owned()));
    }
    lies
}

#[tokio::test]
async fn a_passkey_that_is_not_made_as_asked_is_not_kept() {
    let site = Site::new().await;
    let browser = Browser::new(&site.client);
    let begun = browser.begin().await;
    let mut key = Authenticator::new(1);
    let mut all = lies(&browser.says);
    all.push(Says { kind: Some("webauthn.get"), ..browser.says.clone() });
    for says in all {
        let reply = browser.add(&begun, &mut key, &says).await;
        reply.is_error(422, "wrong_passkey");
        assert_eq!(reply.json()["error"]["param"], "credential", "{says:?}");
    }
    for credential in
        [json!(null), json!("x"), json!({}), json!([]), json!({"response": {"clientDataJSON": "!"}})]
    {
        let asked = json!({"ticket": begun["ticket"], "name": "x", "credential": credential});
        browser.client.post("/api/account/passkeys", &asked).await.is_error(422, "wrong_passkey");
    }
    assert_eq!(browser.security().await["passkeys"], json!([]));
    // None of that has used the challenge up; this does.
    assert_eq!(browser.add(&begun, &mut key, &browser.says).await.status, 201);
    browser.add(&begun, &mut Authenticator::new(2), &browser.says).await.is_error(401, "ticket_expired");
    let again = browser.add(&browser.begin().await, &mut key, &browser.says).await;
    again.is_error(409, "conflict");
}

#[tokio::test]
async fn a_ticket_is_good_for_who_asked_for_it_and_in_its_time() {
    let site = Site::new().await;
    let browser = Browser::new(&site.client);
    let begun = browser.begin().await;
    let expired = async |browser: &Browser, begun: &Value| {
        let reply = browser.add(begun, &mut Authenticator::new(1), &browser.says).await;
        reply.is_error(401, "ticket_expired");
    };
    // Another user's, and the same user's where the password was not asked.
    expired(&Browser::new(&site.user("Mallory").await.0), &begun).await;
    let nobody = Client::new(site.address);
    let elsewhere = nobody.signed_in(&sign_in(&nobody, ADMINISTRATOR).await);
    expired(&Browser::new(&elsewhere), &begun).await;
    // One of another ceremony.
    let login = browser.begin_login().await;
    expired(&browser, &json!({"ticket": login["ticket"], "options": begun["options"]})).await;
    let mut mixed = browser.begin_login().await;
    mixed["ticket"] = begun["ticket"].clone();
    let reply = browser.login(&mixed, &mut Authenticator::new(1), &browser.says).await;
    reply.is_error(401, "ticket_expired");
    site.clock.advance(Duration::from_mins(5));
    expired(&browser, &begun).await;
}

#[tokio::test]
async fn a_sign_in_that_is_not_as_asked_is_refused() {
    let site = Site::new().await;
    let mut key = Authenticator::new(1);
    Browser::new(&site.client).register(&mut key).await;
    let (mallory, mallory_id) = site.user("Mallory").await;
    let mut of_mallory = Authenticator::new(2);
    Browser::new(&mallory).register(&mut of_mallory).await;

    let browser = Browser::of_nobody(&site);
    let begun = browser.begin_login().await;
    let mut texts = Vec::new();
    let mut all = lies(&browser.says);
    all.push(Says { kind: Some("webauthn.create"), ..browser.says.clone() });
    for says in all {
        let reply = browser.login(&begun, &mut key, &says).await;
        is_refused(&reply);
        texts.push(reply.text().to_owned());
    }
    // A key that was never added, another's key under one's credential, one's own key for another user.
    let mut unknown = Authenticator::new(9).of(mallory_id);
    let mut swapped = Authenticator { credential_id: key.credential_id.clone(), ..of_mallory.clone() };
    let captain = site.owner().await;
    for other in
        [&mut unknown, &mut swapped.clone().of(captain), &mut swapped, &mut of_mallory.clone().of(captain)]
    {
        let reply = browser.login(&begun, other, &browser.says).await;
        is_refused(&reply);
        texts.push(reply.text().to_owned());
    }
    let whole = key.sign(&begun["options"], &browser.says);
    for part in ["signature", "userHandle", "authenticatorData", "clientDataJSON"] {
        let mut changed = whole.clone();
        changed["response"][part] = json!(encode(b"something else altogether, but long enough"));
        let asked = json!({"ticket": begun["ticket"], "credential": changed});
        is_refused(&browser.client.post("/api/login/passkey", &asked).await);
    }
    for credential in [json!(null), json!("x"), json!({}), json!([]), json!({"response": {}})] {
        let asked = json!({"ticket": begun["ticket"], "credential": credential});
        is_refused(&browser.client.post("/api/login/passkey", &asked).await);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");

    let asked = json!({"ticket": "forged", "credential": whole});
    browser.client.post("/api/login/passkey", &asked).await.is_error(401, "ticket_expired");
    // What was refused has not used anything up.
    let asked = json!({"ticket": begun["ticket"], "credential": whole});
    let signed_in = browser.client.post("/api/login/passkey", &asked).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(signed_in.json()["user"]["name"], ADMINISTRATOR);
}

#[tokio::test]
async fn a_challenge_is_good_once_and_for_five_minutes() {
    let site = Site::new().await;
    // One that does not count: nothing else than the challenge tells the second time from the first.
    let mut key = Authenticator { counts: false, ..Authenticator::new(1) };
    Browser::new(&site.client).register(&mut key).await;
    let browser = Browser::of_nobody(&site);
    let begun = browser.begin_login().await;
    let credential = key.sign(&begun["options"], &browser.says);
    let asked = json!({"ticket": begun["ticket"], "credential": credential});
    let tries = (0..8).map(|_| {
        let (client, asked) = (browser.client.clone(), asked.clone());
        tokio::spawn(async move { client.post("/api/login/passkey", &asked).await })
    });
    let mut signed_in = 0;
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        match reply.status {
            200 => signed_in += 1,
            _ => reply.is_error(401, "ticket_expired"),
        }
    }
    assert_eq!(signed_in, 1);
    browser.login(&begun, &mut key, &browser.says).await.is_error(401, "ticket_expired");

    let begun = browser.begin_login().await;
    site.clock.advance(Duration::from_mins(5) - Duration::from_millis(1));
    assert_eq!(browser.login(&begun, &mut key, &browser.says).await.status, 200);
    let begun = browser.begin_login().await;
    site.clock.advance(Duration::from_mins(5));
    browser.login(&begun, &mut key, &browser.says).await.is_error(401, "ticket_expired");
}

#[tokio::test]
async fn a_challenge_does_not_outlive_the_server_that_knew_whether_it_was_used() {
    let site = Site::new().await;
    let mut key = Authenticator { counts: false, ..Authenticator::new(1) };
    Browser::new(&site.client).register(&mut key).await;
    let begun = Browser::of_nobody(&site).begin_login().await;
    let folder = site.folder.clone();
    site.shut_down().await.unwrap();
    let site = Setup { folder: Some(folder), seed: 3, ..Setup::default() }.serve().await;
    let browser = Browser::of_nobody(&site);
    browser.login(&begun, &mut key, &browser.says).await.is_error(401, "ticket_expired");
    assert_eq!(browser.sign_in(&mut key).await.status, 200);
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_noted() {
    let site = Site::new().await;
    let browser = Browser::of_nobody(&site);
    let mut key = Authenticator::new(1);
    Browser::new(&site.client).register(&mut key).await;
    let mut copy = key.clone();
    for _ in 0..3 {
        assert_eq!(browser.sign_in(&mut key).await.status, 200);
    }
    for count in [0, 1, 2] {
        copy.count = count;
        is_refused(&browser.sign_in(&mut copy).await);
    }
    let captain = site.owner().await;
    let entries = site.store.audit_entries(Some(captain), 3).await.unwrap();
    assert!(entries.iter().all(|entry| entry.event == "passkey_counter_went_back"), "{entries:?}");
    assert_eq!(browser.sign_in(&mut key).await.status, 200);
    // The other who asks with the same count is late.
    let (first, second) = (browser.begin_login().await, browser.begin_login().await);
    let mut copy = key.clone();
    let (first, second) = tokio::join!(
        browser.login(&first, &mut key, &browser.says),
        browser.login(&second, &mut copy, &browser.says)
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn somebody_disabled_or_gone_is_refused_like_a_wrong_passkey() {
    let site = Site::new().await;
    let (client, id) = site.user("Pip").await;
    let mut key = Authenticator::new(1);
    Browser::new(&client).register(&mut key).await;
    let browser = Browser::of_nobody(&site);
    assert_eq!(browser.sign_in(&mut key).await.status, 200);
    let unknown = browser.sign_in(&mut Authenticator::new(2).of(id)).await;
    is_refused(&unknown);
    site.store.set_disabled(id, Some(1)).await.unwrap();
    let disabled = browser.sign_in(&mut key).await;
    is_refused(&disabled);
    assert_eq!(disabled.text(), unknown.text());
    site.store.set_disabled(id, None).await.unwrap();
    assert_eq!(browser.sign_in(&mut key).await.status, 200);
    site.store.delete_user(id).await.unwrap();
    is_refused(&browser.sign_in(&mut key).await);
}

#[tokio::test]
async fn what_a_visitor_brings_is_not_what_they_are_given() {
    let site = Site::new().await;
    let (mallory, _) = site.user("Mallory").await;
    let mut key = Authenticator::new(1);
    Browser::new(&site.client).register(&mut key).await;
    let planted = Browser::new(&mallory);
    let signed_in = planted.sign_in(&mut key).await;
    assert_eq!(signed_in.json()["user"]["name"], ADMINISTRATOR);
    assert_ne!(planted.client.signed_in(&signed_in).cookie, mallory.cookie);
    assert_eq!(mallory.get("/api/session").await.json()["user"]["name"], "Mallory");
}

#[tokio::test]
async fn there_are_so_many_of_each_user_and_the_rest_is_said_in_time() {
    let site = Site::new().await;
    let browser = Browser::new(&site.client);
    let late = browser.begin().await;
    for seed in 1..=20 {
        browser.register(&mut Authenticator::new(seed)).await;
    }
    let asked = json!({"password": PASSWORD});
    let full = browser.client.post("/api/account/passkeys/options", &asked).await;
    full.is_error(409, "full");
    browser.add(&late, &mut Authenticator::new(21), &browser.says).await.is_error(409, "full");
    assert_eq!(browser.security().await["passkeys"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn what_an_authenticator_says_unasked_does_no_harm() {
    let site = Site::new().await;
    let browser = Browser::new(&site.client);
    let mut key = Authenticator { backup: 8, ..Authenticator::new(1) };
    let says = Says { derives_secrets: true, ..browser.says.clone() };
    let made = browser.add(&browser.begin().await, &mut key, &says).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let nobody = Browser::of_nobody(&site);
    for backup in [8, 24, 8] {
        key.backup = backup;
        let reply = nobody.sign_in(&mut key).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // Whether it can be copied is for ever.
    key.backup = 0;
    is_refused(&nobody.sign_in(&mut key).await);
}

/// Somebody without a password who has one passkey.
async fn without_password(site: &Site) -> (UserId, Authenticator) {
    let mut key = Authenticator::new(1);
    let (helper, helper_id) = site.user("Helper").await;
    Browser::new(&helper).register(&mut key).await;
    let Passkey { credential_id, public_key, sign_count, backup, transports, name, .. } =
        site.store.passkeys(helper_id).await.unwrap().remove(0);
    site.store.delete_user(helper_id).await.unwrap();
    let new = NewUser {
        name: "Pip".to_owned(),
        email: None,
        role: UserRole::User,
        password_hash: None,
        first: false,
    };
    let pip = site.store.add_user(new).await.unwrap().id;
    let new = NewPasskey { credential_id, public_key, sign_count, backup, transports, name };
    site.store.add_passkey(pip, new, 20).await.unwrap();
    (pip, key.of(pip))
}

#[tokio::test]
async fn the_last_way_in_can_not_be_lost() {
    let site = Site::new().await;
    let (pip, mut key) = without_password(&site).await;
    let nobody = Browser::of_nobody(&site);
    let browser = Browser::new(&nobody.client.signed_in(&nobody.sign_in(&mut key).await));
    assert_eq!(browser.security().await["password"], false);
    let first = format!("/api/account/passkeys/{}", site.store.passkeys(pip).await.unwrap()[0].id);
    browser.client.send("DELETE", &first, &json!({})).await.is_error(409, "conflict");
    let second = browser.register(&mut Authenticator::new(2)).await;
    let second = format!("/api/account/passkeys/{second}");
    assert_eq!(browser.client.send("DELETE", &first, &json!({})).await.status, 204);
    browser.client.send("DELETE", &second, &json!({})).await.is_error(409, "conflict");
    // A first password is another way in.
    let set = browser.client.post("/api/account/password", &json!({"new": PASSWORD})).await;
    assert_eq!(set.status, 204, "{}", set.text());
    browser.client.send("DELETE", &second, &json!({})).await.is_error(401, "wrong_password");
    assert_eq!(browser.client.send("DELETE", &second, &json!({"password": PASSWORD})).await.status, 204);
    assert_eq!(sign_in(&nobody.client, "pip").await.status, 200);
}

#[tokio::test]
async fn who_has_no_password_must_have_signed_in_just_now() {
    let site = Site::new().await;
    let (_, mut key) = without_password(&site).await;
    let nobody = Browser::of_nobody(&site);
    let browser = Browser::new(&nobody.client.signed_in(&nobody.sign_in(&mut key).await));
    site.clock.advance(Duration::from_mins(10));
    browser.begin().await;
    site.clock.advance(Duration::from_millis(1));
    let id = browser.security().await["passkeys"][0]["id"].as_str().unwrap().to_owned();
    for (method, path) in [
        ("POST", "/api/account/passkeys/options"),
        ("DELETE", &format!("/api/account/passkeys/{id}")),
        ("POST", "/api/account/totp/begin"),
        ("DELETE", "/api/account/totp"),
        ("POST", "/api/account/recovery-codes"),
        ("POST", "/api/account/password"),
        ("POST", "/api/account/delete"),
    ] {
        // A password says nothing where there is none.
        for asked in
            [json!({"new": PASSWORD}), json!({"password": PASSWORD, "old": PASSWORD, "new": PASSWORD})]
        {
            browser.client.send(method, path, &asked).await.is_error(403, "sign_in_again");
        }
    }
    let again = Browser::new(&nobody.client.signed_in(&nobody.sign_in(&mut key).await));
    assert_eq!(again.client.post("/api/account/delete", &json!({})).await.status, 204);
    is_refused(&nobody.sign_in(&mut key).await);
}

#[tokio::test]
async fn the_password_is_asked_before_what_lets_others_in() {
    let site = Site::new().await;
    let browser = Browser::new(&site.client);
    let id = browser.register(&mut Authenticator::new(1)).await;
    for (method, path) in [
        ("POST", "/api/account/passkeys/options"),
        ("DELETE", &format!("/api/account/passkeys/{id}")),
        ("POST", "/api/account/totp/begin"),
        ("DELETE", "/api/account/totp"),
        ("POST", "/api/account/recovery-codes"),
        ("POST", "/api/account/password"),
        ("POST", "/api/account/delete"),
    ] {
        let wrong = "wrong, but long";
        for asked in [json!({"new": PASSWORD}), json!({"password": wrong, "old": wrong, "new": PASSWORD})] {
            browser.client.send(method, path, &asked).await.is_error(401, "wrong_password");
        }
    }
    assert_eq!(browser.security().await["passkeys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_network_that_tries_on_is_slowed() {
    let setup = Setup::with(|settings| {
        settings.attempts_by_network = Allowance { burst: 3, interval: Duration::from_secs(30) };
    });
    let site = setup.serve().await;
    let mut key = Authenticator::new(1);
    Browser::new(&site.client).register(&mut key).await;
    let browser = Browser::of_nobody(&site);
    // What the setup took has come back.
    site.clock.advance(Duration::from_mins(2));
    for _ in 0..3 {
        is_refused(&browser.sign_in(&mut Authenticator::new(2).of(site.owner().await)).await);
    }
    browser.sign_in(&mut key).await.is_error(429, "too_many_attempts");
    let elsewhere = Client { from: Some("127.0.0.2".parse().unwrap()), ..browser.client.clone() };
    assert_eq!(Browser::new(&elsewhere).sign_in(&mut key).await.status, 200);
    site.clock.advance(Duration::from_secs(30));
    assert_eq!(browser.sign_in(&mut key).await.status, 200);
}
