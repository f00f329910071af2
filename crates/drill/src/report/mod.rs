//! What a drill found, for people and for programs.

mod html;
mod plot;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::attack::Count;
use crate::calibrate::Capacity;
use crate::costs::Cost;
use crate::force::Force;
use crate::kind::Kind;
use crate::machine::Cores;
use crate::plan::Plan;
use crate::record::Chat;
use crate::sample::Sample;
use crate::stats::{OfPhase, Summary, Unmeasured};

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The figures that count.
    pub summary: Summary,
    /// Why some of them are null.
    pub unmeasured: Unmeasured,
    /// What was attacked.
    pub about: String,
    /// The server's settings that were declared for the drill.
    pub settings: BTreeMap<String, String>,
    /// What was planned.
    pub plan: Plan,
    /// Whose the cores were.
    pub cores: Cores,
    /// What the server served before.
    pub capacity: Capacity,
    /// What became of people.
    pub phases: Vec<OfPhase>,
    /// How often the gate changed its level.
    pub gate_moves: usize,
    /// Processor time of all attackers in the attack.
    pub attackers_cpu_seconds: f64,
    /// What attackers sent and got.
    pub attacks: Vec<Attack>,
    /// What refusing costs, where that was measured.
    pub costs: Vec<Cost>,
    /// Every chat.
    pub chats: Vec<ChatPoint>,
    /// The course of things.
    pub samples: Vec<Sample>,
}

/// A kind of attack, as it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attack {
    /// Which.
    pub kind: Kind,
    /// What it was to send: requests, hashes or chats a second, or connections at once.
    pub planned: f64,
    /// What was sent a second.
    pub sent_per_second: f64,
    /// All that it sent and got.
    pub count: Count,
    /// Why it was not run, if so: it then has neither passed nor failed.
    pub not_applicable: Option<String>,
}

impl Attack {
    pub(crate) fn new(force: &Force, count: Count, attacked: Duration) -> Self {
        let sent_per_second = count.sent as f64 / attacked.as_secs_f64().max(1e-3);
        Self {
            kind: force.kind,
            planned: force.rate,
            sent_per_second,
            count,
            not_applicable: force.not_applicable.clone(),
        }
    }
}

/// A chat, for plots.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChatPoint {
    /// When it was to begin.
    pub at_seconds: f64,
    /// Whether it was asked with an API key.
    pub with_key: bool,
    /// Time to the first token, if one came.
    pub ttft_ms: Option<f64>,
    /// Of that, until there was a connection.
    pub connected_ms: Option<f64>,
    /// Until the server had the question.
    pub taken_ms: Option<f64>,
    /// What the server says of the model's queue, in the web app.
    pub server_queued_ms: Option<f64>,
    /// What the server says of the time from the question to the first token, in the web app.
    pub server_ttft_ms: Option<f64>,
    /// Mean time between tokens.
    pub inter_token_ms: f64,
    /// How it ended.
    pub end: String,
}

impl From<&Chat> for ChatPoint {
    fn from(chat: &Chat) -> Self {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            at_seconds: chat.at.as_secs_f64(),
            with_key: chat.with_key,
            ttft_ms: chat.ttft.map(milliseconds),
            connected_ms: chat.stages.connected.map(milliseconds),
            taken_ms: chat.stages.taken.map(milliseconds),
            server_queued_ms: chat.stages.queued.map(milliseconds),
            server_ttft_ms: chat.stages.server_ttft.map(milliseconds),
            inter_token_ms: milliseconds(chat.inter_token),
            end: chat.end.name(),
        }
    }
}

/// Whether a figure is as good as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Met,
    /// It isn't.
    Missed,
    /// It was not measured.
    Unknown,
}

/// A figure, its goal, and whether it was met.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) figure: Option<f64>,
    pub(crate) goal: String,
    pub(crate) verdict: Verdict,
}

impl Report {
    /// The report as one object. It holds no maps that JSON could not, so that this is never an error.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The summary as one object.
    pub fn summary_json(&self) -> String {
        serde_json::to_string(&self.summary).unwrap_or_default()
    }

    /// The figures with their goals.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let it = &self.summary;
        let goodput = if self.plan.strength > 10.0 { 0.95 } else { 0.99 };
        let budget = it.account_budget.map(|budget| budget as f64);
        let count = |count: Option<u64>| count.map(|count| count as f64);
        vec![
            at_least("goodput_ratio", it.goodput_ratio, goodput),
            at_most("ttft_p99_ratio", it.ttft_p99_ratio, 1.25),
            at_least("streams_complete_ratio", it.streams_complete_ratio, 1.0),
            at_least("logins_ok_ratio", it.logins_ok_ratio, 0.99),
            at_most("established_challenged", count(it.established_challenged), 0.0),
            at_most("established_blocked_ratio", it.established_blocked_ratio, 0.001),
            at_least("newcomers_served_ratio", it.newcomers_served_ratio, 0.9),
            match budget {
                Some(budget) => at_most("attacker_accounts", count(it.attacker_accounts), budget),
                None => Line {
                    name: "attacker_accounts",
                    figure: count(it.attacker_accounts),
                    goal: "at most the budget".to_owned(),
                    verdict: Verdict::Unknown,
                },
            },
            Line { name: "account_budget", figure: budget, goal: String::new(), verdict: Verdict::Unknown },
            at_most("detect_seconds", it.detect_seconds, 3.0),
            at_most("restore_seconds", it.restore_seconds, 5.0),
            at_most("reopen_seconds", it.reopen_seconds, 120.0),
        ]
    }

    /// How often a crowd, which is no attack, made the server suspend registration.
    pub(crate) fn suspended(&self) -> bool {
        self.samples.iter().any(|sample| sample.level.as_deref() == Some("suspended"))
    }
}

fn at_least(name: &'static str, figure: Option<f64>, goal: f64) -> Line {
    judged(name, figure, format!("at least {goal}"), |figure| figure >= goal)
}

fn at_most(name: &'static str, figure: Option<f64>, goal: f64) -> Line {
    judged(name, figure, format!("at most {goal}"), |figure| figure <= goal)
}

fn judged(name: &'static str, figure: Option<f64>, goal: String, is_met: impl Fn(f64) -> bool) -> Line {
    let verdict = match figure {
        None => Verdict::Unknown,
        Some(figure) if is_met(figure) => Verdict::Met,
        Some(_) => Verdict::Missed,
    };
    Line { name, figure, goal, verdict }
}

/// A figure with as many digits as say something.
pub(crate) fn figure(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

pub(crate) fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}
