use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::RequestError;
use crate::fields::{Fields, alternatives, describe, quote};
use crate::turns::{
    AssistantTurn, Call, Function, FunctionChoice, TURNS_MAX, Turn, answer_schema, check_choice,
    function_name, read_functions, read_json, required, schema, some_of,
};

/// Most alternatives per token.
pub const TOP_LOGPROBS_MAX: u32 = 20;
/// Most entries of `metadata`, as OpenAI has it.
const METADATA_MAX: usize = 16;
/// Longest value in `metadata`, in bytes: OpenAI's 512 characters.
const METADATA_BYTES_MAX: usize = 4 * 512;

/// Fields that would change the answer and that nothing here supports.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("conversation", "no conversations are kept here; send the items in input"),
    ("context_management", "nothing is ever cut from a conversation or made shorter"),
    ("moderation", "nothing is moderated here"),
    ("previous_response_id", "no responses are kept here (store is false); send the earlier items in input"),
    ("prompt", "no prompts are kept here; send it as input and instructions"),
];

/// A request for a response, checked as far as that is possible without a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponsesRequest {
    /// The model to ask.
    pub model: String,
    /// Put before the input.
    pub instructions: Option<String>,
    /// The conversation, without the instructions; the last turn is not the model's.
    pub turns: Vec<Turn>,
    /// Most tokens to generate, at least 1.
    pub max_output_tokens: Option<u32>,
    /// `0..=2`
    pub temperature: Option<f32>,
    /// `0..=1`
    pub top_p: Option<f32>,
    /// Alternatives per token.
    pub top_logprobs: Option<u32>,
    /// Whether to give log-probabilities of the answer.
    pub logprobs: bool,
    /// Whether to send the answer piece by piece.
    pub stream: bool,
    /// All tools that were described.
    pub tools: Vec<Function>,
    /// What was said of calling them.
    pub tool_choice: ToolChoice,
    /// Whether the model may call several in one answer.
    pub parallel_tool_calls: bool,
    /// What form the text has.
    pub format: TextFormat,
    /// How long to make the text. A hint that no model here takes.
    pub verbosity: Option<Verbosity>,
    /// How to think.
    pub reasoning: Reasoning,
    /// The client's notes; given back as they are.
    pub metadata: Map<String, Value>,
    /// The client's name for its user. Given back, not used.
    pub user: Option<String>,
    /// The client's name for what it shares with earlier requests. Given back, not used: what is shared is found anyway.
    pub prompt_cache_key: Option<String>,
    /// Another name of the client for its user. Given back, not used.
    pub safety_identifier: Option<String>,
}

/// Which tools the model calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// Of all.
    All(FunctionChoice),
    /// Of these only: at least one if `required`.
    Allowed {
        /// Whether one has to be called.
        required: bool,
        /// Their names.
        names: Vec<String>,
    },
}

impl Default for ToolChoice {
    fn default() -> Self {
        Self::All(FunctionChoice::Auto)
    }
}

/// What form the text has.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesTextFormat)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TextFormat {
    /// Any.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that is valid by a schema.
    JsonSchema {
        /// The client's name for it.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether to refuse a schema with keywords that can't be held to.
        strict: bool,
    },
}

/// How to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesReasoning)]
pub struct Reasoning {
    /// How much.
    pub effort: Option<Effort>,
    /// Whether to sum it up. Nothing is summed up here: the thoughts are given as they are.
    pub summary: Option<Summary>,
}

/// How much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesEffort)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// How to sum thoughts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesSummary)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Summary {
    Auto,
    Concise,
    Detailed,
}

/// How long to make the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesVerbosity)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Verbosity {
    Low,
    Medium,
    High,
}

/// What to do with a conversation that doesn't fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesTruncation)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// It is refused.
    Disabled,
}

impl ResponsesRequest {
    /// Reads a request from its body.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        Self::from_value(read_json(body)?)
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new("", value)?;
        refuse_unsupported(&mut fields)?;
        let model = required(&mut fields, "model")?;
        let turns = read_input(&mut fields)?;
        let tools = read_functions("tools", fields.array("tools")?.unwrap_or_default(), read_tool)?;
        let tool_choice = read_tool_choice(&mut fields, &tools)?;
        let top_logprobs = fields.integer_in("top_logprobs", 0, TOP_LOGPROBS_MAX)?;
        let include = fields.array("include")?.unwrap_or_default();
        let logprobs = top_logprobs.is_some_and(|top| top > 0)
            || include.iter().any(|what| what == "message.output_text.logprobs");
        let (format, verbosity) = read_text(&mut fields)?;
        Ok(Self {
            model,
            instructions: fields.string("instructions")?,
            turns,
            max_output_tokens: fields.integer_in("max_output_tokens", 1, u32::MAX)?,
            temperature: fields.number_in("temperature", 0.0, 2.0)?,
            top_p: fields.number_in("top_p", 0.0, 1.0)?,
            top_logprobs,
            logprobs,
            stream: fields.boolean("stream")?.unwrap_or(false),
            tools,
            tool_choice,
            parallel_tool_calls: fields.boolean("parallel_tool_calls")?.unwrap_or(true),
            format,
            verbosity,
            reasoning: read_reasoning(&mut fields)?,
            metadata: read_metadata(&mut fields)?,
            user: fields.string("user")?,
            prompt_cache_key: fields.string("prompt_cache_key")?,
            safety_identifier: fields.string("safety_identifier")?,
        })
    }

    /// The tools that the model may call, and whether it calls them.
    pub fn callable(&self) -> (Vec<Function>, FunctionChoice) {
        match &self.tool_choice {
            ToolChoice::All(choice) => (self.tools.clone(), choice.clone()),
            ToolChoice::Allowed { required, names } => {
                let allowed = self.tools.iter().filter(|tool| names.contains(&tool.name)).cloned();
                (allowed.collect(), if *required { FunctionChoice::Required } else { FunctionChoice::Auto })
            }
        }
    }
}

fn refuse_unsupported(fields: &mut Fields) -> Result<(), RequestError> {
    for (field, why) in UNSUPPORTED {
        if fields.take(field).is_some_and(|value| value != Value::Array(Vec::new())) {
            return Err(RequestError::unsupported(field, why));
        }
    }
    if fields.boolean("background")? == Some(true) {
        let why = "a response is written while its request waits, and not without it";
        return Err(RequestError::unsupported("background", why));
    }
    if fields.choice("truncation", &["auto", "disabled"])?.is_some_and(|how| how == "auto") {
        let why = "only \"disabled\" is supported: nothing is ever cut from a conversation";
        return Err(RequestError::unsupported("truncation", why));
    }
    // Whatever it says, nothing is kept; the response says so.
    fields.boolean("store")?;
    Ok(())
}

fn read_input(fields: &mut Fields) -> Result<Vec<Turn>, RequestError> {
    let items = match fields.take("input") {
        None => return Err(RequestError::missing("input")),
        Some(Value::String(text)) => return Ok(vec![Turn::User(text)]),
        Some(Value::Array(items)) => some_of(items, "input", TURNS_MAX)?,
        Some(other) => {
            return Err(RequestError::format("input", "a string or an array of items", describe(&other)));
        }
    };
    let mut turns = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        read_item(Fields::new(format!("input[{index}]"), item)?, &mut turns)?;
    }
    if matches!(turns.last(), Some(Turn::Assistant(_))) {
        let allowed = "ended by an item of the user, the system or a tool";
        return Err(RequestError::value("input", allowed, "a last item of the assistant"));
    }
    Ok(turns)
}

fn read_item(mut fields: Fields, turns: &mut Vec<Turn>) -> Result<(), RequestError> {
    let kind = fields.string("type")?;
    match kind.as_deref() {
        None | Some("message") => read_message(fields, turns),
        Some("reasoning") => {
            let reasoning = read_thoughts(&mut fields)?;
            in_assistant(turns, has_said_nothing, |turn| {
                turn.reasoning.get_or_insert_default().push_str(&reasoning);
            });
            Ok(())
        }
        Some("function_call") => {
            let call = Call {
                id: required(&mut fields, "call_id")?,
                name: required(&mut fields, "name")?,
                arguments: required(&mut fields, "arguments")?,
            };
            in_assistant(turns, |_| true, |turn| turn.calls.push(call));
            Ok(())
        }
        Some("function_call_output") => {
            let call_id = required(&mut fields, "call_id")?;
            let name = fields.name("output");
            let output = fields.take("output").ok_or_else(|| RequestError::missing(&name))?;
            turns.push(Turn::Tool { call_id, content: read_content(&name, output)? });
            Ok(())
        }
        Some("item_reference") => {
            let why = "no items are kept here; send the item itself";
            Err(RequestError::unsupported(&fields.name("type"), why))
        }
        Some(given) => {
            let allowed = ["message", "function_call", "function_call_output", "reasoning"];
            let why =
                format!("only items of type {} are supported, got {}", alternatives(&allowed), quote(given));
            Err(RequestError::unsupported(&fields.name("type"), &why))
        }
    }
}

fn read_message(mut fields: Fields, turns: &mut Vec<Turn>) -> Result<(), RequestError> {
    let role = fields.choice("role", &["user", "assistant", "system", "developer"])?;
    let role = role.ok_or_else(|| RequestError::missing(&fields.name("role")))?;
    let name = fields.name("content");
    let content = fields.take("content").ok_or_else(|| RequestError::missing(&name))?;
    let content = read_content(&name, content)?;
    match role.as_str() {
        "user" => turns.push(Turn::User(content)),
        "assistant" => in_assistant(turns, has_said_nothing, |turn| turn.content = content),
        _ => turns.push(Turn::System(content)),
    }
    Ok(())
}

/// Changes the turn of the model that an item belongs to: the last, if that is one which it `fits`.
fn in_assistant(
    turns: &mut Vec<Turn>,
    fits: impl Fn(&AssistantTurn) -> bool,
    change: impl FnOnce(&mut AssistantTurn),
) {
    if let Some(Turn::Assistant(turn)) = turns.last_mut()
        && fits(turn)
    {
        return change(turn);
    }
    let mut turn = AssistantTurn::default();
    change(&mut turn);
    turns.push(Turn::Assistant(turn));
}

/// Whether what the model thought or said may still be a part of this turn.
fn has_said_nothing(turn: &AssistantTurn) -> bool {
    turn.content.is_empty() && turn.calls.is_empty()
}

/// A string, or an array of parts of text, which are joined.
fn read_content(name: &str, content: Value) -> Result<String, RequestError> {
    let parts = match content {
        Value::String(text) => return Ok(text),
        Value::Array(parts) => parts,
        other => return Err(RequestError::format(name, "a string or an array of parts", describe(&other))),
    };
    let mut text = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let mut fields = Fields::new(format!("{name}[{index}]"), part)?;
        match required(&mut fields, "type")?.as_str() {
            "input_text" | "output_text" | "text" => text.push_str(&required(&mut fields, "text")?),
            "refusal" => text.push_str(&required(&mut fields, "refusal")?),
            given => {
                let allowed = alternatives(&["input_text", "output_text", "refusal"]);
                let why = format!("only parts of type {allowed} are supported, got {}", quote(given));
                return Err(RequestError::unsupported(&fields.name("type"), &why));
            }
        }
    }
    Ok(text)
}

/// The thoughts of an earlier turn. A summary stands for thoughts that were not given.
fn read_thoughts(fields: &mut Fields) -> Result<String, RequestError> {
    let mut thoughts = String::new();
    for field in ["content", "summary"] {
        for (index, part) in fields.array(field)?.unwrap_or_default().into_iter().enumerate() {
            let mut part = Fields::new(format!("{}[{index}]", fields.name(field)), part)?;
            let text = required(&mut part, "text")?;
            thoughts.push_str(&text);
        }
        if !thoughts.is_empty() {
            break;
        }
    }
    Ok(thoughts)
}

fn read_tool(mut fields: Fields) -> Result<Function, RequestError> {
    let kind = required(&mut fields, "type")?;
    if kind != "function" {
        let why = format!("only tools of type \"function\" are supported, got {}", quote(&kind));
        return Err(RequestError::unsupported(&fields.name("type"), &why));
    }
    let name = function_name(&mut fields)?;
    let none = || Value::Object([("type".to_owned(), Value::from("object"))].into_iter().collect());
    let parameters = schema(&mut fields, "parameters")?.unwrap_or_else(none);
    let description = fields.string("description")?;
    let strict = fields.boolean("strict")?;
    // Strict unless it says no, if that is possible at all.
    let strict = strict.unwrap_or_else(|| is_closed(&parameters));
    Ok(Function { name, description, parameters, strict })
}

/// Whether an object by this schema has all of the properties that are named and no other.
fn is_closed(schema: &Value) -> bool {
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let all = match (properties, required) {
        (None, _) => true,
        (Some(properties), Some(required)) => {
            properties.keys().all(|name| required.iter().any(|required| required == name))
        }
        (Some(properties), None) => properties.is_empty(),
    };
    closed && all
}

fn read_tool_choice(fields: &mut Fields, tools: &[Function]) -> Result<ToolChoice, RequestError> {
    let choice = match fields.take("tool_choice") {
        None => ToolChoice::default(),
        Some(Value::String(mode)) => ToolChoice::All(match mode.as_str() {
            "auto" => FunctionChoice::Auto,
            "none" => FunctionChoice::None,
            "required" => FunctionChoice::Required,
            given => {
                let allowed = alternatives(&["auto", "none", "required"]);
                return Err(RequestError::value("tool_choice", &allowed, &quote(given)));
            }
        }),
        Some(choice) => read_chosen(Fields::new("tool_choice", choice)?, tools)?,
    };
    if let ToolChoice::All(choice) = &choice {
        check_choice(choice, tools)?;
    }
    Ok(choice)
}

fn read_chosen(mut fields: Fields, tools: &[Function]) -> Result<ToolChoice, RequestError> {
    match required(&mut fields, "type")?.as_str() {
        "function" => Ok(ToolChoice::All(FunctionChoice::Named(required(&mut fields, "name")?))),
        "allowed_tools" => {
            let mode = fields.choice("mode", &["auto", "required"])?;
            let mode = mode.ok_or_else(|| RequestError::missing("tool_choice.mode"))?;
            let allowed = fields.array("tools")?.ok_or_else(|| RequestError::missing("tool_choice.tools"))?;
            let mut names = Vec::new();
            let max = tools.len().max(1);
            for (index, tool) in some_of(allowed, "tool_choice.tools", max)?.into_iter().enumerate() {
                let mut tool = Fields::new(format!("tool_choice.tools[{index}]"), tool)?;
                let name = required(&mut tool, "name")?;
                if !tools.iter().any(|tool| tool.name == name) {
                    let allowed = "the name of one of the tools";
                    return Err(RequestError::value(&tool.name("name"), allowed, &quote(&name)));
                }
                names.push(name);
            }
            Ok(ToolChoice::Allowed { required: mode == "required", names })
        }
        given => {
            let allowed = alternatives(&["function", "allowed_tools"]);
            let why = format!("only choices of type {allowed} are supported, got {}", quote(given));
            Err(RequestError::unsupported("tool_choice.type", &why))
        }
    }
}

fn read_text(fields: &mut Fields) -> Result<(TextFormat, Option<Verbosity>), RequestError> {
    let Some(mut text) = fields.object("text")? else { return Ok((TextFormat::Text, None)) };
    let verbosity = text.choice("verbosity", &["low", "medium", "high"])?.map(|how| match how.as_str() {
        "low" => Verbosity::Low,
        "medium" => Verbosity::Medium,
        _ => Verbosity::High,
    });
    let Some(mut format) = text.object("format")? else { return Ok((TextFormat::Text, verbosity)) };
    let kind = format.choice("type", &["text", "json_object", "json_schema"])?;
    let format = match kind.ok_or_else(|| RequestError::missing("text.format.type"))?.as_str() {
        "json_object" => TextFormat::JsonObject,
        "json_schema" => TextFormat::JsonSchema {
            name: required(&mut format, "name")?,
            description: format.string("description")?,
            schema: answer_schema(&mut format, "schema")?,
            strict: format.boolean("strict")?.unwrap_or(false),
        },
        _ => TextFormat::Text,
    };
    Ok((format, verbosity))
}

fn read_reasoning(fields: &mut Fields) -> Result<Reasoning, RequestError> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(Reasoning::default()) };
    let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    let effort = reasoning.choice("effort", &efforts)?.map(|effort| match effort.as_str() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => Effort::Medium,
    });
    let summaries = ["auto", "concise", "detailed"];
    let old = reasoning.choice("generate_summary", &summaries)?;
    let summary = reasoning.choice("summary", &summaries)?.or(old).map(|how| match how.as_str() {
        "concise" => Summary::Concise,
        "detailed" => Summary::Detailed,
        _ => Summary::Auto,
    });
    Ok(Reasoning { effort, summary })
}

fn read_metadata(fields: &mut Fields) -> Result<Map<String, Value>, RequestError> {
    let metadata = match fields.take("metadata") {
        None => return Ok(Map::new()),
        Some(Value::Object(metadata)) => metadata,
        Some(other) => return Err(RequestError::format("metadata", "an object", describe(&other))),
    };
    if metadata.len() > METADATA_MAX {
        let allowed = format!("an object of at most {METADATA_MAX} entries");
        return Err(RequestError::value("metadata", &allowed, &format!("one of {}", metadata.len())));
    }
    for (key, value) in &metadata {
        let bytes = key.len().max(value.as_str().map_or(0, str::len));
        if !value.is_string() || bytes > METADATA_BYTES_MAX {
            let allowed =
                format!("an object whose keys and values are strings of at most {METADATA_BYTES_MAX} bytes");
            return Err(RequestError::value("metadata", &allowed, describe(value)));
        }
    }
    Ok(metadata)
}
