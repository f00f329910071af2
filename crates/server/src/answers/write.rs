use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dialogue::{
    AnswerEvent, Begun, CacheScope, ChatRequest, Dialogue, DialogueError, Finish, HubError, Prompt, Thinking,
};
use futures_util::FutureExt as _;
use store::{Message, Outcome, Role, Status, StoreError, Timing, Usage, UsageRow, UserId};
use tracing::Instrument as _;

use super::live::millis;
use super::{Live, Place};
use crate::accounts::Standing;
use crate::app::App;
use crate::bulwark::{Seated, Wish};
use crate::error::{ApiError, displaced};
use crate::generation::{check, seat};
use crate::meter::{FAILED, Hold, Metered, Took, settle_row};

/// What to write.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The model to ask.
    pub(crate) model: String,
    /// Instructions put before the first message.
    pub(crate) system: Option<String>,
    /// Whether to think first; the model's habit if not set. Nothing to a model that doesn't think.
    pub(crate) thinking: Option<bool>,
    /// Most tokens to write; as many as fit if not set.
    pub(crate) tokens_max: Option<usize>,
    /// Who asks.
    pub(crate) standing: Standing,
}

/// How it ended.
struct Ending {
    status: Status,
    error: Option<String>,
    usage: Option<dialogue::Usage>,
    queued: Duration,
}

impl Ending {
    fn without_usage(status: Status, error: Option<String>) -> Self {
        Self { status, error, usage: None, queued: Duration::ZERO }
    }
}

/// Writes an answer that was stored as generating, or the rest of one, on a task of its own.
pub(crate) fn spawn(app: &App, place: Place, owner: UserId, begun: Message, plan: Plan) {
    let live = Arc::new(Live::new(owner, begun));
    app.answers.insert(Arc::clone(&live));
    let app = Arc::clone(app);
    let span = tracing::info_span!("answer", message = %live.id());
    let writing = async move {
        let message = write(&app, &live, plan).await;
        live.finish(message);
        app.answers.remove(live.id());
        drop(place);
    };
    tokio::spawn(writing.instrument(span));
}

/// Writes it and stores its end, whatever happens.
async fn write(app: &App, live: &Live, plan: Plan) -> Message {
    let began = app.clock.monotonic();
    let mut metered = Metered::of_conversation(app, live.owner(), &plan.model);
    let generating = async {
        tokio::select! {
            biased;
            ending = generate(app, live, plan, &mut metered) => ending,
            () = app.cut_off() => Ending::without_usage(Status::Interrupted, None),
        }
    };
    let ending = AssertUnwindSafe(generating).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(message = %live.id(), "writing an answer panicked");
        Ending::without_usage(Status::Failed, Some("something went wrong in the server".to_owned()))
    });
    let total = app.clock.monotonic().saturating_sub(began);
    let first_token = live.first_text().map(|first| first.saturating_sub(began));
    let timing = Timing {
        queued_ms: millis(ending.queued),
        ttft_ms: first_token.map(millis),
        total_ms: millis(total),
    };
    let tokens = ending.usage.unwrap_or_default().into();
    let outcome = outcome_name(ending.status);
    let metered = metered.usage_and_hold(Took { tokens, queued: ending.queued, first_token, total, outcome });
    let begun = live.begun();
    let outcome = Outcome {
        text: live.progress(),
        status: ending.status,
        error: ending.error,
        usage: used(begun.usage, ending.usage.map(stored_usage)),
        timing: Some(begun.timing.map_or(timing, |before| took(before, timing))),
        metered: metered.as_ref().map(|(hold, usage)| (hold.as_ref().map(Hold::id), usage.clone())),
    };
    finish(app, live, outcome, metered).await
}

/// Stores the end and, with it, what the answer took. Where the conversation is gone, what it took is noted all the same.
async fn finish(
    app: &App,
    live: &Live,
    outcome: Outcome,
    metered: Option<(Option<Hold>, UsageRow)>,
) -> Message {
    let finished = app.store.finish(outcome).await;
    match (&finished, metered) {
        (_, None) => {}
        (Ok(_), Some((mut hold, _))) => hold.iter_mut().for_each(Hold::is_settled),
        (Err(_), Some((hold, usage))) => settle_row(app, hold, usage).await,
    }
    match finished {
        Ok(message) => message,
        // Its conversation was deleted.
        Err(StoreError::NotFound { .. }) => live.ended(Status::Stopped),
        Err(error) => {
            tracing::error!(message = %live.id(), %error, "the end of an answer could not be stored");
            let error = Some("the answer could not be stored".to_owned());
            Message { error, ..live.ended(Status::Failed) }
        }
    }
}

/// How an answer ended, in the words of rows of usage.
fn outcome_name(status: Status) -> &'static str {
    match status {
        Status::Complete | Status::Length => "complete",
        Status::Stopped => "cancelled",
        Status::Failed => FAILED,
        Status::Generating | Status::Interrupted => "interrupted",
    }
}

/// What an answer took with what it had taken before it went on. What the model then reads again of its own counts to
/// no part.
fn used(before: Option<Usage>, now: Option<Usage>) -> Option<Usage> {
    let (Some(before), Some(now)) = (before, now) else { return now.or(before) };
    Some(Usage {
        prompt_tokens: before.prompt_tokens,
        completion_tokens: before.completion_tokens.saturating_add(now.completion_tokens),
        reasoning_tokens: before.reasoning_tokens.saturating_add(now.reasoning_tokens),
    })
}

fn took(before: Timing, now: Timing) -> Timing {
    Timing {
        queued_ms: before.queued_ms.saturating_add(now.queued_ms),
        ttft_ms: before.ttft_ms.or(now.ttft_ms),
        total_ms: before.total_ms.saturating_add(now.total_ms),
    }
}

async fn generate(app: &App, live: &Live, plan: Plan, metered: &mut Metered) -> Ending {
    let opened = tokio::select! {
        () = live.stop_asked() => return Ending::without_usage(Status::Stopped, None),
        opened = open(app, live, plan, metered) => opened,
    };
    let (Seated { mut answer, .. }, _dialogue) = match opened {
        Ok(opened) => opened,
        Err(ending) => return ending,
    };
    let mut stopping = false;
    loop {
        let event = tokio::select! {
            () = live.stop_asked(), if !stopping => {
                // What is generated already still comes, and then how much it was.
                stopping = true;
                answer.cancel();
                continue;
            }
            event = answer.next() => event,
        };
        match event {
            Some(AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_)) => {}
            Some(AnswerEvent::Delta(delta)) => live.push(delta.part, &delta.text, app.clock.monotonic()),
            Some(AnswerEvent::Finished { finish, usage, timing }) => {
                let (status, error) = ending(finish);
                return Ending { status, error, usage: Some(usage), queued: timing.queued };
            }
            None => return Ending::without_usage(Status::Failed, Some("the answer broke off".to_owned())),
        }
    }
}

/// Loads the model if need be, and queues the branch that ends with the question.
async fn open(
    app: &App,
    live: &Live,
    plan: Plan,
    metered: &mut Metered,
) -> Result<(Seated, Arc<Dialogue>), Ending> {
    let dialogue = app.hub.get(&plan.model).await.map_err(|error| match error {
        HubError::ShuttingDown => Ending::without_usage(Status::Interrupted, None),
        error => failed(error.into()),
    })?;
    let thinking = plan.thinking.filter(|_| dialogue.thinking() != Thinking::None);
    let messages = history(app, live, plan.system).await.map_err(failed)?;
    let begun = live.begun();
    let begun = Begun { reasoning: begun.reasoning.clone(), content: begun.content.clone() };
    let scope = CacheScope(live.owner().into());
    let request = ChatRequest { messages, thinking, begun: Some(begun), scope, ..ChatRequest::default() };
    let asked = (plan.standing, plan.tokens_max);
    let answer = start(app, live, &dialogue, request, asked, metered).await.map_err(|error| match error {
        StartError::Refused(DialogueError::ShuttingDown) => Ending::without_usage(Status::Interrupted, None),
        StartError::Refused(error) => failed(error.into()),
        StartError::Broken(error) => failed(error),
    })?;
    Ok((answer, dialogue))
}

/// Why a request was not started.
pub(crate) enum StartError {
    /// The request can't be answered.
    Refused(DialogueError),
    /// Our fault, or there is no credit for it.
    Broken(ApiError),
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Refused(error) => error.into(),
            StartError::Broken(error) => error,
        }
    }
}

/// Checks a request, holds what it may cost, and queues it, for `tokens_max` tokens at most.
async fn start(
    app: &App,
    live: &Live,
    dialogue: &Arc<Dialogue>,
    request: ChatRequest,
    (standing, tokens_max): (Standing, Option<usize>),
    metered: &mut Metered,
) -> Result<Seated, StartError> {
    let wish = Wish::of_chat(&request, None);
    let portion = app.bulwark.portion(dialogue, standing, wish).map_err(StartError::Broken)?;
    seat(app, dialogue, standing).map_err(StartError::Refused)?;
    let request = ChatRequest { reasoning_tokens_max: portion.thinking_tokens(), ..request };
    let prompt =
        check(app, dialogue, standing, wish.text_bytes, move |dialogue| dialogue.check(&request)).await?;
    let (prompt, cut) = portion.fit(prompt).map_err(StartError::Broken)?;
    live.cut(cut);
    let prompt = tokens_max.into_iter().fold(prompt, Prompt::at_most);
    let paid = metered.hold(prompt.cost(), Some(1)).await.map_err(StartError::Broken)?;
    let prompt = paid.into_iter().fold(prompt, Prompt::at_most);
    let seated = app.bulwark.berths.start(dialogue, prompt, standing);
    let seated = seated.map_err(|error| {
        app.metrics.refused(standing.class, "engine");
        StartError::Refused(error)
    })?;
    metered.begins();
    Ok(seated)
}

async fn history(app: &App, live: &Live, system: Option<String>) -> Result<Vec<dialogue::Message>, ApiError> {
    let question = live.parent().ok_or_else(|| ApiError::internal("an answer to nothing"))?;
    let branch = app.store.branch(live.owner(), live.conversation(), question).await?;
    let system = system.filter(|system| !system.trim().is_empty()).map(dialogue::Message::system);
    let said = branch.into_iter().map(|message| match message.role {
        Role::System => dialogue::Message::system(message.content),
        Role::User => dialogue::Message::user(message.content),
        Role::Assistant => dialogue::Message::assistant(message.content),
    });
    Ok(system.into_iter().chain(said).collect())
}

fn failed(error: ApiError) -> Ending {
    let message = error.message().to_owned();
    if let Some(note) = error.into_note() {
        tracing::error!(error = note, "an answer could not be started");
    }
    Ending::without_usage(Status::Failed, Some(message))
}

fn ending(finish: Finish) -> (Status, Option<String>) {
    match finish {
        Finish::Stop | Finish::StopString(_) | Finish::ToolCalls => (Status::Complete, None),
        Finish::Length => (Status::Length, None),
        Finish::Cancelled => (Status::Stopped, None),
        Finish::ShuttingDown => (Status::Interrupted, None),
        Finish::Displaced => (Status::Failed, Some(displaced().message().to_owned())),
        Finish::Failed(why) => (Status::Failed, Some(why)),
    }
}

fn stored_usage(usage: dialogue::Usage) -> Usage {
    Usage {
        prompt_tokens: usage.prompt_tokens as u64,
        completion_tokens: usage.completion_tokens as u64,
        reasoning_tokens: usage.reasoning_tokens as u64,
    }
}
