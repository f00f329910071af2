use std::io::{self, Write};

use dialogue::Part;

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Style {
    /// Set reasoning apart by dimming it.
    pub(super) dim: bool,
    /// The content goes to a terminal: control characters that a model writes are shown, not obeyed.
    pub(super) content_terminal: bool,
    /// The same for the reasoning.
    pub(super) reasoning_terminal: bool,
}

/// Prints an answer as it comes: the content to one place, the reasoning to another or to the same.
pub(super) struct Printer<'a> {
    content: &'a mut dyn Write,
    /// None: where the content goes, before it.
    reasoning: Option<&'a mut dyn Write>,
    style: Style,
    part: Option<Part>,
    /// The last character was a line end; true before the first.
    line_start: bool,
}

impl<'a> Printer<'a> {
    /// A printer to one place.
    pub(super) fn together(out: &'a mut dyn Write, style: Style) -> Self {
        Self { content: out, reasoning: None, style, part: None, line_start: true }
    }

    /// A printer that keeps the reasoning out of the content.
    pub(super) fn apart(content: &'a mut dyn Write, reasoning: &'a mut dyn Write, style: Style) -> Self {
        Self { content, reasoning: Some(reasoning), style, part: None, line_start: true }
    }

    /// Prints a piece.
    pub(super) fn print(&mut self, part: Part, text: &str) -> io::Result<()> {
        if self.part != Some(part) {
            self.leave_part()?;
            self.enter_part(part)?;
        }
        let terminal = match part {
            Part::Content => self.style.content_terminal,
            Part::Reasoning => self.style.reasoning_terminal,
        };
        let shown = if terminal { visible(text) } else { text.to_owned() };
        if let Some(last) = shown.chars().next_back() {
            self.line_start = last == '\n';
        }
        let out = self.out();
        out.write_all(shown.as_bytes())?;
        out.flush()
    }

    /// Ends the last line.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.leave_part()
    }

    fn enter_part(&mut self, part: Part) -> io::Result<()> {
        let after_reasoning = self.part == Some(Part::Reasoning);
        self.part = Some(part);
        self.line_start = true;
        if part == Part::Reasoning {
            let opening = if self.style.dim { "\x1b[2m" } else { "[thinking]\n" };
            return self.out().write_all(opening.as_bytes());
        }
        if after_reasoning && self.reasoning.is_none() {
            self.content.write_all(b"\n")?;
        }
        Ok(())
    }

    fn leave_part(&mut self) -> io::Result<()> {
        let Some(part) = self.part else { return Ok(()) };
        let line_end = if self.line_start { "" } else { "\n" };
        let closing = match part {
            Part::Reasoning if self.style.dim => "\x1b[0m",
            Part::Reasoning => "[/thinking]\n",
            Part::Content => "",
        };
        self.line_start = true;
        let out = self.out();
        out.write_all(line_end.as_bytes())?;
        out.write_all(closing.as_bytes())?;
        out.flush()
    }

    fn out(&mut self) -> &mut dyn Write {
        match (&mut self.reasoning, self.part) {
            (Some(reasoning), Some(Part::Reasoning)) => *reasoning,
            _ => self.content,
        }
    }
}

/// The text with control characters replaced, except for line ends and tabs.
fn visible(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\t' => character,
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: Style = Style { dim: true, content_terminal: true, reasoning_terminal: true };

    #[track_caller]
    fn check(style: Style, pieces: &[(Part, &str)], expected: &str) {
        let mut out = Vec::new();
        let mut printer = Printer::together(&mut out, style);
        for (part, text) in pieces {
            printer.print(*part, text).unwrap();
        }
        printer.end().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_answer_ends_with_one_line_end() {
        check(DIM, &[(Part::Content, "Hel"), (Part::Content, "lo")], "Hello\n");
        check(DIM, &[(Part::Content, "Hello\n")], "Hello\n");
        check(DIM, &[], "");
    }

    #[test]
    fn reasoning_is_set_apart() {
        let pieces = [(Part::Reasoning, "hm"), (Part::Reasoning, ", so\n"), (Part::Content, "Yes.")];
        check(DIM, &pieces, "\x1b[2mhm, so\n\x1b[0m\nYes.\n");
        check(Style::default(), &pieces, "[thinking]\nhm, so\n[/thinking]\n\nYes.\n");
        check(DIM, &[(Part::Reasoning, "hm")], "\x1b[2mhm\n\x1b[0m");
    }

    #[test]
    fn a_terminal_is_not_given_control_characters() {
        let said = "a\x1b]0;owned\x07\tb\u{9b}1m\r\n";
        check(DIM, &[(Part::Content, said)], "a\u{fffd}]0;owned\u{fffd}\tb\u{fffd}1m\u{fffd}\n");
        check(Style::default(), &[(Part::Content, said)], said);
    }

    #[test]
    fn each_stream_is_a_terminal_or_not() {
        for (content_terminal, reasoning_terminal) in [(false, true), (true, false)] {
            let (mut content, mut reasoning) = (Vec::new(), Vec::new());
            let style = Style { dim: false, content_terminal, reasoning_terminal };
            let mut printer = Printer::apart(&mut content, &mut reasoning, style);
            printer.print(Part::Reasoning, "a\x1b[2J").unwrap();
            printer.print(Part::Content, "b\x1b[2J").unwrap();
            assert_eq!(content.contains(&0x1b), !content_terminal);
            assert_eq!(reasoning.contains(&0x1b), !reasoning_terminal);
        }
    }

    #[test]
    fn reasoning_can_go_elsewhere() {
        let (mut content, mut reasoning) = (Vec::new(), Vec::new());
        let mut printer = Printer::apart(&mut content, &mut reasoning, Style::default());
        printer.print(Part::Reasoning, "hm").unwrap();
        printer.print(Part::Content, "Yes.").unwrap();
        printer.end().unwrap();
        assert_eq!(content, b"Yes.\n");
        assert_eq!(reasoning, b"[thinking]\nhm\n[/thinking]\n");
    }
}
