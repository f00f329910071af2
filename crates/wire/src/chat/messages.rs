//! The conversation of a request.

use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, alternatives, describe, quote};
use crate::turns::{AssistantTurn, Call, FUNCTIONS_MAX, TURNS_MAX, Turn, required};

/// The conversation, and what the model has said of its answer already.
pub(super) struct Conversation {
    pub(super) turns: Vec<Turn>,
    pub(super) begun: Option<AssistantTurn>,
}

impl Conversation {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, RequestError> {
        let messages = fields.array("messages")?.ok_or_else(|| RequestError::missing("messages"))?;
        if messages.is_empty() || messages.len() > TURNS_MAX {
            let allowed = format!("an array of 1 to {TURNS_MAX} messages");
            return Err(RequestError::value("messages", &allowed, &format!("one of {}", messages.len())));
        }
        let last = messages.len() - 1;
        let mut conversation = Self { turns: Vec::with_capacity(messages.len()), begun: None };
        for (index, message) in messages.into_iter().enumerate() {
            let mut fields = Fields::new(format!("messages[{index}]"), message)?;
            let prefix = fields.boolean("prefix")?.unwrap_or(false);
            let name = fields.name("prefix");
            match (conversation.turn(&mut fields)?, prefix) {
                (turn, false) => conversation.turns.push(turn),
                (Turn::Assistant(turn), true) if index == last && turn.calls.is_empty() => {
                    conversation.begun = Some(turn);
                }
                (_, true) => {
                    let allowed = "true only in a last message, of the assistant and without calls of tools";
                    return Err(RequestError::value(&name, allowed, "true in another"));
                }
            }
        }
        if conversation.turns.is_empty() {
            let allowed = "a conversation that the assistant can answer";
            return Err(RequestError::value("messages", allowed, "nothing but the beginning of an answer"));
        }
        Ok(conversation)
    }

    fn turn(&self, fields: &mut Fields) -> Result<Turn, RequestError> {
        if fields.take("audio").is_some() {
            return Err(RequestError::unsupported(&fields.name("audio"), "spoken answers are not supported"));
        }
        let role = required(fields, "role")?;
        match role.as_str() {
            "system" | "developer" => Ok(Turn::System(content(fields)?)),
            "user" => Ok(Turn::User(content(fields)?)),
            "assistant" => self.assistant(fields),
            "tool" => {
                let call_id = required(fields, "tool_call_id")?;
                Ok(Turn::Tool { call_id, content: content(fields)? })
            }
            "function" => {
                let call_id = self.last_old_call(fields)?;
                Ok(Turn::Tool { call_id, content: content(fields)? })
            }
            given => {
                let allowed = alternatives(&["system", "developer", "user", "assistant", "tool"]);
                Err(RequestError::value(&fields.name("role"), &allowed, &quote(given)))
            }
        }
    }

    fn assistant(&self, fields: &mut Fields) -> Result<Turn, RequestError> {
        let reasoning = fields.string("reasoning_content")?;
        let calls = fields.array("tool_calls")?.unwrap_or_default();
        if calls.len() > FUNCTIONS_MAX {
            let allowed = format!("at most {FUNCTIONS_MAX} calls");
            return Err(RequestError::value(&fields.name("tool_calls"), &allowed, &calls.len().to_string()));
        }
        let name = fields.name("tool_calls");
        let read = |(index, call)| read_call(Fields::new(format!("{name}[{index}]"), call)?);
        let mut calls = calls.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some(mut old) = fields.object("function_call")? {
            let (name, arguments) = read_function(&mut old)?;
            calls.push(Call { id: old_call_id(self.turns.len()), name, arguments });
        }
        let name = fields.name("content");
        // A turn that ended within its reasoning, or that is calls only, has none.
        let content = fields.take("content").map(|content| read_content(&name, content)).transpose()?;
        Ok(Turn::Assistant(AssistantTurn { reasoning, content: content.unwrap_or_default(), calls }))
    }

    /// In the old form a result doesn't say which call it answers: it is the last.
    fn last_old_call(&self, fields: &Fields) -> Result<String, RequestError> {
        let last = self.turns.iter().rev().find_map(|turn| match turn {
            Turn::Assistant(turn) => Some(turn.calls.last().map(|call| call.id.clone())),
            _ => None,
        });
        last.flatten().ok_or_else(|| {
            let allowed = "\"function\" only after a message of the assistant with a function_call";
            RequestError::value(&fields.name("role"), allowed, "one without")
        })
    }
}

/// The name that a call is given which has none, by the place of its message.
fn old_call_id(message: usize) -> String {
    format!("call_{message}")
}

fn read_call(mut fields: Fields) -> Result<Call, RequestError> {
    let id = required(&mut fields, "id")?;
    if let Some(kind) = fields.string("type")?
        && kind != "function"
    {
        let why = format!("only calls of type \"function\" are supported, got {}", quote(&kind));
        return Err(RequestError::unsupported(&fields.name("type"), &why));
    }
    let missing = RequestError::missing(&fields.name("function"));
    let (name, arguments) = read_function(&mut fields.object("function")?.ok_or(missing)?)?;
    Ok(Call { id, name, arguments })
}

fn read_function(fields: &mut Fields) -> Result<(String, String), RequestError> {
    let function = required(fields, "name")?;
    let name = fields.name("arguments");
    let arguments = match fields.take("arguments") {
        None => "{}".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "{}".to_owned(),
        Some(Value::String(text)) => text,
        // Some clients send what the text says.
        Some(Value::Object(object)) => Value::Object(object).to_string(),
        Some(other) => return Err(RequestError::format(&name, "a string of JSON", describe(&other))),
    };
    Ok((function, arguments))
}

fn content(fields: &mut Fields) -> Result<String, RequestError> {
    let name = fields.name("content");
    let content = fields.take("content").ok_or_else(|| RequestError::missing(&name))?;
    read_content(&name, content)
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
            "text" => text.push_str(&required(&mut fields, "text")?),
            "refusal" => text.push_str(&required(&mut fields, "refusal")?),
            given => {
                let why = format!("only parts of type \"text\" are supported, got {}", quote(given));
                return Err(RequestError::unsupported(&fields.name("type"), &why));
            }
        }
    }
    Ok(text)
}
