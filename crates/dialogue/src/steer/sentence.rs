//! Where a thought may be ended.

/// Whether a sentence, or a line, ends with this text.
pub(super) fn ends(text: &str) -> bool {
    if text.ends_with(['\n', '\r']) {
        return true;
    }
    let text = text.trim_end_matches([' ', '"', '\'', '”', '’', ')', '»', '」', '』', '*', '_']);
    let mut backwards = text.chars().rev();
    match backwards.next() {
        // A full stop behind a digit may be a decimal point.
        Some('.') => !backwards.next().is_some_and(|before| before.is_ascii_digit()),
        Some('!' | '?' | '…' | '。' | '！' | '？' | '．' | '؟' | '।') => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_and_lines_end() {
        for text in [
            "So.",
            "So!",
            "So?",
            "因此。",
            "真的吗？",
            "a line\n",
            "\"So.\"",
            "(So.)",
            "So. ",
            "So...",
            "**So.**",
        ] {
            assert!(ends(text), "{text:?}");
        }
        for text in ["", " ", "So", "So,", "3.", "x = 2", "因此，", "\""] {
            assert!(!ends(text), "{text:?}");
        }
    }
}
