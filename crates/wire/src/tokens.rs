//! Tokens of texts and back, in vLLM's form, which programs that measure models speak.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::RequestError;
use crate::fields::Fields;
use crate::turns::{read_json, required};

/// Most tokens to turn into text at once.
pub const DETOKENIZE_MAX: usize = 1 << 20;

/// A text whose tokens are wanted: `POST /tokenize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizeRequest {
    /// The model whose tokens they are; the server's default if not set.
    pub model: Option<String>,
    /// The text.
    pub prompt: String,
    /// Whether to begin with the token that the model expects first.
    pub add_special_tokens: bool,
    /// Whether to spell each token.
    pub return_token_strs: bool,
}

impl TokenizeRequest {
    /// Reads a request from its body.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        let mut fields = Fields::new("", read_json(body)?)?;
        Ok(Self {
            model: fields.string("model")?,
            prompt: required(&mut fields, "prompt")?,
            add_special_tokens: fields.boolean("add_special_tokens")?.unwrap_or(true),
            return_token_strs: fields.boolean("return_token_strs")?.unwrap_or(false),
        })
    }
}

/// Tokens whose text is wanted: `POST /detokenize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetokenizeRequest {
    /// The model whose tokens they are; the server's default if not set.
    pub model: Option<String>,
    /// The tokens, up to [`DETOKENIZE_MAX`].
    pub tokens: Vec<u32>,
}

impl DetokenizeRequest {
    /// Reads a request from its body.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        let mut fields = Fields::new("", read_json(body)?)?;
        let model = fields.string("model")?;
        let given = fields.array("tokens")?.ok_or_else(|| RequestError::missing("tokens"))?;
        if given.len() > DETOKENIZE_MAX {
            let allowed = format!("at most {DETOKENIZE_MAX} tokens");
            return Err(RequestError::value("tokens", &allowed, &given.len().to_string()));
        }
        Ok(Self { model, tokens: read_ids("tokens", &given)? })
    }
}

/// Reads token ids.
pub(crate) fn read_ids(name: &str, tokens: &[serde_json::Value]) -> Result<Vec<u32>, RequestError> {
    let read = |(index, token): (usize, &serde_json::Value)| {
        let id = token.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| {
            RequestError::format(&format!("{name}[{index}]"), "a token id", crate::fields::describe(token))
        })
    };
    tokens.iter().enumerate().map(read).collect()
}

/// The tokens of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tokens {
    /// How many there are.
    pub count: usize,
    /// Tokens that a prompt and its answer may have together.
    pub max_model_len: usize,
    /// Their ids.
    pub tokens: Vec<u32>,
    /// Their spellings, if they were asked for.
    pub token_strs: Option<Vec<String>>,
}

/// The text of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokensText {
    /// The text.
    pub prompt: String,
}

/// What a model's tokenizer writes by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenizerInfo {
    /// The model whose tokenizer it is.
    pub model: String,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Tokens that a prompt and its answer may have together.
    pub model_max_length: usize,
    /// What begins a sequence.
    pub bos_token: Option<String>,
    /// What ends one.
    pub eos_token: Option<String>,
    /// What fills up batches.
    pub pad_token: Option<String>,
    /// What stands for the unknown.
    pub unk_token: Option<String>,
    /// The template of conversations, in the language of Jinja.
    pub chat_template: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read() {
        let request = TokenizeRequest::from_json(br#"{"prompt": "a b", "add_special_tokens": false}"#);
        let expected = TokenizeRequest {
            model: None,
            prompt: "a b".to_owned(),
            add_special_tokens: false,
            return_token_strs: false,
        };
        assert_eq!(request, Ok(expected));
    }

    #[test]
    fn tokens_are_read() {
        let request = DetokenizeRequest::from_json(br#"{"model": "m", "tokens": [0, 4294967295]}"#);
        let expected = DetokenizeRequest { model: Some("m".to_owned()), tokens: vec![0, u32::MAX] };
        assert_eq!(request, Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |body: &str| TokenizeRequest::from_json(body.as_bytes()).unwrap_err().to_string();
        let tokens = |body: &str| DetokenizeRequest::from_json(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(text("{}"), "prompt is missing");
        assert_eq!(text(r#"{"prompt": 3}"#), "prompt must be a string, got a whole number");
        assert_eq!(tokens(r#"{"tokens": "no"}"#), "tokens must be an array, got a string");
        assert_eq!(tokens(r#"{"tokens": [1, -1]}"#), "tokens[1] must be a token id, got a whole number");
    }
}
