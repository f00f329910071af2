//! Finding words in texts whatever their case, width and composition: both are folded (NFKC, lower case) and compared.
//!
//! A text is folded one cluster at a time: a character that nothing before it can merge with, and all that merge with it
//! (Unicode Standard Annex 15, stable code points). So it is known from which bytes of the text each folded byte came.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;
use std::sync::Arc;

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Bytes of folded text that are looked at together.
const WINDOW_BYTES: usize = 64 << 10;
/// Characters of a cluster. No script has as many marks on one letter, but one who wants harm may write them.
const CLUSTER_CHARS_MAX: usize = 1024;
/// Characters of a snippet.
const SNIPPET_CHARS: usize = 160;
/// Of those, before the first word found.
const LEAD_CHARS: usize = 40;
/// Marks in a snippet; it is too short for as many words that one could tell apart.
const MARKS_MAX: usize = 64;

/// The words of a search, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Arc<[String]>);

impl Words {
    /// The words of a text; `None` if there are none.
    pub fn new(text: &str) -> Option<Self> {
        let mut words: Vec<String> = fold(text).split_whitespace().map(str::to_owned).collect();
        words.sort_unstable();
        words.dedup();
        if words.is_empty() { None } else { Some(Self(words.into())) }
    }

    /// Where the words are in a text in which every one of them occurs; `None` if one does not. `scratch` is to be used
    /// again. Whatever the text's length, little more than a window of it is held folded.
    pub(crate) fn find(&self, text: &str, scratch: &mut String) -> Option<Snippet> {
        let found = matches(text, &self.0, WINDOW_BYTES, scratch);
        let all = found.iter().all(|ranges| !ranges.is_empty());
        all.then(|| Snippet::of(text, &origins(text, found.concat())))
    }
}

/// A part of a text with the words that were searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// On one line; `…` stands where it was cut.
    pub text: String,
    /// Where the words are: start and length in UTF-16 code units, in order, none overlapping another.
    pub marks: Vec<(u32, u32)>,
}

impl Snippet {
    /// Around the first of these parts, which are in order.
    fn of(text: &str, found: &[Range<usize>]) -> Self {
        let first = found.first().map_or(0, |range| range.start);
        let start = text[..first].char_indices().rev().take(LEAD_CHARS).last().map_or(first, |(at, _)| at);
        let end = text[start..].char_indices().nth(SNIPPET_CHARS).map_or(text.len(), |(at, _)| start + at);
        let mut snippet = Self { text: String::new(), marks: Vec::new() };
        if start > 0 {
            snippet.text.push('…');
        }
        let lead = snippet.text.chars().count();
        // Each character becomes one of the same length in UTF-16, so that marks stay where they are.
        snippet.text.extend(text[start..end].chars().map(|c| if c.is_control() { ' ' } else { c }));
        if end < text.len() {
            snippet.text.push('…');
        }
        let units = |part: &str| part.encode_utf16().count();
        let (mut at, mut at_units) = (start, lead);
        for range in found.iter().take_while(|range| range.end <= end).take(MARKS_MAX) {
            at_units += units(&text[at..range.start]);
            let length = units(&text[range.clone()]);
            snippet.marks.push((at_units as u32, length as u32));
            at_units += length;
            at = range.end;
        }
        snippet
    }
}

/// Where each word stands in the folded text, in bytes of that: the first ones. The folded text is made and looked at one
/// window after another.
fn matches(text: &str, words: &[String], window_bytes: usize, window: &mut String) -> Vec<Vec<Range<usize>>> {
    // What may be the beginning of a word that ends in the next window.
    let overlap = words.iter().map(String::len).max().unwrap_or(0).saturating_sub(1);
    let mut found: Vec<Vec<Range<usize>>> = vec![Vec::new(); words.len()];
    let mut clusters = Clusters::of(text);
    window.clear();
    // Where the window begins.
    let mut begin = 0;
    loop {
        // One at least, so that each window goes on beyond the one before.
        let is_end = loop {
            if clusters.next(window).is_none() {
                break true;
            }
            if window.len() >= overlap + window_bytes {
                break false;
            }
        };
        for (word, found) in words.iter().zip(&mut found) {
            // None overlaps another of the same word.
            let from = found.last().map_or(0, |last| last.end.saturating_sub(begin));
            let ranges = window[from..].match_indices(word.as_str()).take(MARKS_MAX - found.len());
            let at = begin + from;
            found.extend(ranges.map(|(start, word)| at + start..at + start + word.len()));
        }
        if is_end {
            return found;
        }
        let seen = window.floor_char_boundary(window.len() - overlap);
        window.drain(..seen);
        begin += seen;
    }
}

/// From which parts of the text these parts of the folded text came, in order; what overlaps or touches is one. The text
/// is folded once more, up to the last of them, and no more than a cluster is held.
fn origins(text: &str, mut folded: Vec<Range<usize>>) -> Vec<Range<usize>> {
    folded.sort_unstable_by_key(|range| range.start);
    let mut next = folded.iter().peekable();
    let mut found: Vec<Range<usize>> = Vec::new();
    let (mut clusters, mut piece) = (Clusters::of(text), String::new());
    // Where the last cluster ends, folded, and the last of the parts that have begun.
    let (mut end, mut reach) = (0, 0);
    while reach > end || next.peek().is_some() {
        piece.clear();
        let Some(cluster) = clusters.next(&mut piece) else { break };
        let begin = end;
        end += piece.len();
        while let Some(part) = next.next_if(|part| part.start < end) {
            reach = reach.max(part.end);
        }
        if reach <= begin {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.end == cluster.start => last.end = cluster.end,
            _ => found.push(cluster),
        }
    }
    found
}

/// The folded text.
fn fold(text: &str) -> String {
    let (mut clusters, mut folded) = (Clusters::of(text), String::new());
    while clusters.next(&mut folded).is_some() {}
    folded
}

/// The clusters of a text.
struct Clusters<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl<'a> Clusters<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, rest: text.char_indices().peekable() }
    }

    /// Appends the next one, folded; where it stands in the text.
    fn next(&mut self, folded: &mut String) -> Option<Range<usize>> {
        let (start, first) = self.rest.next()?;
        let alone = self.rest.peek().is_none_or(|&(_, next)| begins_cluster(next));
        if alone && first.is_ascii() {
            folded.push(first.to_ascii_lowercase());
            return Some(start..start + 1);
        }
        if alone && is_plain_ideograph(first) {
            folded.push(first);
            return Some(start..start + first.len_utf8());
        }
        let mut chars = 1;
        while chars < CLUSTER_CHARS_MAX && self.rest.next_if(|&(_, next)| !begins_cluster(next)).is_some() {
            chars += 1;
        }
        let end = self.rest.peek().map_or(self.text.len(), |&(next, _)| next);
        // Lower case may undo the normal form, so that is made twice.
        let lower = self.text[start..end].nfkc().flat_map(char::to_lowercase);
        folded.extend(lower.nfkc());
        Some(start..end)
    }
}

/// Most of Chinese, quickly.
fn is_plain_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// Whether nothing before this character can merge with it.
fn begins_cluster(c: char) -> bool {
    if c.is_ascii() || is_plain_ideograph(c) {
        return true;
    }
    let mut first = None;
    decompose_compatible(c, |part| {
        first.get_or_insert(part);
    });
    let first = first.unwrap_or(c);
    canonical_combining_class(first) == 0 && is_nfc_quick(std::iter::once(first)) != IsNormalized::Maybe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(query: &str, text: &str) -> Option<Snippet> {
        Words::new(query).and_then(|words| words.find(text, &mut String::new()))
    }

    /// The parts of the snippet that are marked, by UTF-16.
    #[track_caller]
    fn check(query: &str, text: &str, expected: &[&str]) {
        let snippet = find(query, text).unwrap_or_else(|| panic!("{query:?} is not found in {text:?}"));
        assert_eq!(marked(&snippet), expected, "{snippet:?}");
    }

    fn marked(snippet: &Snippet) -> Vec<String> {
        let units: Vec<u16> = snippet.text.encode_utf16().collect();
        let part = |&(start, length): &(u32, u32)| {
            String::from_utf16(&units[start as usize..(start + length) as usize]).unwrap()
        };
        snippet.marks.iter().map(part).collect()
    }

    #[test]
    fn words_are_found_whatever_their_case_width_and_composition() {
        check("whale", "The Whale, the WHALES", &["Whale", "WHALE"]);
        check("抹香鲸", "大王乌贼怕抹香鲸 🐋", &["抹香鲸"]);
        check("🐋 krill", "Krill 🐋🐋 krill", &["Krill", "🐋🐋", "krill"]);
        check("cafe\u{301}", "Un CAFÉ et un cafe\u{301}", &["CAFÉ", "cafe\u{301}"]);
        check("Ａｈａｂ", "captain ahab", &["ahab"]);
        check("fin", "the \u{fb01}n", &["\u{fb01}n"]);
        check("f", "the \u{fb01}n", &["\u{fb01}"]);
        check("가", "\u{1100}\u{1161} 가", &["\u{1100}\u{1161}", "가"]);
        check("ガ", "\u{ff76}\u{ff9e}", &["\u{ff76}\u{ff9e}"]);
        check("İ", "i\u{307}stanbul", &["i\u{307}"]);
        check("deep  deep DEEP", "deep", &["deep"]);
        check("ab bc", "abc", &["abc"]);
    }

    #[test]
    fn every_word_must_occur_and_no_part_of_a_letter_is_one() {
        assert_eq!(find("whale squid", "only whales here"), None);
        assert_eq!(find("e", "\u{e9}"), None);
        assert_eq!(find("cafe", "cafe\u{301}"), None);
        assert_eq!(Words::new(" \n\u{3000}\t"), None);
        assert_eq!(find("a", ""), None);
    }

    #[test]
    fn a_snippet_is_short_on_one_line_and_around_the_first_word() {
        let text = format!("{}\n\twhale\r\n{}", "🐋 ".repeat(500), "深 ".repeat(500));
        let snippet = find("whale", &text).unwrap();
        assert_eq!(marked(&snippet), ["whale"]);
        assert_eq!(snippet.text.chars().count(), SNIPPET_CHARS + 2);
        assert!(snippet.text.starts_with('…') && snippet.text.ends_with('…'));
        assert!(!snippet.text.contains(char::is_control));
        assert_eq!(snippet.marks, [(1 + 19 * 3 + 2, 5)]);
        let short = find("whale", "a whale").unwrap();
        assert_eq!(short, Snippet { text: "a whale".to_owned(), marks: vec![(2, 5)] });
        let many = find("a", &"a b ".repeat(1000)).unwrap();
        assert!(many.marks.len() <= MARKS_MAX);
    }

    #[test]
    fn of_a_large_text_little_is_held() {
        let mut scratch = String::new();
        // Letters that fold to many, and marks without end on one letter.
        for filling in ["a", "\u{fdfa}", "\u{301}"] {
            let text = format!("whale {} whale", filling.repeat(1 << 18));
            let words = Words::new("whale").unwrap();
            let snippet = words.find(&text, &mut scratch).unwrap();
            assert_eq!(snippet.marks[0], (0, 5));
            assert_eq!(matches(&text, &words.0, WINDOW_BYTES, &mut scratch)[0].len(), 2);
            assert!(scratch.capacity() < 4 * WINDOW_BYTES, "{} bytes for {filling:?}", scratch.capacity());
        }
    }

    /// Where words stand in a text, from a list of all its clusters.
    fn slowly(text: &str, words: &[String]) -> Vec<Range<usize>> {
        let (mut folded, mut parts, mut clusters) = (String::new(), Vec::new(), Clusters::of(text));
        let mut at = 0;
        while let Some(cluster) = clusters.next(&mut folded) {
            parts.push((at..folded.len(), cluster));
            at = folded.len();
        }
        let mut found: Vec<Range<usize>> = Vec::new();
        for word in words {
            for (start, word) in folded.match_indices(word.as_str()).take(MARKS_MAX) {
                let end = start + word.len();
                let holds = |part: &&(Range<usize>, Range<usize>)| part.0.start < end && part.0.end > start;
                let first = parts.iter().find(holds).unwrap();
                let last = parts.iter().rfind(holds).unwrap();
                found.push(first.1.start..last.1.end);
            }
        }
        found.sort_unstable_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in found {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }

    proptest! {
        #[test]
        fn windows_change_nothing(
            text in "([abAB ]|\u{fb01}|\u{fdfa}|e\u{301}|\u{1100}\u{1161}|\u{ff76}\u{ff9e}|深|\u{130}){0,200}",
            query in "([abi ]|\u{fb01}|لله|\u{e9}|가|深|aba){1,6}",
            window_bytes in 1..40_usize,
        ) {
            let Some(words) = Words::new(&query) else { return Ok(()) };
            let found = matches(&text, &words.0, window_bytes, &mut String::new());
            let folded = fold(&text);
            for (word, found) in words.0.iter().zip(&found) {
                let expected = folded.match_indices(word.as_str()).take(MARKS_MAX);
                let expected: Vec<_> = expected.map(|(start, word)| start..start + word.len()).collect();
                prop_assert_eq!(found, &expected);
            }
            prop_assert_eq!(origins(&text, found.concat()), slowly(&text, &words.0));
        }

        #[test]
        fn any_text_is_found_in_itself_and_marks_are_in_order(text in "\\PC{0,60}", before in "\\PC{0,60}") {
            let Some(words) = Words::new(&text) else { return Ok(()) };
            let snippet = words.find(&text, &mut String::new()).expect("a text has its own words");
            let units = snippet.text.encode_utf16().count() as u32;
            let mut end = 0;
            for &(start, length) in &snippet.marks {
                prop_assert!(start >= end && length > 0);
                end = start + length;
            }
            prop_assert!(end <= units);
            // With a space between, what stands before changes nothing.
            let longer = format!("{before} {text}");
            prop_assert!(words.find(&longer, &mut String::new()).is_some());
        }
    }
}
