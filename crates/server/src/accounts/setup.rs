use std::sync::Mutex;

use subtle::ConstantTimeEq as _;

use super::lock;

/// The way in for the first administrator: whoever can read the terminal knows it. Good once.
#[derive(Debug)]
pub(crate) struct SetupToken(Mutex<Option<Secret>>);

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl SetupToken {
    pub(super) fn new(token: Option<String>) -> Self {
        Self(Mutex::new(token.map(Secret)))
    }

    /// Whether there is a first administrator to be made.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.0).is_some()
    }

    pub(crate) fn matches(&self, given: &str) -> bool {
        lock(&self.0).as_ref().is_some_and(|secret| secret.0.as_bytes().ct_eq(given.as_bytes()).into())
    }

    /// From here on it is good for nothing.
    pub(crate) fn close(&self) {
        lock(&self.0).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_until_it_is_closed() {
        let token = SetupToken::new(Some("abc".to_owned()));
        assert!(token.is_open() && token.matches("abc"));
        assert!(!token.matches("abx") && !token.matches("") && !token.matches("abcd"));
        token.close();
        assert!(!token.is_open() && !token.matches("abc"));
        assert!(!SetupToken::new(None).matches(""));
        assert_eq!(format!("{:?}", SetupToken::new(Some("abc".to_owned()))).find("abc"), None);
    }
}
