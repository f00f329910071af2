//! From a schema to one that llguidance holds to exactly.
//!
//! Where llguidance takes more than a keyword allows, the schema is written so that it doesn't; where that can't be, the
//! schema is refused. Documents may come out less various than the schema allows, but not outside of it.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value, json};

use super::pattern::translate;
use super::schema::check_size;

const JSON_IN_LARK: &str = "%json";

/// Largest whole number in a schema: beyond it llguidance's numbers, doubles, are not exact.
const WHOLE_NUMBER_MAX: u64 = 1 << 53;

/// Largest common multiple of all numbers of `multipleOf`: llguidance looks at each remainder there may be, some 50 us
/// each, and multiplies in 32 bits where schemas meet, which do being for it to find out.
const MULTIPLE_MAX: u128 = 10_000;

/// A day that is in the calendar, from the year 1 on (RFC 3339, `full-date`; not all languages have a year 0).
const DATE: &str = concat!(
    "(?:(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-",
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|",
    "02-(?:0[1-9]|1[0-9]|2[0-8]))|",
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)",
);
/// RFC 3339, `full-time`, without leap seconds: which there were is in no expression.
const TIME: &str = concat!(
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,9})?",
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
);
/// Labels without two hyphens in a row, so that none claims to be Punycode; llguidance's own expression bounds them.
const HOSTNAME: &str = "^[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*(?:[.][a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*)*$";
/// RFC 1123.
const HOSTNAME_LETTERS_MAX: u64 = 253;

/// Writes a schema so that llguidance lets nothing through that it forbids. A lenient one only as far as that goes.
///
/// # Errors
/// The first thing that can't be held to, or that costs too much to compile. All else has been written then.
pub(super) fn tighten(schema: &mut Value, lenient: bool) -> Result<(), String> {
    let mut tightener = Tightener::default();
    tightener.schema(schema);
    if common_multiple(&tightener.multiples).is_none_or(|common| common > MULTIPLE_MAX) {
        return Err(format!(
            "multipleOf whose common multiple, in units of the last digit, is over {MULTIPLE_MAX}"
        ));
    }
    tightener.refused.filter(|_| !lenient).map_or(Ok(()), Err)
}

/// The same for the schemas within a grammar in Lark, each behind `%json`.
///
/// # Errors
/// As above.
pub(super) fn tighten_lark(grammar: &str) -> Result<String, String> {
    let mut rest = grammar;
    let mut out = String::with_capacity(grammar.len());
    while let Some((before, behind)) = rest.split_once(JSON_IN_LARK) {
        out.push_str(before);
        out.push_str(JSON_IN_LARK);
        rest = behind;
        let mut values = serde_json::Deserializer::from_str(behind).into_iter::<Value>();
        // What is no object is for llguidance to refuse, or stands in a text.
        if let Some(Ok(mut schema)) = values.next().filter(|value| value.as_ref().is_ok_and(Value::is_object))
        {
            check_size(&schema).map_err(|(allowed, given)| format!("%json needs {allowed}, got {given}"))?;
            tighten(&mut schema, false)?;
            out.push_str(&schema.to_string());
            rest = &behind[values.byte_offset()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[derive(Default)]
struct Tightener {
    refused: Option<String>,
    /// Of `multipleOf`.
    multiples: Vec<f64>,
}

impl Tightener {
    fn refuse(&mut self, reason: impl FnOnce() -> String) {
        self.refused.get_or_insert_with(reason);
    }

    fn schema(&mut self, schema: &mut Value) {
        let Value::Object(map) = schema else { return };
        self.keywords(map);
        for (key, value) in map {
            match (key.as_str(), value) {
                ("const" | "enum" | "default" | "examples", _) => {}
                (
                    "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                    Value::Object(members),
                ) => members.values_mut().for_each(|member| self.schema(member)),
                (_, Value::Array(members)) => members.iter_mut().for_each(|member| self.schema(member)),
                (_, value) => self.schema(value),
            }
        }
    }

    /// The keywords of one schema, without those within.
    fn keywords(&mut self, map: &mut Map<String, Value>) {
        self.check_numbers(map);
        self.check_properties(map);
        write_bounds(map);
        write_items(map);
        // Says nothing, and llguidance does not know it.
        if map.get("uniqueItems") == Some(&Value::Bool(false)) {
            map.shift_remove("uniqueItems");
        }
        self.write_patterns(map);
        write_format(map);
    }

    fn check_numbers(&mut self, map: &Map<String, Value>) {
        for key in
            ["const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
        {
            if let Some(value) = map.get(key) {
                self.check_literal(key, value);
            }
        }
        self.multiples.extend(map.get("multipleOf").and_then(Value::as_f64));
    }

    fn check_literal(&mut self, key: &str, value: &Value) {
        match value {
            Value::Number(number) if is_large(number) => {
                self.refuse(|| format!("{key} with whole numbers beyond {WHOLE_NUMBER_MAX}: {number}"));
            }
            Value::String(text) if text.chars().any(is_unwritable) => {
                self.refuse(|| format!("{key} with control characters in a string"));
            }
            Value::Array(members) => members.iter().for_each(|member| self.check_literal(key, member)),
            Value::Object(members) => members.values().for_each(|member| self.check_literal(key, member)),
            _ => {}
        }
    }

    /// Names that are not listed may come twice, and then count once.
    fn check_properties(&mut self, map: &Map<String, Value>) {
        let least = map.get("minProperties").and_then(Value::as_u64).unwrap_or(0);
        let required = map.get("required").and_then(Value::as_array);
        let listed: BTreeSet<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        if least > listed.len() as u64 + 1 {
            self.refuse(|| {
                format!(
                    "minProperties of more than one property beside those in \"required\": {least}, {} required",
                    listed.len()
                )
            });
        }
    }

    fn write_patterns(&mut self, map: &mut Map<String, Value>) {
        if let Some(Value::String(pattern)) = map.get_mut("pattern") {
            match translate(pattern) {
                Ok(translated) => *pattern = translated,
                Err(reason) => self.refuse(|| format!("pattern with {reason}, which ECMA-262 has not")),
            }
        }
        let Some(Value::Object(members)) = map.get_mut("patternProperties") else { return };
        let count = members.len();
        let old = std::mem::take(members);
        for (pattern, member) in old {
            let translated = translate(&pattern).unwrap_or_else(|reason| {
                self.refuse(|| format!("patternProperties with {reason}, which ECMA-262 has not"));
                pattern
            });
            members.insert(translated, member);
        }
        if members.len() < count {
            self.refuse(|| "patternProperties with one pattern twice".to_owned());
        }
    }
}

/// The least common multiple of numbers, in units of the last decimal place of any; none if it is beyond all bounds.
fn common_multiple(numbers: &[f64]) -> Option<u128> {
    let digits = |number: &f64| {
        let text = number.abs().to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        Some((format!("{whole}{fraction}").parse::<u128>().ok()?, u32::try_from(fraction.len()).ok()?))
    };
    let numbers: Vec<(u128, u32)> = numbers.iter().map(digits).collect::<Option<_>>()?;
    let places = numbers.iter().map(|number| number.1).max().unwrap_or(0);
    numbers.into_iter().try_fold(1_u128, |common, (number, own_places)| {
        let scaled = number.checked_mul(10_u128.checked_pow(places - own_places)?)?.max(1);
        (common / greatest_divisor(common, scaled)).checked_mul(scaled)
    })
}

fn greatest_divisor(mut left: u128, mut right: u128) -> u128 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

fn is_large(number: &Number) -> bool {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude > WHOLE_NUMBER_MAX)
}

/// Whether only `\u` could write a character, which is off; see `schema::with_options`.
fn is_unwritable(letter: char) -> bool {
    letter.is_ascii_control() && !matches!(letter, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}')
}

/// Draft 4 says with a boolean whether a bound is taken in. llguidance reads that only as long as no `allOf` or the like
/// stands between the two.
fn write_bounds(map: &mut Map<String, Value>) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match map.get(exclusive) {
            Some(Value::Bool(true)) => match map.shift_remove(bound) {
                Some(number) => _ = map.insert(exclusive.to_owned(), number),
                None => _ = map.shift_remove(exclusive),
            },
            Some(Value::Bool(false)) => _ = map.shift_remove(exclusive),
            _ => {}
        }
    }
}

/// `additionalItems` says something only beside a list of `items`, and llguidance sees that list only as long as no
/// `allOf` or the like stands between the two.
fn write_items(map: &mut Map<String, Value>) {
    let Some(additional) = map.shift_remove("additionalItems") else { return };
    if !map.get("items").is_some_and(Value::is_array) {
        return;
    }
    let mut additional = Some(additional);
    for (key, value) in std::mem::take(map) {
        let is_items = key == "items";
        map.insert(key, value);
        if let Some(additional) = additional.take_if(|_| is_items) {
            map.insert("additionalItems".to_owned(), additional);
        }
    }
}

fn write_format(map: &mut Map<String, Value>) {
    let pattern = match map.get("format").and_then(Value::as_str) {
        Some("date") => format!("^{DATE}$"),
        Some("time") => format!("^{TIME}$"),
        Some("date-time") => format!("^{DATE}T{TIME}$"),
        Some("hostname") => HOSTNAME.to_owned(),
        _ => return,
    };
    if pattern == HOSTNAME {
        let letters_max = map.entry("maxLength").or_insert_with(|| json!(HOSTNAME_LETTERS_MAX));
        if letters_max.as_u64().is_some_and(|own| own > HOSTNAME_LETTERS_MAX) {
            *letters_max = json!(HOSTNAME_LETTERS_MAX);
        }
    } else {
        map.shift_remove("format");
    }
    if !map.contains_key("pattern") {
        map.insert("pattern".to_owned(), json!(pattern));
    } else if let Value::Array(all) = map.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ "pattern": pattern }));
    }
}
