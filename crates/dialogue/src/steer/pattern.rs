//! Regular expressions of JSON Schema, which are ECMA-262's, in the dialect of the `regex` crate, which is llguidance's.
//!
//! What the two read differently would let texts through that the schema forbids: `.`, `\d`, `\w` and `\s` take in more in
//! one than in the other, and flags, POSIX classes, nested classes and `&&` exist in one alone. Whatever is translated
//! means at most what it means in ECMA-262 (<https://tc39.es/ecma262/#sec-patterns>, with the flag `u` but lenient about
//! escaped punctuation). Look-around and other things that no grammar holds to are left to llguidance to refuse.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// ECMA-262's `.`.
const DOT: &str = r"[^\n\r\x{2028}\x{2029}]";
/// What ECMA-262's `\d`, `\w` and `\s` take in. Unicode's have more digits and letters, U+0085, and not the byte order
/// mark.
const DIGITS: &str = "0-9";
const WORDS: &str = "0-9A-Za-z_";
const SPACES: &str =
    r"\t\n\x0B\f\r \xA0\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";

/// The same expression, or one that matches less.
///
/// # Errors
/// What ECMA-262 has not, or what is not translated.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator { rest: pattern.chars().peekable(), out: String::new() };
    while let Some(letter) = translator.rest.next() {
        translator.item(letter)?;
    }
    Ok(translator.out)
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

/// What may stand in a class.
enum Member {
    Letter(char),
    /// A class of its own, as it is written.
    Class(String),
}

impl Translator<'_> {
    fn item(&mut self, letter: char) -> Result<(), String> {
        match letter {
            '.' => self.out.push_str(DOT),
            '[' => self.class()?,
            '(' => self.group()?,
            '\\' => match self.escape()? {
                Member::Letter(letter) => push_literal(&mut self.out, letter),
                Member::Class(class) => self.out.push_str(&class),
            },
            letter => self.out.push(letter),
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_some() {
            match self.rest.peek() {
                Some(':' | '=' | '!' | '<') => self.out.push('?'),
                Some(letter) => return Err(format!("\"(?{letter}\"")),
                None => return Err("\"(?\"".to_owned()),
            }
        }
        Ok(())
    }

    /// Behind the opening bracket.
    fn class(&mut self) -> Result<(), String> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        if self.rest.next_if_eq(&']').is_some() {
            if negated {
                self.out.push_str("(?s:.)");
                return Ok(());
            }
            return Err("an empty class".to_owned());
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        loop {
            let low = self.member()?;
            let Some(low) = low else { break };
            if self.is_range() {
                self.rest.next();
                let high = self.member()?.ok_or("a class without end")?;
                match (&low, &high) {
                    (Member::Letter(low), Member::Letter(high)) => {
                        push_literal(&mut self.out, *low);
                        self.out.push('-');
                        push_literal(&mut self.out, *high);
                    }
                    _ => return Err("a range that begins or ends with a class".to_owned()),
                }
                continue;
            }
            match low {
                Member::Letter(letter) => push_literal(&mut self.out, letter),
                Member::Class(class) => self.out.push_str(&class),
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// Whether a hyphen follows that does not end the class.
    fn is_range(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next() == Some('-') && ahead.next().is_some_and(|letter| letter != ']')
    }

    /// The next member of a class; none at its end.
    fn member(&mut self) -> Result<Option<Member>, String> {
        Ok(Some(match self.rest.next().ok_or("a class without end")? {
            ']' => return Ok(None),
            '\\' if self.rest.next_if_eq(&'b').is_some() => Member::Letter('\u{8}'),
            '\\' if self.rest.next_if_eq(&'B').is_some() => return Err("\"\\B\" in a class".to_owned()),
            '\\' => self.escape()?,
            letter => Member::Letter(letter),
        }))
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<Member, String> {
        let letter = self.rest.next().ok_or("a backslash at its end")?;
        let letter = match letter {
            'd' => return Ok(Member::Class(format!("[{DIGITS}]"))),
            'D' => return Ok(Member::Class(format!("[^{DIGITS}]"))),
            'w' => return Ok(Member::Class(format!("[{WORDS}]"))),
            'W' => return Ok(Member::Class(format!("[^{WORDS}]"))),
            's' => return Ok(Member::Class(format!("[{SPACES}]"))),
            'S' => return Ok(Member::Class(format!("[^{SPACES}]"))),
            // No class, but it stands by itself too.
            'b' | 'B' => return Ok(Member::Class(format!("\\{letter}"))),
            'p' | 'P' => return self.property(letter),
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' if !self.rest.peek().is_some_and(char::is_ascii_digit) => '\0',
            'c' => match self.rest.next() {
                Some(control) if control.is_ascii_alphabetic() => char::from(control as u8 % 32),
                _ => return Err("\"\\c\" without a letter".to_owned()),
            },
            'x' => self.hexadecimal(2).and_then(char::from_u32).ok_or("\"\\x\" without two digits")?,
            'u' => self.unicode()?,
            letter if letter.is_ascii_alphanumeric() => return Err(format!("\"\\{letter}\"")),
            letter => letter,
        };
        Ok(Member::Letter(letter))
    }

    fn property(&mut self, letter: char) -> Result<Member, String> {
        let mut class = format!("\\{letter}");
        for letter in self.rest.by_ref() {
            class.push(letter);
            if letter == '}' {
                return Ok(Member::Class(class));
            }
        }
        Err(format!("\"{class}\""))
    }

    fn unicode(&mut self) -> Result<char, String> {
        let refused = || "\"\\u\" without a character's number".to_owned();
        if self.rest.next_if_eq(&'{').is_some() {
            let digits: String = self.rest.by_ref().take_while(|&letter| letter != '}').collect();
            return u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).ok_or_else(refused);
        }
        let first = self.hexadecimal(4).ok_or_else(refused)?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first).ok_or_else(refused);
        }
        // The second half of a character beyond the first plane.
        let second = (self.rest.next() == Some('\\') && self.rest.next() == Some('u'))
            .then(|| self.hexadecimal(4))
            .flatten()
            .filter(|second| (0xDC00..0xE000).contains(second))
            .ok_or_else(refused)?;
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or_else(refused)
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<u32> {
        (0..digits).try_fold(0, |number, _| Some(number * 16 + self.rest.next()?.to_digit(16)?))
    }
}

fn push_literal(out: &mut String, letter: char) {
    if letter.is_alphanumeric() {
        out.push(letter);
    } else {
        // Writing to a String can't fail.
        let _ = write!(out, "\\x{{{:X}}}", u32::from(letter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: &str) {
        assert_eq!(translate(pattern).as_deref(), Ok(expected), "{pattern}");
    }

    #[track_caller]
    fn check_refused(pattern: &str, reason: &str) {
        let refused = translate(pattern).expect_err(pattern);
        assert!(refused.contains(reason), "{pattern}: {refused}");
    }

    #[test]
    fn what_is_read_alike_stays() {
        for pattern in
            ["^[a-z]+$", "(?:a|b){2,3}?", r"a\b\Bc", "(?=a)b", "(?<name>a)", "é", r"\p{L}", "a b#c/d"]
        {
            check(pattern, pattern);
        }
    }

    #[test]
    fn what_is_read_differently_is_translated() {
        check(".", r"[^\n\r\x{2028}\x{2029}]");
        check(r"\.", r"\x{2E}");
        check(r"\d\D\w\W[\d-][^\D]", r"[0-9][^0-9][0-9A-Za-z_][^0-9A-Za-z_][[0-9]\x{2D}][^[^0-9]]");
        check(r"\s[^\S]", &format!("[{SPACES}][^[^{SPACES}]]"));
        check(r"[[:alpha:]]", r"[\x{5B}\x{3A}alpha\x{3A}]]");
        check("[a&&b]", r"[a\x{26}\x{26}b]");
        check("[+--]", r"[\x{2B}-\x{2D}]");
        check("[a-]", r"[a\x{2D}]");
        check("[a-c-e]", r"[a-c\x{2D}e]");
        check("[^]", "(?s:.)");
        check(r"[\b]", r"[\x{8}]");
        check(
            r"\cA\cz\0\x41\u0042\u{1F432}\uD83D\uDC32\/\-\_",
            r"\x{1}\x{1A}\x{0}AB\x{1F432}\x{1F432}\x{2F}\x{2D}\x{5F}",
        );
    }

    #[test]
    fn what_ecma_has_not_is_refused() {
        for (pattern, reason) in [
            ("(?i)a", "(?i"),
            ("(?P<a>b)", "(?P"),
            ("(?", "(?"),
            (r"\Aa\z", r"\A"),
            (r"(a)\1", r"\1"),
            (r"\k<a>", r"\k"),
            (r"\07", r"\0"),
            (r"\c1", r"\c"),
            (r"\x4", r"\x"),
            (r"\uD83D", r"\u"),
            (r"\uD83Dx", r"\u"),
            (r"\u{110000}", r"\u"),
            (r"\p{L", r"\p"),
            ("[]", "an empty class"),
            ("[a", "without end"),
            (r"[a-\d]", "a range"),
            (r"[\B]", r"\B"),
            ("\\", "a backslash"),
        ] {
            check_refused(pattern, reason);
        }
    }
}
