use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::admin::find::text;
use crate::admin::output::{say, say_json, time};
use crate::admin::{self, Admin};
use crate::home::Context;

/// Shows the door to new accounts and what moved it, holds it at a level, or lets it run. Existing users notice nothing
/// of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Option<Order>,

    /// Machine-readable output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Holds the gate at a level until `cachalot gate run`, over restarts too.
    Pin {
        level: Level,
        /// Why, for the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Lets the gate run by itself again, from the level that it has.
    Run,
    /// Makes invitations, each good for one account, also while only invited people get one.
    Invite {
        /// How many, up to 100.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
        /// For how many days they are good, up to 90.
        #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=90))]
        days: u32,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Level {
    /// Everybody gets an account, as far as the budget goes.
    Open,
    /// A proof of work comes first.
    Challenge,
    /// And an address that a letter reached; only where letters are sent.
    EmailFirst,
    /// Everybody waits their turn.
    WaitingList,
    /// Only who was invited gets an account.
    InviteOnly,
    /// Nobody does.
    Suspended,
}

impl Level {
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

const GATE: &str = "/api/admin/gate";

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| carry_out(admin, &arguments).await)
}

async fn carry_out(admin: &Admin, arguments: &Arguments) -> anyhow::Result<()> {
    let gate: Value = match &arguments.order {
        None => admin.ask("GET", GATE, None).await?,
        Some(Order::Pin { level, reason }) => {
            let body = json!({"level": level.word(), "reason": reason});
            admin.ask("PUT", GATE, Some(&body)).await?
        }
        Some(Order::Run) => admin.ask("PUT", GATE, Some(&json!({"level": null}))).await?,
        Some(Order::Invite { count, days }) => {
            let body = json!({"count": count, "days": days});
            let made: Value = admin.ask("POST", "/api/admin/invitations", Some(&body)).await?;
            return invitations(&made, arguments.json);
        }
    };
    if arguments.json {
        return say_json(&gate);
    }
    lines(&gate).iter().try_for_each(|line| say(line))
}

fn invitations(made: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say_json(made);
    }
    let made = made["invitations"].as_array().into_iter().flatten().filter_map(Value::as_str);
    made.into_iter().try_for_each(|ticket| say(&format!("/sign-up#invitation={ticket}")))
}

/// What is shown of the gate.
fn lines(gate: &Value) -> Vec<String> {
    let registration = &gate["registration"];
    let held = if registration["pinned"] == true { ", held there" } else { "" };
    let reopens = match registration["reopens_in_seconds"].as_u64() {
        None | Some(0) => String::new(),
        Some(seconds) => format!(", open again in about {seconds} s if it is calm"),
    };
    let offered = if registration["offered"] == true { "" } else { ", closed by the settings" };
    let mut lines = vec![
        format!("level      {}{held}{reopens}{offered}", text(registration, "level")),
        format!("since      {}", time(registration["since_ms"].as_i64().unwrap_or_default())),
        format!(
            "accounts   {} in the last minute, {} allowed",
            gate["accounts_made"], registration["accounts_per_minute"]
        ),
        format!("waiting    {}", registration["waiting"]),
    ];
    let moves = gate["moves"].as_array().into_iter().flatten();
    lines.extend(moves.take(MOVES_SHOWN).map(|moved| {
        let at = time(moved["at_ms"].as_i64().unwrap_or_default());
        format!("{at}   {} to {}: {}", text(moved, "from"), text(moved, "to"), reasons(&moved["reasons"]))
    }));
    lines
}

const MOVES_SHOWN: usize = 10;

fn reasons(reasons: &Value) -> String {
    let reason = |reason: &Value| match (reason["measured"].as_f64(), reason["threshold"].as_f64()) {
        (Some(measured), Some(threshold)) => {
            format!("{} {measured:.2} (limit {threshold:.2})", text(reason, "reason"))
        }
        _ => text(reason, "reason").to_owned(),
    };
    reasons.as_array().into_iter().flatten().map(reason).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_is_told_in_lines() {
        let demand = json!({"reason": "demand", "measured": 3.214, "threshold": 1.2});
        let gate = json!({
            "registration": {
                "level": "waiting_list", "pinned": false, "since_ms": 60_000, "reopens_in_seconds": 75,
                "offered": true, "waiting": 12, "accounts_per_minute": 60, "reasons": [demand],
            },
            "accounts_made": 7,
            "moves": [{"at_ms": 60_000, "from": "challenge", "to": "waiting_list", "reasons": [demand]}],
        });
        assert_eq!(
            lines(&gate),
            [
                "level      waiting_list, open again in about 75 s if it is calm",
                "since      1970-01-01 00:01",
                "accounts   7 in the last minute, 60 allowed",
                "waiting    12",
                "1970-01-01 00:01   challenge to waiting_list: demand 3.21 (limit 1.20)",
            ]
        );
    }

    #[test]
    fn levels_are_called_as_in_the_api() {
        let words: Vec<_> = Level::value_variants().iter().map(|level| level.word()).collect();
        assert_eq!(words, ["open", "challenge", "email_first", "waiting_list", "invite_only", "suspended"]);
    }
}
