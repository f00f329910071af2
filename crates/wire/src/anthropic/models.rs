use serde::{Deserialize, Serialize};

/// The answer to `GET /v1/models`: all of them, on one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicModelPage)]
pub struct ModelPage {
    /// The models.
    pub data: Vec<ModelEntry>,
    /// Always false.
    pub has_more: bool,
    /// The first of them.
    pub first_id: Option<String>,
    /// The last of them.
    pub last_id: Option<String>,
}

impl ModelPage {
    /// A page of these models.
    pub fn new(data: Vec<ModelEntry>) -> Self {
        let first_id = data.first().map(|model| model.id.clone());
        let last_id = data.last().map(|model| model.id.clone());
        Self { data, has_more: false, first_id, last_id }
    }
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicModelEntry)]
pub struct ModelEntry {
    /// Always `model`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name to ask for it by.
    pub id: String,
    /// Its name for people.
    pub display_name: String,
    /// When it was released, in RFC 3339; the beginning of 1970 where that isn't known, as Anthropic has it.
    pub created_at: String,
    /// Tokens that a conversation and its answer may have together.
    pub max_input_tokens: Option<usize>,
    /// Most tokens of an answer.
    pub max_tokens: Option<usize>,
    /// Always `active`.
    pub lifecycle: String,
}

impl ModelEntry {
    /// A model of this server whose context has so many tokens.
    pub fn new(id: impl Into<String>, display_name: impl Into<String>, context: usize) -> Self {
        Self {
            kind: "model".to_owned(),
            id: id.into(),
            display_name: display_name.into(),
            created_at: "1970-01-01T00:00:00Z".to_owned(),
            max_input_tokens: Some(context),
            max_tokens: Some(context),
            lifecycle: "active".to_owned(),
        }
    }
}
