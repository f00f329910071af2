use std::io::{BufRead as _, IsTerminal as _};

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::admin::find::{path_of, text};
use crate::admin::output::{counted, or_dash, say, say_json, say_rows, time};
use crate::admin::{self, Admin};
use crate::home::Context;
use crate::pull::text::printable;

/// Looks after accounts, whether the server runs or not.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Lists accounts: all of them, or those whose name or email address holds a text.
    List {
        text: Option<String>,
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Shows an account.
    Show {
        name: String,
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Makes an account; the password is asked for, or read from standard input where that is no terminal.
    Add {
        name: String,
        #[arg(long, value_enum, default_value = "user")]
        role: RoleName,
        /// Their email address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Makes a password and prints it.
        #[arg(long)]
        generate: bool,
    },
    /// Sets another password and signs the user out everywhere.
    Password {
        name: String,
        /// Makes a password and prints it.
        #[arg(long)]
        generate: bool,
    },
    /// Sets what a user may do.
    Role {
        name: String,
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Signs a user out and lets them in no more; nothing of theirs is deleted.
    Disable { name: String },
    /// Lets a disabled user in again.
    Enable { name: String },
    /// Removes a user's passkeys, authenticator app and recovery codes, and says with what they still sign in.
    Factors { name: String },
    /// Deletes a user with all their conversations and the key that could read them. This can't be undone.
    Rm { name: String },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleName {
    User,
    Operator,
    Admin,
}

impl RoleName {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| carry_out(admin, arguments.order).await)
}

async fn carry_out(admin: &Admin, order: Order) -> anyhow::Result<()> {
    match order {
        Order::List { text, json } => list(admin, text.as_deref().unwrap_or_default(), json).await,
        Order::Show { name, json } => show(admin, &name, json).await,
        Order::Add { name, role, email, generate } => {
            let password = if generate { None } else { Some(new_password(&name)?) };
            let asked = json!({"name": name, "role": role.as_str(), "email": email, "password": password});
            let made: Value = admin.ask("POST", "/api/admin/users", Some(&asked)).await?;
            let user = &made["user"];
            say(&format!("{} can sign in ({})", text(user, "name"), text(user, "role")))?;
            say_password(&made)
        }
        Order::Password { name, generate } => {
            let user = admin.user(&name).await?;
            let password = if generate { None } else { Some(new_password(text(&user, "name"))?) };
            let path = path_of("users", &user, "/password");
            let set: Value = admin.ask("POST", &path, Some(&json!({"password": password}))).await?;
            let ended = counted(set["sessions"].as_u64().unwrap_or_default(), "session");
            say(&format!("{} has a new password and is signed out of {ended}", text(&user, "name")))?;
            say_password(&set)
        }
        Order::Role { name, role } => {
            let user = change(admin, &name, &json!({"role": role.as_str()})).await?;
            say(&format!("{} is {} now", text(&user, "name"), text(&user, "role")))
        }
        Order::Disable { name } => {
            let user = change(admin, &name, &json!({"disabled": true})).await?;
            say(&format!("{} can sign in no more", text(&user, "name")))
        }
        Order::Enable { name } => {
            let user = change(admin, &name, &json!({"disabled": false})).await?;
            say(&format!("{} can sign in again", text(&user, "name")))
        }
        Order::Factors { name } => {
            let user = admin.user(&name).await?;
            let left: Value = admin.ask("DELETE", &path_of("users", &user, "/factors"), None).await?;
            let name = text(&left, "name");
            say(&match ways_in(&left).as_slice() {
                [] => format!(
                    "{name} has no way in any more: `cachalot user password {name:?}` sets a password, or, where letters \
                     are sent, they reset it with their address"
                ),
                ways => format!("{name} signs in with {}", ways.join(", or ")),
            })
        }
        Order::Rm { name } => {
            let user = admin.user(&name).await?;
            admin.ask::<()>("DELETE", &path_of("users", &user, ""), None).await?;
            say(&format!("{} is gone, with everything of theirs", text(&user, "name")))
        }
    }
}

/// With what somebody signs in, in words.
fn ways_in(user: &Value) -> Vec<String> {
    let ways = user["ways_in"].as_array().into_iter().flatten().filter_map(Value::as_str);
    ways.map(|way| match way {
        "password" if user["totp"] == true => "the password and a code".to_owned(),
        "password" => "the password alone".to_owned(),
        "passkey" => "a passkey".to_owned(),
        "provider" => "an account elsewhere".to_owned(),
        other => other.to_owned(),
    })
    .collect()
}

async fn change(admin: &Admin, name: &str, change: &Value) -> anyhow::Result<Value> {
    let user = admin.user(name).await?;
    admin.ask("PATCH", &path_of("users", &user, ""), Some(change)).await
}

async fn list(admin: &Admin, holding: &str, json: bool) -> anyhow::Result<()> {
    if json {
        let mut all = Vec::new();
        let each = async |mut users: Vec<Value>| {
            all.append(&mut users);
            Ok(())
        };
        admin.users(holding, each).await?;
        return say_json(&json!({ "users": all }));
    }
    let each = async |users: Vec<Value>| {
        let row = |user: &Value| {
            let state = match (user["disabled_ms"].is_null(), ways_in(user).is_empty()) {
                (false, _) => "disabled",
                (true, true) => "no way in",
                (true, false) => "",
            };
            let (name, role) = (text(user, "name").to_owned(), text(user, "role").to_owned());
            [name, role, or_dash(user["email"].as_str()), state.to_owned()]
        };
        say_rows([24, 9, 32, 0], &users.iter().map(row).collect::<Vec<_>>())
    };
    admin.users(holding, each).await
}

async fn show(admin: &Admin, name: &str, json: bool) -> anyhow::Result<()> {
    let user = admin.user(name).await?;
    if json {
        return say_json(&user);
    }
    let ids: Vec<&str> = user["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let groups = admin.groups().await?.into_iter().filter(|group| ids.contains(&text(group, "id")));
    let groups: Vec<String> = groups.map(|group| text(&group, "name").to_owned()).collect();
    let when = |field: &str| user[field].as_i64().map(time);
    let rows = [
        ("name", Some(text(&user, "name").to_owned())),
        ("id", Some(text(&user, "id").to_owned())),
        ("email", user["email"].as_str().map(str::to_owned)),
        ("role", Some(text(&user, "role").to_owned())),
        ("groups", Some(groups.join(", ")).filter(|groups| !groups.is_empty())),
        ("signs in", Some(ways_in(&user).join(", or ")).filter(|ways| !ways.is_empty())),
        ("since", when("created_ms")),
        ("last seen", when("seen_ms")),
        ("disabled", when("disabled_ms")),
    ];
    say_rows([10, 0], &rows.map(|(head, value)| [head.to_owned(), or_dash(value.as_deref())]))?;
    if ways_in(&user).is_empty() {
        say(&format!(
            "There is no way in: `cachalot user password {:?}` sets a password",
            text(&user, "name")
        ))?;
    }
    Ok(())
}

/// Shows the password where the server made it.
fn say_password(answer: &Value) -> anyhow::Result<()> {
    match answer["password"].as_str() {
        Some(password) => say(&format!("The password, which is shown only now: {password}")),
        None => Ok(()),
    }
}

/// Asks for a password, twice where somebody types it.
fn new_password(name: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password(format!("Password for {}: ", printable(name)))?;
        if rpassword::prompt_password("The same again: ")? != password {
            bail!("the two passwords differ; nothing was changed");
        }
        Ok(password)
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
