//! The one place where what programs ask for is admitted before it is generated, and counted after.

use std::time::Duration;

use dialogue::Cost;

use super::Ended;
use crate::accounts::Caller;
use crate::answers::{Admission, admit};
use crate::app::App;
use crate::error::ApiError;

/// Leave to generate, held until it is settled.
#[derive(Debug)]
pub(crate) struct Leave {
    endpoint: &'static str,
    model: String,
    /// One for each answer. A program on this machine without a session has none: it is bound by nothing.
    admissions: Vec<Admission>,
}

impl Leave {
    /// Asks for leave to write so many answers with a model. What groups give binds whoever is signed in.
    pub(super) async fn ask(
        app: &App,
        caller: Option<Caller>,
        endpoint: &'static str,
        model: &str,
        answers: usize,
    ) -> Result<Self, ApiError> {
        let mut leave = Self { endpoint, model: model.to_owned(), admissions: Vec::new() };
        let Some(caller) = caller else { return Ok(leave) };
        for _ in 0..answers {
            match admit(app, caller.user, model).await {
                Ok(admission) => leave.admissions.push(admission),
                Err(error) => {
                    leave.give_back(app).await;
                    return Err(error);
                }
            }
        }
        Ok(leave)
    }

    /// Most tokens of an answer; as many as fit if not set.
    pub(super) fn tokens_max(&self) -> Option<usize> {
        self.admissions.first().and_then(|admission| admission.tokens_max)
    }

    /// The prompts are read, and this is the most that they and their answers can cost together.
    pub(super) fn priced(&self, cost: Cost) {
        tracing::debug!(
            endpoint = self.endpoint,
            model = self.model,
            prompt_tokens = cost.prompt_tokens,
            completion_tokens_max = cost.completion_tokens_max,
            "admitted"
        );
    }

    /// Nothing was generated, and nothing is counted.
    pub(super) async fn give_back(self, app: &App) {
        for admission in &self.admissions {
            admission.give_back(app).await;
        }
    }

    /// All of it has ended, or was cut. The places are free for others.
    pub(super) async fn settle(self, _app: &App, ended: Ended) {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(
            endpoint = self.endpoint,
            model = self.model,
            outcome = ended.outcome.name(),
            prompt_tokens = ended.usage.prompt_tokens,
            cached_tokens = ended.usage.cached_tokens,
            completion_tokens = ended.usage.completion_tokens,
            reasoning_tokens = ended.usage.reasoning_tokens,
            queued_ms = millis(ended.queued),
            first_token_ms = ended.first_token.map(millis),
            total_ms = millis(ended.total),
            "answered"
        );
    }
}
