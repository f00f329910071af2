use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// No secret is longer.
const BYTES_MAX: u64 = 64 << 10;

/// The secret in a file, without the end of its line.
///
/// # Errors
/// Why it can't be used; nothing of what is in it.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error| format!("{shown} can't be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if is_exposed(mode) {
        return Err(format!("{shown} has mode {mode:03o}, and others may read the secret: chmod 600 it"));
    }
    let mut text = String::new();
    let wanted = || format!("{shown} must hold one line of text, at most {BYTES_MAX} bytes");
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|_| wanted())?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() as u64 > BYTES_MAX || text.chars().any(char::is_control) {
        return Err(wanted());
    }
    Ok(text.to_owned())
}

/// Whether others than the owner may do anything with it.
pub(crate) fn is_exposed(mode: u32) -> bool {
    mode & 0o077 != 0
}
