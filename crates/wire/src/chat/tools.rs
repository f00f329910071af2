//! Tools, and the functions that they were called before.

use serde_json::{Map, Value};

use crate::error::RequestError;
use crate::fields::{Fields, alternatives, describe, quote};
use crate::turns::{Function, FunctionChoice, check_choice, function_name, read_functions, required, schema};

/// What a request says of tools.
pub(super) struct Tools {
    pub(super) functions: Vec<Function>,
    pub(super) choice: FunctionChoice,
    pub(super) parallel: bool,
    /// Whether it says so in the old form, `functions`, and so expects the old form in the answer.
    pub(super) old_form: bool,
}

impl Tools {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, RequestError> {
        let tools = fields.array("tools")?.unwrap_or_default();
        let old = fields.array("functions")?.unwrap_or_default();
        let old_choice = read_function_call(fields)?;
        let old_form = !old.is_empty();
        if !tools.is_empty() && old_form {
            return Err(RequestError::format("functions", "absent where tools are given", "an array"));
        }
        let functions = if old_form {
            read_functions("functions", old, |fields| read_function(fields, None))?
        } else {
            read_functions("tools", tools, read_tool)?
        };
        let choice = match read_choice(fields)? {
            Some(choice) => choice,
            None => old_choice.unwrap_or_default(),
        };
        check_choice(&choice, &functions)?;
        let parallel = fields.boolean("parallel_tool_calls")?.unwrap_or(true) && !old_form;
        Ok(Self { functions, choice, parallel, old_form })
    }
}

fn read_tool(mut fields: Fields) -> Result<Function, RequestError> {
    let kind = required(&mut fields, "type")?;
    if kind != "function" {
        let why = format!("only tools of type \"function\" are supported, got {}", quote(&kind));
        return Err(RequestError::unsupported(&fields.name("type"), &why));
    }
    // DeepSeek has `strict` within the function, others beside it.
    let strict = fields.boolean("strict")?;
    let missing = RequestError::missing(&fields.name("function"));
    read_function(fields.object("function")?.ok_or(missing)?, strict)
}

fn read_function(mut fields: Fields, strict: Option<bool>) -> Result<Function, RequestError> {
    let name = function_name(&mut fields)?;
    let none = || {
        Value::Object(Map::from_iter([
            ("type".to_owned(), "object".into()),
            ("properties".to_owned(), Value::Object(Map::new())),
        ]))
    };
    Ok(Function {
        name,
        description: fields.string("description")?,
        parameters: schema(&mut fields, "parameters")?.unwrap_or_else(none),
        strict: fields.boolean("strict")?.or(strict).unwrap_or(false),
    })
}

fn read_choice(fields: &mut Fields) -> Result<Option<FunctionChoice>, RequestError> {
    let given = match fields.take("tool_choice") {
        None => return Ok(None),
        Some(Value::String(mode)) => return read_mode("tool_choice", &mode).map(Some),
        Some(Value::Object(given)) => Value::Object(given),
        Some(other) => {
            return Err(RequestError::format("tool_choice", "a string or an object", describe(&other)));
        }
    };
    let mut chosen = Fields::new("tool_choice", given)?;
    let kind = required(&mut chosen, "type")?;
    match kind.as_str() {
        "function" => {
            let missing = RequestError::missing("tool_choice.function");
            let mut function = chosen.object("function")?.ok_or(missing)?;
            Ok(Some(FunctionChoice::Named(required(&mut function, "name")?)))
        }
        "auto" | "none" | "required" => read_mode("tool_choice.type", &kind).map(Some),
        given => {
            let why = format!("only choices of type \"function\" are supported, got {}", quote(given));
            Err(RequestError::unsupported("tool_choice.type", &why))
        }
    }
}

fn read_mode(name: &str, mode: &str) -> Result<FunctionChoice, RequestError> {
    match mode {
        "auto" => Ok(FunctionChoice::Auto),
        "none" => Ok(FunctionChoice::None),
        "required" => Ok(FunctionChoice::Required),
        given => Err(RequestError::value(name, &alternatives(&["none", "auto", "required"]), &quote(given))),
    }
}

/// The old form of `tool_choice`.
fn read_function_call(fields: &mut Fields) -> Result<Option<FunctionChoice>, RequestError> {
    match fields.take("function_call") {
        None => Ok(None),
        Some(Value::String(mode)) => match mode.as_str() {
            "auto" => Ok(Some(FunctionChoice::Auto)),
            "none" => Ok(Some(FunctionChoice::None)),
            given => {
                Err(RequestError::value("function_call", &alternatives(&["none", "auto"]), &quote(given)))
            }
        },
        Some(given) => {
            let mut named = Fields::new("function_call", given)?;
            Ok(Some(FunctionChoice::Named(required(&mut named, "name")?)))
        }
    }
}
