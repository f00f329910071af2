use clap::Subcommand;
use serde_json::{Value, json};

use crate::admin::find::{path_of, text};
use crate::admin::output::{say, say_json, say_rows, time};
use crate::admin::{self, Admin};
use crate::home::Context;

/// Looks after the devices on which users are signed in.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Lists the sessions of a user, or of all.
    List {
        user: Option<String>,
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Signs a user out everywhere, or on one device. It counts within seconds.
    Revoke {
        user: String,
        /// The id of a session, as `cachalot session list` shows it.
        session: Option<String>,
    },
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| match arguments.order {
        Order::List { user: Some(user), json } => {
            let user = admin.user(&user).await?;
            list(&sessions_of(admin, &user).await?, json)
        }
        Order::List { user: None, json } => list_all(admin, json).await,
        Order::Revoke { user, session } => revoke(admin, &user, session.as_deref()).await,
    })
}

/// Sessions of a user, each with the name.
async fn sessions_of(admin: &Admin, user: &Value) -> anyhow::Result<Vec<Value>> {
    let mut listed: Value = admin.ask("GET", &path_of("users", user, "/sessions"), None).await?;
    let mut sessions = listed["sessions"].as_array_mut().map(std::mem::take).unwrap_or_default();
    for session in &mut sessions {
        session["user"] = user["name"].clone();
    }
    Ok(sessions)
}

async fn list_all(admin: &Admin, json: bool) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let each = async |users: Vec<Value>| {
        // Whoever was never seen is not signed in.
        for user in users.iter().filter(|user| !user["seen_ms"].is_null()) {
            all.append(&mut sessions_of(admin, user).await?);
        }
        Ok(())
    };
    admin.users("", each).await?;
    list(&all, json)
}

fn list(sessions: &[Value], json: bool) -> anyhow::Result<()> {
    if json {
        return say_json(&json!({ "sessions": sessions }));
    }
    let heads = ["USER", "SESSION", "LAST SEEN", "SINCE", "ADDRESS", "BROWSER"].map(str::to_owned);
    let row = |session: &Value| {
        let when = |field: &str| session[field].as_i64().map(time).unwrap_or_default();
        let word = |field: &str| text(session, field).to_owned();
        [word("user"), word("id"), when("seen_ms"), when("created_ms"), word("address"), word("agent")]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(sessions.iter().map(row)).collect();
    say_rows([16, 0, 0, 0, 0, 0], &rows)
}

async fn revoke(admin: &Admin, user: &str, session: Option<&str>) -> anyhow::Result<()> {
    let user = admin.user(user).await?;
    let name = text(&user, "name");
    match session {
        Some(session) => {
            let sessions = sessions_of(admin, &user).await?;
            // What is typed stands in no path: only what the server said does.
            let Some(found) = sessions.iter().find(|found| text(found, "id") == session) else {
                anyhow::bail!("{name} has no such session; `cachalot session list` shows all");
            };
            let path = path_of("users", &user, &format!("/sessions/{}", text(found, "id")));
            admin.ask::<()>("DELETE", &path, None).await?;
            say(&format!("{name} is signed out on that device"))
        }
        None => {
            admin.ask::<()>("DELETE", &path_of("users", &user, "/sessions"), None).await?;
            say(&format!("{name} is signed out everywhere"))
        }
    }
}
