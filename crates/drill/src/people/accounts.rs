//! The accounts that were there before, made through the administrator's API, and taken away again from a server that
//! is somebody's.

use std::net::Ipv4Addr;
use std::time::Duration;

use base::Rng;
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};

use crate::address;
use crate::http::{Answer, Connection, Pass, Trouble};
use crate::plan::Plan;
use crate::target::{Admin, Target};
use crate::timer::Timer;

/// Accounts that are made at the same time: the server hashes a password for each.
const TOGETHER: usize = 4;
/// People's numbers, which their addresses go by: established ones from 0, returning ones come from new addresses.
const RETURNING_FROM: usize = 2000;

/// Somebody who can chat.
#[derive(Debug, Clone)]
pub(crate) struct Established {
    pub(crate) pass: Pass,
    pub(crate) address: Ipv4Addr,
}

/// Somebody who logs in.
#[derive(Debug, Clone)]
pub(crate) struct Returning {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// An account of before that is an attacker's.
#[derive(Debug, Clone)]
pub(crate) struct Sleeper {
    pub(crate) key: String,
}

/// Everybody of before.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Those with a cookie, then those with a key.
    pub(crate) established: Vec<Established>,
    pub(crate) returning: Vec<Returning>,
    pub(crate) sleepers: Vec<Sleeper>,
    /// The model that programs ask for.
    pub(crate) model: String,
    /// Passwords hashed a second meanwhile, [`TOGETHER`] at once.
    pub(crate) made_per_second: f64,
    /// What all names of this drill begin with.
    pub(crate) prefix: String,
}

/// Whoever makes the accounts, and takes them away.
#[derive(Debug, Clone)]
pub(crate) struct Administrator {
    target: Target,
    pass: Pass,
    /// What all names of this drill begin with.
    pub(crate) prefix: String,
}

/// The drill can't begin, or what it needs of the server didn't work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("{what}: {trouble}")]
    Trouble { what: &'static str, trouble: Trouble },
    #[error("{what}: the server answered {status} {body}")]
    Answer { what: &'static str, status: u16, body: String },
}

impl Failed {
    fn answer(what: &'static str, answer: &Answer) -> Self {
        let body: String = answer.body.to_string().chars().take(300).collect();
        Self::Answer { what, status: answer.status, body }
    }
}

/// Where an administrator calls from.
pub(crate) const DESK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A connection for what is no part of the drill's load.
struct Desk<'a> {
    target: &'a Target,
    connection: Connection,
}

impl<'a> Desk<'a> {
    async fn open(target: &'a Target, from: Ipv4Addr) -> Result<Self, Failed> {
        let connection = Connection::open(target, from).await;
        let connection = connection.map_err(|trouble| Failed::Trouble { what: "connecting", trouble })?;
        Ok(Self { target, connection })
    }

    /// Asks, once again over another connection where this one has ended meanwhile.
    async fn ask(
        &mut self,
        what: &'static str,
        (method, path): (&str, &str),
        pass: &Pass,
        body: Option<&Value>,
    ) -> Result<Answer, Failed> {
        let mut answer = self.connection.ask(method, path, pass, body).await;
        if answer.is_err() {
            *self = Self::open(self.target, DESK).await?;
            answer = self.connection.ask(method, path, pass, body).await;
        }
        let answer = answer.map_err(|trouble| Failed::Trouble { what, trouble })?;
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(Failed::answer(what, &answer)) }
    }
}

/// A password that nobody guesses.
pub(crate) fn password(rng: &mut Rng) -> String {
    format!("{:016x}{:08x}", rng.next_u64(), rng.next_u64() >> 32)
}

impl Administrator {
    pub(crate) fn pass(&self) -> &Pass {
        &self.pass
    }

    /// Signs in, or becomes the administrator of a new server.
    pub(crate) async fn sign_in(target: &Target, plan: &Plan) -> Result<Self, Failed> {
        let prefix = format!("drill-{:x}", plan.seed);
        let mut rng = Rng::from_seed(plan.seed ^ 0xad31);
        let mut desk = Desk::open(target, DESK).await?;
        let (what, path, body) = match &target.admin {
            Admin::Setup(token) => {
                let name = format!("{prefix}-captain");
                let body = json!({"token": token, "name": name, "password": password(&mut rng)});
                ("making the administrator", "/api/setup", body)
            }
            Admin::Login { name, password } => {
                ("signing in as administrator", "/api/login", json!({"login": name, "password": password}))
            }
        };
        let answer = desk.ask(what, ("POST", path), &Pass::None, Some(&body)).await?;
        let pass = answer.cookie.clone().map(Pass::Cookie).ok_or_else(|| Failed::answer(what, &answer))?;
        Ok(Self { target: target.clone(), pass, prefix })
    }

    /// Accounts whose name begins like those of attackers, as the server counts them.
    pub(crate) async fn count_of_attackers(&self) -> Result<u64, Failed> {
        let mut desk = Desk::open(&self.target, DESK).await?;
        let path = format!("/api/admin/users?limit=1&q={}-mob-", self.prefix);
        let page = desk.ask("counting accounts", ("GET", &path), &self.pass, None).await?;
        page.body["total"].as_u64().ok_or_else(|| Failed::answer("counting accounts", &page))
    }

    /// Deletes every account of this drill, until there are none twice: the server may have been asked for one that it
    /// has not made yet.
    pub(crate) async fn remove_all(&self) -> Result<(), Failed> {
        let mut desk = Desk::open(&self.target, DESK).await?;
        let mut seen_none = false;
        loop {
            let path = format!("/api/admin/users?limit=100&q={}-", self.prefix);
            let page = desk.ask("finding the drill's accounts", ("GET", &path), &self.pass, None).await?;
            let users = page.body["users"].as_array().cloned().unwrap_or_default();
            if users.is_empty() {
                if seen_none {
                    return Ok(());
                }
                seen_none = true;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            for user in users {
                let path = format!("/api/admin/users/{}", user["id"].as_str().unwrap_or_default());
                desk.ask("deleting an account", ("DELETE", &path), &self.pass, Some(&json!({}))).await?;
            }
        }
    }
}

impl Accounts {
    /// Makes everybody of before.
    pub(crate) async fn make(by: &Administrator, plan: &Plan, timer: &Timer) -> Result<Self, Failed> {
        let mut rng = Rng::from_seed(plan.seed ^ 0xacc0);
        let prefix = by.prefix.clone();
        let people = &plan.people;
        let wanted = [
            ("cookie", people.with_cookie),
            ("key", people.with_key),
            ("returning", people.returning),
            ("sleeper", people.sleepers),
        ];
        let mut named = Vec::new();
        for (class, count) in wanted {
            for number in 0..count {
                named.push((class, format!("{prefix}-{class}-{number}"), password(&mut rng)));
            }
        }
        let began = timer.now();
        let made = make_all(by, &named).await?;
        let took = (timer.now() - began).as_secs_f64();
        let mut all = Self {
            established: Vec::new(),
            returning: Vec::new(),
            sleepers: Vec::new(),
            model: String::new(),
            // A browser's login takes a hash too.
            made_per_second: (named.len() + people.with_cookie) as f64 / took.max(1e-3),
            prefix,
        };
        for ((class, name, password), made) in named.into_iter().zip(made) {
            match class {
                "returning" => all.returning.push(Returning { name, password }),
                "sleeper" => all.sleepers.push(Sleeper { key: made }),
                _ => {
                    let address = address::of_person(all.established.len());
                    let pass = if class == "key" { Pass::Key(made) } else { Pass::Cookie(made) };
                    all.established.push(Established { pass, address });
                }
            }
        }
        all.model = model(&by.target, &all).await?;
        Ok(all)
    }
}

/// Makes these accounts, a few at a time; gives what each of them comes with: a cookie, a key, or nothing.
async fn make_all(
    by: &Administrator,
    named: &[(&'static str, String, String)],
) -> Result<Vec<String>, Failed> {
    let mut made = vec![String::new(); named.len()];
    // Dropped with whoever waits, and then makes no more.
    let mut making = JoinSet::new();
    for (number, (class, name, password)) in named.iter().enumerate() {
        while making.len() >= TOGETHER {
            keep_one(&mut making, &mut made).await?;
        }
        let (by, class, name, password) = (by.clone(), *class, name.clone(), password.clone());
        let home = address::of_person(number);
        making.spawn(async move { Ok((number, make_one(by, class, name, password, home).await?)) });
    }
    while !making.is_empty() {
        keep_one(&mut making, &mut made).await?;
    }
    Ok(made)
}

async fn keep_one(
    making: &mut JoinSet<Result<(usize, String), Failed>>,
    made: &mut [String],
) -> Result<(), Failed> {
    let panicked = |error: JoinError| Failed::Trouble {
        what: "making an account",
        trouble: Trouble::Cut(error.to_string()),
    };
    if let Some(ended) = making.join_next().await {
        let (number, with) = ended.map_err(panicked)??;
        made[number] = with;
    }
    Ok(())
}

async fn make_one(
    by: Administrator,
    class: &'static str,
    name: String,
    password: String,
    home: Ipv4Addr,
) -> Result<String, Failed> {
    let Administrator { target, pass: admin, .. } = by;
    let mut desk = Desk::open(&target, DESK).await?;
    let body = json!({"name": name, "password": password});
    let made = desk.ask("making an account", ("POST", "/api/admin/users"), &admin, Some(&body)).await?;
    let id = made.body["user"]["id"].as_str().ok_or_else(|| Failed::answer("making an account", &made))?;
    match class {
        "cookie" => {
            let mut browser = Desk::open(&target, home).await?;
            let body = json!({"login": name, "password": password});
            let answer = browser.ask("signing in", ("POST", "/api/login"), &Pass::None, Some(&body)).await?;
            answer.cookie.clone().ok_or_else(|| Failed::answer("signing in", &answer))
        }
        "key" | "sleeper" => {
            let path = format!("/api/admin/users/{id}/keys");
            let answer =
                desk.ask("making a key", ("POST", &path), &admin, Some(&json!({"name": "drill"}))).await?;
            let secret = answer.body["secret"].as_str().map(str::to_owned);
            secret.ok_or_else(|| Failed::answer("making a key", &answer))
        }
        _ => Ok(String::new()),
    }
}

/// The first model that a program may ask.
async fn model(target: &Target, accounts: &Accounts) -> Result<String, Failed> {
    let Some(user) = accounts.established.last() else { return Ok(String::new()) };
    let mut desk = Desk::open(target, user.address).await?;
    let answer = desk.ask("asking for the models", ("GET", "/v1/models"), &user.pass, None).await?;
    let id = answer.body["data"][0]["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| Failed::answer("asking for the models", &answer))
}

/// Where a returning user is when they log in for the so-manieth time: never where they were before.
pub(crate) fn new_address(visit: usize) -> Ipv4Addr {
    address::of_person(RETURNING_FROM + visit)
}
