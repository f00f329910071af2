use std::collections::VecDeque;
use std::sync::Arc;

use dialogue::{CacheScope, ChatRequest, CompletionRequest, Cost, Dialogue, DialogueError, HubError, Prompt};

use super::Running;
use super::leave::Leave;
use crate::accounts::Client;
use crate::answers::StartError;
use crate::app::App;
use crate::error::ApiError;

/// What is to be generated.
pub(crate) struct Order {
    /// The path that it was asked at, as its API names it.
    pub(crate) endpoint: &'static str,
    /// The model to ask.
    pub(crate) model: String,
    /// To what.
    pub(crate) asked: Asked,
    /// Answers to each prompt, at least 1.
    pub(crate) answers: usize,
}

/// A conversation to answer, or texts to continue.
pub(crate) enum Asked {
    Chat(Box<ChatRequest>),
    /// The same with so many tokens, or with as many as still fit in the context: for an API whose clients have to name
    /// some number, which says how the answer ended if it was the context. The request itself has no number.
    AsMuchAsFits(Box<ChatRequest>, usize),
    Completions(Vec<CompletionRequest>),
}

impl Asked {
    fn prompts(&self) -> usize {
        match self {
            Self::Chat(_) | Self::AsMuchAsFits(..) => 1,
            Self::Completions(requests) => requests.len(),
        }
    }

    /// Whether it may get fewer tokens than fit where there is no credit for more: not where a number was asked for.
    fn may_shrink(&self) -> bool {
        match self {
            Self::Chat(request) => request.tokens_max.is_none(),
            Self::AsMuchAsFits(..) => false,
            Self::Completions(requests) => requests.iter().all(|request| request.tokens_max.is_none()),
        }
    }

    /// With this scope: what was read for one user is shared with that user's requests alone. A program on this machine
    /// without a session shares with its like.
    fn scoped(self, scope: CacheScope) -> Self {
        match self {
            Self::Chat(request) => Self::Chat(Box::new(ChatRequest { scope, ..*request })),
            Self::AsMuchAsFits(request, tokens) => {
                Self::AsMuchAsFits(Box::new(ChatRequest { scope, ..*request }), tokens)
            }
            Self::Completions(requests) => Self::Completions(
                requests.into_iter().map(|request| CompletionRequest { scope, ..request }).collect(),
            ),
        }
    }

    fn check(&self, dialogue: &Dialogue) -> Result<Vec<Prompt>, DialogueError> {
        match self {
            Self::Chat(request) => dialogue.check(request).map(|prompt| vec![prompt]),
            Self::AsMuchAsFits(request, tokens) => {
                dialogue.check(request).map(|prompt| vec![prompt.at_most(*tokens)])
            }
            Self::Completions(requests) => {
                requests.iter().map(|request| dialogue.check_completion(request)).collect()
            }
        }
    }
}

/// Begins to generate: asks for leave, loads the model if need be, checks every prompt, holds what it may cost, and queues
/// them. When what is returned is dropped, all of it is cancelled.
///
/// Choices are numbered prompt by prompt: the answers to the first, then those to the second.
pub(crate) async fn begin(app: &App, client: Client, order: Order) -> Result<Running, ApiError> {
    let Order { endpoint, model, asked, answers } = order;
    let mut leave =
        Leave::ask(app, &client, endpoint, &model, answers.saturating_mul(asked.prompts())).await?;
    let (is_chat, may_shrink) = (!matches!(asked, Asked::Completions(_)), asked.may_shrink());
    let preparing = async {
        let scoped = asked.scoped(client.scope());
        let (dialogue, prompts) = prepare(app, &model, scoped, answers, leave.tokens_max()).await?;
        let shared_by = may_shrink.then_some(prompts.len());
        let paid = leave.priced(cost(&prompts, answers), shared_by).await?;
        Ok::<_, ApiError>((dialogue, within(prompts, paid)))
    };
    let prepared = tokio::select! {
        biased;
        prepared = preparing => prepared,
        () = app.cut_off() => Err(HubError::ShuttingDown.into()),
    };
    let started = prepared
        .and_then(|(dialogue, prompts)| Running::start(app, dialogue, prompts, answers).map_err(Into::into));
    match started {
        Ok(mut running) => {
            if is_chat {
                running.take_prompts();
            }
            Ok(running.with(leave))
        }
        Err(error) => {
            leave.give_back(app).await;
            Err(error)
        }
    }
}

/// The prompts for so many tokens of answers together, as many for each.
fn within(prompts: VecDeque<Prompt>, paid: Option<usize>) -> VecDeque<Prompt> {
    let Some(paid) = paid else { return prompts };
    let each = paid / prompts.len().max(1);
    prompts.into_iter().map(|prompt| prompt.at_most(each)).collect()
}

/// The model, and a prompt for each choice.
async fn prepare(
    app: &App,
    model: &str,
    asked: Asked,
    answers: usize,
    tokens_max: Option<usize>,
) -> Result<(Arc<Dialogue>, VecDeque<Prompt>), ApiError> {
    let dialogue = app.hub.get(model).await?;
    let prompts = check(app, &dialogue, move |dialogue| asked.check(dialogue)).await?;
    let each = |prompt: Prompt| {
        let prompt = tokens_max.into_iter().fold(prompt, Prompt::at_most);
        (0..answers as u64).map(move |index| prompt.clone().nth(index))
    };
    Ok((dialogue, prompts.into_iter().flat_map(each).collect()))
}

/// Checks prompts. Rendering and tokenising a long conversation takes a while, so it happens on a thread of its own, and
/// on no more of them than there are cores.
pub(crate) async fn check<T: Send + 'static>(
    app: &App,
    dialogue: &Arc<Dialogue>,
    work: impl FnOnce(&Dialogue) -> Result<T, DialogueError> + Send + 'static,
) -> Result<T, StartError> {
    let closed = |_| StartError::Broken(ApiError::internal("the semaphore of checks is closed"));
    let turn = Arc::clone(&app.checks).acquire_owned().await.map_err(closed)?;
    let dialogue = Arc::clone(dialogue);
    let checked = move || {
        let _turn = turn;
        work(&dialogue)
    };
    app.blocking(checked).await.map_err(StartError::Broken)?.map_err(StartError::Refused)
}

/// The most that it can take: each prompt is read once, whatever the number of its answers.
fn cost(prompts: &VecDeque<Prompt>, answers: usize) -> Cost {
    let read = prompts.iter().step_by(answers.max(1)).map(|prompt| prompt.cost().prompt_tokens);
    let written = prompts.iter().map(|prompt| prompt.cost().completion_tokens_max);
    Cost { prompt_tokens: read.sum(), completion_tokens_max: written.sum() }
}
