//! Small changes to the text of a template before it is parsed.

/// Brings every end of line to `\n`, as jinja2 does.
pub(super) fn with_plain_newlines(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
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
    fn generation_tags_become_scopes() {
        assert_eq!(
            without_generation_tags(
                "a{%- generation -%}b{% endgeneration %}{% generations %}{%+ set generation=1 %}"
            ),
            "a{%- with -%}b{% endwith %}{% generations %}{%+ set generation=1 %}"
        );
    }
}
