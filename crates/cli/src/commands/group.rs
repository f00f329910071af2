use clap::Subcommand;
use serde_json::{Value, json};

use crate::admin::find::{path_of, text};
use crate::admin::output::{say, say_json, say_rows};
use crate::admin::{self, Admin};
use crate::home::Context;

/// Looks after groups: which models their members may use, and how much. Everybody is in `everyone`; who is in
/// several has the models of all and the most generous of each limit.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Lists all groups.
    List {
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Makes a group, of all models and without limits where nothing else is said.
    Add {
        name: String,
        #[command(flatten)]
        gives: Gives,
    },
    /// Changes what a group gives; what is not named stays.
    Set {
        name: String,
        /// Another name.
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        #[command(flatten)]
        gives: Gives,
    },
    /// Deletes a group; its members lose what only it gave them.
    Rm { name: String },
    /// Puts a user into a group.
    Join { group: String, user: String },
    /// Takes a user out of a group.
    Leave { group: String, user: String },
}

#[derive(Debug, clap::Args)]
struct Gives {
    /// The models that members may use, with commas between them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "all_models")]
    models: Option<Vec<String>>,

    /// Members may use all models.
    #[arg(long)]
    all_models: bool,

    /// Most answers being written at once for each member, or `none` for no limit.
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    answers_at_once: Option<Limit>,

    /// Most answers for each member within 24 hours, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    messages_per_day: Option<Limit>,

    /// Most tokens of an answer, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    output_tokens_max: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Most(u32),
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    text.parse().map(Limit::Most).map_err(|_| "a whole number or `none` is allowed".to_owned())
}

impl Gives {
    /// The fields of a body that were named.
    fn body(&self) -> Value {
        let mut body = json!({});
        if let Some(models) = &self.models {
            let names = models.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
            body["models"] = names.collect();
        } else if self.all_models {
            body["models"] = Value::Null;
        }
        for (field, limit) in [
            ("answers_at_once", self.answers_at_once),
            ("messages_per_day", self.messages_per_day),
            ("output_tokens_max", self.output_tokens_max),
        ] {
            match limit {
                Some(Limit::Most(most)) => body["limits"][field] = most.into(),
                Some(Limit::None) => body["limits"][field] = Value::Null,
                None => {}
            }
        }
        body
    }
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| carry_out(admin, arguments.order).await)
}

async fn carry_out(admin: &Admin, order: Order) -> anyhow::Result<()> {
    match order {
        Order::List { json } => list(&admin.groups().await?, json),
        Order::Add { name, gives } => {
            let mut body = gives.body();
            body["name"] = name.into();
            let made: Value = admin.ask("POST", "/api/admin/groups", Some(&body)).await?;
            say(&format!("{} is a group of nobody yet", text(&made, "name")))
        }
        Order::Set { name, rename, gives } => {
            let group = admin.group(&name).await?;
            let mut body = gives.body();
            if let Some(rename) = rename {
                body["name"] = rename.into();
            }
            let changed: Value = admin.ask("PATCH", &path_of("groups", &group, ""), Some(&body)).await?;
            list(&[changed], false)
        }
        Order::Rm { name } => {
            let group = admin.group(&name).await?;
            admin.ask::<()>("DELETE", &path_of("groups", &group, ""), None).await?;
            say(&format!("{} is gone", text(&group, "name")))
        }
        Order::Join { group, user } => {
            let (group, user) = (admin.group(&group).await?, admin.user(&user).await?);
            move_user(admin, &user, &group, true).await?;
            say(&format!("{} is in {}", text(&user, "name"), text(&group, "name")))
        }
        Order::Leave { group, user } => {
            let (group, user) = (admin.group(&group).await?, admin.user(&user).await?);
            if group["id"] == EVERYONE {
                anyhow::bail!("everybody is in {}", text(&group, "name"));
            }
            move_user(admin, &user, &group, false).await?;
            say(&format!("{} is not in {}", text(&user, "name"), text(&group, "name")))
        }
    }
}

const EVERYONE: &str = "00000000-0000-0000-0000-000000000000";

/// Puts a user into a group, or takes them out.
async fn move_user(admin: &Admin, user: &Value, group: &Value, into: bool) -> anyhow::Result<()> {
    let before = user["groups"].as_array().into_iter().flatten().cloned();
    let mut groups: Vec<Value> = before.filter(|id| *id != group["id"]).collect();
    if into {
        groups.push(group["id"].clone());
    }
    let path = path_of("users", user, "");
    admin.ask::<Value>("PATCH", &path, Some(&json!({ "groups": groups }))).await?;
    Ok(())
}

fn list(groups: &[Value], json: bool) -> anyhow::Result<()> {
    if json {
        return say_json(&json!({ "groups": groups }));
    }
    let heads = ["NAME", "MEMBERS", "AT ONCE", "PER DAY", "TOKENS", "MODELS"].map(str::to_owned);
    let row = |group: &Value| {
        let limit =
            |field: &str| group["limits"][field].as_u64().map_or("-".to_owned(), |most| most.to_string());
        let models = match group["models"].as_array() {
            None => "all".to_owned(),
            Some(models) if models.is_empty() => "none".to_owned(),
            Some(models) => models.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        };
        [
            text(group, "name").to_owned(),
            group["members"].to_string(),
            limit("answers_at_once"),
            limit("messages_per_day"),
            limit("output_tokens_max"),
            models,
        ]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(groups.iter().map(row)).collect();
    say_rows([24, 0, 0, 0, 0, 0], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Gives = Gives {
        models: None,
        all_models: false,
        answers_at_once: None,
        messages_per_day: None,
        output_tokens_max: None,
    };

    #[test]
    fn only_what_is_named_is_in_the_body() {
        assert_eq!(NOTHING.body(), json!({}));
        assert_eq!(Gives { all_models: true, ..NOTHING }.body(), json!({"models": null}));
        let models = Some(vec!["a".to_owned(), " b ".to_owned(), String::new()]);
        assert_eq!(Gives { models, ..NOTHING }.body(), json!({"models": ["a", "b"]}));
        let limits =
            Gives { messages_per_day: Some(Limit::None), answers_at_once: Some(Limit::Most(0)), ..NOTHING };
        assert_eq!(limits.body(), json!({"limits": {"messages_per_day": null, "answers_at_once": 0}}));
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!((limit("none"), limit("7")), (Ok(Limit::None), Ok(Limit::Most(7))));
        for wrong in ["", "-1", "7x", "null", "99999999999"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
