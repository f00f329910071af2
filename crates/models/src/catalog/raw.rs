//! `catalog.toml` as it is written, and the checks that turn it into a [`Catalog`], all mistakes at once.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Catalog, CatalogEntry, CatalogError, SamplingDefaults, Source, ThinkingStyle};
use crate::library::is_sha256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalog {
    default: String,
    #[serde(default)]
    model: Vec<RawEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: String,
    title: String,
    architecture: String,
    parameters: u64,
    bytes: u64,
    license: String,
    note: Option<String>,
    context: usize,
    thinking: String,
    #[serde(default)]
    sampling: RawSampling,
    #[serde(default)]
    sources: Vec<RawSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSampling {
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<usize>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    location: String,
    sha256: Option<String>,
}

/// The mistakes found so far, each with the model it is in.
struct Mistakes(Vec<String>);

impl Mistakes {
    fn check(&mut self, good: bool, model: &str, message: impl FnOnce() -> String) {
        if !good {
            self.0.push(format!("model {model:?}: {}", message()));
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Catalog, CatalogError> {
    let raw: RawCatalog =
        toml::from_str(text).map_err(|error| CatalogError { mistakes: vec![error.to_string()] })?;
    let mut mistakes = Mistakes(Vec::new());
    let mut names = BTreeSet::new();
    let mut entries = Vec::new();
    for entry in raw.model {
        mistakes
            .check(names.insert(entry.name.clone()), &entry.name, || "its name is taken already".to_owned());
        entries.push(check_entry(entry, &mut mistakes));
    }
    if !names.contains(&raw.default) {
        mistakes
            .0
            .push(format!("default is {:?}, allowed: the name of a model in the catalogue", raw.default));
    }
    if mistakes.0.is_empty() {
        Ok(Catalog { default: raw.default, entries })
    } else {
        Err(CatalogError { mistakes: mistakes.0 })
    }
}

fn check_entry(raw: RawEntry, mistakes: &mut Mistakes) -> CatalogEntry {
    let name = raw.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let name_ok = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain);
    mistakes.check(name_ok && name.len() <= 64, &name, || {
        "its name may hold 1 to 64 lower-case letters, digits, dots and dashes".to_owned()
    });
    for (field, text) in
        [("title", &raw.title), ("architecture", &raw.architecture), ("license", &raw.license)]
    {
        mistakes.check(!text.trim().is_empty(), &name, || format!("{field} is empty"));
    }
    for (field, number) in
        [("parameters", raw.parameters), ("bytes", raw.bytes), ("context", raw.context as u64)]
    {
        mistakes.check(number > 0, &name, || format!("{field} is 0, allowed: 1 or more"));
    }
    let thinking = ThinkingStyle::from_name(&raw.thinking).unwrap_or_else(|| {
        let allowed = "allowed: none, always, switchable";
        mistakes.check(false, &name, || format!("thinking is {:?}, {allowed}", raw.thinking));
        ThinkingStyle::None
    });
    let sampling = check_sampling(&raw.sampling, &name, mistakes);
    mistakes.check(!raw.sources.is_empty(), &name, || "it has no sources, allowed: 1 or more".to_owned());
    let sources =
        raw.sources.into_iter().filter_map(|source| check_source(source, &name, mistakes)).collect();
    CatalogEntry {
        name,
        title: raw.title,
        architecture: raw.architecture,
        parameters: raw.parameters,
        bytes: raw.bytes,
        license: raw.license,
        note: raw.note,
        context: raw.context,
        sampling,
        thinking,
        sources,
    }
}

fn check_sampling(raw: &RawSampling, name: &str, mistakes: &mut Mistakes) -> SamplingDefaults {
    let ranges = [
        ("temperature", raw.temperature, 0.0, 2.0),
        ("top_p", raw.top_p, 0.0, 1.0),
        ("min_p", raw.min_p, 0.0, 1.0),
        ("repetition_penalty", raw.repetition_penalty, 0.5, 2.0),
    ];
    for (field, value, low, high) in ranges {
        if let Some(value) = value {
            mistakes.check((low..=high).contains(&value), name, || {
                format!("sampling.{field} is {value}, allowed: {low} to {high}")
            });
        }
    }
    let off = SamplingDefaults::default();
    SamplingDefaults {
        temperature: raw.temperature.unwrap_or(off.temperature),
        top_p: raw.top_p.unwrap_or(off.top_p),
        top_k: raw.top_k.unwrap_or(off.top_k),
        min_p: raw.min_p.unwrap_or(off.min_p),
        repetition_penalty: raw.repetition_penalty.unwrap_or(off.repetition_penalty),
    }
}

fn check_source(raw: RawSource, name: &str, mistakes: &mut Mistakes) -> Option<Source> {
    if let Some(sha256) = &raw.sha256 {
        mistakes.check(is_sha256(sha256), name, || {
            format!("sha256 of {} is {sha256:?}, allowed: 64 lower-case hexadecimal digits", raw.location)
        });
    }
    match raw.location.parse() {
        Ok(location) => Some(Source { location, sha256: raw.sha256 }),
        Err(error) => {
            mistakes.check(false, name, || error.to_string());
            None
        }
    }
}
