//! The log never holds what people write, nor what they are told.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use server::api_paths;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{
    Acme, CLIENT_SECRET, Client, Keyed, PASSWORD, PostOffice, SETUP_TOKEN, Site, Wrong, one_time_codes,
    sign_in,
};

/// A log that is kept.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// In no other test, so that it can only come from this one.
const SECRET: &str = "krakatoa-zanzibar";

/// Gives back what was told in confidence.
async fn everything_that_may_be_logged(site: &Site, office: &PostOffice, acme: &Acme) -> Vec<String> {
    let chat = "/v1/chat/completions";
    let message = json!([{"role": "user", "content": SECRET}]);
    for asked in [
        json!({"model": "plain", "messages": message}),
        json!({"model": "thinker", "messages": message, "stream": true}),
        json!({"model": "failing", "messages": message}),
        json!({"model": "failing", "messages": message, "stream": true}),
        json!({"model": "plain", "messages": message, "temperature": SECRET}),
        json!({"model": "plain", "messages": [{"role": SECRET, "content": SECRET}]}),
        json!({"model": "plain", "messages": [{"role": "user", "content": SECRET.repeat(1000)}]}),
        json!({"model": "plain", "messages": message, "stop": SECRET, "user": SECRET}),
    ] {
        site.client.post(chat, &asked).await;
    }
    let headers = [("content-type", "application/json"), ("authorization", SECRET), ("cookie", SECRET)];
    site.client.request("POST", chat, &headers, format!("{{\"{SECRET}").into_bytes()).await;
    site.client.get(&format!("/api/conversations?before={SECRET}")).await;
    site.client.get(&format!("/{SECRET}")).await;
    site.client.request("GET", "/", &[("host", SECRET)], Vec::new()).await;

    let made = site.client.post("/api/conversations", &json!({"model": "thinker"})).await.json();
    let path = format!("/api/conversations/{}", made["id"].as_str().unwrap());
    site.client.send("PATCH", &path, &json!({"title": SECRET, "system": SECRET})).await;
    site.client.send("PATCH", &path, &json!({"title": SECRET.repeat(100)})).await;
    for model in ["thinker", "failing", "broken"] {
        let asked = json!({"content": SECRET, "model": model});
        let turn = site.client.post(&format!("{path}/messages"), &asked).await.json();
        let id = turn["assistant"]["id"].as_str().unwrap();
        site.client.get(&format!("{path}/messages/{id}/stream")).await;
    }
    site.client.get(&format!("/api/search?q={SECRET}")).await;
    site.client.get(&format!("/api/search?limit={SECRET}")).await;
    let mapping =
        format!(r#"{{"1": {{"message": {{"role": "user", "content": "{SECRET}"}}, "parent": "0"}}}}"#);
    let headers = [("content-type", "application/json")];
    for parent in ["null", r#""{SECRET}""#] {
        let mapping = mapping.replace(r#""0""#, parent);
        let file = format!(
            r#"[{{"title": "{SECRET}", "inserted_at": "2025-01-20T08:00:00Z", "mapping": {mapping}}}]"#
        );
        site.client.request("POST", "/api/account/import", &headers, file.into_bytes()).await;
    }
    site.client.request("POST", "/api/account/import", &headers, SECRET.into()).await;
    site.client.get("/api/account/export").await;
    let key = Keyed::new(&site.client, &json!({})).await;
    for asked in
        [json!({"model": "plain", "messages": message}), json!({"model": SECRET, "messages": message})]
    {
        assert!([200, 403, 404].contains(&key.post(chat, &asked).await.status));
    }
    let path_of_key = format!("/api/keys/{}", key.id);
    site.client.send("PATCH", &path_of_key, &json!({"name": SECRET, "addresses": [SECRET]})).await;
    site.client.send("PATCH", &path_of_key, &json!({"name": SECRET, "models": [SECRET]})).await;
    assert_eq!(site.client.send("DELETE", &path_of_key, &json!({})).await.status, 204);
    assert_eq!(key.post(chat, &json!({"model": "plain", "messages": message})).await.status, 401);
    for field in ["authorization", "x-api-key"] {
        for given in [SECRET.to_owned(), format!("Bearer {SECRET}"), format!("sk-cachalot-{SECRET}")] {
            site.client.request("GET", "/v1/models", &[(field, &given)], Vec::new()).await;
        }
    }
    let credit = json!({"kind": "grant", "amount": "1", "note": SECRET});
    let own = site.owner().await;
    site.client.post(&format!("/api/admin/users/{own}/credit"), &credit).await;
    site.client.get(&format!("/api/usage?since={SECRET}")).await;
    site.client.get("/api/usage.csv").await;
    let careless = Client { is_careless: true, ..site.client.clone() };
    // Before the tries with wrong passwords use up what one may try.
    for path in ["/api/reset", "/api/reset/confirm", "/api/verify", "/api/account/email"] {
        let asked = json!({"email": format!("{SECRET}@example.org"), "ticket": SECRET, "password": PASSWORD});
        careless.post(path, &asked).await;
    }
    site.client.get(&format!("/oidc/acme/start?next=/{SECRET}")).await;
    site.client.get(&format!("/oidc/acme/callback?code={SECRET}&state={SECRET}")).await;
    site.client.get(&format!("/oidc/{SECRET}/callback?code={SECRET}")).await;
    meet_letters_and_providers(site, office, acme).await;
    let by_name = Client { by_name: true, ..careless.clone() };
    for (path, _) in
        api_paths().into_iter().filter(|(path, _)| path.contains("/account") || !path.contains('{'))
    {
        let asked = json!({
            "login": SECRET, "name": SECRET, "email": SECRET, "password": SECRET, "old": SECRET, "new": SECRET,
            "token": SECRET, "ticket": SECRET, "code": SECRET, "credential": {"id": SECRET, "response": SECRET},
            "challenge": SECRET, "place": SECRET, "invitation": SECRET, "level": "open", "reason": SECRET,
        });
        let path = path.replace("{id}", SECRET);
        let ways = ["PATCH", "DELETE", "PUT"].map(|method| (method, &by_name));
        for (method, client) in [("POST", &careless), ("POST", &by_name)].into_iter().chain(ways) {
            if path == "/api/logout" || (method == "DELETE" && path == "/api/sessions") {
                continue;
            }
            client.send(method, &path, &asked).await;
        }
    }
    // Where letters are sent, nobody signs up at once.
    let name = format!("{SECRET} the second");
    site.client.post("/api/admin/users", &json!({"name": name, "password": PASSWORD})).await;
    let nobody = Client::new(site.address);
    let somebody = nobody.signed_in(&sign_in(&nobody, &name).await);
    let given = one_time_codes(site, &somebody).await;
    let login = json!({"login": name, "password": PASSWORD});
    let ticket = somebody.post("/api/login", &login).await.json()["second_factor"]["ticket"].clone();
    for code in [SECRET, "000000", &given.recovery_codes[0], &given.recovery_codes[0]] {
        somebody.post("/api/login/second", &json!({"ticket": ticket, "code": code})).await;
    }
    site.store.close().await.unwrap();
    site.client.post("/api/login", &json!({"login": SECRET, "password": SECRET})).await;
    site.client.post(&format!("{path}/messages"), &json!({"content": SECRET})).await;
    let mut told = given.recovery_codes;
    told.push(key.secret);
    told.extend([given.secret, ticket.as_str().unwrap().to_owned()]);
    told
}

/// Sign-up and reset by letter, one of which is refused, and a login with a provider, one of which fails.
async fn meet_letters_and_providers(site: &Site, office: &PostOffice, acme: &Acme) {
    let email = format!("{SECRET}@pequod.example");
    let asked = json!({"name": SECRET, "email": email, "password": PASSWORD});
    assert_eq!(site.client.post("/api/sign-up", &asked).await.status, 202);
    // The first was to the administrator's new address.
    let ticket = office.newest(2).await.ticket("verify");
    assert_eq!(site.client.post("/api/verify", &json!({"ticket": ticket})).await.status, 201);
    office.refuse(&["550 there is no krakatoa-zanzibar"]);
    assert_eq!(site.client.post("/api/reset", &json!({"email": email})).await.status, 202);
    acme.lock().subject = SECRET.to_owned();
    acme.lock().claims = json!({"name": SECRET, "email": format!("{SECRET}@acme.example")});
    for wrong in [Wrong::Nothing, Wrong::Nonce, Wrong::NotJson] {
        acme.lock().wrong = wrong;
        let sent = site.client.get(&format!("/oidc/acme/start?next=/{SECRET}")).await;
        let cookie = sent.header("set-cookie").split(';').next().unwrap().to_owned();
        let path = acme.visit(&sent).await;
        site.client.request("GET", &path, &[("cookie", &cookie)], Vec::new()).await;
    }
}

#[tokio::test]
async fn nothing_that_was_said_is_in_the_log() {
    let log = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // For the whole process: engines and databases log from threads of their own.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (office, acme) = (PostOffice::new().await, Acme::new().await);
    let setup = office.setup(|settings| settings.providers = vec![acme.provider()]);
    let site = setup.serve().await;
    let told = everything_that_may_be_logged(&site, &office, &acme).await;

    let log = log.text();
    assert!(
        log.contains("/v1/chat/completions") && log.contains("status=200"),
        "the log is there: {log:.2000}"
    );
    let cookie = site.client.cookie.clone().unwrap();
    let (_, token) = cookie.split_once('=').unwrap();
    let told = told.iter().map(String::as_str);
    for said in
        [SECRET, "Hello, whale", "Two km", "Deep.", PASSWORD, SETUP_TOKEN, CLIENT_SECRET, token, "$argon2"]
            .into_iter()
            .chain(told)
            .chain(acme.lock().secrets.iter().map(String::as_str))
    {
        let line = log.lines().find(|line| line.contains(said));
        assert_eq!(line, None, "{said:?} is in the log");
    }
}
