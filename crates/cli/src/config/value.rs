use toml::de::DeValue;

use super::table::{Kind, Setting};

/// What a setting is set to, in the form that its kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    Flag(bool),
    Whole(u64),
}

/// Longest text: longer ones are no address, name or path.
const TEXT_BYTES_MAX: usize = 4096;
/// Longest list.
const LIST_MAX: usize = 1000;

impl Kind {
    /// What is allowed, in words.
    pub(crate) fn allowed(self) -> String {
        match self {
            Self::Text => format!("a text in quotes, of one line and at most {TEXT_BYTES_MAX} bytes"),
            Self::List => "a list of texts such as [\"a\", \"b\"]".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Whole(min, max) => format!("a whole number from {min} to {max}"),
            Self::OneOf(words) => {
                words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
            }
        }
    }
}

impl Setting {
    /// The value that a file gives.
    ///
    /// # Errors
    /// What was allowed and what was given; nothing of a secret.
    pub(crate) fn read_toml(&self, given: &DeValue<'_>) -> Result<Value, String> {
        let value = match (self.kind, given) {
            (Kind::Text | Kind::OneOf(_), DeValue::String(text)) => self.text(text),
            // One is a list too.
            (Kind::List, DeValue::String(text)) => {
                one_line(text).then(|| Value::List(vec![text.to_string()]))
            }
            (Kind::List, DeValue::Array(items)) if items.len() <= LIST_MAX => {
                let texts = items.iter().map(|item| match item.get_ref() {
                    DeValue::String(text) if one_line(text) => Some(text.to_string()),
                    _ => None,
                });
                texts.collect::<Option<_>>().map(Value::List)
            }
            (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Kind::Whole(min, max), DeValue::Integer(number)) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
                number.filter(|number| (min..=max).contains(number)).map(Value::Whole)
            }
            _ => None,
        };
        value.ok_or_else(|| self.refusal(&shown(given)))
    }

    /// The value that a variable or an argument gives: lists with commas, the rest as it is.
    ///
    /// # Errors
    /// As for [`Setting::read_toml`].
    pub(crate) fn read_text(&self, given: &str) -> Result<Value, String> {
        let value = match self.kind {
            Kind::Text | Kind::OneOf(_) => self.text(given),
            Kind::List => {
                let items: Vec<_> = given.split(',').map(|item| item.trim().to_owned()).collect();
                let good = items.len() <= LIST_MAX && items.iter().all(|item| one_line(item));
                good.then_some(Value::List(items))
            }
            Kind::Flag => given.parse().ok().map(Value::Flag),
            Kind::Whole(min, max) => {
                let number = given.parse().ok().filter(|number| (min..=max).contains(number));
                number.map(Value::Whole)
            }
        };
        value.ok_or_else(|| self.refusal(&format!("{:?}", shortened(given))))
    }

    fn text(&self, given: &str) -> Option<Value> {
        let good = match self.kind {
            Kind::OneOf(words) => words.contains(&given),
            _ => one_line(given),
        };
        good.then(|| Value::Text(given.to_owned()))
    }

    fn refusal(&self, given: &str) -> String {
        let given = if self.secret { "something else" } else { given };
        format!("{} must be {}, got {given}", self.name(), self.kind.allowed())
    }
}

fn one_line(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// What was given, for a mistake.
fn shown(given: &DeValue<'_>) -> String {
    match given {
        DeValue::String(text) => format!("{:?}", shortened(text)),
        DeValue::Integer(number) => shortened(&number.to_string()).to_owned(),
        DeValue::Float(number) => shortened(&number.to_string()).to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
}

impl Value {
    /// In TOML.
    pub(crate) fn to_toml(&self) -> String {
        match self {
            Self::Text(text) => toml::Value::from(text.as_str()).to_string(),
            Self::List(texts) => toml::Value::from(texts.clone()).to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(number) => number.to_string(),
        }
    }
}
