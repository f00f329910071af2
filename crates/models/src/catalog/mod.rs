//! The models that the program knows by name: `catalog.toml` at the root of the repository, built in and checked.

mod location;
mod raw;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

pub use location::{Location, LocationError};

/// The built-in catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// Name of the model that is used when none is named.
    pub default: String,
    entries: Vec<CatalogEntry>,
}

/// One model.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogEntry {
    /// What users type: lower-case letters, digits, dots and dashes.
    pub name: String,
    /// What lists show.
    pub title: String,
    /// `general.architecture` of the file: `llama`, `qwen2`, …
    pub architecture: String,
    /// Number of weights.
    pub parameters: u64,
    /// Size of the file in bytes; exact when a source has a checksum.
    pub bytes: u64,
    /// The licence as the model's page states it.
    pub license: String,
    /// What a user should know before downloading it.
    pub note: Option<String>,
    /// Longest context in tokens.
    pub context: usize,
    /// What the model's authors recommend.
    pub sampling: SamplingDefaults,
    /// Whether the model reasons before it answers.
    pub thinking: ThinkingStyle,
    /// Where the file can be had, to be tried in order.
    pub sources: Vec<Source>,
}

/// One place to get a model from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The place.
    pub location: Location,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits; absent when it is to be pinned at the first download.
    pub sha256: Option<String>,
}

/// Sampling parameters; the defaults are "off".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingDefaults {
    /// 0 (greedy) to 2.
    pub temperature: f32,
    /// 0 to 1; 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub top_k: usize,
    /// 0 to 1; 0 is off.
    pub min_p: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
}

impl Default for SamplingDefaults {
    fn default() -> Self {
        Self { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, repetition_penalty: 1.0 }
    }
}

/// Whether a model reasons before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingStyle {
    /// Never.
    None,
    /// Always.
    Always,
    /// When asked to, by the template's `enable_thinking`.
    Switchable,
}

impl ThinkingStyle {
    const ALL: [Self; 3] = [Self::None, Self::Always, Self::Switchable];

    /// The name in the catalogue and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Always => "always",
            Self::Switchable => "switchable",
        }
    }

    /// The style of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.name() == name)
    }
}

/// Everything that is wrong with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue has {} mistake(s):\n{}", mistakes.len(), mistakes.join("\n"))]
pub struct CatalogError {
    /// One line each.
    pub mistakes: Vec<String>,
}

impl Catalog {
    /// The catalogue that was built into the program.
    ///
    /// # Panics
    /// Never in a tested build: a test reads the same text.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<Catalog> = LazyLock::new(|| {
            Catalog::parse(include_str!("../../../../catalog.toml"))
                .expect("catalog.toml is checked by a test")
        });
        &BUILT_IN
    }

    /// Reads and checks a catalogue.
    ///
    /// # Errors
    /// All its mistakes at once.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        raw::parse(text)
    }

    /// The models in the order of the file.
    pub fn entries(&self) -> &[CatalogEntry] {
        &self.entries
    }

    /// The model of that name.
    pub fn get(&self, name: &str) -> Option<&CatalogEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}
