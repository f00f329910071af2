use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long somebody may stay at the provider.
pub(crate) const LIFETIME: Duration = Duration::from_mins(10);

/// What a browser keeps, sealed, while it is at the provider. It is a challenge: good once.
#[derive(Serialize, Deserialize)]
pub(crate) struct Journey {
    pub(crate) provider: String,
    pub(crate) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Where it goes from here.
    pub(crate) next: String,
    /// The session in which somebody wants to link the account, if it is that.
    pub(crate) link: Option<[u8; 16]>,
    /// The place in the waiting list that they hold.
    #[serde(default)]
    pub(crate) place: Option<u64>,
}

/// Longest address of a page of ours that is gone on to.
const PATH_BYTES_MAX: usize = 1024;

/// Whether a text is a path of this server, and can't be taken for the address of another by any browser: these read
/// `\` as `/`, pass over control characters, and take `//host` for a host.
pub(crate) fn is_own_path(text: &str) -> bool {
    text.len() <= PATH_BYTES_MAX
        && text.starts_with('/')
        && !text[1..].starts_with(['/', '\\'])
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn a_path_of_ours_leads_nowhere_else() {
        for path in ["/", "/account", "/c/0123?q=1&b=%2F#x", "/a//b", "/@evil.example", "/.evil.example"] {
            assert!(is_own_path(path), "{path}");
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for other in [
            "",
            "account",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a\r\nSet-Cookie: b=c",
            "\t//evil.example",
            " /account",
            "/a b",
            "/a\\b",
            "/é",
            "?q",
            "#x",
            ".evil.example",
            "@evil.example",
            long.as_str(),
        ] {
            assert!(!is_own_path(other), "{other:?}");
        }
    }

    #[test]
    fn what_browsers_make_of_a_path_of_ours_is_ours() {
        let base = Url::parse("https://chat.example/oidc/acme/callback").unwrap();
        for first in ["/", "\\", "a", "@", ".", "%2f", ":", "?", "#"] {
            for second in ["/", "\\", "a", "@", ".", "%2f", ":"] {
                let text = format!("/{first}{second}evil.example/");
                if is_own_path(&text) {
                    let there = base.join(&text).unwrap();
                    assert_eq!(there.host_str(), Some("chat.example"), "{text}");
                }
            }
        }
    }
}
