use serde::{Deserialize, Serialize};

/// The answer to `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: String,
    /// The models.
    pub data: Vec<Model>,
}

impl ModelList {
    /// A list of these models.
    pub fn new(data: Vec<Model>) -> Self {
        Self { object: "list".to_owned(), data }
    }
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Model {
    /// The name to ask for it by.
    pub id: String,
    /// Always `model`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC; 0 where it isn't known.
    pub created: i64,
    /// Whose it is.
    pub owned_by: String,
}

impl Model {
    /// A model of this server.
    pub fn new(id: impl Into<String>, created: i64) -> Self {
        Self { id: id.into(), object: "model".to_owned(), created, owned_by: "cachalot".to_owned() }
    }
}
