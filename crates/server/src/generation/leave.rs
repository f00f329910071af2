//! The one place where what programs ask for is admitted before it is generated, and counted after.

use dialogue::Cost;

use super::Ended;
use crate::accounts::Client;
use crate::answers::{Admission, admit};
use crate::app::App;
use crate::bulwark::Counts;
use crate::error::ApiError;
use crate::meter::{Metered, Took};

/// Leave to generate, held until it is settled. What is held for one that is dropped is free again.
#[derive(Debug)]
pub(crate) struct Leave {
    metered: Metered,
    /// One for each answer. A program on this machine without a session has none: it is bound by nothing.
    admissions: Vec<Admission>,
    /// That the request is under way.
    counts: Option<Counts>,
}

impl Leave {
    /// Asks for leave to write so many answers with a model. What groups give binds whoever is signed in or has a key,
    /// and the key's scope too.
    pub(super) async fn ask(
        app: &App,
        client: &Client,
        endpoint: &'static str,
        model: &str,
        answers: usize,
    ) -> Result<Self, ApiError> {
        let metered = Metered::ask(app, client, endpoint, model).await?;
        let mut leave = Self { metered, admissions: Vec::new(), counts: None };
        let Some(user) = client.user() else { return Ok(leave) };
        for _ in 0..answers {
            match admit(app, user, model).await {
                Ok(admission) => leave.admissions.push(admission),
                Err(error) => {
                    leave.give_back(app).await;
                    return Err(error);
                }
            }
        }
        Ok(leave)
    }

    /// It counts as under way until it is settled.
    pub(super) fn counts(&mut self, counts: Counts) {
        self.counts = Some(counts);
    }

    /// Most tokens of an answer; as many as fit if not set.
    pub(super) fn tokens_max(&self) -> Option<usize> {
        self.admissions.first().and_then(|admission| admission.tokens_max)
    }

    /// The prompts are read, and this is the most that they and their answers can cost together, which is held. With
    /// less credit, the answers that it is `shared_by` get fewer tokens together, as many as are returned; none says that
    /// it must not be less.
    pub(super) async fn priced(
        &mut self,
        cost: Cost,
        shared_by: Option<usize>,
    ) -> Result<Option<usize>, ApiError> {
        self.metered.hold(cost, shared_by).await
    }

    /// Nothing was generated, and nothing is counted.
    pub(super) async fn give_back(self, app: &App) {
        for admission in &self.admissions {
            admission.give_back(app).await;
        }
    }

    /// All of it has ended, or was cut. The places are free for others.
    pub(super) async fn settle(self, ended: Ended) {
        let Ended { usage, queued, first_token, total, outcome } = ended;
        let tokens = usage.into();
        self.metered.settle(Took { tokens, queued, first_token, total, outcome: outcome.name() }).await;
    }
}
