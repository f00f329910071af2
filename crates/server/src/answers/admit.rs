//! Who may have an answer written: which models and how much a user's groups give them.

use axum::http::StatusCode;
use dialogue::HubListing;
use store::{AnswerTaken, Grant, StoreError, UserId};

use super::Place;
use crate::accounts::Standing;
use crate::app::{App, State};
use crate::error::ApiError;
use crate::generation::look;
use crate::meter::has_credit;

/// Leave to write one more answer, which is counted.
#[derive(Debug)]
pub(crate) struct Admission {
    user: UserId,
    /// Held while the answer is written.
    pub(crate) place: Place,
    /// Most tokens of it; as many as fit if not set.
    pub(crate) tokens_max: Option<usize>,
    /// When it was counted.
    hour: i64,
}

/// Asks for leave to write an answer in a conversation: as [`admit`], where there is any credit for it.
pub(crate) async fn admit_to_conversation(
    app: &App,
    (user, standing): (UserId, Standing),
    model: &str,
) -> Result<Admission, ApiError> {
    look(app, model, standing)?;
    let counts = app.bulwark.begin(standing, 0);
    let counts = counts.inspect_err(|_| app.metrics.refused(standing.class, "portion"))?;
    has_credit(app, user, model).await?;
    let mut admission = admit(app, user, model).await?;
    admission.place.counts(counts);
    Ok(admission)
}

/// Asks for leave to write an answer of a user with a model. What groups give is read anew each time, so that a
/// change counts at the next answer.
pub(crate) async fn admit(app: &App, user: UserId, model: &str) -> Result<Admission, ApiError> {
    let grant = app.store.grant(user).await?;
    check_allowed(&grant, model)?;
    check_model(app, model).await?;
    let limits = grant.limits;
    let place = app.answers.reserve(user, limits.answers_at_once)?;
    let tokens_max = limits.output_tokens_max.map(|tokens| tokens as usize);
    // Last, so that nothing is counted that is refused.
    match app.store.take_answer(user, limits.messages_per_day.map(u64::from)).await? {
        AnswerTaken::Taken { hour } => Ok(Admission { user, place, tokens_max, hour }),
        AnswerTaken::UsedUp { free_ms } => {
            Err(used_up(limits.messages_per_day.unwrap_or_default(), free_ms, app.clock.unix_ms()))
        }
    }
}

impl Admission {
    /// Whether the answer could be begun. If not, it isn't counted.
    pub(crate) async fn begun<T>(&self, app: &State, begun: Result<T, StoreError>) -> Result<T, ApiError> {
        if begun.is_err() {
            self.give_back(app).await;
        }
        Ok(begun?)
    }

    /// The answer is not begun, and not counted.
    pub(crate) async fn give_back(&self, app: &State) {
        if let Err(error) = app.store.give_back_answer(self.user, self.hour).await {
            tracing::error!(%error, "an answer that was not begun could not be given back");
        }
    }
}

fn used_up(per_day: u32, free_ms: Option<i64>, now_ms: i64) -> ApiError {
    const DAY_S: u64 = 24 * 60 * 60;
    let wait_ms = free_ms.map(|free_ms| free_ms.saturating_sub(now_ms).max(0).unsigned_abs());
    let seconds = wait_ms.map_or(DAY_S, |wait_ms| wait_ms.div_ceil(1000));
    let when = match free_ms {
        Some(_) => format!("the next one in {} minutes", seconds.div_ceil(60)),
        None => "ask your operator for more".to_owned(),
    };
    let message = format!("you may ask for {per_day} answers within 24 hours; {when}");
    ApiError::too_many("messages_per_day", message, seconds)
}

/// Checks that somebody may ask a model.
pub(crate) fn check_allowed(grant: &Grant, model: &str) -> Result<(), ApiError> {
    if grant.allows(model) {
        return Ok(());
    }
    let message = format!("you may not use the model {model:?}; GET /api/models lists those that you may");
    Err(ApiError::new(StatusCode::FORBIDDEN, "model_not_allowed", message).with_param("model"))
}

/// Checks that a model can be asked, before anything is stored for it.
pub(crate) async fn check_model(app: &App, name: &str) -> Result<(), ApiError> {
    // To list them is to read directories.
    if app.hub.find(name).is_some() {
        return Ok(());
    }
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    match listed.iter().find(|listing| listing.model.name == name) {
        Some(listing) if can_answer(listing) => Ok(()),
        Some(_) => {
            let name = name.to_owned();
            Err(dialogue::HubError::NotInstalled { name }.into())
        }
        None => {
            let installed = listed.into_iter().filter(|listing| listing.model.installed);
            let installed = installed.map(|listing| listing.model.name).collect();
            Err(dialogue::HubError::NotFound { name: name.to_owned(), installed }.into())
        }
    }
}

/// The model for a user who names none: the server's, or else the first that they may use.
pub(crate) fn default_model(app: &State, listed: &[HubListing], grant: &Grant) -> String {
    let default = app.hub.default_model();
    let may = |listing: &&HubListing| can_answer(listing) && grant.allows(&listing.model.name);
    match listed.iter().find(may) {
        Some(first) if !grant.allows(default) => first.model.name.clone(),
        _ => default.to_owned(),
    }
}

fn can_answer(listing: &HubListing) -> bool {
    listing.loaded || listing.model.installed
}
