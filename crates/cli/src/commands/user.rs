use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base::Rng;
use clap::Subcommand;
use store::{
    NewUser, SessionStore as _, SqliteStore, StoreHealth as _, User, UserPageRequest, UserRole,
    UserStore as _,
};

use crate::home::Context;
use crate::master_keys::master_keys;
use crate::pull::text::printable;

/// Looks after accounts while the server is stopped; while it runs, it alone has the database.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Lists all accounts.
    List,
    /// Makes an account; the password is asked for, or read from standard input where that is no terminal.
    Add {
        name: String,
        #[arg(long, value_enum, default_value = "user")]
        role: RoleName,
    },
    /// Sets another password and signs the user out everywhere.
    Password { name: String },
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
    /// Deletes a user with all their conversations and the key that could read them. This can't be undone.
    Rm { name: String },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleName {
    User,
    Operator,
    Admin,
}

impl From<RoleName> for UserRole {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::User => Self::User,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = context.home.join("cachalot.db");
        if !database.exists() {
            bail!("{} is not there: no server has been started with this home yet", database.display());
        }
        let keys = master_keys(&context.home)?;
        let store = SqliteStore::open(&database, keys, Arc::clone(&context.clock), random()?).await;
        let store = store.with_context(|| format!("{} can't be opened", database.display()))?;
        let done = carry_out(context, &store, arguments.order).await;
        store.close().await?;
        done
    })
}

async fn carry_out(context: &Context, store: &SqliteStore, order: Order) -> anyhow::Result<()> {
    match order {
        Order::List => list(store).await?,
        Order::Add { name, role } => {
            let name = server::user_name(&name).map_err(anyhow::Error::msg)?;
            let first = store.users_count().await? == 0;
            let role = if first { UserRole::Admin } else { role.into() };
            let password_hash = Some(new_password(&name)?);
            let user = store.add_user(NewUser { name, email: None, role, password_hash, first }).await?;
            println!("{} can sign in ({})", printable(&user.name), user.role.as_str());
        }
        Order::Password { name } => {
            let user = find(store, &name).await?;
            store.set_password(user.id, new_password(&user.name)?).await?;
            let ended = store.revoke_sessions(user.id, None).await?.len();
            println!("{} has a new password and is signed out of {ended} sessions", printable(&user.name));
        }
        Order::Role { name, role } => {
            let user = find(store, &name).await?;
            store.set_role(user.id, role.into()).await?;
            println!("{} is {} now", printable(&user.name), UserRole::from(role).as_str());
        }
        Order::Disable { name } => {
            let user = find(store, &name).await?;
            store.set_disabled(user.id, Some(context.clock.unix_ms())).await?;
            println!("{} can sign in no more", printable(&user.name));
        }
        Order::Enable { name } => {
            let user = find(store, &name).await?;
            store.set_disabled(user.id, None).await?;
            println!("{} can sign in again", printable(&user.name));
        }
        Order::Rm { name } => {
            let user = find(store, &name).await?;
            store.delete_user(user.id).await?;
            println!("{} is gone, with everything of theirs", printable(&user.name));
        }
    }
    Ok(())
}

async fn list(store: &SqliteStore) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = store.users(UserPageRequest { limit: 100, after }).await?;
        for user in &page.users {
            let email = user.email.as_deref().unwrap_or("-");
            let state = if user.disabled_ms.is_some() { "disabled" } else { "" };
            let line = format!("{:<24} {:<9} {email:<32} {state}", printable(&user.name), user.role.as_str());
            println!("{}", line.trim_end());
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn find(store: &SqliteStore, name: &str) -> anyhow::Result<User> {
    let user = store.user_by_login(name.to_owned()).await?;
    user.with_context(|| format!("there is no user {:?}; `cachalot user list` shows all", printable(name)))
}

/// Asks for a password, twice where somebody types it, and gives its hash.
fn new_password(name: &str) -> anyhow::Result<String> {
    let password = if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password(format!("Password for {}: ", printable(name)))?;
        if rpassword::prompt_password("The same again: ")? != password {
            bail!("the two passwords differ; nothing was changed");
        }
        password
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    let mut salt = [0; 16];
    random()?.fill(&mut salt);
    server::hash_password(password, name, salt).map_err(anyhow::Error::msg)
}

fn random() -> anyhow::Result<Rng> {
    Rng::from_os().context("the operating system has no randomness to give")
}
