use clap::Subcommand;
use serde_json::{Value, json};

use crate::admin::find::{path_of, text};
use crate::admin::output::{say, say_json, say_rows, time};
use crate::admin::{self, Admin};
use crate::home::Context;

/// Looks after API keys, with which programs ask in users' names.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Lists the keys of a user, expired ones included.
    List {
        user: String,
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Makes a key of a user and prints it, this once.
    Add {
        user: String,
        /// What it is called.
        name: String,
        #[command(flatten)]
        scope: Scope,
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Changes what a key may be used for; what is not named stays.
    Change {
        user: String,
        /// The id of a key, as `cachalot key list` shows it, or its name.
        key: String,
        /// Another name.
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Ends a key for good. It counts at once.
    Revoke {
        user: String,
        /// The id of a key, as `cachalot key list` shows it, or its name.
        key: String,
    },
}

#[derive(Debug, Default, clap::Args)]
struct Scope {
    /// The models that it may be used for, with commas between them, or `none` for no restriction.
    #[arg(long, value_name = "NAMES")]
    models: Option<String>,

    /// The addresses and ranges that it may be used from, with commas between them, or `none` for any.
    #[arg(long, value_name = "RANGES")]
    addresses: Option<String>,

    /// Days after which it expires, or `none` for never.
    #[arg(long, value_name = "DAYS", value_parser = limit)]
    days: Option<Limit>,

    /// What all requests with it may cost together, in decimal, or `none`.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    spend_max: Option<String>,

    /// Most requests going on at once, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    requests_at_once: Option<Limit>,

    /// Most requests within 24 hours, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    requests_per_day: Option<Limit>,

    /// Most tokens within 24 hours, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    tokens_per_day: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Most(u64),
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    text.parse().map(Limit::Most).map_err(|_| "a whole number or `none` is allowed".to_owned())
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Scope {
    /// The fields of a body that were named.
    fn body(&self, now_ms: i64) -> Value {
        let mut body = json!({});
        for (field, given) in [("models", &self.models), ("addresses", &self.addresses)] {
            match given.as_deref() {
                Some("none") => body[field] = Value::Null,
                Some(given) => {
                    let names = given.split(',').map(str::trim).filter(|name| !name.is_empty());
                    body[field] = names.collect();
                }
                None => {}
            }
        }
        match self.spend_max.as_deref() {
            Some("none") => body["spend_max"] = Value::Null,
            Some(amount) => body["spend_max"] = amount.into(),
            None => {}
        }
        match self.days {
            Some(Limit::None) => body["expires_ms"] = Value::Null,
            Some(Limit::Most(days)) => {
                let ms = i64::try_from(days.saturating_mul(DAY_MS)).unwrap_or(i64::MAX);
                body["expires_ms"] = now_ms.saturating_add(ms).into();
            }
            None => {}
        }
        for (field, limit) in [
            ("requests_at_once", self.requests_at_once),
            ("requests_per_day", self.requests_per_day),
            ("tokens_per_day", self.tokens_per_day),
        ] {
            match limit {
                Some(Limit::Most(most)) => body[field] = most.into(),
                Some(Limit::None) => body[field] = Value::Null,
                None => {}
            }
        }
        body
    }
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let now_ms = context.clock.unix_ms();
    admin::run(context, async |admin: &Admin| carry_out(admin, arguments.order, now_ms).await)
}

async fn carry_out(admin: &Admin, order: Order, now_ms: i64) -> anyhow::Result<()> {
    match order {
        Order::List { user, json } => {
            let user = admin.user(&user).await?;
            list(&keys_of(admin, &user).await?, json)
        }
        Order::Add { user, name, scope, json } => {
            let user = admin.user(&user).await?;
            let mut body = scope.body(now_ms);
            body["name"] = name.into();
            let made: Value = admin.ask("POST", &path_of("users", &user, "/keys"), Some(&body)).await?;
            if json { say_json(&made) } else { say(text(&made, "secret")) }
        }
        Order::Change { user, key, rename, scope } => {
            let user = admin.user(&user).await?;
            let key = find(admin, &user, &key).await?;
            let mut body = scope.body(now_ms);
            if let Some(rename) = rename {
                body["name"] = rename.into();
            }
            let changed: Value = admin.ask("PATCH", &path_of_key(&user, &key), Some(&body)).await?;
            list(&[changed], false)
        }
        Order::Revoke { user, key } => {
            let user = admin.user(&user).await?;
            let key = find(admin, &user, &key).await?;
            admin.ask::<()>("DELETE", &path_of_key(&user, &key), None).await?;
            say(&format!("the key {} of {} is good no more", text(&key, "name"), text(&user, "name")))
        }
    }
}

async fn keys_of(admin: &Admin, user: &Value) -> anyhow::Result<Vec<Value>> {
    let mut listed: Value = admin.ask("GET", &path_of("users", user, "/keys"), None).await?;
    Ok(listed["keys"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// The key with this id or, if there is but one, this name. What is typed stands in no path: only what the server said
/// does.
async fn find(admin: &Admin, user: &Value, given: &str) -> anyhow::Result<Value> {
    let keys = keys_of(admin, user).await?;
    let with = |field: &str| keys.iter().filter(|key| text(key, field) == given).cloned().collect::<Vec<_>>();
    let (by_id, mut by_name) = (with("id"), with("name"));
    if let Some(key) = by_id.into_iter().next() {
        return Ok(key);
    }
    match (by_name.pop(), by_name.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), _) => anyhow::bail!("several keys are called {given:?}: name one by its id"),
        (None, _) => {
            let name = text(user, "name");
            anyhow::bail!("{name} has no key {given:?}; `cachalot key list {name}` shows all")
        }
    }
}

fn path_of_key(user: &Value, key: &Value) -> String {
    path_of("users", user, &format!("/keys/{}", text(key, "id")))
}

fn list(keys: &[Value], json: bool) -> anyhow::Result<()> {
    if json {
        return say_json(&json!({ "keys": keys }));
    }
    let heads =
        ["NAME", "ID", "START", "SINCE", "LAST USED", "EXPIRES", "SPENT", "MODELS"].map(str::to_owned);
    let row = |key: &Value| {
        let when = |field: &str| key[field].as_i64().map_or("-".to_owned(), time);
        let word = |field: &str| text(key, field).to_owned();
        let models = key["models"].as_array().map_or("all".to_owned(), |models| {
            models.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        });
        let spent = match key["spend_max"].as_str() {
            Some(most) => format!("{} of {most}", text(key, "spent")),
            None => word("spent"),
        };
        [
            word("name"),
            word("id"),
            word("start"),
            when("created_ms"),
            when("used_ms"),
            when("expires_ms"),
            spent,
            models,
        ]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(keys.iter().map(row)).collect();
    say_rows([16, 0, 0, 0, 0, 0, 0, 0], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_in_the_body() {
        assert_eq!(Scope::default().body(0), json!({}));
        let scope = Scope {
            models: Some("a, b,".to_owned()),
            addresses: Some("none".to_owned()),
            days: Some(Limit::Most(2)),
            spend_max: Some("1.50".to_owned()),
            requests_per_day: Some(Limit::None),
            tokens_per_day: Some(Limit::Most(9)),
            ..Scope::default()
        };
        let expected = json!({
            "models": ["a", "b"], "addresses": null, "expires_ms": 172_800_001, "spend_max": "1.50",
            "requests_per_day": null, "tokens_per_day": 9,
        });
        assert_eq!(scope.body(1), expected);
        let never = Scope { days: Some(Limit::None), spend_max: Some("none".to_owned()), ..Scope::default() };
        assert_eq!(never.body(1), json!({"expires_ms": null, "spend_max": null}));
    }
}
