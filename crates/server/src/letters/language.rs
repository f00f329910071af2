use axum::http::{HeaderMap, header};

/// A language that letters are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    French,
    Chinese,
}

impl Language {
    /// The one that a browser asks for most (RFC 9110, section 12.5.4); English if it asks for none of ours.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut best = (0.0, Self::English);
        let fields =
            headers.get_all(header::ACCEPT_LANGUAGE).into_iter().filter_map(|field| field.to_str().ok());
        for range in fields.flat_map(|field| field.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            let (Some(language), Ok(weight)) = (Self::named(tag), weight) else { continue };
            if weight <= 1.0 && weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }

    fn named(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        [("en", Self::English), ("fr", Self::French), ("zh", Self::Chinese)]
            .into_iter()
            .find_map(|(name, language)| primary.eq_ignore_ascii_case(name).then_some(language))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_what_the_browser_likes_best() {
        let check = |field: &str, expected| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, field.parse().unwrap())]);
            assert_eq!(Language::of(&headers), expected, "{field}");
        };
        check("fr", Language::French);
        check("zh-Hans-CN,zh;q=0.9,en;q=0.8", Language::Chinese);
        check("de-DE, de;q=0.9, fr-CA;q=0.5, en;q=0.4", Language::French);
        check("en;q=0.3, FR;q=0.4", Language::French);
        check("fr;q=0", Language::English);
        for nonsense in ["", "de", "*", "fr;q=x", "fr;q=NaN", "fr;q=7", ";;,,=q", "french"] {
            check(nonsense, Language::English);
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }
}
