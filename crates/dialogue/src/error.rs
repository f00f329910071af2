use engine::{EngineError, ParamError, SubmitError};
use models::template::TemplateError;
use models::tokenizer::TokenizerError;

/// Why a request was refused or a model can't be talked to.
#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    /// A field of the request is outside what is allowed.
    #[error("{name} must be {allowed}, got {given}")]
    InvalidParam {
        /// The field, by the name that the HTTP API gives it.
        name: &'static str,
        /// What would have been accepted.
        allowed: String,
        /// What was given.
        given: String,
    },
    /// The conversation and the answer asked for don't fit in the context.
    #[error("{}", too_long(*prompt_tokens, *tokens_max, *context))]
    TooLong {
        /// Tokens of the conversation. For a text too long to be worth reading, as many as it has at the least.
        prompt_tokens: usize,
        /// Tokens of the answer asked for, if any were asked for.
        tokens_max: Option<usize>,
        /// Tokens that fit, conversation and answer together.
        context: usize,
    },
    /// The model's template refuses the conversation, or can't be run.
    #[error("the model's chat template does not take these messages: {0}")]
    Template(#[from] TemplateError),
    /// The text can't be tokenised.
    #[error("the text can't be turned into tokens: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// The model has no template and is no chat model that we know.
    #[error("{name} has no chat template: it is not a chat model, or one whose template is not known")]
    NoTemplate {
        /// The model.
        name: String,
    },
    /// As many answers as may be are running or waiting.
    #[error(
        "the model is busy: {held} answers are running or waiting, at most {allowed} may; try again later"
    )]
    QueueFull {
        /// Answers running or waiting.
        held: usize,
        /// Most that may.
        allowed: usize,
    },
    /// The model is being shut down.
    #[error("the model is shutting down")]
    ShuttingDown,
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn too_long(prompt_tokens: usize, tokens_max: Option<usize>, context: usize) -> String {
    let room = match tokens_max {
        Some(answer) => format!("and {answer} tokens of answer were asked for"),
        None => "and the answer needs at least 1".to_owned(),
    };
    format!("the conversation has {prompt_tokens} tokens {room}, but the context holds {context} in all")
}

impl DialogueError {
    pub(crate) fn invalid(name: &'static str, allowed: impl Into<String>, given: impl Into<String>) -> Self {
        Self::InvalidParam { name, allowed: allowed.into(), given: given.into() }
    }
}

impl From<ParamError> for DialogueError {
    fn from(error: ParamError) -> Self {
        // The engine's names are the API's, except for these.
        let name = match error.name {
            "tokens_max" => "max_tokens",
            "logprobs" => "top_logprobs",
            name => name,
        };
        Self::InvalidParam { name, allowed: error.allowed, given: error.given }
    }
}

impl From<SubmitError> for DialogueError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::QueueFull { held, allowed } => Self::QueueFull { held, allowed },
            SubmitError::TooLong { prompt, allowed } => {
                Self::TooLong { prompt_tokens: prompt, tokens_max: None, context: allowed.saturating_add(1) }
            }
            SubmitError::InvalidParam(error) => error.into(),
            SubmitError::ShutDown => Self::ShuttingDown,
        }
    }
}
