//! The registration gate: strangers come through a proxy from many networks, and time is simulated.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use base::Clock as _;
use defence::challenge::{Challenge, solve};
use serde_json::{Value, json};
use server::{Allowance, ForwardedHeader, Proxy, Registration, Settings, Systems};

use crate::support::{Client, PASSWORD, PostOffice, Reply, SETUP_TOKEN, Setup, Site, eventually, within};

/// As in [`crate::support::PUBLIC_URL`].
pub(crate) const NAME: &str = "chat.example";
const LEVELS: [&str; 5] = ["open", "challenge", "waiting_list", "invite_only", "suspended"];
const GATE: &str = "/api/admin/gate";
/// A table of the addresses for documentation.
const SYSTEMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/systems/systems.mmdb");
/// Accounts a minute.
const BUDGET: u32 = 12;

pub(crate) fn change(settings: &mut Settings) {
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    settings.proxy = Some(Proxy { trusted, header: ForwardedHeader::XForwardedFor, protocol: false });
    settings.public_url = Some(format!("https://{NAME}/").parse().unwrap());
    let plenty = Allowance { burst: 10_000, interval: Duration::from_millis(1) };
    settings.attempts_by_network = plenty;
    settings.letters_by_network = plenty;
    settings.registration = Registration {
        tick_interval: Duration::from_millis(2),
        accounts_per_minute: BUDGET,
        ..Registration::default()
    };
}

/// Somebody at an address, whom a declared proxy asks for.
pub(crate) struct Stranger<'a> {
    pub(crate) site: &'a Site,
    pub(crate) address: String,
    pub(crate) cookie: Option<String>,
}

impl<'a> Stranger<'a> {
    pub(crate) fn at(site: &'a Site, address: &str) -> Self {
        Self { site, address: address.to_owned(), cookie: None }
    }

    /// One of many, each of a network of their own.
    pub(crate) fn of_many(site: &'a Site, number: u32) -> Self {
        Self::at(site, &Ipv4Addr::from(0x0b00_0007 + (number << 8)).to_string())
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, accept: &str, body: &Value) -> Reply {
        let mut headers = vec![
            ("host", NAME),
            ("x-forwarded-for", self.address.as_str()),
            ("accept", accept),
            ("content-type", "application/json"),
        ];
        headers.extend(self.cookie.as_deref().map(|cookie| ("cookie", cookie)));
        // As the page does.
        headers.extend(body["challenge"].as_str().map(|answer| ("x-cachalot-challenge", answer)));
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        Client::new(self.site.address).request(method, path, &headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, "*/*", body).await
    }

    /// Signs up with what is shown besides name and password.
    pub(crate) async fn sign_up(&self, name: &str, shown: &Value) -> Reply {
        let mut body = json!({"name": name, "password": PASSWORD});
        body.as_object_mut().unwrap().extend(shown.as_object().unwrap().clone());
        self.post("/api/sign-up", &body).await
    }

    pub(crate) async fn challenge(&self) -> Challenge {
        let given = self.post("/api/challenges", &json!({"action": "sign_up"})).await;
        assert_eq!(given.status, 200, "{}", given.text());
        read_challenge(&given)
    }

    /// The answer to a challenge that is asked for now. They are easy while the gate is open.
    async fn solved(&self) -> String {
        solve(&self.challenge().await).unwrap()
    }

    /// Waits in the list at `level`, to which the gate is pinned.
    async fn place(&self, level: &str) -> String {
        let answer = self.solved().await;
        self.site.pin(json!(level)).await;
        ticket(&self.sign_up("Waiting Person", &json!({"challenge": answer})).await)
    }

    pub(crate) fn signed_in(mut self, reply: &Reply) -> Self {
        let (cookie, _) = reply.header("set-cookie").split_once(';').expect("a cookie");
        self.cookie = Some(cookie.to_owned());
        self
    }
}

pub(crate) fn read_challenge(reply: &Reply) -> Challenge {
    serde_json::from_value(reply.json()["challenge"].clone()).unwrap()
}

/// The ticket of the place that a reply gives.
#[track_caller]
fn ticket(reply: &Reply) -> String {
    assert!([200, 202].contains(&reply.status), "{} {}", reply.status, reply.text());
    reply.json()["waiting"]["place"].as_str().unwrap().to_owned()
}

impl Site {
    /// A site with its administrator, who is signed in, and the clock at an hour at which all is usual.
    pub(crate) async fn gated(setup: Setup) -> Self {
        let mut setup = setup;
        setup.administrator = false;
        let site = setup.serve().await;
        let captain = Stranger::at(&site, "192.0.2.1");
        let token = json!({"token": SETUP_TOKEN, "name": "captain", "password": PASSWORD});
        let made = captain.post("/api/setup", &token).await;
        assert_eq!(made.status, 201, "{}", made.text());
        site.step(2).await;
        site
    }

    async fn gate(&self) -> Value {
        let reply = self.control.get(GATE).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    async fn level(&self) -> String {
        self.gate().await["registration"]["level"].as_str().unwrap().to_owned()
    }

    /// Lets seconds pass, each with a tick.
    pub(crate) async fn step(&self, seconds: u32) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            let now_ms = self.clock.unix_ms();
            let ticked = async || self.gate().await["signals"]["at_ms"] == now_ms;
            eventually("the gate ticks", ticked).await;
        }
    }

    async fn pin(&self, level: Value) {
        let reply = self.control.send("PUT", GATE, &json!({"level": level})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["pin"], level);
    }

    async fn invitation(&self) -> Value {
        let made = self.control.send("POST", "/api/admin/invitations", &json!({"count": 1, "days": 1})).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["invitations"][0].clone()
    }
}

async fn served() -> Site {
    Site::gated(Setup::with(change)).await
}

/// A second of a flood: so many ask at once, each from a network of their own. How many accounts they got.
async fn flood(site: &Site, second: u32) -> usize {
    let asking = (0..16).map(|number| {
        let number = second * 16 + number;
        async move {
            let stranger = Stranger::of_many(site, number);
            let reply = stranger.sign_up(&format!("Flood {number}"), &json!({})).await;
            assert!([201, 202, 428].contains(&reply.status), "{}", reply.text());
            usize::from(reply.status == 201)
        }
    });
    let made = futures_util::future::join_all(asking).await.into_iter().sum();
    site.step(1).await;
    made
}

#[tokio::test]
async fn a_flood_closes_the_gate_and_calm_opens_it_again() {
    let site = served().await;
    let (honest, user) = (Stranger::at(&site, "198.51.100.7"), Stranger::at(&site, "192.0.2.9"));
    let made = user.sign_up("Queequeg", &json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let answer = honest.solved().await;
    site.step(60).await;
    assert_eq!(site.level().await, "open");

    let (mut made, mut levels, mut place) = (0, Vec::new(), None);
    for second in 0..30 {
        made += flood(&site, second).await;
        levels.push(site.level().await);
        if levels.last().unwrap() == "waiting_list" && place.is_none() {
            // Nothing of name and password is kept of who waits.
            let waits = honest.sign_up("Ishmael", &json!({"challenge": answer})).await;
            assert_eq!(waits.status, 202, "{}", waits.text());
            let waiting = &waits.json()["waiting"];
            // Who came while the budget was spent waits too.
            assert!(waiting["ahead"].as_u64().unwrap() <= 64, "{waiting}");
            assert_eq!(waiting["called_up"], false);
            assert!(waiting["ask_again_seconds"].as_u64().unwrap() >= 1, "{waiting}");
            place = Some(ticket(&waits));
        }
    }
    levels.dedup();
    assert!(levels.starts_with(&["challenge".to_owned(), "waiting_list".to_owned()]), "{levels:?}");
    assert!(made <= BUDGET as usize, "{made}");
    let status = site.gate().await;
    assert!(status["incident"]["since_ms"].is_i64(), "{status}");
    let reasons = status["moves"][0]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason["reason"] == "demand"), "{reasons:?}");

    // The list is called up while the flood goes on, and the place makes an account, once.
    let place = json!({"place": place.unwrap()});
    let mut stands = honest.post("/api/places", &place).await.json();
    for second in 30..90 {
        if stands["waiting"]["called_up"] == true {
            break;
        }
        flood(&site, second).await;
        stands = honest.post("/api/places", &place).await.json();
    }
    assert_eq!(stands["waiting"]["called_up"], true, "{stands}");
    assert!(stands["waiting"]["until_seconds"].as_u64().unwrap() > 500, "{stands}");
    assert_eq!(honest.sign_up("Ishmael", &place).await.status, 201);
    honest.post("/api/places", &place).await.is_error(410, "place_gone");
    honest.sign_up("Ishmael the second", &place).await.is_error(428, "challenge_required");

    // Who has an account noticed nothing.
    let login = json!({"login": "Queequeg", "password": PASSWORD});
    assert_eq!(user.post("/api/login", &login).await.status, 200);

    let mut seconds = 0;
    while site.level().await != "open" {
        site.step(1).await;
        seconds += 1;
        assert!(seconds <= 120, "{}", site.gate().await);
    }
    let status = site.gate().await;
    assert_eq!(
        (&status["incident"], &status["registration"]["reopens_in_seconds"]),
        (&Value::Null, &json!(0))
    );
    assert_eq!(status["moves"][0]["reasons"][0]["reason"], "calm", "{status}");
    let moves = status["moves"].as_array().unwrap().len();
    let noted = async || {
        let audit = site.store.audit_entries(None, 100).await.unwrap();
        audit.iter().filter(|entry| entry.event == "gate_moved").count() == moves
    };
    eventually("all moves are noted", noted).await;
    assert_eq!(site.store.moves(64).await.unwrap().len(), moves);
    assert_eq!(honest.sign_up("Pip", &json!({})).await.status, 201);
}

#[tokio::test]
async fn no_more_accounts_than_the_budget_however_many_ask_at_once() {
    let site = served().await;
    let asking = (0..200).map(|number| {
        let stranger = Stranger::of_many(&site, number);
        async move { stranger.sign_up(&format!("At once {number}"), &json!({})).await.status }
    });
    let statuses = futures_util::future::join_all(asking).await;
    let made = statuses.iter().filter(|status| **status == 201).count();
    assert!((1..=BUDGET as usize).contains(&made), "{made}");
    assert!(statuses.iter().all(|status| [201, 202, 428].contains(status)), "{statuses:?}");
    assert_eq!(site.store.users_count().await.unwrap(), made as u64 + 1);
    assert_eq!(site.gate().await["accounts_made"], made);
    let metrics = site.control.get("/metrics").await;
    let line = format!("cachalot_registrations_total{{outcome=\"made\"}} {made}");
    assert!(metrics.text().lines().any(|found| found == line), "{}", metrics.text());
}

#[tokio::test]
async fn an_address_has_its_share_and_then_waits() {
    let site = served().await;
    let one = Stranger::at(&site, "203.0.113.7");
    let mut statuses = Vec::new();
    for number in 0..7 {
        statuses.push(one.sign_up(&format!("Sibling {number}"), &json!({})).await.status);
        site.step(20).await;
    }
    assert_eq!(statuses, [201, 201, 201, 201, 201, 202, 202]);
    assert_eq!(Stranger::at(&site, "203.0.114.7").sign_up("Neighbour", &json!({})).await.status, 201);
}

#[tokio::test]
async fn an_autonomous_system_has_its_share_whatever_networks_it_has() {
    let site = Site::gated(Setup::with(|settings| {
        change(settings);
        settings.registration.systems = Some(Systems::open(Path::new(SYSTEMS)).unwrap());
        settings.registration.accounts_per_asn = 3;
    }))
    .await;
    let mut statuses = Vec::new();
    let addresses = ["192.0.2.5", "192.0.2.6", "2001:db8:1::5", "2001:db8:1:2::5", "192.0.2.7"];
    for (number, address) in addresses.into_iter().enumerate() {
        statuses.push(
            Stranger::at(&site, address).sign_up(&format!("Customer {number}"), &json!({})).await.status,
        );
        site.step(20).await;
    }
    assert_eq!(statuses, [201, 201, 201, 202, 202]);
    // Another one, and one that the table doesn't have.
    for (address, name) in [("198.51.100.5", "Another"), ("11.0.0.5", "Unknown")] {
        assert_eq!(Stranger::at(&site, address).sign_up(name, &json!({})).await.status, 201);
    }
    // Operators see how few they are of whom the attempts of the last seconds came.
    site.step(1).await;
    let signals = site.gate().await["signals"].clone();
    assert_eq!(signals["asn_concentration"].as_f64(), Some(1.0), "{signals}");
    let without = served().await.gate().await["signals"].clone();
    assert!(without["asn_concentration"].is_null(), "{without}");
}

#[tokio::test]
async fn a_challenge_is_good_once_here_and_in_its_time() {
    let site = served().await;
    let here = Stranger::at(&site, "203.0.113.7");
    let neighbour = Stranger::at(&site, "203.0.113.8");
    let elsewhere = Stranger::at(&site, "198.51.100.7");
    let (answer, other, late) = (here.solved().await, here.solved().await, here.solved().await);
    let forged = {
        let mut challenge = here.challenge().await;
        challenge.parameters.cost = 1;
        solve(&challenge).unwrap()
    };
    let action = here.post("/api/challenges", &json!({"action": "log_in"})).await;
    action.is_error(400, "invalid_format");
    site.pin(json!("challenge")).await;

    let none = here.sign_up("Pip", &json!({})).await;
    none.is_error(428, "challenge_required");
    assert_eq!(read_challenge(&none).parameters.data["action"], "sign_up");
    for wrong in [forged.as_str(), "", "x", "bm90IEpTT04=", &"A".repeat(10_000)] {
        let failed = here.sign_up("Pip", &json!({"challenge": wrong})).await;
        failed.is_error(428, "challenge_failed");
        assert!(!read_challenge(&failed).signature.is_empty());
    }
    elsewhere.sign_up("Pip", &json!({"challenge": answer})).await.is_error(428, "challenge_failed");
    // One's neighbour is on the same network, as oneself is after a while.
    assert_eq!(neighbour.sign_up("Pip", &json!({"challenge": answer})).await.status, 201);
    here.sign_up("Flask", &json!({"challenge": answer})).await.is_error(428, "challenge_failed");
    site.clock.advance(Duration::from_secs(299));
    assert_eq!(here.sign_up("Flask", &json!({"challenge": other})).await.status, 201);
    site.clock.advance(Duration::from_secs(2));
    here.sign_up("Stubb", &json!({"challenge": late})).await.is_error(428, "challenge_failed");
    site.step(1).await;
    let metrics = site.control.get("/metrics").await;
    assert!(metrics.text().contains("cachalot_gate_level 1"), "{}", metrics.text());
}

#[tokio::test]
async fn a_place_is_its_network_s_and_nobody_else_s() {
    let site = served().await;
    let here = Stranger::at(&site, "203.0.113.7");
    let elsewhere = Stranger::at(&site, "198.51.100.7");
    let place = json!({"place": here.place("waiting_list").await});
    assert_eq!(site.gate().await["registration"]["waiting"], 1);
    site.step(60).await;
    assert_eq!(here.post("/api/places", &place).await.json()["waiting"]["called_up"], true);

    elsewhere.post("/api/places", &place).await.is_error(410, "place_gone");
    elsewhere.sign_up("Thief", &place).await.is_error(428, "challenge_required");
    for wrong in ["", "x", &"A".repeat(9000)] {
        here.post("/api/places", &json!({"place": wrong})).await.is_error(410, "place_gone");
    }
    // Another cannot give it up either.
    let left = elsewhere.ask("DELETE", "/api/places", "*/*", &place).await;
    assert_eq!(left.status, 204);
    assert_eq!(here.post("/api/places", &place).await.status, 200);
    assert_eq!(here.ask("DELETE", "/api/places", "*/*", &place).await.status, 204);
    here.post("/api/places", &place).await.is_error(410, "place_gone");
    assert_eq!(site.gate().await["registration"]["waiting"], 0);
}

#[tokio::test]
async fn where_there_is_no_place_it_is_said_when_to_come_back() {
    let site = Site::gated(Setup::with(|settings| {
        change(settings);
        settings.registration.places_max = 1;
    }))
    .await;
    let (first, second) = (Stranger::at(&site, "203.0.113.7"), Stranger::at(&site, "198.51.100.7"));
    let answer = second.solved().await;
    first.place("suspended").await;
    let refused = second.sign_up("Pip", &json!({"challenge": answer})).await;
    refused.is_error(503, "no_place");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 5);
}

#[tokio::test]
async fn a_pin_holds_and_survives_a_restart() {
    let site = served().await;
    site.pin(json!("suspended")).await;
    site.step(200).await;
    let before = site.gate().await;
    assert_eq!(
        (&before["registration"]["level"], &before["pin"]),
        (&json!("suspended"), &json!("suspended"))
    );
    assert_eq!(before["registration"]["reopens_in_seconds"], Value::Null);
    assert_eq!(before["registration"]["reasons"], json!([{"reason": "pinned"}]));
    let folder = site.folder.clone();
    within("the site stops", site.shut_down()).await.unwrap();

    let again = || {
        let mut setup = Setup::with(change);
        setup.administrator = false;
        setup.folder = Some(folder.clone());
        setup
    };
    let site = again().serve().await;
    let after = site.gate().await;
    for field in ["pin", "moves", "incident"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(after["registration"], before["registration"]);
    site.pin(Value::Null).await;
    site.step(60).await;
    assert_eq!(site.level().await, "open");
    within("the site stops", site.shut_down()).await.unwrap();
    let site = again().serve().await;
    assert_eq!((site.gate().await["pin"].clone(), site.level().await), (Value::Null, "open".to_owned()));
    let events: Vec<_> = site.store.audit_entries(None, 100).await.unwrap();
    let noted = |event: &str| events.iter().find(|entry| entry.event == event).unwrap().note.clone();
    assert_eq!((noted("gate_pinned"), noted("gate_unpinned")), (Some("suspended".to_owned()), None));
}

#[tokio::test]
async fn a_place_survives_a_restart_and_comes_before_newer_ones() {
    let site = served().await;
    let [first, second] = [7, 8].map(|host| format!("203.0.{host}.7"));
    let before = Stranger::at(&site, &first).place("suspended").await;
    site.pin(json!("open")).await;
    let after = Stranger::at(&site, &second).place("suspended").await;
    let folder = site.folder.clone();
    within("the site stops", site.shut_down()).await.unwrap();

    let mut setup = Setup::with(change);
    setup.administrator = false;
    setup.folder = Some(folder);
    // Another process, and later.
    (setup.seed, setup.began) = (setup.seed + 1, Duration::from_mins(5));
    let site = setup.serve().await;
    let [first, second] = [first, second].map(|address| Stranger::at(&site, &address));
    let newer = Stranger::at(&site, "198.51.100.7");
    site.pin(json!("open")).await;
    let newest = newer.place("suspended").await;
    // In another order than they came.
    let asked = async |who: &Stranger<'_>, place: &str| {
        let stands = who.post("/api/places", &json!({"place": place})).await;
        assert_eq!(stands.status, 200, "{}", stands.text());
        stands.json()["waiting"].clone()
    };
    assert_eq!(asked(&second, &after).await["ahead"], 0);
    assert_eq!(asked(&first, &before).await["ahead"], 0);
    assert_eq!(asked(&second, &after).await["ahead"], 1);
    let last = asked(&newer, &newest).await;
    assert_eq!((&last["ahead"], &last["about_seconds"]), (&json!(2), &Value::Null));
    site.pin(json!("waiting_list")).await;
    site.step(30).await;
    // With the ticket of before, once.
    let place = json!({"place": before});
    assert_eq!(first.sign_up("First", &place).await.status, 201);
    first.post("/api/places", &place).await.is_error(410, "place_gone");
    let renewed = asked(&second, &after).await["place"].clone();
    assert_eq!(second.sign_up("Second", &json!({"place": renewed})).await.status, 201);
}

#[tokio::test]
async fn pins_are_checked_and_noted_with_their_reason() {
    let site = served().await;
    let put = async |body: Value| site.control.send("PUT", GATE, &body).await;
    for wrong in [json!({}), json!({"level": "shut"}), json!({"level": ""})] {
        put(wrong).await.is_error(422, "invalid_parameter");
    }
    put(json!({"level": 3})).await.is_error(400, "invalid_format");
    put(json!({"level": "open", "reason": "x".repeat(201)})).await.is_error(422, "invalid_parameter");
    put(json!({"level": "email_first"})).await.is_error(422, "no_mail");
    assert_eq!(site.gate().await["pin"], Value::Null);
    assert_eq!(put(json!({"level": "invite_only", "reason": "the press is here"})).await.status, 200);
    let entry = site.store.audit_entries(None, 1).await.unwrap().remove(0);
    assert_eq!((entry.event.as_str(), entry.address.as_str()), ("gate_pinned", "this machine"));
    assert_eq!(entry.note.as_deref(), Some("invite_only: the press is here"));
    let shown = Stranger::at(&site, "203.0.113.7").ask("GET", "/status", "*/*", &Value::Null).await;
    assert!(!shown.text().contains("press"), "{}", shown.text());
}

#[tokio::test]
async fn an_invitation_makes_one_account() {
    let site = served().await;
    let stranger = Stranger::at(&site, "203.0.113.7");
    let other = Stranger::at(&site, "198.51.100.7");
    let shown = json!({"invitation": site.invitation().await});
    site.pin(json!("invite_only")).await;
    stranger.sign_up("Pip", &json!({})).await.is_error(428, "challenge_required");
    // A name that is taken uses nothing up.
    let answer = json!({"challenge": other.solved().await});
    other.sign_up("captain", &answer).await.is_error(409, "name_taken");
    site.pin(json!("challenge")).await;
    assert_eq!(other.sign_up("Starbuck", &answer).await.status, 201);
    site.pin(json!("invite_only")).await;
    stranger.sign_up("captain", &shown).await.is_error(409, "name_taken");
    assert_eq!(stranger.sign_up("Pip", &shown).await.status, 201);
    for again in [&stranger, &other] {
        again.sign_up("Flask", &shown).await.is_error(410, "invitation_gone");
    }
    other.sign_up("Flask", &json!({"invitation": "none"})).await.is_error(410, "invitation_gone");
    // Of many who come with one at once, one gets an account.
    let shown = json!({"invitation": site.invitation().await});
    let asking = (0..8).map(|number| {
        let (stranger, shown) = (Stranger::of_many(&site, number), &shown);
        async move { stranger.sign_up(&format!("Guest {number}"), shown).await.status }
    });
    let statuses = futures_util::future::join_all(asking).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    // While nobody gets an account, neither does who is invited; the invitation stays good.
    site.step(60).await;
    let late = json!({"invitation": site.invitation().await});
    site.pin(json!("suspended")).await;
    assert_eq!(stranger.sign_up("Stubb", &late).await.status, 202);
    site.pin(json!("invite_only")).await;
    assert_eq!(other.sign_up("Stubb", &late).await.status, 201);
    let old = json!({"invitation": site.invitation().await});
    site.clock.advance(Duration::from_hours(24));
    stranger.sign_up("Daggoo", &old).await.is_error(410, "invitation_gone");
}

#[tokio::test]
async fn who_has_an_account_never_meets_the_gate() {
    let site = served().await;
    let user = Stranger::at(&site, "192.0.2.9");
    let made = user.sign_up("Queequeg", &json!({})).await;
    let user = user.signed_in(&made);
    for level in LEVELS {
        site.pin(json!(level)).await;
        let elsewhere = Stranger::at(&site, "203.0.113.7");
        let login = json!({"login": "queequeg", "password": PASSWORD});
        assert_eq!(elsewhere.post("/api/login", &login).await.status, 200, "{level}");
        let begun = user.post("/api/conversations", &json!({"model": "plain"})).await;
        assert_eq!(begun.status, 201, "{level}: {}", begun.text());
        let path = format!("/api/conversations/{}/messages", begun.json()["id"].as_str().unwrap());
        let asked = user.post(&path, &json!({"content": "hello"})).await;
        assert!(asked.status < 300, "{level}: {}", asked.text());
        assert_eq!(user.ask("GET", "/api/session", "*/*", &Value::Null).await.status, 200, "{level}");
        // What operators make is not counted and not held up.
        let made =
            site.control.send("POST", "/api/admin/users", &json!({"name": format!("by {level}")})).await;
        assert_eq!(made.status, 201, "{level}: {}", made.text());
    }
    assert_eq!(site.gate().await["accounts_made"], 1);
}

#[tokio::test]
async fn what_young_accounts_cost_is_held_against_others() {
    let site = Site::gated(Setup::with(|settings| {
        change(settings);
        settings.registration.accounts_per_minute = 1000;
    }))
    .await;
    let mut people = Vec::new();
    for (kind, words) in [("Old", 1), ("Young", 300)] {
        site.clock.advance(Duration::from_hours(25));
        for number in 0..8 {
            let who = Stranger::of_many(&site, people.len() as u32);
            let made = who.sign_up(&format!("{kind} {number}"), &json!({})).await;
            assert_eq!(made.status, 201, "{}", made.text());
            people.push((who.signed_in(&made), format!("{number}: {}", "deep ".repeat(words))));
        }
    }
    assert_eq!(site.gate().await["signals"]["cost_per_account"], 0.0);
    for (who, content) in &people {
        let begun = who.post("/api/conversations", &json!({"model": "plain"})).await;
        let path = format!("/api/conversations/{}/messages", begun.json()["id"].as_str().unwrap());
        let asked = who.post(&path, &json!({"content": content})).await;
        assert!(asked.status < 300, "{}", asked.text());
    }
    let counted = async || {
        site.step(1).await;
        site.gate().await["signals"]["cost_per_account"].as_f64().unwrap() > 2.0
    };
    eventually("their answers are counted", counted).await;
}

#[tokio::test]
async fn the_status_is_everybody_s_and_a_page_for_browsers() {
    let site = served().await;
    let anybody = Stranger::at(&site, "203.0.113.7");
    let status = anybody.ask("GET", "/status", "application/json", &Value::Null).await;
    assert_eq!((status.status, status.header("cache-control")), (200, "no-store"));
    assert!(status.headers.get_all("vary").iter().any(|value| value == "accept"), "{:?}", status.headers);
    let json = status.json();
    assert_eq!(
        json,
        json!({
            "registration": {
                "level": "open", "pinned": false, "since_ms": 0, "reopens_in_seconds": 0, "offered": true,
                "waiting": 0, "accounts_per_minute": BUDGET, "reasons": [],
            },
            "incident": null,
            "moves": [],
        })
    );
    let page = anybody.ask("GET", "/status", "text/html,*/*;q=0.8", &Value::Null).await;
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.text());
    let keys: BTreeSet<_> = site.gate().await.as_object().unwrap().keys().cloned().collect();
    for key in ["registration", "incident", "moves", "pin", "signals", "accounts_made"] {
        assert!(keys.contains(key), "{keys:?}");
    }
}

#[tokio::test]
async fn without_the_gate_the_budget_holds_and_pins_do() {
    let site = Site::gated(Setup::with(|settings| {
        change(settings);
        settings.registration.gate = false;
    }))
    .await;
    let mut made = 0;
    for second in 0..5 {
        made += flood(&site, second).await;
    }
    assert_eq!(site.level().await, "open");
    assert!((1..=BUDGET as usize).contains(&made), "{made}");
    site.pin(json!("suspended")).await;
    Stranger::of_many(&site, 999).sign_up("Pip", &json!({})).await.is_error(428, "challenge_required");
}

#[tokio::test]
async fn a_letter_is_sent_and_its_account_made_as_the_gate_says() {
    let office = PostOffice::new().await;
    let site = Site::gated(office.setup(|settings| {
        let url = settings.public_url.clone();
        change(settings);
        settings.public_url = Some(format!("https://{NAME}/").parse().unwrap());
        assert!(url.is_some());
    }))
    .await;
    let stranger = Stranger::at(&site, "203.0.113.7");
    let asked = |name: &str| json!({"email": format!("{name}@pequod.example")});
    let with = |name: &str, shown: &Value| {
        let mut body = asked(name);
        body.as_object_mut().unwrap().extend(shown.as_object().unwrap().clone());
        body
    };
    let (answer, second) = (stranger.solved().await, stranger.solved().await);
    site.pin(json!("email_first")).await;
    stranger.sign_up("Pip", &json!({})).await.is_error(422, "email_required");
    stranger.sign_up("Pip", &asked("pip")).await.is_error(428, "challenge_required");
    assert_eq!(office.letters().len(), 0);
    let mailed = stranger.sign_up("Pip", &with("pip", &json!({"challenge": answer}))).await;
    assert_eq!(mailed.text(), "{\"mailed\":true}");
    let ticket_of = office.newest(1).await.ticket("verify");
    assert_eq!(site.gate().await["accounts_made"], 0);

    // The gate has closed since: who reads the letter waits, and comes again with the place.
    site.pin(json!("waiting_list")).await;
    let phone = Stranger::at(&site, "198.51.100.7");
    let waits = phone.post("/api/verify", &json!({"ticket": ticket_of})).await;
    let place = ticket(&waits);
    site.step(60).await;
    let verify = json!({"ticket": ticket_of, "place": place});
    assert_eq!(phone.post("/api/verify", &verify).await.status, 201);
    phone.post("/api/verify", &verify).await.is_error(400, "ticket_invalid");

    // No letter before somebody is called up; then the place goes with the letter wherever it is read.
    let waits = stranger.sign_up("Flask", &with("flask", &json!({"challenge": second}))).await;
    let place = json!({"place": ticket(&waits)});
    assert_eq!(office.letters().len(), 1);
    site.step(60).await;
    let mailed = stranger.sign_up("Flask", &with("flask", &place)).await;
    assert_eq!(mailed.text(), "{\"mailed\":true}");
    let ticket_of = office.newest(2).await.ticket("verify");
    assert_eq!(phone.post("/api/verify", &json!({"ticket": ticket_of})).await.status, 201);

    let invited = json!({"invitation": site.invitation().await});
    site.pin(json!("invite_only")).await;
    let mailed = stranger.sign_up("Stubb", &with("stubb", &invited)).await;
    assert_eq!(mailed.text(), "{\"mailed\":true}");
    let ticket_of = office.newest(3).await.ticket("verify");
    assert_eq!(phone.post("/api/verify", &json!({"ticket": ticket_of})).await.status, 201);
    stranger.sign_up("Daggoo", &with("daggoo", &invited)).await.is_error(410, "invitation_gone");
}
