//! Finding words in texts whatever their case, width and composition: both are folded (NFKC, lower case) and compared.
//!
//! A text is folded one cluster at a time: a character that nothing before it can merge with, and all that merge with it
//! (Unicode Standard Annex 15, stable code points). So it is known from which bytes of the text each folded byte came.

use std::ops::Range;
use std::sync::Arc;

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

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
        let mut folded = String::new();
        fold(text, &mut folded, |_, _| {});
        let mut words: Vec<String> = folded.split_whitespace().map(str::to_owned).collect();
        words.sort_unstable();
        words.dedup();
        if words.is_empty() { None } else { Some(Self(words.into())) }
    }

    /// Where the words are in a text in which every one of them occurs; `None` if one does not. `scratch` is to be used
    /// again.
    pub(crate) fn find(&self, text: &str, scratch: &mut String) -> Option<Snippet> {
        scratch.clear();
        fold(text, scratch, |_, _| {});
        let all = self.0.iter().all(|word| scratch.contains(word.as_str()));
        all.then(|| Snippet::of(text, &self.0))
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
    /// All words are known to occur.
    fn of(text: &str, words: &[String]) -> Self {
        let found = occurrences(text, words);
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
        for range in found.into_iter().take_while(|range| range.end <= end).take(MARKS_MAX) {
            at_units += units(&text[at..range.start]);
            let length = units(&text[range.clone()]);
            snippet.marks.push((at_units as u32, length as u32));
            at_units += length;
            at = range.end;
        }
        snippet
    }
}

/// Where words stand in a text, in bytes, in order; what overlaps or touches is one.
fn occurrences(text: &str, words: &[String]) -> Vec<Range<usize>> {
    let mut folded = String::new();
    // Where each cluster begins, folded and in the text; and where all ends.
    let mut clusters = Vec::new();
    fold(text, &mut folded, |folded_at, text_at| clusters.push((folded_at, text_at)));
    clusters.push((folded.len(), text.len()));
    // The start of the cluster that holds a folded byte, and the end of the one that holds the byte before another.
    let start_of = |at: usize| clusters[clusters.partition_point(|cluster| cluster.0 <= at).max(1) - 1].1;
    let end_of = |at: usize| clusters[clusters.partition_point(|cluster| cluster.0 < at)].1;
    let mut found: Vec<Range<usize>> = Vec::new();
    for word in words {
        let ranges = folded.match_indices(word.as_str()).take(MARKS_MAX);
        found.extend(ranges.map(|(at, _)| start_of(at)..end_of(at + word.len())));
    }
    found.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Appends the folded text, and says where each cluster begins, in what is appended and in the text.
fn fold(text: &str, folded: &mut String, mut begin: impl FnMut(usize, usize)) {
    let mut rest = text.char_indices().peekable();
    while let Some((at, first)) = rest.next() {
        begin(folded.len(), at);
        let alone = rest.peek().is_none_or(|&(_, next)| begins_cluster(next));
        if alone && first.is_ascii() {
            folded.push(first.to_ascii_lowercase());
        } else if alone && is_plain_ideograph(first) {
            folded.push(first);
        } else {
            while rest.next_if(|&(_, next)| !begins_cluster(next)).is_some() {}
            let end = rest.peek().map_or(text.len(), |&(next, _)| next);
            // Lower case may undo the normal form, so that is made twice.
            let lower = text[at..end].nfkc().flat_map(char::to_lowercase);
            folded.extend(lower.nfkc());
        }
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

    proptest! {
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
