use clap::Subcommand;
use serde_json::{Value, json};

use crate::admin::find::{path_of, text};
use crate::admin::output::{say, say_json, say_rows, time};
use crate::admin::{self, Admin};
use crate::home::Context;

/// Looks after what users have to spend.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Shows what a user has, and what they got and lost.
    Show {
        user: String,
        /// Machine-readable output.
        #[arg(long)]
        json: bool,
    },
    /// Gives a user credit that they have not paid for; it is spent first.
    Grant {
        user: String,
        /// In decimal, such as 12.50.
        amount: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Adds what a user has paid.
    TopUp {
        user: String,
        /// In decimal, such as 12.50.
        amount: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Takes back what was granted or, with --paid, topped up, as far as it is there and not held for requests.
    Take {
        user: String,
        /// In decimal, such as 12.50.
        amount: String,
        /// Of what they have paid.
        #[arg(long)]
        paid: bool,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| carry_out(admin, arguments.order).await)
}

async fn carry_out(admin: &Admin, order: Order) -> anyhow::Result<()> {
    let (user, kind, amount, note) = match order {
        Order::Show { user, json } => {
            let user = admin.user(&user).await?;
            let balance: Value = admin.ask("GET", &path_of("users", &user, "/balance"), None).await?;
            return show(&balance, json);
        }
        Order::Grant { user, amount, note } => (user, "grant", amount, note),
        Order::TopUp { user, amount, note } => (user, "top_up", amount, note),
        Order::Take { user, amount, paid, note } => {
            (user, if paid { "top_up" } else { "grant" }, format!("-{}", amount.trim()), note)
        }
    };
    let user = admin.user(&user).await?;
    let body = json!({"kind": kind, "amount": amount, "note": note});
    let balance: Value = admin.ask("POST", &path_of("users", &user, "/credit"), Some(&body)).await?;
    say(&format!(
        "{} has {} {}",
        text(&user, "name"),
        text(&balance, "available"),
        text(&balance, "currency")
    ))
}

fn show(balance: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say_json(balance);
    }
    let currency = text(balance, "currency");
    for field in ["available", "granted", "topped_up", "held"] {
        let named = field.replace('_', " ");
        say(&format!("{named:<10} {} {currency}", text(balance, field)))?;
    }
    let credits = balance["credits"].as_array().map(Vec::as_slice).unwrap_or_default();
    if credits.is_empty() {
        return Ok(());
    }
    let heads = ["WHEN", "KIND", "AMOUNT", "NOTE"].map(str::to_owned);
    let row = |credit: &Value| {
        let word = |field: &str| text(credit, field).to_owned();
        [credit["at_ms"].as_i64().map(time).unwrap_or_default(), word("kind"), word("amount"), word("note")]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(credits.iter().map(row)).collect();
    say("")?;
    say_rows([16, 0, 0, 0], &rows)
}
