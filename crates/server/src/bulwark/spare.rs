//! Work that stands back: hashes and long prompts have what answers and requests leave of the cores.

use std::thread;

use tokio::sync::oneshot;
use tracing::Span;

use super::turns::Turn;
use crate::error::ApiError;

/// Runs `work` to its end on a thread of its own, which the system gives `niceness` less than others: it could not take
/// that back on one that is used again. To start it takes some tens of microseconds. `turn` is over when the work is done,
/// even if whoever asked for it has gone.
///
/// Such a thread loses the core to whom it wakes, and may wait for it as long as the cores are busy: that is why it is not
/// the one that gives the turn to the next.
pub(crate) async fn spare<T: Send + 'static>(
    name: &'static str,
    niceness: i32,
    turn: Turn,
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
    let ended = tokio::spawn(async move {
        let done = done.await;
        drop(turn);
        done
    });
    let done =
        ended.await.map_err(|error| ApiError::internal(format!("a {name} was not waited for: {error}")))?;
    done.map_err(|_| ApiError::internal(format!("a thread for a {name} panicked")))
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
    use defence::Shares;

    use super::*;
    use crate::accounts::Standing;
    use crate::bulwark::Turns;

    fn turns() -> Turns {
        Turns::new(1, 10, Shares::default(), 10)
    }

    #[tokio::test]
    async fn it_stands_back_alone() {
        let mine = rustix::process::nice(0).unwrap();
        let turn = turns().take(Standing::MACHINE).await.unwrap();
        let niceness = spare("trial", 3, turn, || rustix::process::nice(0).unwrap()).await.unwrap();
        assert_eq!(niceness, if cfg!(target_os = "linux") { (mine + 3).min(19) } else { mine });
        assert_eq!(rustix::process::nice(0).unwrap(), mine);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let turns = turns();
        let turn = turns.take(Standing::MACHINE).await.unwrap();
        let error = spare("trial", 0, turn, || panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.status(), axum::http::StatusCode::INTERNAL_SERVER_ERROR);
        drop(turns.take(Standing::MACHINE).await.unwrap());
    }

    #[tokio::test]
    async fn a_turn_is_over_when_the_work_is_whoever_waits_for_it() {
        let turns = turns();
        let (begun, has_begun) = oneshot::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let turn = turns.take(Standing::MACHINE).await.unwrap();
        let work = tokio::spawn(spare("trial", 0, turn, move || {
            begun.send(()).unwrap();
            ends.recv().unwrap_err();
        }));
        has_begun.await.unwrap();
        work.abort();
        assert!(work.await.unwrap_err().is_cancelled());
        let next = turns.take(Standing::MACHINE);
        let mut next = std::pin::pin!(next);
        assert!(futures_util::poll!(next.as_mut()).is_pending(), "it goes on");
        drop(end);
        drop(next.await.unwrap());
    }
}
