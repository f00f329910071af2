//! From the file, the environment and the command line to raw values, each with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistakes::{Mistakes, Place};
use super::nearest::{changes, nearest};
use super::table::{
    PROVIDERS, Preset, REPEATED, SETTINGS, Setting, full_name, is_repeated, setting, variable,
};
use super::value::Value;

/// The file as it was found.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Its permissions.
    pub(crate) mode: u32,
}

/// Where settings come from; what comes later is stronger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) file: Option<ConfigFile>,
    pub(crate) environment: Vec<(String, String)>,
    /// The name of the setting, the argument, and what it gives.
    pub(crate) arguments: Vec<(&'static str, &'static str, String)>,
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// Every value that is set, by full name. Those of the provider with number n are `oidc.n.key`, those of the price with
/// number n `price.n.key`.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    values: BTreeMap<String, Found>,
    /// Settings that were set to what they can't be: what is made of them is not to be judged.
    broken: BTreeSet<String>,
    /// Whether a part of the file is no TOML, so that more may have been set than is known.
    torn: bool,
    /// Where each of the sections begins of which there can be several.
    repeated: BTreeMap<&'static str, Vec<Place>>,
}

impl Raw {
    pub(crate) fn found(&self, name: &str) -> Option<&Found> {
        self.values.get(name)
    }

    pub(crate) fn place(&self, name: &str) -> Place {
        self.found(name).map_or(Place::Default, |found| found.place.clone())
    }

    /// Whether somebody set it, whatever to.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.place(name).is_set() || self.broken.contains(name)
    }

    /// Whether it was set to what it can't be, or may have been set where nothing could be read.
    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(name) || (self.torn && !self.place(name).is_set())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.found(name).map(|found| &found.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self, name: &str) -> &[String] {
        match self.found(name).map(|found| &found.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.found(name).map(|found| &found.value), Some(Value::Flag(true)))
    }

    pub(crate) fn whole(&self, name: &str) -> Option<u64> {
        match self.found(name).map(|found| &found.value) {
            Some(Value::Whole(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number that has a default.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.whole(name).unwrap_or_default()
    }

    /// Where each section of this name begins, of which there can be several.
    pub(crate) fn begins(&self, section: &str) -> &[Place] {
        self.repeated.get(section).map(Vec::as_slice).unwrap_or_default()
    }

    fn set(&mut self, name: String, value: Result<Value, String>, place: &Place, mistakes: &mut Mistakes) {
        match value {
            Ok(value) => {
                self.values.insert(name, Found { value, place: place.clone() });
            }
            Err(text) => {
                mistakes.add(place, text);
                self.broken.insert(name);
            }
        }
    }

    /// Sets what is in force if nothing is said; `section` as it stands in names.
    fn set_defaults(&mut self, of: impl Fn(&Setting) -> bool, section: Option<&str>) {
        for setting in SETTINGS.iter().filter(|setting| of(setting)) {
            if let Some(value) = setting.default_value() {
                let name = full_name(section.unwrap_or(setting.section), setting.key);
                self.values.insert(name, Found { value, place: Place::Default });
            }
        }
    }
}

impl Setting {
    /// What is in force if nothing is said.
    pub(crate) fn default_value(&self) -> Option<Value> {
        match self.value {
            Preset::Default(text) => self.read_toml(DeValue::parse(text).ok()?.get_ref()).ok(),
            Preset::Example(_) => None,
        }
    }
}

/// Reads all that can be read, and says of the rest what is wrong with it.
pub(crate) fn read(sources: &Sources, mistakes: &mut Mistakes) -> Raw {
    let mut raw = Raw::default();
    raw.set_defaults(|setting| !is_repeated(setting.section), None);
    if let Some(file) = &sources.file {
        FileReader::new(file, &mut raw, mistakes).read();
    }
    read_environment(&sources.environment, &mut raw, mistakes);
    for (name, argument, given) in &sources.arguments {
        if let Some(setting) = setting(name) {
            raw.set(setting.name(), setting.read_text(given), &Place::Argument(argument), mistakes);
        }
    }
    raw
}

struct FileReader<'a> {
    file: &'a ConfigFile,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Lines that are no TOML, from 1 on. What the parser makes of them is a guess.
    torn: BTreeSet<usize>,
    raw: &'a mut Raw,
    mistakes: &'a mut Mistakes,
}

impl<'a> FileReader<'a> {
    fn new(file: &'a ConfigFile, raw: &'a mut Raw, mistakes: &'a mut Mistakes) -> Self {
        let ends = file.text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { file, lines, torn: BTreeSet::new(), raw, mistakes }
    }

    fn read(mut self) {
        let (table, errors) = DeTable::parse_recoverable(&self.file.text);
        self.raw.torn = !errors.is_empty();
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            if self.torn.insert(line) {
                self.mistakes.add(&self.place(line), format!("this is no TOML: {}", error.message()));
            }
        }
        for (key, value) in table.get_ref() {
            let line = self.line(key.span().start);
            let name: &str = key.get_ref();
            let is_section = SETTINGS.iter().any(|setting| setting.section == name);
            let repeated = REPEATED.into_iter().find(|section| *section == name);
            match (value.get_ref(), repeated) {
                (DeValue::Array(items), Some(section)) => {
                    items.iter().for_each(|item| self.one_of_several(section, item));
                }
                (DeValue::Table(keys), None) if is_section => self.section(name, name, keys),
                (_, Some(section)) => {
                    let what = if section == PROVIDERS { "provider" } else { section };
                    let form = format!("[[{section}]], once for each {what}");
                    self.mistake(
                        line,
                        format!("{name} must be {form}: [{name}] on a line of its own, then its keys"),
                    );
                }
                (_, None) if is_section => {
                    self.mistake(
                        line,
                        format!("{name} must be a section: [{name}] on a line of its own, then its keys"),
                    );
                }
                (DeValue::Table(_), None) if setting(name).is_none() => self.unknown_section(line, name),
                _ => self.key("", "", key, value),
            }
        }
    }

    /// The keys of a section of the table, which has the name `to` in what was read.
    fn section(&mut self, section: &str, to: &str, keys: &DeTable<'_>) {
        for (key, value) in keys {
            self.key(section, to, key, value);
        }
    }

    fn one_of_several(&mut self, section: &'static str, item: &Spanned<DeValue<'_>>) {
        let place = self.place(self.line(item.span().start));
        let DeValue::Table(keys) = item.get_ref() else {
            let what = if section == PROVIDERS { "provider" } else { section };
            self.mistakes
                .add(&place, format!("{section} must be sections [[{section}]], one for each {what}"));
            return;
        };
        let places = self.raw.repeated.entry(section).or_default();
        let to = format!("{section}.{}", places.len());
        places.push(place);
        self.raw.set_defaults(|setting| setting.section == section, Some(&to));
        self.section(section, &to, keys);
    }

    fn key(
        &mut self,
        section: &str,
        to: &str,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let line = self.line(key.span().start);
        let (known, name) = (setting(&full_name(section, key.get_ref())), full_name(to, key.get_ref()));
        if self.torn.range(line..=self.line(value.span().end)).next().is_some() {
            self.raw.broken.insert(name);
            return;
        }
        match known {
            Some(setting) => {
                let value = setting.read_toml(value.get_ref());
                self.raw.set(name, value, &self.place(line), self.mistakes);
            }
            None => self.unknown_key(line, &full_name(section, key.get_ref())),
        }
    }

    fn unknown_key(&mut self, line: usize, name: &str) {
        let names: Vec<_> = SETTINGS.iter().map(Setting::name).collect();
        let meant = nearest(name, &names);
        // What was meant is set, if not to what is known.
        self.raw.broken.extend(meant.clone());
        self.mistake(line, format!("unknown key {}{}", shown(name), hint(meant)));
    }

    fn unknown_section(&mut self, line: usize, name: &str) {
        let mut sections: Vec<_> = SETTINGS.iter().map(|setting| setting.section.to_owned()).collect();
        sections.dedup();
        let meant =
            nearest(name, &sections).filter(|meant| !meant.is_empty()).map(|meant| format!("[{meant}]"));
        self.mistake(line, format!("unknown section [{}]{}", shown(name), hint(meant)));
    }

    /// Below the torn beginning of a section nobody knows what belongs to what.
    fn mistake(&mut self, line: usize, text: String) {
        let is_beginning = |line: usize| self.file.text[self.lines[line - 1]..].trim_start().starts_with('[');
        if !self.torn.range(..=line).any(|torn| *torn == line || is_beginning(*torn)) {
            self.mistakes.add(&self.place(line), text);
        }
    }

    fn place(&self, line: usize) -> Place {
        Place::File(self.file.path.clone(), line)
    }

    /// The line in which a byte stands, from 1 on.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }
}

fn hint(meant: Option<String>) -> String {
    match meant {
        Some(name) => format!("; did you mean {name}?"),
        None => "; `cachalot config explain` shows all there are".to_owned(),
    }
}

fn shown(name: &str) -> String {
    name.chars().take(60).collect()
}

/// Variables that are no settings, but ours.
const OTHERS: [&str; 3] = ["CACHALOT_HOME", "CACHALOT_CONFIG", "CACHALOT_MASTER_KEY"];
/// The name under which `log.filter` has been set from the beginning.
const LOG: &str = "CACHALOT_LOG";

fn read_environment(environment: &[(String, String)], raw: &mut Raw, mistakes: &mut Mistakes) {
    let mut known: BTreeMap<String, (&Setting, String)> = BTreeMap::new();
    for setting in SETTINGS.iter().filter(|setting| !is_repeated(setting.section)) {
        known.insert(setting.variable(), (setting, setting.name()));
    }
    for number in 0..raw.begins(PROVIDERS).len() {
        let section = format!("{PROVIDERS}.{number}");
        let Some(id) = raw.text(&full_name(&section, "id")).map(str::to_owned) else { continue };
        for setting in SETTINGS.iter().filter(|setting| setting.section == PROVIDERS && setting.key != "id") {
            let variable = variable(&format!("{PROVIDERS}.{id}.{}", setting.key));
            known.insert(variable, (setting, full_name(&section, setting.key)));
        }
    }
    if let Some(filter) = setting("log.filter") {
        known.insert(LOG.to_owned(), (filter, filter.name()));
    }
    // In the order of their names, so that CACHALOT_LOG_FILTER is stronger than CACHALOT_LOG.
    let mut given: Vec<_> = environment.iter().filter(|(name, _)| name.starts_with("CACHALOT_")).collect();
    given.sort();
    for (name, text) in given {
        let place = Place::Variable(name.clone());
        match known.get(name) {
            // An empty one is as good as none.
            Some(_) if text.is_empty() => {}
            Some((setting, to)) => raw.set(to.clone(), setting.read_text(text), &place, mistakes),
            None if OTHERS.contains(&name.as_str()) => {}
            None => {
                if let Some(text) = mistyped(name, known.keys()) {
                    mistakes.add(&place, text);
                }
            }
        }
    }
}

/// What is wrong with a variable that is none of ours but looks as if it should be. Other programs have a right to
/// names that begin as ours do.
fn mistyped<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let near = known.map(|known| (known, changes(name, known))).min_by_key(|(_, changes)| *changes);
    let meant = near.filter(|(_, changes)| *changes <= 2).map(|(known, _)| known.clone());
    let sections = SETTINGS.iter().map(|setting| setting.section).filter(|section| !section.is_empty());
    let mut prefixes = sections.map(|section| format!("{}_", variable(section)));
    let in_section = prefixes.any(|prefix| name.starts_with(&prefix));
    (in_section || meant.is_some()).then(|| format!("unknown variable{}", hint(meant)))
}
