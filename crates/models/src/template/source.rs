//! Looks at the text of a template, without running it: which strings it writes, and which it looks for in messages.

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text outside of tags.
    Raw(String),
    /// A string constant inside a tag.
    Constant {
        /// Its value, escapes resolved.
        text: String,
        /// Whether the template compares or searches with it, by what stands around it.
        sought: bool,
    },
}

/// What stands before a constant that is searched for: `content.split('</think>')`.
const SEARCHES: [&str; 14] = [
    "split(",
    "partition(",
    "startswith(",
    "endswith(",
    "removeprefix(",
    "removesuffix(",
    "replace(",
    "find(",
    "index(",
    "count(",
    "strip(",
    "trim(",
    "==",
    "!=",
];

/// All pieces, in order. This is no parser: of a template that does not follow the syntax it gives something.
pub(super) fn pieces(source: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find('{') {
        let (raw, tag) = rest.split_at(open);
        let close = match tag.as_bytes().get(1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                push_raw(&mut pieces, &rest[..=open]);
                rest = &tag[1..];
                continue;
            }
        };
        push_raw(&mut pieces, raw);
        rest = if close == "#}" {
            tag[2..].find(close).map_or("", |end| &tag[2 + end + 2..])
        } else {
            scan_tag(&tag[2..], close, &mut pieces)
        };
    }
    push_raw(&mut pieces, rest);
    pieces
}

fn push_raw(pieces: &mut Vec<Piece>, raw: &str) {
    if !raw.is_empty() {
        pieces.push(Piece::Raw(raw.to_owned()));
    }
}

/// Takes the constants of one tag; gives what follows the tag.
fn scan_tag<'s>(tag: &'s str, close: &str, pieces: &mut Vec<Piece>) -> &'s str {
    let mut at = 0;
    while let Some(character) = tag[at..].chars().next() {
        if tag[at..].starts_with(close) {
            return &tag[at + close.len()..];
        }
        if !matches!(character, '\'' | '"') {
            at += character.len_utf8();
            continue;
        }
        let (text, length) = constant(&tag[at + 1..], character);
        let before = tag[..at].trim_end();
        let after = tag[at + 1 + length..].trim_start();
        let sought = SEARCHES.iter().any(|search| before.ends_with(search))
            || ["==", "!=", "in ", "not in "].iter().any(|search| after.starts_with(search));
        pieces.push(Piece::Constant { text, sought });
        at += 1 + length;
    }
    ""
}

/// The value of a constant after its opening quote, and its length with the closing one.
fn constant(text: &str, quote: char) -> (String, usize) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return (value, at + 1);
        }
        if character != '\\' {
            value.push(character);
            continue;
        }
        match characters.next() {
            Some((_, 'n')) => value.push('\n'),
            Some((_, 't')) => value.push('\t'),
            Some((_, 'r')) => value.push('\r'),
            Some((_, other)) => value.push(other),
            None => {}
        }
    }
    (value, text.len())
}

/// Turns `{% generation %}` blocks, which the transformers library knows and minijinja does not, into `{% with %}`:
/// both write their body in a scope of its own.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open + 2);
        out.push_str(before);
        rest = tag;
        let inside = tag.trim_start_matches(['-', '+']).trim_start();
        let (name, replacement) = if inside.starts_with("endgeneration") {
            ("endgeneration", "endwith")
        } else {
            ("generation", "with")
        };
        let Some(after) = inside.strip_prefix(name) else { continue };
        if !after.trim_start().trim_start_matches(['-', '+']).starts_with("%}") {
            continue;
        }
        out.push_str(&tag[..tag.len() - inside.len()]);
        out.push_str(replacement);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_template() {
        let found = pieces("a{{ 'b\\n' + x }}{%- if '</t>' in c %}{# 'no' #}{{ c.split(\"/\")[-1] }}{d");
        let constant = |text: &str, sought| Piece::Constant { text: text.to_owned(), sought };
        let raw = |text: &str| Piece::Raw(text.to_owned());
        assert_eq!(
            found,
            [raw("a"), constant("b\n", false), constant("</t>", true), constant("/", true), raw("{"), raw("d")]
        );
    }

    #[test]
    fn broken_templates_give_something() {
        for source in ["{{ 'a", "{% \"\\", "{#", "{", "{{", "é{{'é", "%}{{}}"] {
            let _ = pieces(source);
        }
    }

    #[test]
    fn generation_tags_become_scopes() {
        assert_eq!(
            without_generation_tags("a{%- generation -%}b{% endgeneration %}{% generations %}{%+ set generation=1 %}"),
            "a{%- with -%}b{% endwith %}{% generations %}{%+ set generation=1 %}"
        );
    }
}
