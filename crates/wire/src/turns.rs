//! A conversation with tools, in the form that the messages of Anthropic's API and the items of OpenAI's responses have
//! in common.

use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, describe, quote};
use crate::format::{SCHEMA_BYTES_MAX, check_schema, json_bytes};

/// Most messages, or items, of a request.
pub const TURNS_MAX: usize = 4096;
/// Most tools, as DeepSeek's API has it.
pub const FUNCTIONS_MAX: usize = 128;
/// Longest name of a tool, in characters.
pub const FUNCTION_NAME_CHARS_MAX: usize = 128;

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Instructions to the model.
    System(String),
    /// The person.
    User(String),
    /// The model.
    Assistant(AssistantTurn),
    /// What a tool gave back.
    Tool {
        /// The call that it answers.
        call_id: String,
        /// The result.
        content: String,
    },
}

/// What the model said: what it thought, then what it answered, then which tools it called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssistantTurn {
    /// What it thought.
    pub reasoning: Option<String>,
    /// What it answered.
    pub content: String,
    /// The tools that it called.
    pub calls: Vec<Call>,
}

/// A call of a tool by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What the result is answered to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub arguments: String,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name: 1 to [`FUNCTION_NAME_CHARS_MAX`] letters, digits, `_` and `-`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
    /// Whether arguments must be valid by the schema.
    pub strict: bool,
}

/// Whether the model calls tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FunctionChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// It doesn't.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// The JSON of a body.
pub(crate) fn read_json(body: &[u8]) -> Result<Value, RequestError> {
    serde_json::from_slice(body).map_err(|error| {
        // The position helps, a repetition of the body would not.
        let given = format!("something else at line {}, column {}", error.line(), error.column());
        RequestError::format("", "a JSON object", &given)
    })
}

/// A string that has to be there.
pub(crate) fn required(fields: &mut Fields, field: &str) -> Result<String, RequestError> {
    fields.string(field)?.ok_or_else(|| RequestError::missing(&fields.name(field)))
}

/// The items of an array that has to be there and to have some, at most `max`.
pub(crate) fn some_of(values: Vec<Value>, name: &str, max: usize) -> Result<Vec<Value>, RequestError> {
    if values.is_empty() || values.len() > max {
        let allowed = format!("an array of 1 to {max} items");
        return Err(RequestError::value(name, &allowed, &format!("one of {}", values.len())));
    }
    Ok(values)
}

/// The tools of a request, each read by `read`; no two of one name.
pub(crate) fn read_functions(
    field: &str,
    values: Vec<Value>,
    read: impl Fn(Fields) -> Result<Function, RequestError>,
) -> Result<Vec<Function>, RequestError> {
    if values.len() > FUNCTIONS_MAX {
        let allowed = format!("at most {FUNCTIONS_MAX} tools");
        return Err(RequestError::value(field, &allowed, &values.len().to_string()));
    }
    let mut functions: Vec<Function> = Vec::with_capacity(values.len());
    let mut bytes = 0_usize;
    for (index, value) in values.into_iter().enumerate() {
        let name = format!("{field}[{index}]");
        let function = read(Fields::new(&name, value)?)?;
        if functions.iter().any(|other| other.name == function.name) {
            let allowed = "of a name of its own";
            return Err(RequestError::value(&name, allowed, &format!("another {}", quote(&function.name))));
        }
        bytes = bytes.saturating_add(json_bytes(&function.parameters));
        functions.push(function);
    }
    if bytes > SCHEMA_BYTES_MAX {
        let allowed = format!("of at most {SCHEMA_BYTES_MAX} bytes of parameters together");
        return Err(RequestError::value(field, &allowed, &bytes.to_string()));
    }
    Ok(functions)
}

/// The name of a tool that is described.
pub(crate) fn function_name(fields: &mut Fields) -> Result<String, RequestError> {
    let name = required(fields, "name")?;
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if name.is_empty() || name.len() > FUNCTION_NAME_CHARS_MAX || !name.chars().all(allowed) {
        let allowed = format!("1 to {FUNCTION_NAME_CHARS_MAX} letters, digits, _ and -");
        return Err(RequestError::value(&fields.name("name"), &allowed, &quote(&name)));
    }
    Ok(name)
}

/// A JSON Schema, which is an object.
pub(crate) fn schema(fields: &mut Fields, field: &str) -> Result<Option<Value>, RequestError> {
    match fields.take(field) {
        None => Ok(None),
        Some(schema @ Value::Object(_)) => Ok(Some(schema)),
        Some(other) => Err(RequestError::format(&fields.name(field), "an object", describe(&other))),
    }
}

/// The schema of an answer, which has to be there.
pub(crate) fn answer_schema(fields: &mut Fields, field: &str) -> Result<Value, RequestError> {
    let name = fields.name(field);
    check_schema(&name, schema(fields, field)?.ok_or_else(|| RequestError::missing(&name))?)
}

/// Refuses a choice that no tool of the request can meet.
pub(crate) fn check_choice(choice: &FunctionChoice, functions: &[Function]) -> Result<(), RequestError> {
    match choice {
        FunctionChoice::Named(name) if !functions.iter().any(|function| function.name == *name) => {
            Err(RequestError::value("tool_choice", "the name of one of the tools", &quote(name)))
        }
        FunctionChoice::Required if functions.is_empty() => {
            let allowed = "absent where there are no tools";
            Err(RequestError::value("tool_choice", allowed, "one that requires a tool"))
        }
        _ => Ok(()),
    }
}
