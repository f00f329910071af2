//! Names for accounts of people who come from a provider.

use super::Who;
use crate::accounts::check_name;

/// Room for what tells two of one name apart.
const CHARS_MAX: usize = 56;

/// Names to try in turn, all of which may be one: what the provider calls somebody, then with numbers, then with `tail`.
pub(super) fn candidates(who: &Who, tail: &str) -> impl Iterator<Item = String> {
    let base = who.names.iter().find_map(|name| tidy(name)).unwrap_or_else(|| "user".to_owned());
    let numbered = base.clone();
    let last = format!("{base} {tail}");
    std::iter::once(base).chain((2..20).map(move |number| format!("{numbered} {number}"))).chain([last])
}

/// The part of a name that may be one here.
fn tidy(name: &str) -> Option<String> {
    // What looks like an address gives its first part.
    let name = name.split('@').next().unwrap_or_default();
    let kept: String =
        name.chars().filter(|c| check_name(&format!("a{c}a")).is_ok()).take(CHARS_MAX).collect();
    check_name(&kept).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(names: &[&str]) -> String {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let who = Who { subject: String::new(), email: None, names };
        candidates(&who, "1a2b").next().unwrap()
    }

    #[test]
    fn names_are_made_of_what_the_provider_says() {
        for (names, expected) in [
            (&["ada", "Ada Lovelace"][..], "ada"),
            (&["", "Ada Lovelace"], "Ada Lovelace"),
            (&["ada@example.org"], "ada"),
            (&["@", "抹香鲸"], "抹香鲸"),
            (&["a\u{202e}d\u{0}a\n"], "ada"),
            (&[" x ", "\u{200b}"], "user"),
            (&[], "user"),
        ] {
            assert_eq!(first(names), expected, "{names:?}");
        }
        assert_eq!(first(&["é".repeat(500).as_str()]), "é".repeat(CHARS_MAX));
    }

    #[test]
    fn every_candidate_may_be_a_name_and_no_two_are_the_same() {
        for name in ["ada", "é".repeat(500).as_str(), ""] {
            let who = Who { subject: String::new(), email: None, names: vec![name.to_owned()] };
            let mut all: Vec<_> = candidates(&who, "0123abc").collect();
            assert!(all.iter().all(|name| check_name(name).is_ok_and(|checked| checked == *name)), "{all:?}");
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }
}
