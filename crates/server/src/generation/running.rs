use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base::TokenId;
use dialogue::{AnswerEvent, Dialogue, DialogueError, Finish, Prompt, Timing, Usage};
use futures_util::future::select_all;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use super::leave::Leave;
use crate::accounts::Standing;
use crate::app::App;
use crate::bulwark::{Cut, Seated};
use crate::error::{ApiError, displaced};

/// Answers of one request that are in the model's queue at once; more wait here until some of them have ended, so that
/// one request for a hundred texts doesn't take all the room that there is.
const AT_ONCE: usize = 8;

/// What one request has generated: its answers, the model that they keep from being unloaded, and the leave to write
/// them, which is settled when the last of them has ended. Dropping it cancels what still runs; what was generated
/// until then is counted by a task that outlives the request.
pub(crate) struct Running {
    app: App,
    choices: Choices,
    /// What is continued, until somebody takes it; prompt by prompt.
    prompts: Vec<Vec<TokenId>>,
    /// Not yet begun, for the choices after `choices`.
    waiting: VecDeque<Prompt>,
    leave: Option<Leave>,
    settling: Option<JoinHandle<()>>,
    /// Due before the answers are asked again.
    ready: VecDeque<(usize, AnswerEvent)>,
    /// Until any of it has begun: when it is given up.
    patience: Option<Pin<Box<Sleep>>>,
    prompt_tokens: usize,
    /// In whose name places are taken at the model.
    standing: Standing,
    /// What was cut of what was asked for.
    cut: Cut,
}

/// The answers that have begun.
struct Choices {
    dialogue: Arc<Dialogue>,
    /// Answers to each prompt.
    each: usize,
    begun: Vec<Choice>,
    /// The choices that have left the queue. Of the others nothing was read.
    started: Vec<usize>,
}

/// One answer.
enum Choice {
    Open(Box<Seated>),
    Ended(Finish, Usage, Timing),
}

/// What all of it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Each prompt is counted once, whatever the number of its answers.
    pub(crate) usage: Usage,
    /// Until the first of them was being read.
    pub(crate) queued: Duration,
    /// Until the first token of any, if there was one.
    pub(crate) first_token: Option<Duration>,
    /// Until the end of the last.
    pub(crate) total: Duration,
    pub(crate) outcome: Outcome,
}

/// How a request ended: as the worst of its answers did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The model, a stop string or the limit ended it.
    Complete,
    /// The client went away.
    Cancelled,
    /// The server shut down.
    Interrupted,
    /// The model could not go on.
    Failed,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    fn of(finish: &Finish) -> Self {
        match finish {
            Finish::Stop | Finish::StopString(_) | Finish::ToolCalls | Finish::Length => Self::Complete,
            Finish::Cancelled => Self::Cancelled,
            Finish::ShuttingDown | Finish::Displaced => Self::Interrupted,
            Finish::Failed(_) => Self::Failed,
        }
    }
}

/// What a request does next.
pub(crate) enum Step {
    /// Something happened to the choice of this number.
    Event(usize, AnswerEvent),
    /// Every choice has had its last event, and what they took is counted.
    Done,
}

impl Running {
    /// Queues as many prompts as may be at once.
    pub(super) fn start(
        app: &App,
        dialogue: Arc<Dialogue>,
        prompts: VecDeque<Prompt>,
        answers: usize,
        (standing, cut): (Standing, Cut),
    ) -> Result<Self, ApiError> {
        let each = answers.max(1);
        let read = prompts.iter().step_by(each).map(|prompt| prompt.cost().prompt_tokens).sum();
        let mut running = Self {
            prompt_tokens: read,
            standing,
            cut,
            app: App::clone(app),
            prompts: prompts.iter().step_by(each).map(|prompt| prompt.tokens().to_vec()).collect(),
            choices: Choices {
                dialogue,
                each,
                begun: Vec::with_capacity(prompts.len()),
                started: Vec::new(),
            },
            waiting: prompts,
            leave: None,
            settling: None,
            ready: VecDeque::new(),
            patience: Some(Box::pin(sleep(app.settings.start_timeout))),
        };
        running.fill().inspect_err(|error| {
            if matches!(error, DialogueError::QueueFull { .. }) {
                app.metrics.refused(standing.class, "engine");
            }
        })?;
        Ok(running)
    }

    pub(super) fn with(mut self, leave: Leave) -> Self {
        self.leave = Some(leave);
        self
    }

    /// Tokens of all prompts, each counted once whatever the number of its answers.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// What was cut of what was asked for.
    pub(crate) fn cut(&self) -> Cut {
        self.cut
    }

    /// The model that answers.
    pub(crate) fn dialogue(&self) -> &Dialogue {
        &self.choices.dialogue
    }

    /// The tokens of each prompt, as the model is given them. For whoever asks first.
    pub(crate) fn take_prompts(&mut self) -> Vec<Vec<TokenId>> {
        std::mem::take(&mut self.prompts)
    }

    /// What happens next, to any of the answers. Cancel-safe.
    ///
    /// # Errors
    /// When nothing has begun within the time that is allowed for it, the rest can't be queued, or the model could not
    /// go on with one of them. There is nothing to wait for then.
    pub(crate) async fn next(&mut self) -> Result<Step, ApiError> {
        loop {
            if let Some(settling) = &mut self.settling {
                // A task that panicked has said so.
                let _ = settling.await;
                self.settling = None;
            }
            if let Some((choice, event)) = self.ready.pop_front() {
                return Ok(Step::Event(choice, event));
            }
            if self.choices.are_over() {
                return Ok(Step::Done);
            }
            let (index, event) = self.happens().await?;
            self.take(index, event)?;
        }
    }

    /// The choices that have not ended.
    pub(crate) fn open(&self) -> Vec<usize> {
        let begun = self.choices.begun.iter().enumerate();
        let open = begun.filter(|(_, choice)| matches!(choice, Choice::Open(_))).map(|(index, _)| index);
        let all = self.choices.begun.len() + self.waiting.len();
        open.chain(self.choices.begun.len()..all).collect()
    }

    /// What all of it took; none before the last event has been given.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let over = self.choices.are_over() && self.waiting.is_empty() && self.ready.is_empty();
        over.then(|| self.choices.ended())
    }

    async fn happens(&mut self) -> Result<(usize, Option<AnswerEvent>), ApiError> {
        let next = self.choices.happens();
        let Some(patience) = &mut self.patience else { return Ok(next.await) };
        tokio::select! {
            biased;
            happened = next => Ok(happened),
            () = patience => {
                let waited = self.app.settings.start_timeout.as_secs();
                let message = format!(
                    "the model is busy: the request waited {waited} s for its turn; try again later"
                );
                Err(ApiError::busy("queue_timeout", message))
            }
        }
    }

    fn take(&mut self, index: usize, event: Option<AnswerEvent>) -> Result<(), ApiError> {
        // The answer always says Finished before this.
        let event = event.ok_or_else(|| ApiError::internal("an answer ended without a last event"))?;
        self.patience = None;
        if self.choices.note(index, &event) {
            if let AnswerEvent::Finished { finish: Finish::Displaced, .. } = &event {
                return Err(displaced());
            }
            if let AnswerEvent::Finished { finish: Finish::Failed(why), .. } = &event {
                return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "generation_failed", why));
            }
            self.fill()?;
            if self.choices.are_over() {
                self.settling = self.leave.take().map(|leave| {
                    let ended = self.choices.ended();
                    tokio::spawn(leave.settle(ended))
                });
            }
        }
        self.ready.push_back((index, event));
        Ok(())
    }

    /// Queues what waits, as far as may be at once.
    fn fill(&mut self) -> Result<(), DialogueError> {
        let Choices { dialogue, begun: choices, .. } = &mut self.choices;
        let mut running = choices.iter().filter(|choice| matches!(choice, Choice::Open(_))).count();
        while running < AT_ONCE
            && let Some(prompt) = self.waiting.front()
        {
            match self.app.bulwark.berths.start(dialogue, prompt.clone(), self.standing) {
                Ok(seated) => choices.push(Choice::Open(Box::new(seated))),
                // Others have filled the queue. When one of ours ends there is room for one of ours.
                Err(DialogueError::QueueFull { .. }) if running > 0 => return Ok(()),
                Err(error) => return Err(error),
            }
            self.waiting.pop_front();
            running += 1;
        }
        Ok(())
    }
}

impl Choices {
    /// The next event of any that has not ended, of which there is at least one. Cancel-safe.
    async fn happens(&mut self) -> (usize, Option<AnswerEvent>) {
        let open = self.begun.iter_mut().enumerate().filter_map(|(index, choice)| match choice {
            Choice::Open(seated) => Some(Box::pin(async move { (index, seated.answer.next().await) })),
            Choice::Ended(..) => None,
        });
        let (happened, ..) = select_all(open).await;
        happened
    }

    /// Keeps what an event says about the end; whether it did.
    fn note(&mut self, index: usize, event: &AnswerEvent) -> bool {
        if matches!(event, AnswerEvent::Started { .. }) {
            self.started.push(index);
        }
        let AnswerEvent::Finished { finish, usage, timing } = event else { return false };
        let usage = if self.started.contains(&index) { *usage } else { Usage::default() };
        if let Some(choice) = self.begun.get_mut(index) {
            *choice = Choice::Ended(finish.clone(), usage, *timing);
        }
        true
    }

    fn are_over(&self) -> bool {
        self.begun.iter().all(|choice| matches!(choice, Choice::Ended(..)))
    }

    /// What those took that have ended.
    fn ended(&self) -> Ended {
        let mut sum = Ended {
            usage: Usage::default(),
            queued: Duration::MAX,
            first_token: None,
            total: Duration::ZERO,
            outcome: Outcome::Complete,
        };
        for (index, choice) in self.begun.iter().enumerate() {
            let Choice::Ended(finish, usage, timing) = choice else { continue };
            if index % self.each == 0 {
                sum.usage.prompt_tokens += usage.prompt_tokens;
                sum.usage.cached_tokens += usage.cached_tokens;
            }
            sum.usage.completion_tokens += usage.completion_tokens;
            sum.usage.reasoning_tokens += usage.reasoning_tokens;
            sum.queued = sum.queued.min(timing.queued);
            let first = (usage.completion_tokens > 0).then(|| timing.first_token());
            sum.first_token = sum.first_token.into_iter().chain(first).min();
            sum.total = sum.total.max(timing.total());
            sum.outcome = sum.outcome.max(Outcome::of(finish));
        }
        sum.queued = sum.queued.min(sum.total);
        sum
    }

    /// Cancels what has not ended, and waits until it has.
    async fn cancel(&mut self) {
        for choice in &self.begun {
            if let Choice::Open(seated) = choice {
                seated.answer.cancel();
            }
        }
        while !self.are_over() {
            let (index, event) = self.happens().await;
            let Some(event) = event else { return };
            self.note(index, &event);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(leave) = self.leave.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let Choices { dialogue, each, begun, started } = &mut self.choices;
        let mut choices = Choices {
            dialogue: Arc::clone(dialogue),
            each: *each,
            begun: std::mem::take(begun),
            started: std::mem::take(started),
        };
        let app = App::clone(&self.app);
        runtime.spawn(async move {
            tokio::select! {
                () = choices.cancel() => {}
                () = app.cut_off() => {}
            }
            let ended = choices.ended();
            leave.settle(Ended { outcome: ended.outcome.max(Outcome::Cancelled), ..ended }).await;
        });
    }
}
