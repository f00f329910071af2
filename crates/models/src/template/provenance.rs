//! Which bytes of a rendered conversation came from its messages.
//!
//! A template may do anything with a message: trim it, split it at `</think>`, repeat it. So the template is run a
//! second time with *masked* messages and tools, in which every character is replaced by one that occurs nowhere else
//! (white space, quotes and backslashes stay, so that trimming and `tojson` do the same as before). Where the masked
//! output has the mask, the plain output at the same place has a character of a message. Character for character the
//! two must otherwise be equal, which proves that the template did not decide by what was masked.
//!
//! If it did decide by it (`'</think>' in content`), the strings that the template looks for are left unmasked:
//!
//! 1. in messages of the assistant only. There such a string is the model's own markup, and whether it is still markup
//!    in the output is the template's decision;
//! 2. in all messages. In the output every occurrence of a string that was left unmasked in a message of someone else
//!    then counts as theirs, even where the template wrote it: rather a tag that is only text than text that is a tag.
//!
//! If even that differs (a template that changes case, say), only what the template itself spells out counts as
//! markup, and of that nothing that also occurs in a message.
//!
//! No fuel pays for any of this, so each string is looked for in linear time, and of a template with more strings than
//! [`SEARCH_BYTES_MAX`] allows for a conversation, none is looked for: what is not shown to be markup is text.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use super::conversation::Conversation;

/// The strings of a template that matter here.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// What it looks for in messages.
    sought: BTreeSet<String>,
    /// What it writes.
    written: BTreeSet<String>,
}

/// Most bytes that may be searched for a template's strings, each string counted apart: 64 strings in the longest
/// conversation.
const SEARCH_BYTES_MAX: usize = 1 << 30;

/// Shorter than this, what a template writes says nothing about where a text came from.
const WRITTEN_CHARS_MIN: usize = 3;

impl Strings {
    /// Adds a string that the template looks for.
    pub(super) fn add_sought(&mut self, text: &str) {
        if !text.chars().all(is_neutral) {
            self.sought.insert(text.to_owned());
        }
    }

    /// Adds a string that the template writes.
    pub(super) fn add_written(&mut self, text: &str) {
        let text = text.trim();
        if text.chars().count() >= WRITTEN_CHARS_MIN {
            self.written.insert(text.to_owned());
        }
    }
}

/// White space and what `tojson` escapes. Such a character is never masked and proves nothing.
fn is_neutral(character: char) -> bool {
    super::python::is_space(character) || character.is_control() || matches!(character, '"' | '\\')
}

/// The byte ranges of `plain` that came from the conversation, in order, not empty and apart from each other; `render`
/// runs the template on another one.
pub(super) fn trace(
    plain: &str,
    conversation: &Conversation,
    strings: &Strings,
    render: &mut dyn FnMut(&Conversation) -> Option<String>,
) -> Vec<Range<usize>> {
    let texts = conversation.texts();
    if texts.iter().all(|(text, _)| text.chars().all(is_neutral)) {
        return Vec::new();
    }
    let mut sought: Vec<&str> = Vec::new();
    if affordable(strings.sought.len(), texts.iter().map(|(text, _)| text.len()).sum()) {
        let found = |sought: &&str| texts.iter().any(|(text, _)| text.contains(sought));
        sought.extend(strings.sought.iter().map(String::as_str).filter(found));
    }
    let attempts: &[Keep] =
        if sought.is_empty() { &[Keep::None] } else { &[Keep::None, Keep::Assistant, Keep::All] };
    let masks = Masks::unused(plain, strings, &texts);
    if let Some(mask) = masks.iter().next() {
        for &keep in attempts {
            let masked = keep.mask(conversation, mask, &masks, &sought);
            let Some(ranges) = render(&masked).and_then(|shadow| align(&shadow, plain, &masks)) else {
                continue;
            };
            let kept: Vec<&str> = match keep {
                Keep::All => kept_by_others(&texts, &sought),
                _ => Vec::new(),
            };
            return with_occurrences(plain, ranges, &kept);
        }
    }
    all_but_written(plain, strings, &texts)
}

/// Whose texts keep what the template looks for.
#[derive(Clone, Copy)]
enum Keep {
    None,
    Assistant,
    All,
}

impl Keep {
    fn mask(self, conversation: &Conversation, mask: char, masks: &Masks, sought: &[&str]) -> Conversation {
        let kept = |assistant: bool| match self {
            Self::All => sought,
            Self::Assistant if assistant => sought,
            _ => &[],
        };
        // Texts in JSON are names as often as not, and templates compare them: `name in parameters.required`. So each
        // begins with a mask of its own, as long as there are some, and keys of one object stay apart.
        let mut own: HashMap<String, char> = HashMap::new();
        let mut unused = masks.iter().skip(1);
        conversation.replace(
            &|text, assistant| masked(text, mask, mask, kept(assistant)),
            &mut |text, assistant| {
                if SCHEMA_WORDS.contains(&text) {
                    return text.to_owned();
                }
                let first = own.get(text).copied().unwrap_or_else(|| {
                    let first = unused.next().unwrap_or(mask);
                    own.insert(text.to_owned(), first);
                    first
                });
                masked(text, first, mask, kept(assistant))
            },
        )
    }
}

/// Words of JSON Schema and of tools by which templates find their way. They are never masked where they are all of a
/// text, and are nobody's markup.
const SCHEMA_WORDS: [&str; 20] = [
    "type",
    "function",
    "name",
    "description",
    "parameters",
    "properties",
    "required",
    "items",
    "enum",
    "default",
    "return",
    "additionalProperties",
    "strict",
    "object",
    "array",
    "string",
    "number",
    "integer",
    "boolean",
    "null",
];

/// `text` with its first character replaced by `first` and every other by `mask`, but for neutral ones and the strings
/// to keep.
fn masked(text: &str, first: char, mask: char, keep: &[&str]) -> String {
    let mut mask = std::iter::once(first).chain(std::iter::repeat(mask));
    let mut out = String::with_capacity(text.len());
    let kept = with_occurrences(text, Vec::new(), keep);
    let mut kept = kept.iter().peekable();
    for (at, character) in text.char_indices() {
        while kept.next_if(|range| range.end <= at).is_some() {}
        let is_kept = kept.peek().is_some_and(|range| range.start <= at);
        let shown = if is_kept || is_neutral(character) { None } else { mask.next() };
        out.push(shown.unwrap_or(character));
    }
    out
}

/// Characters that stand for others: those for private use that occur neither in the conversation nor in what the
/// template writes.
struct Masks {
    used: HashSet<char>,
}

impl Masks {
    fn unused(plain: &str, strings: &Strings, texts: &[(&str, bool)]) -> Self {
        let used = texts
            .iter()
            .map(|&(text, _)| text)
            .chain(strings.sought.iter().chain(&strings.written).map(String::as_str))
            .chain([plain])
            .flat_map(str::chars)
            .filter(|&c| c >= '\u{e000}')
            .collect();
        Self { used }
    }

    fn iter(&self) -> impl Iterator<Item = char> {
        PRIVATE_USE.into_iter().flatten().filter(|c| !self.used.contains(c))
    }

    fn contains(&self, character: char) -> bool {
        PRIVATE_USE.iter().any(|range| range.contains(&character)) && !self.used.contains(&character)
    }
}

/// Unicode's private use area and the larger of its planes for private use.
const PRIVATE_USE: [RangeInclusive<char>; 2] = ['\u{e000}'..='\u{f8ff}', '\u{f0000}'..='\u{ffffd}'];

/// The ranges of `plain` that are masked in `shadow`, if the two are equal otherwise. Neutral characters between two
/// masked ones belong to them.
fn align(shadow: &str, plain: &str, masks: &Masks) -> Option<Vec<Range<usize>>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    // Whether only neutral characters came since the last masked one.
    let mut near = false;
    let mut shadow = shadow.chars();
    for (at, character) in plain.char_indices() {
        let end = at + character.len_utf8();
        match shadow.next()? {
            shade if masks.contains(shade) => {
                match ranges.last_mut() {
                    Some(last) if near => last.end = end,
                    _ => ranges.push(at..end),
                }
                near = true;
            }
            shade if shade == character => near = near && is_neutral(character),
            _ => return None,
        }
    }
    shadow.next().is_none().then_some(ranges)
}

/// Those of `sought` that occur in what is not the assistant's.
fn kept_by_others<'s>(texts: &[(&str, bool)], sought: &[&'s str]) -> Vec<&'s str> {
    let said_by_others =
        |sought: &str| texts.iter().any(|(text, assistant)| !assistant && text.contains(sought));
    sought.iter().copied().filter(|sought| said_by_others(sought)).collect()
}

/// Whether so many strings may be looked for in so many bytes.
fn affordable(strings: usize, bytes: usize) -> bool {
    strings.saturating_mul(bytes) <= SEARCH_BYTES_MAX
}

/// `ranges`, which are in order, and all occurrences of each of `texts`; in order and apart from each other.
fn with_occurrences(plain: &str, mut ranges: Vec<Range<usize>>, texts: &[&str]) -> Vec<Range<usize>> {
    for text in texts {
        ranges.extend(plain.match_indices(text).map(|(at, found)| at..at + found.len()));
        // Two runs that are in order: this sort takes them as they are and merges them.
        ranges.sort_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let touches = next.start <= last.end;
            if touches {
                last.end = last.end.max(next.end);
            }
            touches
        });
    }
    ranges
}

/// All of `plain` but what the template writes and no message has.
fn all_but_written(plain: &str, strings: &Strings, texts: &[(&str, bool)]) -> Vec<Range<usize>> {
    let texts: Vec<String> = texts.iter().map(|(text, _)| text.to_lowercase()).collect();
    let mut written: Vec<&str> = Vec::new();
    if affordable(strings.written.len(), plain.len() + texts.iter().map(String::len).sum::<usize>()) {
        let unsaid = |written: &&str| {
            let written = written.to_lowercase();
            !texts.iter().any(|text| text.contains(&written))
        };
        written.extend(strings.written.iter().map(String::as_str).filter(unsaid));
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    for markup in with_occurrences(plain, Vec::new(), &written) {
        ranges.push(at..markup.start);
        at = markup.end;
    }
    ranges.push(at..plain.len());
    ranges.retain(|range| !range.is_empty());
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{CONTENT_BYTES_MAX, TemplateMessage};

    const MASK: char = '\u{e000}';

    fn masked(text: &str, keep: &[&str]) -> String {
        super::masked(text, MASK, MASK, keep).replace(MASK, "#")
    }

    fn align(shadow: &str, plain: &str) -> Option<Vec<Range<usize>>> {
        super::align(&shadow.replace('#', "\u{e000}"), plain, &Masks { used: HashSet::new() })
    }

    #[test]
    fn masking_keeps_white_space_and_what_is_asked() {
        assert_eq!(masked(" a\n\"é\" </t>b", &[]), " #\n\"#\" #####");
        assert_eq!(masked("x</t>y", &["</t>"]), "#</t>#");
        // Inside each other, overlapping, and beside each other.
        assert_eq!(masked("xabcdexfé", &["abc", "b", "cde", "é"]), "#abcde##é");
        assert_eq!(masked("abab", &["ab"]), "abab");
    }

    #[test]
    fn strings_count_once() {
        let mut strings = Strings::default();
        for _ in 0..9 {
            strings.add_sought("</t>");
            strings.add_written(" <go> ");
        }
        assert_eq!((strings.sought.len(), strings.written.len()), (1, 1));
    }

    /// Thousands of strings, and messages that each of them nearly matches at every character.
    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one range is what is expected")]
    fn more_strings_than_may_be_looked_for_make_everything_text() {
        let mut strings = Strings::default();
        for number in 0..4000 {
            strings.add_sought(&format!("{}{number}", "a".repeat(20)));
            strings.add_written(&format!("{}b{number}", "a".repeat(20)));
        }
        let message = |bytes: usize| {
            let content = format!("{} {}7", "a".repeat(bytes), "a".repeat(20));
            let message = TemplateMessage { role: "user".to_owned(), content, ..TemplateMessage::default() };
            Conversation { messages: vec![message], tools: Vec::new() }
        };
        let ranges = |conversation: &Conversation| {
            let plain = format!("{}b12{}", "a".repeat(20), conversation.messages[0].content);
            // A rendering that never aligns.
            let ranges = trace(&plain, conversation, &strings, &mut |_| Some(String::new()));
            (ranges, plain.len())
        };
        let (found, bytes) = ranges(&message(1000));
        assert_eq!(found, [23..bytes]);
        let (found, bytes) = ranges(&message(CONTENT_BYTES_MAX - 100));
        assert_eq!(found, [0..bytes]);
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one range is what is expected")]
    fn alignment_refuses_other_lengths_and_other_text() {
        assert_eq!(align("a#b", "acb"), Some(vec![1..2]));
        assert_eq!(align("# #x", "é dx"), Some(vec![0..4]));
        assert_eq!(align("a#", "acb"), None);
        assert_eq!(align("a#bb", "acb"), None);
        assert_eq!(align("b#", "ac"), None);
    }
}
