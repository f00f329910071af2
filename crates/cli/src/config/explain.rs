//! Every setting in words: what it is, its default, what is in force and where that is from. Written as a file to begin
//! with, in which each line that sets something has a mark before it.

use super::mistakes::Mistakes;
use super::nearest::nearest;
use super::read::{Raw, Sources, read};
use super::table::{Kind, PRICES, PROVIDERS, Preset, SETTINGS, Setting, full_name, is_repeated};

/// Longest line of words.
const COLUMNS: usize = 100;

const BEGINNING: &str = "\
# Everything that can be set, and what is in force. To set something, take the # from the beginning
# of its line and of the line with its [section], in the configuration file. Each can also be set by
# the variable that is named, and many by an argument of `cachalot up`, which is the strongest.
";

/// Explains one setting or section, or all, and says what could not be read.
///
/// # Errors
/// If there is no such setting: what there is.
pub(crate) fn explain(sources: &Sources, wanted: Option<&str>) -> Result<(String, Mistakes), String> {
    let mut mistakes = Mistakes::default();
    let raw = read(sources, &mut mistakes);
    let is_wanted = |setting: &Setting| match wanted {
        None => true,
        Some(wanted) => setting.name() == wanted || (!wanted.is_empty() && setting.section == wanted),
    };
    let chosen: Vec<_> = SETTINGS.iter().filter(|setting| is_wanted(setting)).collect();
    if let (Some(wanted), true) = (wanted, chosen.is_empty()) {
        let mut names: Vec<_> = SETTINGS.iter().map(Setting::name).collect();
        names.extend(
            SETTINGS.iter().map(|setting| setting.section.to_owned()).filter(|section| !section.is_empty()),
        );
        let meant = nearest(wanted, &names).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Err(format!("there is no setting {wanted:?}{meant}"));
    }
    let mut text = if wanted.is_none() { BEGINNING.to_owned() } else { String::new() };
    for section in chosen.chunk_by(|one, next| one.section == next.section) {
        let name = section[0].section;
        let count = raw.begins(name).len();
        if !is_repeated(name) || count == 0 {
            write_section(&mut text, &raw, section, name);
            continue;
        }
        for number in 0..count {
            write_section(&mut text, &raw, section, &format!("{name}.{number}"));
        }
    }
    Ok((text.trim_start_matches('\n').to_owned(), mistakes.sorted()))
}

/// Settings of one section, which has the name `to` in what was read.
fn write_section(text: &mut String, raw: &Raw, settings: &[&Setting], to: &str) {
    match settings[0].section {
        "" => {}
        section if is_repeated(section) => text.push_str(&format!("\n#[[{section}]]\n")),
        section => text.push_str(&format!("\n#[{section}]\n")),
    }
    for setting in settings {
        write_setting(text, raw, setting, &full_name(to, setting.key));
    }
}

fn write_setting(text: &mut String, raw: &Raw, setting: &Setting, name: &str) {
    let (preset, has_default) = match setting.value {
        Preset::Default(preset) => (preset, true),
        Preset::Example(preset) => (preset, false),
    };
    let found = raw.found(name).filter(|found| found.place.is_set());
    let shown = match found {
        Some(_) if setting.secret => "\"(hidden)\"".to_owned(),
        Some(found) => found.value.to_toml(),
        None => preset.to_owned(),
    };
    let state = match (found, has_default) {
        (Some(found), true) => format!("Set by {}; the default is {preset}.", found.place),
        (Some(found), false) => format!("Set by {}.", found.place),
        (None, true) => "This is the default.".to_owned(),
        (None, false) => "Not set; this is an example.".to_owned(),
    };
    let variable = match setting.section {
        PROVIDERS if setting.key == "id" => String::new(),
        // Which one it would be can't be said.
        PRICES => String::new(),
        PROVIDERS => format!(" Variable: CACHALOT_OIDC_<ID>_{}.", setting.key.to_uppercase()),
        _ => format!(" Variable: {}.", setting.variable()),
    };
    let allowed = match setting.kind {
        // As the value shows.
        Kind::Text | Kind::List => String::new(),
        kind => format!(" Takes {}.", kind.allowed()),
    };
    let words = format!("{}{allowed} {state}{variable}", setting.about);
    text.push('\n');
    text.push_str(&comment(&words));
    text.push_str(&format!("#{} = {shown}\n", setting.key));
}

/// Words as lines of a comment.
fn comment(words: &str) -> String {
    let mut text = String::new();
    let mut line = "#".to_owned();
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS && line != "#" {
            text.push_str(&line);
            text.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n"
}
