//! What a JSON Schema must be before it is compiled.

use serde_json::{Map, Value, json};

use super::tighten::tighten;

/// Longest schema, as JSON text, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 128 << 10;

/// How deep a schema may nest.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// How the values between brackets are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// As the model likes: a line break with an indentation, or a few spaces. Not without end: small models get lost in
    /// white space.
    Free,
    /// As Python's `json.dumps`, which chat templates render calls with: `{"a": 1, "b": [2, 3]}`. A call that is
    /// rendered in a later turn has the tokens that were generated.
    Python,
}

/// White space between tokens of JSON where it is free.
const WHITE_SPACE: &str = r"\r?\n[ \t]{0,40}|[ \t]{1,4}";

/// What may stand behind a backslash in a string. Not `u`: llguidance would take `"\u0061"` for another name than `"a"`.
const ESCAPES: &str = "nrbtf\\\"";

/// The schema with our options; nobody else's count.
///
/// # Errors
/// What in it can't be held to, unless it is lenient, or costs too much.
pub(crate) fn with_options(mut schema: Value, lenient: bool, spacing: Spacing) -> Result<Value, String> {
    if schema.as_bool() == Some(true) {
        schema = json!({});
    }
    tighten(&mut schema, lenient)?;
    let options = match spacing {
        Spacing::Free => json!({
            "lenient": lenient,
            "json_allowed_escapes": ESCAPES,
            "whitespace_pattern": WHITE_SPACE,
        }),
        Spacing::Python => json!({
            "lenient": lenient,
            "json_allowed_escapes": ESCAPES,
            "whitespace_flexible": false,
            "item_separator": ", ",
            "key_separator": ": ",
        }),
    };
    if let Some(map) = schema.as_object_mut() {
        map.insert("x-guidance".to_owned(), options);
    }
    Ok(schema)
}

/// Checks length and depth.
pub(crate) fn check_size(schema: &Value) -> Result<(), (String, String)> {
    // Depth first: writing a value recurses.
    if !fits(schema, SCHEMA_DEPTH_MAX) {
        return Err((format!("a schema at most {SCHEMA_DEPTH_MAX} levels deep"), "a deeper one".to_owned()));
    }
    if !schema.is_object() && !schema.is_boolean() {
        return Err(("a JSON Schema, an object".to_owned(), kind(schema).to_owned()));
    }
    let bytes = schema.to_string().len();
    if bytes > SCHEMA_BYTES_MAX {
        return Err((format!("a schema of at most {SCHEMA_BYTES_MAX} bytes"), format!("{bytes} bytes")));
    }
    Ok(())
}

fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(values) => levels > 0 && values.iter().all(|value| fits(value, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|value| fits(value, levels - 1)),
        _ => true,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What strict tools must be, as OpenAI's and DeepSeek's APIs ask: every object lists its properties, requires all of
/// them and allows no other.
pub(crate) fn check_strict(schema: &Value) -> Result<(), String> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("parameters of type \"object\"".to_owned());
    }
    check_strict_at(schema, "parameters")?;
    tighten(&mut schema.clone(), false)
        .map_err(|reason| format!("strict: parameters that can be held to, without {reason}"))
}

fn check_strict_at(schema: &Value, path: &str) -> Result<(), String> {
    let Some(map) = schema.as_object() else { return Ok(()) };
    let is_object = match map.get("type") {
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        _ => map.contains_key("properties"),
    };
    if is_object {
        check_object(map, path)?;
    }
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(members)) => {
                for (name, member) in members {
                    check_strict_at(member, &format!("{path}.{name}"))?;
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(members)) => {
                for member in members {
                    check_strict_at(member, path)?;
                }
            }
            ("items", Value::Object(_)) => check_strict_at(value, &format!("{path}[]"))?,
            _ => {}
        }
    }
    Ok(())
}

fn check_object(map: &Map<String, Value>, path: &str) -> Result<(), String> {
    if map.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(format!("strict: {path} with \"additionalProperties\": false"));
    }
    let required: Vec<&str> = map
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = map.get("properties").and_then(Value::as_object);
    match properties.into_iter().flat_map(Map::keys).find(|name| !required.contains(&name.as_str())) {
        Some(name) => {
            Err(format!("strict: {path} with {name:?} among \"required\", as every property must be"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: Result<(), &str>) {
        assert_eq!(check_strict(&schema), expected.map_err(str::to_owned));
    }

    #[test]
    fn strict_tools_require_everything_and_allow_nothing_else() {
        check(json!({"type": "object", "properties": {}, "additionalProperties": false}), Ok(()));
        let city = json!({"city": {"type": "string"}});
        let of = |properties: Value, required: Value| {
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        };
        let object = |required: Value| of(city.clone(), required);
        check(object(json!(["city"])), Ok(()));
        check(
            object(json!([])),
            Err("strict: parameters with \"city\" among \"required\", as every property must be"),
        );
        check(json!({"type": "string"}), Err("parameters of type \"object\""));
        check(json!({"type": "object"}), Err("strict: parameters with \"additionalProperties\": false"));
        let outer = |inner: Value| of(json!({ "a": inner }), json!(["a"]));
        check(outer(object(json!(["city"]))), Ok(()));
        check(
            outer(json!({"type": "array", "items": {"type": "object"}})),
            Err("strict: parameters.a[] with \"additionalProperties\": false"),
        );
        check(
            outer(json!({"anyOf": [{"type": "null"}, object(json!([]))]})),
            Err("strict: parameters.a with \"city\" among \"required\", as every property must be"),
        );
    }

    #[test]
    fn sizes_have_bounds() {
        let mut deep = json!({});
        for _ in 0..SCHEMA_DEPTH_MAX - 1 {
            deep = json!({ "items": deep });
        }
        assert_eq!(check_size(&deep), Ok(()));
        let deeper = json!({ "items": deep });
        assert!(check_size(&deeper).is_err_and(|(allowed, _)| allowed.contains("64 levels")));
        let long = json!({ "const": "x".repeat(SCHEMA_BYTES_MAX) });
        assert!(check_size(&long).is_err_and(|(allowed, _)| allowed.contains("131072 bytes")));
        assert_eq!(check_size(&json!(true)), Ok(()));
        assert!(check_size(&json!([])).is_err());
    }
}
