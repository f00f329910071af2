use std::collections::VecDeque;
use std::sync::Arc;

use dialogue::{CacheScope, ChatRequest, CompletionRequest, Cost, Dialogue, DialogueError, HubError, Prompt};

use super::Running;
use super::leave::Leave;
use crate::accounts::{Client, Standing};
use crate::answers::StartError;
use crate::app::App;
use crate::bulwark::{Counts, Cut, Portion, Wish, spare};
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

    /// What it asks for, before any of it is read.
    fn wish(&self) -> Wish {
        match self {
            Self::Chat(request) => Wish::of_chat(request, request.tokens_max),
            Self::AsMuchAsFits(request, tokens) => Wish::of_chat(request, Some(*tokens)),
            Self::Completions(requests) => Wish::of_completions(requests),
        }
    }

    /// With a thought of no more than so many tokens.
    fn thinking_at_most(self, tokens: Option<usize>) -> Self {
        let with = |request: Box<ChatRequest>| {
            let reasoning_tokens_max = tokens.or(request.reasoning_tokens_max);
            Box::new(ChatRequest { reasoning_tokens_max, ..*request })
        };
        match self {
            Self::Chat(request) => Self::Chat(with(request)),
            Self::AsMuchAsFits(request, most) => Self::AsMuchAsFits(with(request), most),
            Self::Completions(requests) => Self::Completions(requests),
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
pub(crate) async fn begin(
    app: &App,
    client: Client,
    standing: Standing,
    order: Order,
) -> Result<Running, ApiError> {
    let Order { endpoint, model, asked, answers } = order;
    let choices = answers.saturating_mul(asked.prompts());
    // Refusals come before anything is read or written. Not so where the model has to be loaded first: whoever may not
    // ask it must not have that done.
    let of_loaded = |dialogue| Part::of(app, dialogue, standing, (asked.wish(), choices));
    let part = look(app, &model, standing)?.map(of_loaded).transpose()?;
    let mut leave = Leave::ask(app, &client, endpoint, &model, choices).await?;
    let (is_chat, may_shrink) = (!matches!(asked, Asked::Completions(_)), asked.may_shrink());
    let preparing = async {
        // Notes that it is used, too.
        let dialogue = app.hub.get(&model).await?;
        let part = match part {
            Some(part) => part,
            None => {
                seat(app, &dialogue, standing)?;
                Part::of(app, dialogue, standing, (asked.wish(), choices))?
            }
        };
        let scoped = asked.scoped(client.scope());
        let Prepared { dialogue, prompts, cut, counts } =
            prepare(app, standing, part, scoped, answers, leave.tokens_max()).await?;
        leave.counts(counts);
        let shared_by = may_shrink.then_some(prompts.len());
        let paid = leave.priced(cost(&prompts, answers), shared_by).await?;
        Ok::<_, ApiError>((dialogue, within(prompts, paid), cut))
    };
    let prepared = tokio::select! {
        biased;
        prepared = preparing => prepared,
        () = app.cut_off() => Err(HubError::ShuttingDown.into()),
    };
    let started = prepared.and_then(|(dialogue, prompts, cut)| {
        Running::start(app, dialogue, prompts, answers, (standing, cut))
    });
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

/// Whether there would be a place at a model for somebody, as far as that is known at once: before anything is read or
/// written for a request that would then be refused. With the model, if it is loaded.
pub(crate) fn look(app: &App, model: &str, standing: Standing) -> Result<Option<Arc<Dialogue>>, ApiError> {
    let found = app.hub.find(model);
    if let Some(dialogue) = &found {
        seat(app, dialogue, standing)?;
    }
    Ok(found)
}

/// Whether there would be a place at a model for somebody now; counted if not.
pub(crate) fn seat(app: &App, dialogue: &Dialogue, standing: Standing) -> Result<(), DialogueError> {
    let seat = app.bulwark.berths.look(dialogue, standing);
    seat.inspect_err(|_| app.metrics.refused(standing.class, "engine"))
}

/// The prompts for so many tokens of answers together, as many for each.
fn within(prompts: VecDeque<Prompt>, paid: Option<usize>) -> VecDeque<Prompt> {
    let Some(paid) = paid else { return prompts };
    let each = paid / prompts.len().max(1);
    prompts.into_iter().map(|prompt| prompt.at_most(each)).collect()
}

/// What somebody's class and the load let them have of a model.
struct Part {
    dialogue: Arc<Dialogue>,
    portion: Portion,
    /// Of the prompts.
    text_bytes: usize,
    /// That it is under way.
    counts: Counts,
}

impl Part {
    /// For so many answers to what is wished.
    fn of(
        app: &App,
        dialogue: Arc<Dialogue>,
        standing: Standing,
        (wish, choices): (Wish, usize),
    ) -> Result<Self, ApiError> {
        let part = app.bulwark.portion(&dialogue, standing, wish).and_then(|portion| {
            let counts = app.bulwark.begin(standing, portion.cost(choices))?;
            Ok((portion, counts))
        });
        let (portion, counts) = part.inspect_err(|_| app.metrics.refused(standing.class, "portion"))?;
        Ok(Self { dialogue, portion, text_bytes: wish.text_bytes, counts })
    }
}

/// What can be started.
struct Prepared {
    dialogue: Arc<Dialogue>,
    /// One for each choice.
    prompts: VecDeque<Prompt>,
    /// What was cut of what was asked for.
    cut: Cut,
    /// That it is under way.
    counts: Counts,
}

/// The model, and a prompt for each choice: no larger than its class and the load allow.
async fn prepare(
    app: &App,
    standing: Standing,
    Part { dialogue, portion, text_bytes, counts }: Part,
    asked: Asked,
    answers: usize,
    tokens_max: Option<usize>,
) -> Result<Prepared, ApiError> {
    let asked = asked.thinking_at_most(portion.thinking_tokens());
    let checked = check(app, &dialogue, standing, text_bytes, move |dialogue| asked.check(dialogue)).await?;
    let mut prompts = VecDeque::with_capacity(answers.saturating_mul(checked.len()));
    let mut all_cut = Cut::default();
    for prompt in checked {
        let (prompt, cut) = portion.fit(prompt)?;
        all_cut = all_cut.and(cut);
        let prompt = tokens_max.into_iter().fold(prompt, Prompt::at_most);
        prompts.extend((0..answers as u64).map(|index| prompt.clone().nth(index)));
    }
    Ok(Prepared { dialogue, prompts, cut: all_cut, counts })
}

/// From so many bytes of text on prompts are long: to tokenise them takes a millisecond and more.
const LONG_BYTES: usize = 2 << 10;
/// How far that stands back behind answers and requests when the cores are busy. Whoever has a long prompt waits for
/// the model a hundred times as long.
const NICENESS_OF_LONG: i32 = 10;

/// Reads prompts, or other texts of so many bytes. Rendering and tokenising takes a while, so it happens on other threads than
/// requests, and on no more of them than there are cores; those first who are trusted more. Short prompts don't wait for
/// long ones.
pub(crate) async fn check<T: Send + 'static>(
    app: &App,
    dialogue: &Arc<Dialogue>,
    standing: Standing,
    text_bytes: usize,
    work: impl FnOnce(&Dialogue) -> Result<T, DialogueError> + Send + 'static,
) -> Result<T, StartError> {
    let is_long = text_bytes >= LONG_BYTES;
    let turns = if is_long { &app.bulwark.long_checks } else { &app.bulwark.checks };
    let full = |full: defence::Full| {
        StartError::Broken(ApiError::busy("overloaded", format!("too many prompts wait to be read: {full}")))
    };
    let turn = turns.take(standing).await.map_err(full)?;
    let dialogue = Arc::clone(dialogue);
    let checked = if is_long {
        spare("prompt", NICENESS_OF_LONG, turn, move || work(&dialogue)).await
    } else {
        let checked = move || {
            let _turn = turn;
            work(&dialogue)
        };
        app.blocking(checked).await
    };
    checked.map_err(StartError::Broken)?.map_err(StartError::Refused)
}

/// The most that it can take: each prompt is read once, whatever the number of its answers.
fn cost(prompts: &VecDeque<Prompt>, answers: usize) -> Cost {
    let read = prompts.iter().step_by(answers.max(1)).map(|prompt| prompt.cost().prompt_tokens);
    let written = prompts.iter().map(|prompt| prompt.cost().completion_tokens_max);
    Cost { prompt_tokens: read.sum(), completion_tokens_max: written.sum() }
}
