use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long somebody may stay at the provider.
pub(crate) const LIFETIME: Duration = Duration::from_mins(10);

/// What a browser keeps, sealed, while it is at the provider.
#[derive(Serialize, Deserialize)]
pub(crate) struct Journey {
    pub(crate) provider: String,
    pub(crate) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Where it goes from here.
    pub(crate) next: String,
    /// The user who wants to link the account, if it is that.
    pub(crate) link: Option<String>,
}

/// States that came back, so that each is good once. Past the capacity the oldest is forgotten: then only the provider
/// refuses a code that it has seen.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<VecDeque<(String, Duration)>>);

/// More than come back in ten minutes.
const USED_MAX: usize = 4096;

impl Used {
    /// Whether a state comes back for the first time; from here on it doesn't.
    pub(crate) fn first(&self, state: &str, now: Duration) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while used.front().is_some_and(|(_, at)| *at + LIFETIME <= now) {
            used.pop_front();
        }
        if used.iter().any(|(other, _)| other == state) {
            return false;
        }
        if used.len() == USED_MAX {
            used.pop_front();
        }
        used.push_back((state.to_owned(), now));
        true
    }
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

    #[test]
    fn a_state_comes_back_once_in_its_time_and_few_are_kept() {
        let used = Used::default();
        let second = Duration::from_secs(1);
        assert!(used.first("a", second) && !used.first("a", second) && used.first("b", second));
        assert!(!used.first("a", second + LIFETIME - Duration::from_millis(1)));
        for number in 0..2 * USED_MAX {
            used.first(&number.to_string(), 2 * second);
        }
        assert_eq!(used.0.lock().unwrap().len(), USED_MAX);
        assert!(!used.first(&(2 * USED_MAX - 1).to_string(), 2 * second));
        used.first("later", 3 * second + LIFETIME);
        assert_eq!(used.0.lock().unwrap().len(), 1);
    }
}
