//! A server to be asked, and a client to ask it.

mod authenticator;
mod client;
mod contract;
mod http2;
mod models;
mod provider;
mod smtp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock as _, ManualClock, Rng};
use dialogue::{Hub, HubConfig};
use serde_json::{Value, json};
use server::{
    ConnectionLimits, Parts, PasswordCost, PrefixCaps, Registration, ServeError, Server, Settings, Tls,
};
use store::{MasterKeys, SqliteStore, Store, UserId};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use authenticator::{Authenticator, Says, encode};
pub(crate) use client::{Client, Control, Event, Reply, Streaming};
pub(crate) use contract::{Asked, Contract};
pub(crate) use http2::{Http2, Raw, frame};
pub(crate) use models::{CONTEXT, Gate, Models};
pub(crate) use provider::{Acme, CLIENT_SECRET, Wrong};
pub(crate) use smtp::{PUBLIC_URL, PostOffice, TlsBegins};

/// Longest that anything is waited for before a test is believed to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// No cap.
pub(crate) const ALL: PrefixCaps = PrefixCaps { narrow: u32::MAX, middle: u32::MAX, wide: u32::MAX };

/// How to set a server up.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) models: Models,
    pub(crate) default_model: &'static str,
    /// The folder of the database; a new one if not set.
    pub(crate) folder: Option<Arc<TempDir>>,
    /// Whether the administrator is there and the site's client signed in.
    pub(crate) administrator: bool,
    /// Of the server's randomness.
    pub(crate) seed: u64,
    /// What the clock says at the start.
    pub(crate) began: Duration,
    /// Where it listens.
    pub(crate) listen: Vec<&'static str>,
    pub(crate) tls: Option<Tls>,
}

impl Default for Setup {
    fn default() -> Self {
        let settings = Settings {
            keep_alive: Duration::from_millis(40),
            progress_interval: Duration::from_millis(10),
            // What it costs is no matter here.
            password_cost: PasswordCost { memory_kib: 64, passes: 1 },
            // Everybody comes from this machine, and the clock stands.
            registration: Registration {
                accounts_per_minute: 100_000,
                accounts_per_address: 100_000,
                accounts_per_network: 100_000,
                ..Registration::default()
            },
            // One connection for each request, and a clock that stands still.
            connections: ConnectionLimits {
                new: ALL,
                new_strangers_max: u32::MAX,
                ..ConnectionLimits::default()
            },
            ..Settings::default()
        };
        Self {
            settings,
            models: Models::default(),
            default_model: "plain",
            folder: None,
            administrator: true,
            seed: 2,
            began: Duration::ZERO,
            listen: vec!["127.0.0.1:0"],
            tls: None,
        }
    }
}

/// A server that serves.
pub(crate) struct Site {
    /// The first of `addresses`.
    pub(crate) address: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) client: Client,
    pub(crate) control: Control,
    pub(crate) models: Models,
    pub(crate) hub: Hub,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) folder: Arc<TempDir>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Setup {
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.settings);
        setup
    }

    pub(crate) async fn serve(self) -> Site {
        let folder = self.folder.unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let clock = Arc::new(ManualClock::new());
        clock.advance(self.began);
        let path: PathBuf = folder.path().join("chats.db");
        let keys = MasterKeys::in_file(folder.path().join("master.key"));
        let store = SqliteStore::open(&path, keys, clock.clone(), Rng::from_os().unwrap()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let is_new = store.users_count().await.unwrap() == 0;
        let config = HubConfig { default_model: self.default_model.to_owned(), loaded_max: 8 };
        let hub = Hub::new(Box::new(self.models.clone()), config);
        let server = Server::new(Parts {
            settings: self.settings,
            hub: hub.clone(),
            store: Arc::clone(&store),
            clock: clock.clone(),
            rng: Rng::from_seed(self.seed),
            cookie_key: [5; 32],
            setup_token: is_new.then(|| SETUP_TOKEN.to_owned()),
        });
        let control = folder.path().join("control.sock");
        // A site before this one may have had it.
        let _ = std::fs::remove_file(&control);
        let server = server.with_control(UnixListener::bind(&control).unwrap());
        let mut listeners = Vec::new();
        for address in self.listen {
            listeners.push(TcpListener::bind(address).await.unwrap());
        }
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let address = addresses[0];
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(listeners, self.tls, async {
            // A site that is dropped stops too.
            let _ = stopped.await;
        }));
        let mut client = Client::new(address);
        if self.administrator {
            let reply = if is_new { set_up(&client).await } else { sign_in(&client, ADMINISTRATOR).await };
            assert!(reply.status < 300, "{}", reply.text());
            client = client.signed_in(&reply);
        }
        let control = Control(control);
        let models = self.models;
        Site { address, addresses, client, control, models, hub, store, clock, folder, stop, served }
    }

    /// What a server says that can't serve as it is set up.
    pub(crate) async fn fails(self) -> String {
        let clock = Arc::new(ManualClock::new());
        let store = SqliteStore::in_memory(clock.clone(), Rng::from_seed(1)).await.unwrap();
        let config = HubConfig { default_model: self.default_model.to_owned(), loaded_max: 8 };
        let server = Server::new(Parts {
            settings: self.settings,
            hub: Hub::new(Box::new(self.models), config),
            store: Arc::new(store),
            clock,
            rng: Rng::from_seed(2),
            cookie_key: [5; 32],
            setup_token: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served =
            within("the server says no", server.serve(vec![listener], None, std::future::pending())).await;
        served.unwrap_err().to_string()
    }
}

impl Site {
    pub(crate) async fn new() -> Self {
        Setup::default().serve().await
    }

    /// One of so little patience that who takes a pause may be cut off. It has no administrator, whose signing in could
    /// be what is cut off.
    pub(crate) async fn strict(change: impl FnOnce(&mut Settings)) -> Self {
        Setup { administrator: false, ..Setup::with(change) }.serve().await
    }

    /// Sequences that a loaded model holds.
    pub(crate) fn running(&self, model: &str) -> usize {
        let loaded = self.hub.loaded();
        let stats = loaded.iter().find(|dialogue| dialogue.name() == model).map(|dialogue| dialogue.stats());
        stats.map_or(0, |stats| stats.running + stats.waiting)
    }

    /// Waits until this is a line of the metrics. They come over the control socket: what limits connections does not
    /// limit who looks, and who looks is not counted as closed.
    pub(crate) async fn metric(&self, line: &str) {
        let is_there = async || self.control.get("/metrics").await.text().lines().any(|found| found == line);
        eventually(line, is_there).await;
    }

    /// Waits until one connection was closed by the server for this reason.
    pub(crate) async fn has_closed_for(&self, reason: &str) {
        self.metric(&format!("cachalot_http_connections_closed_total{{reason=\"{reason}\"}} 1")).await;
    }

    /// Begins the shutdown; the future is ready when the server has ended.
    pub(crate) fn shut_down(self) -> impl Future<Output = Result<(), ServeError>> {
        self.stop.send(()).unwrap();
        let served = self.served;
        async move { served.await.unwrap() }
    }
}

/// What makes the first administrator of a site.
pub(crate) const SETUP_TOKEN: &str = "4a6f6e6168206f6620746865207768616c";
pub(crate) const ADMINISTRATOR: &str = "captain";
/// Everybody's.
pub(crate) const PASSWORD: &str = "krill at four hundred fathoms";

pub(crate) async fn set_up(client: &Client) -> Reply {
    let asked = json!({"token": SETUP_TOKEN, "name": ADMINISTRATOR, "password": PASSWORD});
    client.post("/api/setup", &asked).await
}

pub(crate) async fn sign_in(client: &Client, login: &str) -> Reply {
    client.post("/api/login", &json!({"login": login, "password": PASSWORD})).await
}

impl Site {
    /// Somebody new, signed in, and their id.
    pub(crate) async fn user(&self, name: &str) -> (Client, UserId) {
        let nobody = Client::new(self.address);
        let reply = nobody.post("/api/sign-up", &json!({"name": name, "password": PASSWORD})).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        (nobody.signed_in(&reply), id_of(&reply.json()["user"]))
    }

    /// The id of whom the site's client is signed in as.
    pub(crate) async fn owner(&self) -> UserId {
        id_of(&self.client.get("/api/session").await.json()["user"])
    }
}

/// Asks with a key of somebody's.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Keyed {
    /// A new key of whom the client is signed in as.
    pub(crate) async fn new(owner: &Client, body: &Value) -> Self {
        let mut body = body.clone();
        body["name"] = json!("a program's");
        let made = owner.post("/api/keys", &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        Self {
            client: Client { cookie: None, ..owner.clone() },
            id: made["key"]["id"].as_str().unwrap().to_owned(),
            secret: made["secret"].as_str().unwrap().to_owned(),
        }
    }

    /// As from another machine, through a proxy that says so.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, body).await
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let bearer = format!("Bearer {}", self.secret);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.client.request(method, path, &headers, body).await
    }

    /// Sends a request and returns when the response's head is there.
    pub(crate) async fn open(&self, path: &str, body: &Value) -> Streaming {
        let bearer = format!("Bearer {}", self.secret);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.client.open("POST", path, &headers, serde_json::to_vec(body).unwrap()).await
    }
}

fn id_of(user: &Value) -> UserId {
    user["id"].as_str().unwrap().parse().unwrap()
}

/// What somebody has who turned one-time codes on.
pub(crate) struct OneTimeCodes {
    pub(crate) secret: String,
    pub(crate) recovery_codes: Vec<String>,
}

/// Turns them on.
pub(crate) async fn one_time_codes(site: &Site, client: &Client) -> OneTimeCodes {
    let begun = client.post("/api/account/totp/begin", &json!({"password": PASSWORD})).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let begun = begun.json();
    let secret = begun["secret"].as_str().unwrap().to_owned();
    let asked = json!({"ticket": begun["ticket"], "code": code_at(site, &secret, 0)});
    let on = client.post("/api/account/totp", &asked).await;
    assert_eq!(on.status, 200, "{}", on.text());
    let codes = on.json()["recovery_codes"].as_array().unwrap().clone();
    let recovery_codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    OneTimeCodes { secret, recovery_codes }
}

/// The code of now, or of some steps before or after.
pub(crate) fn code_at(site: &Site, secret: &str, steps: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let step = site.clock.unix_ms() / 30_000 + steps;
    totp.generate(step.unsigned_abs() * 30).to_string()
}

/// What the audit log says happened, the newest first.
pub(crate) async fn events(site: &Site) -> Vec<String> {
    let entries = site.store.audit_entries(None, 100).await.unwrap();
    entries.into_iter().map(|entry| entry.event).collect()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, wait).await;
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(tokio::time::error::Elapsed { .. }) => panic!("waited in vain: {what}"),
    }
}
