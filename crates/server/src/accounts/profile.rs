//! Names and email addresses: what may be one.

use std::ops::RangeInclusive;

use crate::error::ApiError;

const NAME_CHARS: RangeInclusive<usize> = 2..=64;
const PASSKEY_NAME_CHARS: RangeInclusive<usize> = 1..=64;
/// RFC 5321's longest path, without its angle brackets.
const EMAIL_BYTES_MAX: usize = 254;

/// The name without the space around it.
pub(crate) fn check_name(given: &str) -> Result<String, ApiError> {
    let name = check_any_name(given, &NAME_CHARS)?;
    if name.contains('@') {
        return Err(ApiError::invalid(
            "name",
            "name must not contain @, so that it is not taken for an address",
        ));
    }
    Ok(name)
}

/// What somebody calls a passkey, without the space around it.
pub(crate) fn check_passkey_name(given: &str) -> Result<String, ApiError> {
    check_any_name(given, &PASSKEY_NAME_CHARS)
}

/// What somebody calls a key, without the space around it.
pub(crate) fn check_key_name(given: &str) -> Result<String, ApiError> {
    check_any_name(given, &PASSKEY_NAME_CHARS)
}

fn check_any_name(given: &str, allowed: &RangeInclusive<usize>) -> Result<String, ApiError> {
    let name = given.trim();
    let chars = name.chars().count();
    if !allowed.contains(&chars) {
        let (least, most) = (allowed.start(), allowed.end());
        let message = format!("name must have between {least} and {most} characters, this one has {chars}");
        return Err(ApiError::invalid("name", message));
    }
    if name.chars().any(is_invisible) {
        return Err(ApiError::invalid("name", "name must not contain control characters or invisible ones"));
    }
    Ok(name.to_owned())
}

/// Characters that make two names look alike or write over what stands beside them: controls, zero-width ones, marks
/// of direction.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Characters that are another's letter when their case changes, such as the Kelvin sign, which becomes a `k`: an
/// address with one would be taken for that of somebody else.
fn passes_for_ascii(c: char) -> bool {
    let mut upper = c.to_uppercase();
    let upper_is_one = upper.len() == 1 && upper.all(|c| c.is_ascii());
    !c.is_ascii() && (upper_is_one || c.to_lowercase().any(|c| c.is_ascii()))
}

/// The email address, if any is given. Whether it reaches anybody only a letter to it can tell.
pub(crate) fn check_email(given: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(email) = given.map(str::trim).filter(|email| !email.is_empty()) else { return Ok(None) };
    let good = email.len() <= EMAIL_BYTES_MAX
        && email.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !local.contains('@')
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                // Other names of domains have a form in ASCII, in which mail servers know them.
                && domain.is_ascii()
        })
        && !email.chars().any(|c| {
            passes_for_ascii(c)
                || c.is_whitespace()
                || is_invisible(c)
                || matches!(c, '<' | '>' | ',' | ';' | '"')
        });
    if !good {
        let message = format!(
            "email must be one address such as name@example.org, at most {EMAIL_BYTES_MAX} bytes long"
        );
        return Err(ApiError::invalid("email", message));
    }
    Ok(Some(email.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(check_name(given).ok().as_deref(), expected, "{given:?}");
        };
        check("Ada", Some("Ada"));
        check("  抹香鲸 ", Some("抹香鲸"));
        check("Ada Lovelace", Some("Ada Lovelace"));
        check(&"é".repeat(64), Some(&"é".repeat(64)));
        for bad in ["", " ", "A", "a@b", "a\u{0}b", "a\nb", "ad\u{200b}a", "\u{202e}ada", &"é".repeat(65)] {
            check(bad, None);
        }
    }

    #[test]
    fn names_of_passkeys() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(check_passkey_name(given).ok().as_deref(), expected, "{given:?}");
        };
        check(" my phone @ home ", Some("my phone @ home"));
        check(&"鲸".repeat(64), Some(&"鲸".repeat(64)));
        for bad in ["", " ", "a\nb", "\u{202e}ada", &"é".repeat(65)] {
            check(bad, None);
        }
    }

    #[test]
    fn addresses() {
        let check = |given: &str, expected: Option<Option<&str>>| {
            let found = check_email(Some(given)).ok();
            assert_eq!(found.as_ref().map(Option::as_deref), expected, "{given:?}");
        };
        check("", Some(None));
        check(" ada@example.org ", Some(Some("ada@example.org")));
        check("a+b@ex-ample.co.uk", Some(Some("a+b@ex-ample.co.uk")));
        check("josé@example.org", Some(Some("josé@example.org")));
        check("groß@xn--bcher-kva.example", Some(Some("groß@xn--bcher-kva.example")));
        for bad in [
            "ada",
            "@example.org",
            "ada@",
            "ada@example",
            "ada@.org",
            "ada@org.",
            "a b@example.org",
            "a@b@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "a@example.org,b@example.org",
            "<a@example.org>",
            "ada@bücher.example",
            "ada@\u{212a}ey.example",
            "\u{212a}ey@example.org",
            "\u{17f}am@example.org",
            "\u{130}da@example.org",
            "\u{131}da@example.org",
        ] {
            check(bad, None);
        }
        assert_eq!(check_email(None).unwrap(), None);
    }
}
