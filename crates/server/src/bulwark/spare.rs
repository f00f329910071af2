//! Work that stands back: hashes and long prompts have what answers and requests leave of the cores.

use std::thread;

use tokio::sync::oneshot;
use tracing::Span;

use crate::error::ApiError;

/// Runs `work` to its end on a thread of its own, which the system gives `niceness` less than others: it could not take
/// that back on one that is used again. To start it takes some tens of microseconds.
pub(crate) async fn spare<T: Send + 'static>(
    name: &'static str,
    niceness: i32,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (sender, done) = oneshot::channel();
    let span = Span::current();
    let working = thread::Builder::new().name(name.to_owned()).spawn(move || {
        stand_back(niceness);
        // Nobody may be left to take it.
        let _ = sender.send(span.in_scope(work));
    });
    working.map_err(|error| ApiError::internal(format!("no thread for a {name}: {error}")))?;
    done.await.map_err(|_| ApiError::internal(format!("a thread for a {name} panicked")))
}

/// Where a thread may not be nicer, or only all of them at once, it is as nice as the others.
fn stand_back(niceness: i32) {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(niceness);
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_stands_back_alone() {
        let mine = rustix::process::nice(0).unwrap();
        let niceness = spare("trial", 3, || rustix::process::nice(0).unwrap()).await.unwrap();
        assert_eq!(niceness, if cfg!(target_os = "linux") { (mine + 3).min(19) } else { mine });
        assert_eq!(rustix::process::nice(0).unwrap(), mine);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = spare("trial", 0, || panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.status(), axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    }
}
