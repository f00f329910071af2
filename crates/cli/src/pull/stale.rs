use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base::Clock;

/// An unfinished download that nobody has gone on with for so long is abandoned.
const AGE_MAX: Duration = Duration::from_hours(30 * 24);

/// Removes abandoned downloads from the directory of partial files, as far as the disk lets it.
pub(super) fn clean(directory: &Path, clock: &dyn Clock) {
    let now = Duration::from_millis(u64::try_from(clock.unix_ms()).unwrap_or_default());
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, facts) = (entry.path(), entry.metadata());
        let changed =
            facts.as_ref().ok().and_then(|facts| facts.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        if changed.is_none_or(|changed| now.saturating_sub(changed) <= AGE_MAX) {
            continue;
        }
        // What can't be removed now is tried again by the next pull.
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("pip") => drop(std::fs::remove_dir_all(&path)),
            Some("part") => {
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_file(path.with_extension("json"));
            }
            // Written once, when a download begins, which may go on longer.
            Some("json") if !path.with_extension("part").exists() => drop(std::fs::remove_file(&path)),
            _ => {}
        }
    }
}
