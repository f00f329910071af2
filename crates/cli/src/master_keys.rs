//! Where the master keys come from: the environment if they are there, else a file in the home directory.

use std::ffi::OsString;
use std::path::Path;

use anyhow::bail;
use store::MasterKeys;

/// Holds the lines of the file separated by commas, `2:base64,1:base64`. The newest wraps.
pub(crate) const VARIABLE: &str = "CACHALOT_MASTER_KEY";

const FILE: &str = "master.key";

/// The master keys of this home.
pub(crate) fn master_keys(home: &Path) -> anyhow::Result<MasterKeys> {
    chosen(std::env::var_os(VARIABLE), home)
}

/// A variable that is set and empty is a mistake, not a wish for a new key.
fn chosen(given: Option<OsString>, home: &Path) -> anyhow::Result<MasterKeys> {
    match given.map(OsString::into_string) {
        None => Ok(MasterKeys::in_file(home.join(FILE))),
        Some(Ok(text)) => Ok(MasterKeys::from_text(format!("${VARIABLE}"), text)),
        Some(Err(_)) => {
            bail!("{VARIABLE} must be text, generation:key with commas between, and holds other bytes")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn the_environment_comes_before_the_file() {
        let home = Path::new("/home/of/cachalot");
        let shown = |given: Option<&str>| format!("{:?}", chosen(given.map(OsString::from), home).unwrap());
        assert!(shown(None).contains("/home/of/cachalot/master.key"));
        let shown = shown(Some("1:c2VjcmV0"));
        assert!(shown.contains("$CACHALOT_MASTER_KEY") && !shown.contains("c2Vj"), "{shown}");
        let error = chosen(Some(OsString::from_vec(vec![0xff])), home).unwrap_err().to_string();
        assert!(error.contains("must be text"), "{error}");
    }
}
