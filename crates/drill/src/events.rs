//! Server-sent events as they come in, in pieces of any size.

/// Bytes of one event; what is longer is no server of ours.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Empty for one without a name.
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Takes events out of a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    held: Vec<u8>,
}

impl Parser {
    /// Takes the next piece; false when an event is longer than any of ours.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        self.held.extend_from_slice(bytes);
        self.held.len() <= EVENT_BYTES_MAX
    }

    /// The next event that is whole. Comments are passed over.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.held.windows(2).position(|pair| pair == b"\n\n")?;
            let text = String::from_utf8_lossy(&self.held[..end]).into_owned();
            self.held.drain(..end + 2);
            let field = |name: &str| {
                let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>()
            };
            let (name, data) = (field("event").concat(), field("data"));
            if !data.is_empty() {
                return Some(Event { name, data: data.join("\n") });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_pieces_end() {
        let text = b": keep-alive\n\nevent: delta\ndata: {\"a\":1}\n\ndata: x\ndata: y\n\ndata: cut";
        let expected = [("delta", "{\"a\":1}"), ("", "x\ny")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                assert!(parser.push(piece));
                found.extend(std::iter::from_fn(|| parser.next()));
            }
            let found: Vec<_> =
                found.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_noticed() {
        assert!(!Parser::default().push(&vec![b'a'; EVENT_BYTES_MAX + 1]));
    }
}
