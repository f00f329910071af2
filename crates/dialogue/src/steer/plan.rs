//! From what a request asks for to what the model may say.

use std::sync::Arc;

use base::TokenId;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use models::tokenizer::Tokenizer;
use serde_json::json;

use super::bans::Bans;
use super::grammar::{Grammar, Grammars};
use super::schema::{Spacing, check_size, check_strict, with_options};
use super::tighten::tighten_lark;
use super::tool_grammar::{Calls, literal};
use crate::calls::{CallForm, Markup};
use crate::error::DialogueError;
use crate::follow::TagTokens;
use crate::request::{ChatRequest, Format, Tool, ToolChoice};
use crate::split::{CLOSING, Start};

/// Most tools of a request, as OpenAI's and DeepSeek's APIs have it.
pub const TOOLS_MAX: usize = 128;
/// Longest name of a tool, in bytes.
pub const TOOL_NAME_BYTES_MAX: usize = 64;

/// What the content may be.
#[derive(Debug)]
pub(super) enum Body {
    /// Anything.
    Free,
    /// Anything but the beginning of calls.
    NoCalls,
    /// Anything, and calls.
    Calls {
        /// What comes behind the text that begins them.
        behind_text: Grammar,
        /// What comes behind the token that begins them.
        behind_token: Grammar,
    },
    /// A text of this grammar.
    Of(Grammar),
}

/// What one request's answers may be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) body: Body,
    /// Most tokens of reasoning.
    pub(super) reasoning_tokens_max: Option<usize>,
}

/// Makes plans for one model.
pub(crate) struct Planner {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) tags: Option<TagTokens>,
    /// The markup of calls, in models that can be told of tools.
    pub(super) markup: Option<Arc<Markup>>,
    pub(super) bans: Bans,
    /// The closing tag.
    pub(super) closing: Vec<TokenId>,
    /// A line end, for a thought that is cut within a line.
    pub(super) line_end: Vec<TokenId>,
    /// What is between the closing tag and the content.
    pub(super) lead: Vec<TokenId>,
    /// Ends an answer.
    pub(super) end: Option<TokenId>,
    grammars: Grammars,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("grammars", &self.grammars).finish_non_exhaustive()
    }
}

impl Planner {
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        tags: Option<TagTokens>,
        markup: Option<Arc<Markup>>,
    ) -> Self {
        let tokens = |text: &str| tokenizer.encode_text(text).unwrap_or_default();
        let closing = tags.map_or_else(|| tokens(CLOSING), |tags| vec![tags.closing]);
        let end = tokenizer.eos().filter(|&eos| tokenizer.is_end(eos));
        Self {
            closing,
            line_end: tokens("\n"),
            lead: tokens("\n\n"),
            end: end.or_else(|| tokenizer.end_tokens().first().copied()),
            grammars: Grammars::new(Arc::clone(&tokenizer)),
            bans: Bans::default(),
            tokenizer,
            tags,
            markup,
        }
    }

    /// The plan for a conversation whose answer begins at `start`; none if everything is allowed.
    pub(crate) fn chat(
        &self,
        request: &ChatRequest,
        start: Start,
    ) -> Result<Option<Arc<Plan>>, DialogueError> {
        let tools = callable(request);
        let body = match (&self.markup, request.tools.is_empty()) {
            (None, false) => {
                return Err(DialogueError::invalid(
                    "tools",
                    "none: this model's template has no place for them",
                    "some",
                ));
            }
            (Some(markup), false) => self.body_with_tools(request, markup, tools)?,
            (_, true) => self.body(&request.format)?,
        };
        let body = match (body, request.said()) {
            (Body::Of(grammar), Some(begun)) if !begun.content.is_empty() => {
                Body::Of(self.behind(grammar, &begun.content)?)
            }
            (body, _) => body,
        };
        let reasoning_tokens_max = request.reasoning_tokens_max.filter(|_| start != Start::Content);
        if matches!(body, Body::Free) && reasoning_tokens_max.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Plan { body, reasoning_tokens_max })))
    }

    /// The plan for a text without a conversation around it.
    pub(crate) fn text(&self, format: &Format) -> Result<Option<Arc<Plan>>, DialogueError> {
        Ok(match self.body(format)? {
            Body::Free => None,
            body => Some(Arc::new(Plan { body, reasoning_tokens_max: None })),
        })
    }

    fn body(&self, format: &Format) -> Result<Body, DialogueError> {
        let Some(grammar) = content_grammar(format)? else { return Ok(Body::Free) };
        self.compile(TopLevelGrammar::from_grammar(grammar)).map(Body::Of)
    }

    fn body_with_tools(
        &self,
        request: &ChatRequest,
        markup: &Markup,
        tools: Vec<&Tool>,
    ) -> Result<Body, DialogueError> {
        let calls = Calls { markup, tools, parallel: request.parallel_tool_calls && markup.parallel };
        match request.tool_choice {
            ToolChoice::None => Ok(match self.body(&request.format)? {
                Body::Free => Body::NoCalls,
                body => body,
            }),
            ToolChoice::Auto => match content_grammar(&request.format)? {
                None => {
                    let behind_text = self.compile_calls(&calls, calls.behind_text())?;
                    let behind_token = match markup.form {
                        // The token is before the text, not in its place.
                        CallForm::Llama => self.compile_calls(&calls, calls.required())?,
                        CallForm::Hermes | CallForm::DeepSeek => behind_text.clone(),
                    };
                    Ok(Body::Calls { behind_text, behind_token })
                }
                Some(content) => {
                    // Whose fault it is shows when each is compiled alone.
                    self.compile(TopLevelGrammar::from_grammar(content.clone()))?;
                    self.compile_calls(&calls, calls.or(content)).map(Body::Of)
                }
            },
            ToolChoice::Required | ToolChoice::Named(_) => {
                self.compile_calls(&calls, calls.required()).map(Body::Of)
            }
        }
    }

    fn compile(&self, grammar: TopLevelGrammar) -> Result<Grammar, DialogueError> {
        self.grammars.compile(grammar).map_err(|reason| unfit(&reason))
    }

    fn compile_calls(&self, calls: &Calls<'_>, grammar: TopLevelGrammar) -> Result<Grammar, DialogueError> {
        self.grammars.compile(grammar).map_err(|reason| {
            let alone = |tool: &&&Tool| {
                let tools = vec![**tool];
                let alone = Calls { markup: calls.markup, tools, parallel: false };
                self.grammars.compile(alone.required()).err()
            };
            let culprit = calls
                .tools
                .iter()
                .filter(|tool| tool.strict)
                .find_map(|tool| alone(&tool).map(|reason| (tool.name.as_str(), reason)));
            let given = match culprit {
                Some((name, reason)) => format!("parameters of {name} that can't: {reason}"),
                None => format!("some that can't: {reason}"),
            };
            DialogueError::invalid("tools", "functions with parameters that can be held to", given)
        })
    }

    /// The grammar behind what was begun.
    fn behind(&self, mut grammar: Grammar, begun: &str) -> Result<Grammar, DialogueError> {
        let tokens = self.tokenizer.encode_text(begun)?;
        if grammar.take_all(&tokens) {
            return Ok(grammar);
        }
        let allowed = "a last message of the assistant that begins as response_format and tool_choice ask";
        Err(DialogueError::invalid("messages", allowed, "another beginning"))
    }
}

fn unfit(reason: &str) -> DialogueError {
    DialogueError::invalid(
        "response_format",
        "a form that can be held to",
        format!("one that can't: {reason}"),
    )
}

/// The tools that may be called.
fn callable(request: &ChatRequest) -> Vec<&Tool> {
    let named = |tool: &&Tool| match &request.tool_choice {
        ToolChoice::Named(name) => tool.name == *name,
        _ => true,
    };
    request.tools.iter().filter(named).collect()
}

/// Longest regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 8 << 10;
/// Longest grammar in Lark, in bytes.
const LARK_BYTES_MAX: usize = 64 << 10;
/// Most texts to choose from.
const CHOICES_MAX: usize = 1000;
/// Longest of them all together, in bytes.
const CHOICES_BYTES_MAX: usize = 64 << 10;

/// The grammar of a form; none where the text is free.
fn content_grammar(format: &Format) -> Result<Option<GrammarWithLexer>, DialogueError> {
    let refuse = |allowed: String, given: String| DialogueError::invalid("response_format", allowed, given);
    let bytes = |what: &str, text: &str, max: usize| match text.len() {
        given if given == 0 || given > max => {
            Err(refuse(format!("{what} of 1 to {max} bytes"), format!("{given} bytes")))
        }
        _ => Ok(()),
    };
    let schema = |schema, lenient| {
        with_options(schema, lenient, Spacing::Free)
            .map(GrammarWithLexer::from_json_schema)
            .map_err(|reason| unfit(&reason))
    };
    Ok(Some(match format {
        Format::Text => return Ok(None),
        Format::JsonObject => schema(json!({ "type": "object" }), false)?,
        Format::JsonSchema { schema: given, strict } => {
            check_size(given).map_err(|(allowed, given)| refuse(allowed, given))?;
            schema(given.clone(), !strict)?
        }
        Format::Regex(regex) => {
            bytes("a regular expression", regex, REGEX_BYTES_MAX)?;
            GrammarWithLexer::from_regex(regex)
        }
        Format::Choice(choices) => {
            let total: usize = choices.iter().map(String::len).sum();
            if choices.is_empty() || choices.len() > CHOICES_MAX || choices.iter().any(String::is_empty) {
                let allowed = format!("1 to {CHOICES_MAX} texts to choose from, none of them empty");
                return Err(refuse(allowed, format!("{} texts", choices.len())));
            }
            if total > CHOICES_BYTES_MAX {
                let allowed = format!("texts of at most {CHOICES_BYTES_MAX} bytes together");
                return Err(refuse(allowed, format!("{total} bytes")));
            }
            let choices: Vec<String> = choices.iter().map(|choice| literal(choice)).collect();
            GrammarWithLexer::from_lark(format!("start: CHOICE\nCHOICE: {}\n", choices.join(" | ")))
        }
        Format::Lark(grammar) => {
            bytes("a grammar", grammar, LARK_BYTES_MAX)?;
            GrammarWithLexer::from_lark(tighten_lark(grammar).map_err(|reason| unfit(&reason))?)
        }
    }))
}

/// Checks what can be checked of tools without a model.
pub(crate) fn check_tools(request: &ChatRequest) -> Result<(), DialogueError> {
    let refuse = |allowed: String, given: String| Err(DialogueError::invalid("tools", allowed, given));
    let tools = &request.tools;
    if tools.len() > TOOLS_MAX {
        return refuse(format!("at most {TOOLS_MAX} tools"), tools.len().to_string());
    }
    for (index, tool) in tools.iter().enumerate() {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if tool.name.is_empty() || tool.name.len() > TOOL_NAME_BYTES_MAX || !tool.name.bytes().all(letter) {
            let allowed =
                format!("functions with names of 1 to {TOOL_NAME_BYTES_MAX} letters, digits, _ and -");
            return refuse(allowed, format!("another name at index {index}"));
        }
        if tools[..index].iter().any(|other| other.name == tool.name) {
            return refuse("functions with different names".to_owned(), format!("{} twice", tool.name));
        }
        if tool.parameters.is_null() && !tool.strict {
            continue;
        }
        check_size(&tool.parameters).or_else(|(allowed, given)| {
            refuse(format!("parameters that are {allowed}"), format!("{given} in {}", tool.name))
        })?;
        if tool.strict {
            check_strict(&tool.parameters)
                .or_else(|allowed| refuse(allowed, format!("other parameters of {}", tool.name)))?;
        }
    }
    let chosen = match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => true,
        ToolChoice::Required => !tools.is_empty(),
        ToolChoice::Named(name) => tools.iter().any(|tool| tool.name == *name),
    };
    if !chosen {
        let allowed = "\"auto\", \"none\", or one of the tools given";
        return Err(DialogueError::invalid("tool_choice", allowed, "another choice"));
    }
    Ok(())
}
