//! What the server says of its gate: `GET /status`.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::http::{Connection, Pass};
use crate::people::DESK;
use crate::target::Target;

/// How long an answer is waited for; a gate that can't be read in this time is not known at that moment.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The gate of registration at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gate {
    pub(crate) level: String,
    /// New accounts at most in any minute, if the server says it.
    pub(crate) accounts_per_minute: Option<u64>,
}

impl Gate {
    /// Accounts that the budget allows in so long a time: it holds for any minute, so a part of one counts as a whole.
    pub(crate) fn budget_over(&self, time: Duration) -> Result<u64, String> {
        let none = || "GET /status says no accounts_per_minute".to_owned();
        let minutes = (time.as_secs_f64() / 60.0).ceil() as u64;
        Ok(self.accounts_per_minute.ok_or_else(none)? * minutes)
    }

    /// The levels are words, widest first: `open`, `challenge`, `email_first`, `waiting_list`, `invite_only`,
    /// `suspended`.
    fn parse(body: &Value) -> Option<Self> {
        let gate = body.get("registration")?;
        let level = gate.get("level")?.as_str()?.to_owned();
        Some(Self { level, accounts_per_minute: gate.get("accounts_per_minute").and_then(Value::as_u64) })
    }
}

/// Asks again and again, over one connection while it lasts.
#[derive(Debug)]
pub(crate) struct Watch {
    target: Target,
    pass: Pass,
    connection: Option<Connection>,
}

impl Watch {
    /// As whoever has this pass: a stranger would be kept out by the flood that is watched.
    pub(crate) fn new(target: &Target, pass: &Pass) -> Self {
        Self { target: target.clone(), pass: pass.clone(), connection: None }
    }

    /// The gate now; why it isn't known otherwise.
    pub(crate) async fn look(&mut self) -> Result<Gate, String> {
        let looked = timeout(ANSWER_MAX, self.ask()).await;
        let found =
            looked.unwrap_or_else(|_| Err("the server did not answer GET /status in time".to_owned()));
        if found.is_err() {
            self.connection = None;
        }
        found
    }

    async fn ask(&mut self) -> Result<Gate, String> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let opened = Connection::open(&self.target, DESK).await.map_err(|error| error.to_string())?;
                self.connection.insert(opened)
            }
        };
        let answer = connection.ask("GET", "/status", &self.pass, None).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let none =
            || format!("the server has no GET /status that says its level (it answers {})", answer.status);
        Gate::parse(&answer.body).filter(|_| answer.status == 200).ok_or_else(none)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_level_is_read_and_nothing_invented() {
        let said =
            json!({"registration": {"level": "waiting_list", "accounts_per_minute": 60, "waiting": 12}});
        let gate = Gate::parse(&said).unwrap();
        assert_eq!(gate.level, "waiting_list");
        let budgets = [5, 60, 61].map(|seconds| gate.budget_over(Duration::from_secs(seconds)));
        assert_eq!(budgets, [Ok(60), Ok(60), Ok(120)]);
        let silent = Gate::parse(&json!({"registration": {"level": "open"}})).unwrap();
        assert!(silent.budget_over(Duration::from_secs(5)).is_err());
        for body in [json!(null), json!({"registration": {}}), json!({"registration": {"level": 3}})] {
            assert_eq!(Gate::parse(&body), None);
        }
    }
}
