//! Finds strings in a text that comes in pieces.

/// Looks for the first of several strings to be complete in a text that comes in pieces, and holds back text that
/// may still turn out to be the beginning of one. What it finds doesn't depend on how the text is cut.
///
/// Each string has a Knuth-Morris-Pratt automaton over bytes: its state is the length of the longest beginning of
/// the string that the text seen so far ends with. The longest over all strings is what must be held back. It
/// begins with the first byte of a string, so it begins where a character does.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    needles: Vec<Needle>,
    /// Text seen and not released; between pushes, the longest beginning of a string that may still be complete.
    held: String,
}

#[derive(Debug, Clone)]
struct Needle {
    bytes: Vec<u8>,
    /// `fallback[n]`: length of the longest proper beginning of `bytes[..=n]` that it also ends with.
    fallback: Vec<usize>,
    /// Bytes matched so far.
    matched: usize,
}

/// What became of a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Text in which nothing was found, to be passed on.
    pub(crate) released: String,
    /// The string that was found, directly after `released`, and the rest of the text after it.
    pub(crate) hit: Option<Hit>,
}

/// A string that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Its place among the strings that are looked for, empty ones aside.
    pub(crate) needle: usize,
    /// Its length in bytes.
    pub(crate) bytes: usize,
    /// What came after it in the piece.
    pub(crate) rest: String,
}

impl Matcher {
    /// A matcher for these strings; empty ones are never found.
    pub(crate) fn new<'a>(needles: impl IntoIterator<Item = &'a str>) -> Self {
        let needles = needles.into_iter().filter(|needle| !needle.is_empty()).map(Needle::new).collect();
        Self { needles, held: String::new() }
    }

    /// Takes the next piece of text. Of strings that are complete at the same byte the longest is found. After a
    /// hit the matcher starts anew with what is pushed next.
    pub(crate) fn push(&mut self, text: &str) -> Found {
        let before = self.held.len();
        self.held.push_str(text);
        for index in before..self.held.len() {
            let byte = self.held.as_bytes()[index];
            let mut longest = None;
            for (place, needle) in self.needles.iter_mut().enumerate() {
                let bytes = needle.bytes.len();
                if needle.advance(byte) && longest.is_none_or(|(_, longest)| bytes > longest) {
                    longest = Some((place, bytes));
                }
            }
            if let Some((needle, bytes)) = longest {
                return self.hit(index + 1, needle, bytes);
            }
        }
        let hold = self.needles.iter().map(|needle| needle.matched).max().unwrap_or(0);
        let keep = self.held.split_off(self.held.len() - hold);
        Found { released: std::mem::replace(&mut self.held, keep), hit: None }
    }

    /// The text that is held back.
    pub(crate) fn held(&self) -> &str {
        &self.held
    }

    /// Gives back what is held: nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        self.reset();
        std::mem::take(&mut self.held)
    }

    fn hit(&mut self, end: usize, needle: usize, bytes: usize) -> Found {
        self.reset();
        let rest = self.held.split_off(end);
        self.held.truncate(end - bytes);
        Found { released: std::mem::take(&mut self.held), hit: Some(Hit { needle, bytes, rest }) }
    }

    fn reset(&mut self) {
        for needle in &mut self.needles {
            needle.matched = 0;
        }
    }
}

impl Needle {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len()];
        let mut matched = 0;
        for index in 1..bytes.len() {
            while matched > 0 && bytes[matched] != bytes[index] {
                matched = fallback[matched - 1];
            }
            if bytes[matched] == bytes[index] {
                matched += 1;
            }
            fallback[index] = matched;
        }
        Self { bytes, fallback, matched: 0 }
    }

    /// Takes one byte of the text; whether the string is complete with it.
    fn advance(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes `text` in every way of cutting it into pieces of one size, and at every single place.
    #[track_caller]
    fn check(needles: &[&str], text: &str, expected: Option<&str>) {
        let characters: Vec<char> = text.chars().collect();
        let sizes = (1..=characters.len()).map(|size| {
            characters.chunks(size).map(|piece| piece.iter().collect::<String>()).collect::<Vec<_>>()
        });
        let halves = (0..=characters.len()).map(|at| {
            vec![characters[..at].iter().collect::<String>(), characters[at..].iter().collect::<String>()]
        });
        for pieces in sizes.chain(halves) {
            let mut matcher = Matcher::new(needles.iter().copied());
            let mut released = String::new();
            let mut hit = false;
            for piece in &pieces {
                let found = matcher.push(piece);
                released.push_str(&found.released);
                if found.hit.is_some() {
                    hit = true;
                    break;
                }
            }
            if !hit {
                released.push_str(&matcher.finish());
            }
            let outcome = (released.as_str(), hit);
            assert_eq!(outcome, (expected.unwrap_or(text), expected.is_some()), "pieces: {pieces:?}");
        }
    }

    #[test]
    fn finds_strings_however_the_text_is_cut() {
        check(&[], "nothing to find", None);
        check(&["stop"], "go on", None);
        check(&["stop"], "go on sto", None);
        check(&["stop"], "go stop now", Some("go "));
        check(&["stop"], "stop", Some(""));
        check(&["aab"], "aaab", Some("a"));
        check(&["abab", "bc"], "ababc", Some(""));
        check(&["\n\nUser:", "\n\n\n"], "hi\n\nUsher\n\nUser: x", Some("hi\n\nUsher"));
        check(&["é!"], "caf\u{e8}é!", Some("caf\u{e8}"));
        check(&["鲸鱼"], "大鲸，鲸鱼在", Some("大鲸，"));
    }

    #[test]
    fn the_first_to_be_complete_wins_and_the_longest_among_those() {
        check(&["bcd", "abcdef"], "abcdef", Some("a"));
        check(&["abcd", "cd"], "abcd", Some(""));
        check(&["", "x"], "yxz", Some("y"));
    }

    #[test]
    fn text_is_released_as_soon_as_it_can_not_be_a_beginning() {
        let mut matcher = Matcher::new(["</think>"]);
        assert_eq!(matcher.push("a < b").released, "a < b");
        assert_eq!(matcher.push("c </th").released, "c ");
        assert_eq!(matcher.push("e").released, "</the");
        let found = matcher.push("</think>\nyes");
        assert_eq!(
            found,
            Found {
                released: String::new(),
                hit: Some(Hit { needle: 0, bytes: 8, rest: "\nyes".to_owned() })
            }
        );
    }

    #[test]
    fn a_hostile_string_takes_time_in_proportion_to_the_text() {
        // Quadratic matching would compare 1024 bytes for each of a million.
        let needle = format!("{}b", "a".repeat(1023));
        let mut matcher = Matcher::new(std::iter::repeat_n(needle.as_str(), 16));
        let mut released = 0;
        for _ in 0..1000 {
            released += matcher.push(&"a".repeat(1000)).released.len();
        }
        assert_eq!(released + matcher.finish().len(), 1_000_000);
    }
}
