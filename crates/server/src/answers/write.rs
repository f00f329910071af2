use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dialogue::{
    Answer, AnswerEvent, Begun, CacheScope, ChatRequest, Dialogue, DialogueError, Finish, HubError, Prompt,
    Thinking,
};
use futures_util::FutureExt as _;
use store::{Message, Outcome, Role, Status, StoreError, Timing, Usage, UserId};
use tracing::Instrument as _;

use super::live::millis;
use super::{Live, Place};
use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Generated;

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
}

/// How it ended.
struct Ending {
    status: Status,
    error: Option<String>,
    usage: Option<Usage>,
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
    let (began, model) = (app.clock.monotonic(), plan.model.clone());
    let generating = async {
        tokio::select! {
            biased;
            ending = generate(app, live, plan) => ending,
            () = app.cut_off() => Ending::without_usage(Status::Interrupted, None),
        }
    };
    let ending = AssertUnwindSafe(generating).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(message = %live.id(), "writing an answer panicked");
        Ending::without_usage(Status::Failed, Some("something went wrong in the server".to_owned()))
    });
    let now = app.clock.monotonic();
    count(app, &model, &ending, now.saturating_sub(began));
    let timing = Timing {
        queued_ms: millis(ending.queued),
        ttft_ms: live.first_text().map(|first| millis(first.saturating_sub(began))),
        total_ms: millis(now.saturating_sub(began)),
    };
    let begun = live.begun();
    let outcome = Outcome {
        text: live.progress(),
        status: ending.status,
        error: ending.error,
        usage: used(begun.usage, ending.usage),
        timing: Some(begun.timing.map_or(timing, |before| took(before, timing))),
    };
    match app.store.finish(outcome).await {
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

fn count(app: &App, model: &str, ending: &Ending, total: Duration) {
    // One that there is not is no label.
    let Some(usage) = ending.usage else { return };
    app.metrics.generated(&Generated {
        endpoint: "/api/conversations",
        class: "session",
        model,
        outcome: match ending.status {
            Status::Complete | Status::Length => "complete",
            Status::Stopped => "cancelled",
            Status::Interrupted | Status::Generating => "interrupted",
            Status::Failed => "failed",
        },
        prompt_tokens: usage.prompt_tokens,
        generation_tokens: usage.completion_tokens,
        total,
    });
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

async fn generate(app: &App, live: &Live, plan: Plan) -> Ending {
    let opened = tokio::select! {
        () = live.stop_asked() => return Ending::without_usage(Status::Stopped, None),
        opened = open(app, live, plan) => opened,
    };
    let (mut answer, _dialogue) = match opened {
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
                return Ending { status, error, usage: Some(stored_usage(usage)), queued: timing.queued };
            }
            None => return Ending::without_usage(Status::Failed, Some("the answer broke off".to_owned())),
        }
    }
}

/// Loads the model if need be, and queues the branch that ends with the question.
async fn open(app: &App, live: &Live, plan: Plan) -> Result<(Answer, Arc<Dialogue>), Ending> {
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
    let answer = start(app, &dialogue, request, plan.tokens_max).await.map_err(|error| match error {
        StartError::Refused(DialogueError::ShuttingDown) => Ending::without_usage(Status::Interrupted, None),
        StartError::Refused(error) => failed(error.into()),
        StartError::Broken(error) => failed(error),
    })?;
    Ok((answer, dialogue))
}

/// Why [`start`] did not.
pub(crate) enum StartError {
    /// The request can't be answered.
    Refused(DialogueError),
    /// Our fault.
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

/// Checks a request and queues it, for `tokens_max` tokens at most. Rendering and tokenising a long conversation takes a while, so it happens on a
/// thread of its own, and on no more of them than there are cores.
pub(crate) async fn start(
    app: &App,
    dialogue: &Arc<Dialogue>,
    request: ChatRequest,
    tokens_max: Option<usize>,
) -> Result<Answer, StartError> {
    let closed = |_| StartError::Broken(ApiError::internal("the semaphore of checks is closed"));
    let turn = Arc::clone(&app.checks).acquire_owned().await.map_err(closed)?;
    let checker = Arc::clone(dialogue);
    let check = move || {
        let _turn = turn;
        checker.check(&request)
    };
    let prompt = app.blocking(check).await.map_err(StartError::Broken)?.map_err(StartError::Refused)?;
    let prompt = tokens_max.into_iter().fold(prompt, Prompt::at_most);
    dialogue.start(prompt).map_err(StartError::Refused)
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
