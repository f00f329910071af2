use std::collections::BTreeMap;
use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::ValueEnum;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use store::Nanos;

use crate::admin::find::text;
use crate::admin::output::{say_json, say_rows, time};
use crate::admin::{self, Admin};
use crate::home::Context;

/// Shows what requests took and cost, of all users or of one.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only those of this user.
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// How many days back, that of now included.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=900))]
    days: u32,

    /// What there is a line for.
    #[arg(long, value_enum, default_value = "day")]
    by: By,

    /// One row for each request, as comma-separated values.
    #[arg(long, conflicts_with_all = ["by", "json"])]
    csv: bool,

    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// A day and model.
    Day,
    /// A model.
    Model,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let now_ms = context.clock.unix_ms();
    admin::run(context, async |admin: &Admin| carry_out(admin, arguments, now_ms).await)
}

async fn carry_out(admin: &Admin, arguments: Arguments, now_ms: i64) -> anyhow::Result<()> {
    let today_ms = now_ms - now_ms.rem_euclid(DAY_MS);
    let since_ms = (today_ms - DAY_MS * i64::from(arguments.days - 1)).max(0);
    let mut query = format!("since={since_ms}");
    if let Some(user) = &arguments.user {
        let user = admin.user(user).await?;
        query.push_str(&format!("&user={}", text(&user, "id")));
    }
    if arguments.csv {
        return print_csv(admin, &query).await;
    }
    let summed: Value = admin.ask("GET", &format!("/api/admin/usage/sums?{query}"), None).await?;
    let currency = text(&summed, "currency");
    let sums = summed["sums"].as_array().context("the answer has no sums")?;
    let sums = if arguments.by == By::Model { by_model(sums)? } else { sums.clone() };
    if arguments.json {
        return say_json(&json!({"sums": sums, "currency": currency}));
    }
    print(&sums, currency, arguments.by)
}

async fn print_csv(admin: &Admin, query: &str) -> anyhow::Result<()> {
    let mut body = admin.open_answer("GET", &format!("/api/admin/usage.csv?{query}"), None).await?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            io::stdout().lock().write_all(&data)?;
        }
    }
    Ok(())
}

const COUNTS: [&str; 5] = ["requests", "hit_tokens", "miss_tokens", "output_tokens", "reasoning_tokens"];

/// The sums of all days, by model.
fn by_model(sums: &[Value]) -> anyhow::Result<Vec<Value>> {
    let mut models: BTreeMap<&str, ([u64; COUNTS.len()], Nanos)> = BTreeMap::new();
    for sum in sums {
        let (counts, cost) = models.entry(text(sum, "model")).or_default();
        for (count, field) in counts.iter_mut().zip(COUNTS) {
            *count = count.saturating_add(sum[field].as_u64().unwrap_or_default());
        }
        *cost = cost.saturating_add(text(sum, "cost").parse()?);
    }
    let all = models.into_iter().map(|(model, (counts, cost))| {
        let mut sum = json!({"model": model, "cost": cost.to_string()});
        for (count, field) in counts.into_iter().zip(COUNTS) {
            sum[field] = count.into();
        }
        sum
    });
    Ok(all.collect())
}

fn print(sums: &[Value], currency: &str, by: By) -> anyhow::Result<()> {
    let heads = ["DAY", "MODEL", "REQUESTS", "HIT", "MISS", "OUTPUT", "REASONING"].map(str::to_owned);
    let cost_head = if currency.is_empty() { "COST".to_owned() } else { format!("COST {currency}") };
    let row = |sum: &Value| {
        let count = |field: &str| sum[field].as_u64().unwrap_or_default().to_string();
        let day = sum["from_ms"].as_i64().map(time).unwrap_or_default();
        let day = day.split(' ').next().unwrap_or_default().to_owned();
        let [requests, hit, miss, output, reasoning] = COUNTS.map(count);
        [
            day,
            text(sum, "model").to_owned(),
            requests,
            hit,
            miss,
            output,
            reasoning,
            text(sum, "cost").to_owned(),
        ]
    };
    let [day, model, requests, hit, miss, output, reasoning] = heads;
    let heads = [day, model, requests, hit, miss, output, reasoning, cost_head];
    let rows: Vec<_> = std::iter::once(heads).chain(sums.iter().map(row)).collect();
    match by {
        By::Day => say_rows([10, 16, 0, 0, 0, 0, 0, 0], &rows),
        By::Model => {
            let rows: Vec<[String; 7]> = rows
                .into_iter()
                .map(|[_, model, requests, hit, miss, output, reasoning, cost]| {
                    [model, requests, hit, miss, output, reasoning, cost]
                })
                .collect();
            say_rows([16, 0, 0, 0, 0, 0, 0], &rows)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_a_model_add_up() {
        let sum = |from_ms: i64, model: &str, requests: u64, cost: &str| {
            json!({
                "from_ms": from_ms, "model": model, "requests": requests, "hit_tokens": 1, "miss_tokens": 2,
                "output_tokens": 3, "reasoning_tokens": 1, "cost": cost,
            })
        };
        let sums = [sum(0, "b", 1, "0.10"), sum(0, "a", 2, "1.00"), sum(DAY_MS, "b", 4, "0.005")];
        let expected = [
            json!({
                "model": "a", "requests": 2, "hit_tokens": 1, "miss_tokens": 2, "output_tokens": 3,
                "reasoning_tokens": 1, "cost": "1.00",
            }),
            json!({
                "model": "b", "requests": 5, "hit_tokens": 2, "miss_tokens": 4, "output_tokens": 6,
                "reasoning_tokens": 2, "cost": "0.105",
            }),
        ];
        assert_eq!(by_model(&sums).unwrap(), expected);
    }
}
