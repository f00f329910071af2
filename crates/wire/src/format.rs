//! The form of what is generated: OpenAI's `response_format`, and vLLM's `guided_*` and `structured_outputs`.

use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, describe};

/// Largest JSON Schema or grammar, in bytes of JSON or text. So much of it is compiled before the model is asked.
pub const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// Most alternatives of a choice.
pub const CHOICES_MAX: usize = 1024;
/// Longest name of a schema, in bytes, as OpenAI has it.
const NAME_BYTES_MAX: usize = 64;

/// The form of what is generated.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that is valid by a schema.
    JsonSchema {
        /// The schema.
        schema: Value,
        /// Whether to refuse a schema with keywords that can't be held to.
        strict: bool,
    },
    /// A text that a regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of a grammar in Lark's form.
    Grammar(String),
}

impl Format {
    /// Reads whichever of the fields is given; two of them would say two things.
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, RequestError> {
        let mut found = Found::default();
        if let Some(mut format) = fields.object("response_format")? {
            found.add(&format.name("type"), read_response_format(&mut format)?)?;
        }
        read_guided(fields, "guided_", &mut found)?;
        if let Some(mut outputs) = fields.object("structured_outputs")? {
            if outputs.boolean("json_object")? == Some(true) {
                found.add(&outputs.name("json_object"), Self::JsonObject)?;
            }
            if outputs.take("structural_tag").is_some() {
                let name = outputs.name("structural_tag");
                return Err(RequestError::unsupported(&name, "structural tags are not supported"));
            }
            read_guided(&mut outputs, "", &mut found)?;
        }
        Ok(found.format)
    }
}

/// The form that was found so far.
#[derive(Default)]
struct Found {
    format: Format,
    /// The field that said it.
    by: String,
}

impl Found {
    fn add(&mut self, name: &str, format: Format) -> Result<(), RequestError> {
        if format == Format::Text {
            return Ok(());
        }
        if self.format != Format::Text {
            let allowed = format!("absent where {} is given", self.by);
            return Err(RequestError::value(name, &allowed, "another form"));
        }
        *self = Self { format, by: name.to_owned() };
        Ok(())
    }
}

fn read_response_format(fields: &mut Fields) -> Result<Format, RequestError> {
    let missing = RequestError::missing(&fields.name("type"));
    match fields.choice("type", &["text", "json_object", "json_schema"])?.ok_or(missing)?.as_str() {
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let missing = RequestError::missing(&fields.name("json_schema"));
            let mut described = fields.object("json_schema")?.ok_or(missing)?;
            let name = described.string("name")?.unwrap_or_default();
            if name.len() > NAME_BYTES_MAX {
                let allowed = format!("at most {NAME_BYTES_MAX} bytes");
                return Err(RequestError::value(
                    &described.name("name"),
                    &allowed,
                    &format!("{} bytes", name.len()),
                ));
            }
            let schema_name = described.name("schema");
            let schema = described.take("schema").ok_or_else(|| RequestError::missing(&schema_name))?;
            let strict = described.boolean("strict")?.unwrap_or(false);
            Ok(Format::JsonSchema { schema: check_schema(&schema_name, schema)?, strict })
        }
        _ => Ok(Format::Text),
    }
}

fn read_guided(fields: &mut Fields, prefix: &str, found: &mut Found) -> Result<(), RequestError> {
    let field = format!("{prefix}json");
    let name = fields.name(&field);
    if let Some(value) = fields.take(&field) {
        // vLLM's clients send the schema as an object or as its text.
        let schema = match value {
            Value::String(text) => serde_json::from_str(&text).map_err(|_| {
                RequestError::format(&name, "a JSON Schema, or the text of one", "a string that is not JSON")
            })?,
            schema => schema,
        };
        found.add(&name, Format::JsonSchema { schema: check_schema(&name, schema)?, strict: true })?;
    }
    if let Some(regex) = read_text(fields, &format!("{prefix}regex"))? {
        found.add(&fields.name(&format!("{prefix}regex")), Format::Regex(regex))?;
    }
    if let Some(grammar) = read_text(fields, &format!("{prefix}grammar"))? {
        found.add(&fields.name(&format!("{prefix}grammar")), Format::Grammar(grammar))?;
    }
    let field = format!("{prefix}choice");
    if let Some(choices) = fields.array(&field)? {
        let name = fields.name(&field);
        found.add(&name, Format::Choice(read_choices(&name, choices)?))?;
    }
    Ok(())
}

fn read_choices(name: &str, choices: Vec<Value>) -> Result<Vec<String>, RequestError> {
    if choices.is_empty() || choices.len() > CHOICES_MAX {
        let allowed = format!("an array of 1 to {CHOICES_MAX} strings");
        return Err(RequestError::value(name, &allowed, &format!("one of {}", choices.len())));
    }
    let read = |(index, choice)| match choice {
        Value::String(text) => Ok(text),
        other => Err(RequestError::format(&format!("{name}[{index}]"), "a string", describe(&other))),
    };
    choices.into_iter().enumerate().map(read).collect()
}

fn read_text(fields: &mut Fields, field: &str) -> Result<Option<String>, RequestError> {
    let Some(text) = fields.string(field)? else { return Ok(None) };
    if text.is_empty() || text.len() > SCHEMA_BYTES_MAX {
        let allowed = format!("a string of 1 to {SCHEMA_BYTES_MAX} bytes");
        return Err(RequestError::value(&fields.name(field), &allowed, &format!("{} bytes", text.len())));
    }
    Ok(Some(text))
}

/// A schema: an object, or true or false.
pub(crate) fn check_schema(name: &str, schema: Value) -> Result<Value, RequestError> {
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err(RequestError::format(name, "a JSON Schema, which is an object", describe(&schema)));
    }
    let bytes = json_bytes(&schema);
    if bytes > SCHEMA_BYTES_MAX {
        let allowed = format!("at most {SCHEMA_BYTES_MAX} bytes of JSON");
        return Err(RequestError::value(name, &allowed, &bytes.to_string()));
    }
    Ok(schema)
}

/// Bytes that a value takes as JSON.
pub(crate) fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // A JSON value can always be written as JSON, and counting can't fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
