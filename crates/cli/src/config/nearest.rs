/// The name that was probably meant: the same word elsewhere, or the one with the fewest letters to change, if they are
/// few.
pub(crate) fn nearest(given: &str, names: &[String]) -> Option<String> {
    let word = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    // Whoever gives a text of thousands of letters has not mistyped a name of ours.
    if given.len() > 64 {
        return None;
    }
    let given = given.to_lowercase().replace('-', "_");
    if let Some(elsewhere) = names.iter().find(|name| word(name) == word(&given)) {
        return Some(elsewhere.clone());
    }
    let far = (given.chars().count() / 3).clamp(1, 3);
    let (name, changes) =
        names.iter().map(|name| (name, changes(&given, name))).min_by_key(|(_, changes)| *changes)?;
    (changes <= far).then(|| name.clone())
}

/// Letters to insert, remove or replace, or neighbours to exchange, that make one of the other (the optimal string
/// alignment distance).
pub(crate) fn changes(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    // Rows of the table of distances of prefixes: the one before the last, the last, and the one being made.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut fewest = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                fewest = fewest.min(before[j - 1] + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant() {
        let names = ["listen", "public_url", "mail.server", "mail.port", "tls.acme"].map(str::to_owned);
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(nearest(given, &names).as_deref(), expected, "{given}");
        };
        check("lsiten", Some("listen"));
        check("Listen", Some("listen"));
        check("public-url", Some("public_url"));
        check("public_ulr", Some("public_url"));
        check("mail.prot", Some("mail.port"));
        check("mali.server", Some("mail.server"));
        check("log.port", Some("mail.port"));
        check("acme", Some("tls.acme"));
        check("flukes", None);
        check(&"listen".repeat(1000), None);
    }

    #[test]
    fn changes_are_counted() {
        for (one, other, expected) in
            [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3), ("a", "a", 0)]
        {
            assert_eq!(changes(one, other), expected, "{one} {other}");
            assert_eq!(changes(other, one), expected, "{other} {one}");
        }
    }
}
