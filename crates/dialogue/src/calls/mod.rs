//! Calls of tools: how models write them, and how they are read.

mod head;
mod reader;

pub(crate) use self::reader::{CallPiece, CallReader};

use base::TokenId;
use models::template::{ChatTemplate, ToolFormat};
use models::tokenizer::Tokenizer;

/// How a model writes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallForm {
    /// `<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>`: Qwen's, Hermes's, and that of models which know of
    /// no tools and are told about this one.
    Hermes,
    /// `{"name": "f", "parameters": {}}` at the beginning of the answer, several set apart by `; `: Llama 3's.
    Llama,
    /// The tokens of DeepSeek, with the arguments in a fence of Markdown.
    DeepSeek,
}

/// Before a call, in the form of Hermes.
pub(crate) const HERMES_BEGIN: &str = "<tool_call>";
/// After a call, in the form of Hermes.
pub(crate) const HERMES_END: &str = "</tool_call>";
/// What a call of Llama 3 begins with.
pub(crate) const LLAMA_BEGIN: &str = "{\"name\":";
/// What a Llama 3 may say before a call.
pub(crate) const LLAMA_TAG: &str = "<|python_tag|>";
/// Before all calls, in the form of DeepSeek.
pub(crate) const DEEPSEEK_CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
/// Before a call.
pub(crate) const DEEPSEEK_CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
/// Between kind and name.
pub(crate) const DEEPSEEK_SEPARATOR: &str = "<｜tool▁sep｜>";
/// After a call.
pub(crate) const DEEPSEEK_CALL_END: &str = "<｜tool▁call▁end｜>";
/// After all calls.
pub(crate) const DEEPSEEK_CALLS_END: &str = "<｜tool▁calls▁end｜>";

impl CallForm {
    /// The texts of its markup that a tokenizer may have as tokens; the first begins the calls.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Hermes => &[HERMES_BEGIN, HERMES_END],
            Self::Llama => &[LLAMA_TAG],
            Self::DeepSeek => &[
                DEEPSEEK_CALLS_BEGIN,
                DEEPSEEK_CALL_BEGIN,
                DEEPSEEK_SEPARATOR,
                DEEPSEEK_CALL_END,
                DEEPSEEK_CALLS_END,
            ],
        }
    }
}

/// The markup of calls in one model's vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Markup {
    pub(crate) form: CallForm,
    /// Whether an answer may have several calls.
    pub(crate) parallel: bool,
    /// Those of its texts that are tokens of structure.
    tokens: Vec<(TokenId, &'static str)>,
}

impl Markup {
    /// The markup that a template tells the model to use.
    pub(crate) fn of(template: &ChatTemplate, tokenizer: &Tokenizer) -> Self {
        let support = template.tools();
        let form = match support.format {
            ToolFormat::Hermes | ToolFormat::Plain => CallForm::Hermes,
            ToolFormat::Llama3Json => CallForm::Llama,
            ToolFormat::DeepSeek => CallForm::DeepSeek,
        };
        Self { parallel: support.parallel, ..Self::new(form, tokenizer) }
    }

    /// The markup of a form, of which a tokenizer may have tokens.
    pub(crate) fn new(form: CallForm, tokenizer: &Tokenizer) -> Self {
        let token = |&text: &&'static str| {
            tokenizer.token_id(text).filter(|&id| tokenizer.is_special(id)).map(|id| (id, text))
        };
        Self { form, parallel: true, tokens: form.marks().iter().filter_map(token).collect() }
    }

    /// What this token is of the markup.
    pub(crate) fn text(&self, id: TokenId) -> Option<&'static str> {
        self.tokens.iter().find(|&&(token, _)| token == id).map(|&(_, text)| text)
    }

    /// The token that is this text, if one is.
    pub(crate) fn token(&self, text: &str) -> Option<TokenId> {
        self.tokens.iter().find(|&&(_, other)| other == text).map(|&(token, _)| token)
    }

    /// The token that begins the calls, if one does.
    pub(crate) fn begin_token(&self) -> Option<TokenId> {
        self.token(self.form.marks()[0])
    }

    /// The text that begins the calls, where no token does.
    pub(crate) fn begin_text(&self) -> Option<&'static str> {
        match self.form {
            CallForm::Llama => Some(LLAMA_BEGIN),
            form => Some(form.marks()[0]).filter(|_| self.begin_token().is_none()),
        }
    }
}
