/// Fences a message of several lines.
const FENCE: &str = "\"\"\"";

/// Puts a message together from the lines that a person types. A backslash at its end continues a line; `"""` at the
/// beginning of a message makes all lines up to the next `"""` one message.
#[derive(Debug, Default)]
pub(super) struct Composer {
    text: String,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    /// The last line ended with a backslash.
    Continued,
    /// A fence is open.
    Fenced,
}

impl Composer {
    /// Whether a message was begun and is not complete.
    pub(super) fn is_open(&self) -> bool {
        self.state != State::Empty
    }

    /// Takes a line; gives the message if it is complete with it.
    pub(super) fn push(&mut self, line: &str) -> Option<String> {
        match self.state {
            State::Fenced => self.push_fenced(line),
            State::Empty => match line.trim_start().strip_prefix(FENCE) {
                Some(rest) => {
                    self.state = State::Fenced;
                    self.push_fenced(rest)
                }
                None => self.push_line(line),
            },
            State::Continued => self.push_line(line),
        }
    }

    /// Forgets what was begun.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push_line(&mut self, line: &str) -> Option<String> {
        if let Some(line) = line.strip_suffix('\\') {
            self.text.push_str(line);
            self.text.push('\n');
            self.state = State::Continued;
            return None;
        }
        self.text.push_str(line);
        Some(self.complete())
    }

    fn push_fenced(&mut self, line: &str) -> Option<String> {
        if let Some(line) = line.trim_end().strip_suffix(FENCE) {
            self.text.push_str(line);
            return Some(self.complete().trim_matches('\n').to_owned());
        }
        self.text.push_str(line);
        self.text.push('\n');
        None
    }

    fn complete(&mut self) -> String {
        self.state = State::Empty;
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str], open: bool) {
        let mut composer = Composer::default();
        let messages: Vec<String> = lines.iter().filter_map(|line| composer.push(line)).collect();
        assert_eq!((messages, composer.is_open()), (expected.iter().map(|&m| m.to_owned()).collect(), open));
    }

    #[test]
    fn lines_become_messages() {
        check(&["Hello"], &["Hello"], false);
        check(&["a", "b"], &["a", "b"], false);
        check(&[""], &[""], false);
        check(&["a\\", "b\\", "c"], &["a\nb\nc"], false);
        check(&["a\\"], &[], true);
        check(&["\"\"\"", "a", "", "b \\", "\"\"\""], &["a\n\nb \\"], false);
        check(&["\"\"\"a", "b\"\"\"", "c"], &["a\nb", "c"], false);
        check(&["\"\"\"one line\"\"\""], &["one line"], false);
        check(&["\"\"\"", "/exit"], &[], true);
    }

    #[test]
    fn a_message_can_be_given_up() {
        let mut composer = Composer::default();
        composer.push("\"\"\"a");
        composer.clear();
        assert_eq!(composer.push("b").as_deref(), Some("b"));
    }
}
