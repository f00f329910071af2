use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, alternatives, describe, quote};
use crate::turns::{
    AssistantTurn, Call, Function, FunctionChoice, TURNS_MAX, Turn, answer_schema, check_choice,
    function_name, read_functions, read_json, required, schema, some_of,
};

/// Most stop sequences.
pub const STOP_SEQUENCES_MAX: usize = 16;

/// Fields that would change the answer and that nothing here supports. (`service_tier`, `metadata`, `cache_control`,
/// `context_management` and the like change none and are let through.)
const UNSUPPORTED: &[(&str, &str)] = &[
    ("container", "there are no containers here: code is not run"),
    ("mcp_servers", "MCP servers are not connected to from here; list their tools in tools"),
];

/// Kinds of blocks that a message may not have, and what they are.
const FOREIGN_BLOCKS: &[(&str, &str)] =
    &[("image", "images are not supported"), ("document", "documents are not supported")];

/// A request for a message, checked as far as that is possible without a model.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagesRequest {
    /// The model to ask.
    pub model: String,
    /// The conversation, instructions first. If the last turn is the model's, the answer goes on from it.
    pub turns: Vec<Turn>,
    /// Most tokens to generate, at least 1.
    pub max_tokens: u32,
    /// `0..=1`
    pub temperature: Option<f32>,
    /// `0..=1`
    pub top_p: Option<f32>,
    /// 0 keeps all.
    pub top_k: Option<u32>,
    /// Strings that end the answer.
    pub stop_sequences: Vec<String>,
    /// Whether to send the answer piece by piece.
    pub stream: bool,
    /// The tools that the model may call.
    pub tools: Vec<Function>,
    /// Whether it calls them.
    pub tool_choice: FunctionChoice,
    /// Whether it may call several in one answer.
    pub parallel_tool_calls: bool,
    /// Whether and how long to think.
    pub thinking: Thinking,
    /// JSON Schema that the text of the answer has to be valid by.
    pub schema: Option<Value>,
    /// The client's name for its user. Not used.
    pub user: Option<String>,
}

/// What a request says of thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thinking {
    /// Whether to think; the model's habit if not set.
    pub enabled: Option<bool>,
    /// Most tokens of it.
    pub budget_tokens: Option<u32>,
    /// Whether the thoughts are left out of the answer.
    pub omitted: bool,
    /// Whether little of it is asked for. (More is the model's own measure.)
    pub low_effort: bool,
}

/// A request to count, which has the fields of [`MessagesRequest`] that the model is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct CountTokensRequest {
    /// The model whose tokens to count.
    pub model: String,
    /// The conversation, instructions first.
    pub turns: Vec<Turn>,
    /// The tools that the model may call.
    pub tools: Vec<Function>,
    /// Whether it calls them.
    pub tool_choice: FunctionChoice,
    /// Whether it may call several in one answer.
    pub parallel_tool_calls: bool,
    /// Whether and how long to think.
    pub thinking: Thinking,
    /// JSON Schema that the text of the answer has to be valid by.
    pub schema: Option<Value>,
}

impl MessagesRequest {
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
        for (field, why) in UNSUPPORTED {
            if fields.take(field).is_some_and(|value| value != Value::Array(Vec::new())) {
                return Err(RequestError::unsupported(field, why));
            }
        }
        let max_tokens = fields.integer_in("max_tokens", 1, u32::MAX)?;
        let shown = CountTokensRequest::read(&mut fields)?;
        let max_tokens = max_tokens.ok_or_else(|| RequestError::missing("max_tokens"))?;
        if let Some(budget) = shown.thinking.budget_tokens
            && budget >= max_tokens
        {
            let allowed = format!("less than max_tokens ({max_tokens})");
            return Err(RequestError::value("thinking.budget_tokens", &allowed, &budget.to_string()));
        }
        Ok(Self {
            model: shown.model,
            turns: shown.turns,
            max_tokens,
            temperature: fields.number_in("temperature", 0.0, 1.0)?,
            top_p: fields.number_in("top_p", 0.0, 1.0)?,
            top_k: fields.integer_in("top_k", 0, u32::MAX)?,
            stop_sequences: read_stop_sequences(&mut fields)?,
            stream: fields.boolean("stream")?.unwrap_or(false),
            tools: shown.tools,
            tool_choice: shown.tool_choice,
            parallel_tool_calls: shown.parallel_tool_calls,
            thinking: shown.thinking,
            schema: shown.schema,
            user: match fields.object("metadata")? {
                Some(mut metadata) => metadata.string("user_id")?,
                None => None,
            },
        })
    }
}

impl CountTokensRequest {
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
        Self::read(&mut Fields::new("", value)?)
    }

    fn read(fields: &mut Fields) -> Result<Self, RequestError> {
        let model = required(fields, "model")?;
        let mut turns = Vec::new();
        if let Some(system) = fields.take("system") {
            turns.push(Turn::System(read_texts("system", system, "\n")?));
        }
        read_messages(fields, &mut turns)?;
        let tools = read_functions("tools", fields.array("tools")?.unwrap_or_default(), read_tool)?;
        let (tool_choice, parallel_tool_calls) = read_tool_choice(fields)?;
        check_choice(&tool_choice, &tools)?;
        let (schema, low_effort) = read_output(fields)?;
        Ok(Self {
            model,
            turns,
            tools,
            tool_choice,
            parallel_tool_calls,
            thinking: read_thinking(fields, low_effort)?,
            schema,
        })
    }
}

fn read_messages(fields: &mut Fields, turns: &mut Vec<Turn>) -> Result<(), RequestError> {
    let messages = fields.array("messages")?.ok_or_else(|| RequestError::missing("messages"))?;
    for (index, message) in some_of(messages, "messages", TURNS_MAX)?.into_iter().enumerate() {
        let mut fields = Fields::new(format!("messages[{index}]"), message)?;
        let roles = ["user", "assistant", "system"];
        let role = fields.choice("role", &roles)?;
        let role = role.ok_or_else(|| RequestError::missing(&fields.name("role")))?;
        let name = fields.name("content");
        let content = fields.take("content").ok_or_else(|| RequestError::missing(&name))?;
        match role.as_str() {
            "user" => read_user(&name, content, turns)?,
            "assistant" => add(turns, Turn::Assistant(read_assistant(&name, content)?)),
            _ => turns.push(Turn::System(read_texts(&name, content, "\n")?)),
        }
    }
    Ok(())
}

/// Consecutive messages of one side are one turn.
fn add(turns: &mut Vec<Turn>, turn: Turn) {
    match (turns.last_mut(), turn) {
        (Some(Turn::User(before)), Turn::User(more)) => {
            before.push('\n');
            before.push_str(&more);
        }
        (Some(Turn::Assistant(before)), Turn::Assistant(more)) if before.calls.is_empty() => {
            match (&mut before.reasoning, more.reasoning) {
                (Some(before), Some(more)) => before.push_str(&more),
                (before @ None, more) => *before = more,
                (Some(_), None) => {}
            }
            before.content.push_str(&more.content);
            before.calls = more.calls;
        }
        (_, turn) => turns.push(turn),
    }
}

/// The blocks of a content, each with its kind. A string is one block of text.
fn read_blocks(name: &str, content: Value) -> Result<Vec<(String, Fields)>, RequestError> {
    let blocks = match content {
        Value::String(_) => {
            let text = Value::Object([("text".to_owned(), content)].into_iter().collect());
            return Ok(vec![("text".to_owned(), Fields::new(name, text)?)]);
        }
        Value::Array(blocks) => blocks,
        other => return Err(RequestError::format(name, "a string or an array of blocks", describe(&other))),
    };
    let read = |(index, block): (usize, Value)| {
        let mut fields = Fields::new(format!("{name}[{index}]"), block)?;
        let kind = required(&mut fields, "type")?;
        Ok((kind, fields))
    };
    blocks.into_iter().enumerate().map(read).collect()
}

fn foreign(fields: &Fields, kind: &str, allowed: &[&str]) -> RequestError {
    let name = fields.name("type");
    match FOREIGN_BLOCKS.iter().find(|(foreign, _)| *foreign == kind) {
        Some((_, why)) => RequestError::unsupported(&name, why),
        None => {
            let why = format!(
                "only blocks of type {} are supported here, got {}",
                alternatives(allowed),
                quote(kind)
            );
            RequestError::unsupported(&name, &why)
        }
    }
}

/// A string, or blocks of text, which are joined.
fn read_texts(name: &str, content: Value, between: &str) -> Result<String, RequestError> {
    let mut texts = Vec::new();
    for (kind, mut fields) in read_blocks(name, content)? {
        match kind.as_str() {
            "text" => texts.push(required(&mut fields, "text")?),
            kind => return Err(foreign(&fields, kind, &["text"])),
        }
    }
    Ok(texts.join(between))
}

/// What tools gave back, and what the person says, in the order in which they stand.
fn read_user(name: &str, content: Value, turns: &mut Vec<Turn>) -> Result<(), RequestError> {
    let before = turns.len();
    for (kind, mut fields) in read_blocks(name, content)? {
        match kind.as_str() {
            "text" => add(turns, Turn::User(required(&mut fields, "text")?)),
            "tool_result" => turns.push(read_tool_result(&mut fields)?),
            kind => return Err(foreign(&fields, kind, &["text", "tool_result"])),
        }
    }
    // A message without a block is still one.
    if turns.len() == before && !matches!(turns.last(), Some(Turn::User(_))) {
        turns.push(Turn::User(String::new()));
    }
    Ok(())
}

fn read_tool_result(fields: &mut Fields) -> Result<Turn, RequestError> {
    let call_id = required(fields, "tool_use_id")?;
    let failed = fields.boolean("is_error")?.unwrap_or(false);
    let name = fields.name("content");
    let content = match fields.take("content") {
        Some(content) => read_texts(&name, content, "\n")?,
        None => String::new(),
    };
    // Templates know no failed results; a model must see that it is one.
    let content = if failed { format!("Error: {content}") } else { content };
    Ok(Turn::Tool { call_id, content })
}

fn read_assistant(name: &str, content: Value) -> Result<AssistantTurn, RequestError> {
    let mut turn = AssistantTurn::default();
    for (kind, mut fields) in read_blocks(name, content)? {
        match kind.as_str() {
            "text" => turn.content.push_str(&required(&mut fields, "text")?),
            // Signed by whomever, or by nobody.
            "thinking" => {
                let thought = required(&mut fields, "thinking")?;
                turn.reasoning.get_or_insert_default().push_str(&thought);
            }
            // Nobody but who sealed it can read it.
            "redacted_thinking" => {}
            "tool_use" => turn.calls.push(read_tool_use(&mut fields)?),
            kind => {
                let allowed = ["text", "thinking", "redacted_thinking", "tool_use"];
                return Err(foreign(&fields, kind, &allowed));
            }
        }
    }
    Ok(turn)
}

fn read_tool_use(fields: &mut Fields) -> Result<Call, RequestError> {
    let (id, name) = (required(fields, "id")?, required(fields, "name")?);
    let input = schema(fields, "input")?.ok_or_else(|| RequestError::missing(&fields.name("input")))?;
    Ok(Call { id, name, arguments: input.to_string() })
}

fn read_tool(mut fields: Fields) -> Result<Function, RequestError> {
    if let Some(kind) = fields.string("type")?
        && kind != "custom"
    {
        let why = format!(
            "tools that run on the server, or whose form the model knows by name, are not supported, got {}; \
             describe the tool with name, description and input_schema",
            quote(&kind)
        );
        return Err(RequestError::unsupported(&fields.name("type"), &why));
    }
    let name = function_name(&mut fields)?;
    let parameters = schema(&mut fields, "input_schema")?
        .ok_or_else(|| RequestError::missing(&fields.name("input_schema")))?;
    let description = fields.string("description")?;
    let strict = fields.boolean("strict")?.unwrap_or(false);
    Ok(Function { name, description, parameters, strict })
}

fn read_tool_choice(fields: &mut Fields) -> Result<(FunctionChoice, bool), RequestError> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok((FunctionChoice::Auto, true)) };
    let kind = choice.choice("type", &["auto", "any", "tool", "none"])?;
    let kind = kind.ok_or_else(|| RequestError::missing("tool_choice.type"))?;
    let parallel = !choice.boolean("disable_parallel_tool_use")?.unwrap_or(false);
    let choice = match kind.as_str() {
        "any" => FunctionChoice::Required,
        "tool" => FunctionChoice::Named(required(&mut choice, "name")?),
        "none" => FunctionChoice::None,
        _ => FunctionChoice::Auto,
    };
    Ok((choice, parallel))
}

fn read_thinking(fields: &mut Fields, low_effort: bool) -> Result<Thinking, RequestError> {
    let Some(mut thinking) = fields.object("thinking")? else {
        return Ok(Thinking { low_effort, ..Thinking::default() });
    };
    let kind = thinking.choice("type", &["enabled", "disabled", "adaptive", "between_tools"])?;
    let omitted = thinking.choice("display", &["summarized", "omitted"])?.is_some_and(|how| how == "omitted");
    let budget_tokens = thinking.integer_in("budget_tokens", 1, u32::MAX)?;
    let enabled = match kind.ok_or_else(|| RequestError::missing("thinking.type"))?.as_str() {
        "enabled" => Some(true),
        "disabled" => Some(false),
        // As the model sees fit.
        _ => None,
    };
    let budget_tokens = budget_tokens.filter(|_| enabled != Some(false));
    Ok(Thinking { enabled, budget_tokens, omitted, low_effort })
}

/// The schema of the answer, under `output_config` or its older name, and whether little effort is asked for.
fn read_output(fields: &mut Fields) -> Result<(Option<Value>, bool), RequestError> {
    let old = fields.object("output_format")?;
    let (new, effort) = match fields.object("output_config")? {
        Some(mut config) => {
            let effort = config.choice("effort", &["low", "medium", "high", "xhigh", "max"])?;
            (config.object("format")?, effort)
        }
        None => (None, None),
    };
    let low_effort = effort.is_some_and(|effort| effort == "low");
    let Some(mut format) = new.or(old) else { return Ok((None, low_effort)) };
    let kind = format.choice("type", &["json_schema"])?;
    kind.ok_or_else(|| RequestError::missing(&format.name("type")))?;
    Ok((Some(answer_schema(&mut format, "schema")?), low_effort))
}

fn read_stop_sequences(fields: &mut Fields) -> Result<Vec<String>, RequestError> {
    let stops = fields.array("stop_sequences")?.unwrap_or_default();
    if stops.len() > STOP_SEQUENCES_MAX {
        let allowed = format!("at most {STOP_SEQUENCES_MAX} strings");
        return Err(RequestError::value("stop_sequences", &allowed, &stops.len().to_string()));
    }
    let read = |(index, stop): (usize, Value)| {
        let name = format!("stop_sequences[{index}]");
        match stop {
            Value::String(stop) if stop.is_empty() => {
                Err(RequestError::value(&name, "a string of at least 1 character", "\"\""))
            }
            Value::String(stop) => Ok(stop),
            other => Err(RequestError::format(&name, "a string", describe(&other))),
        }
    };
    stops.into_iter().enumerate().map(read).collect()
}

impl From<MessagesRequest> for CountTokensRequest {
    fn from(request: MessagesRequest) -> Self {
        let MessagesRequest {
            model, turns, tools, tool_choice, parallel_tool_calls, thinking, schema, ..
        } = request;
        Self { model, turns, tools, tool_choice, parallel_tool_calls, thinking, schema }
    }
}
