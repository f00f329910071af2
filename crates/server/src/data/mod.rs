//! What a user has as a whole: taking it along, bringing it here, and being rid of what is old.

mod export;
mod format;
mod import;
mod markdown;
mod places;
mod retention;
mod spool;
mod usage;

pub(crate) use export::export;
#[cfg(feature = "fuzzing")]
pub use import::read_whole;
pub(crate) use import::{Imported, import, shutting_down};
pub(crate) use places::Places;
pub(crate) use retention::keep_sweeping;
pub(crate) use spool::spool;
pub(crate) use usage::usage_csv;

use chrono::DateTime;

/// `YYYY-MM-DD` of a time in Unix milliseconds.
fn day(unix_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
    time.format("%Y-%m-%d").to_string()
}

/// What a browser calls the file of an export.
pub(crate) fn export_name(now_ms: i64) -> String {
    format!("cachalot-export-{}.zip", day(now_ms))
}
