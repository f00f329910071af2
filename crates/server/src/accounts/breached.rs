//! The passwords that breaches hold most often, bundled. `data/breached_passwords.py` made the list and says from what.

/// Lines in the order of their bytes, in lower case, each of at least [`super::password::CHARS_MIN`] characters.
const LIST: &[u8] = include_bytes!("../../data/breached_passwords.txt");

/// Whether a password is in the list, however its letters are cased.
pub(super) fn is_breached(password: &str) -> bool {
    contains(LIST, password.to_lowercase().as_bytes())
}

/// Searches by halves: `low` and `high` always stand at the beginning of a line or at the end of the list.
fn contains(list: &[u8], wanted: &[u8]) -> bool {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = list[low..middle].iter().rposition(|&byte| byte == b'\n').map_or(low, |at| low + at + 1);
        let end = list[start..].iter().position(|&byte| byte == b'\n').map_or(list.len(), |at| start + at);
        match list[start..end].cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = (end + 1).min(list.len()),
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::password::CHARS_MIN;
    use super::*;

    #[test]
    fn the_list_is_what_it_says_and_every_line_is_found() {
        let text = std::str::from_utf8(LIST).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 10_000 && LIST.len() < 200_000, "{} lines", lines.len());
        assert!(lines.is_sorted_by(|a, b| a < b));
        for line in &lines {
            assert!(line.chars().count() >= CHARS_MIN && *line == line.to_lowercase(), "{line:?}");
            assert!(is_breached(line) && is_breached(&line.to_uppercase().to_lowercase()), "{line:?}");
        }
    }

    #[test]
    fn nothing_else_is_found() {
        for fine in [
            "",
            "\n",
            "krill at four hundred fathoms",
            "passwords-of-whales",
            "password\n",
            "zzzzzzzzzzzzzzzzzz",
            "!",
        ] {
            assert!(!is_breached(fine), "{fine:?}");
        }
        assert!(!contains(b"", b"a") && !contains(b"\n", b"a"));
        for list in [&b"a\nbb\nc\n"[..], b"a\nbb\nc"] {
            for wanted in ["a", "bb", "c"] {
                assert!(contains(list, wanted.as_bytes()), "{wanted}");
            }
            for wanted in ["0", "ab", "b", "bbb", "d"] {
                assert!(!contains(list, wanted.as_bytes()), "{wanted}");
            }
        }
    }
}
