//! The streams of an HTTP/2 connection: each is a task, which ends with its connection, and which is given up when its
//! client takes nothing of what is there for it.
//!
//! On HTTP/1 a client that takes nothing holds up the socket, and the socket has a deadline. On HTTP/2 it can hold up
//! one stream, by opening no window for it, while the connection lives.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

tokio::task_local! {
    static OF_STREAM: Arc<AtomicU64>;
}

/// By what a body tells the stream that it is sent on whether the client is waited for: twice the number of pieces that
/// it gave, and one more while the last of them waits to be taken.
#[derive(Clone)]
pub(super) struct Pieces(Option<Arc<AtomicU64>>);

impl Pieces {
    /// Of the stream that this is called in; of none on HTTP/1.
    pub(super) fn of_stream() -> Self {
        Self(OF_STREAM.try_with(Arc::clone).ok())
    }

    /// Whether there is a stream to tell.
    pub(super) fn are_counted(&self) -> bool {
        self.0.is_some()
    }

    /// The next piece is asked for: the last one was taken.
    pub(super) fn asked(&self) {
        if let Some(pieces) = &self.0 {
            pieces.fetch_and(!1, Ordering::Relaxed);
        }
    }

    pub(super) fn gave(&self) {
        if let Some(pieces) = &self.0 {
            pieces.fetch_add(3, Ordering::Relaxed);
        }
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Arc<Mutex<JoinSet<()>>>,
    stall: Duration,
}

/// Ends the streams of a connection when it is dropped.
pub(super) struct Ending(Arc<Mutex<JoinSet<()>>>);

impl Streams {
    /// Streams that are given up when their client takes nothing for as long as `stall`.
    pub(super) fn new(stall: Duration) -> (Self, Ending) {
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        (Self { tasks: Arc::clone(&tasks), stall }, Ending(tasks))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let pieces = Arc::new(AtomicU64::new(0));
        let patient = Patient {
            future: Box::pin(future),
            pieces: Arc::clone(&pieces),
            stall: self.stall,
            deadline: None,
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(OF_STREAM.scope(pieces, patient));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// A stream that is dropped, and thereby reset, when its client was waited for too long.
struct Patient<F> {
    future: Pin<Box<F>>,
    pieces: Arc<AtomicU64>,
    stall: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Patient<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let before = this.pieces.load(Ordering::Relaxed);
        if this.future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let now = this.pieces.load(Ordering::Relaxed);
        // Each piece that is taken begins the wait anew.
        if now != before {
            this.deadline = None;
        }
        if now.is_multiple_of(2) {
            return Poll::Pending;
        }
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(this.stall)));
        deadline.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// For how long a stream lives whose client takes a piece at each of these seconds.
    async fn lives(taken_s: &'static [u64]) -> Duration {
        let began = sleep(Duration::ZERO).deadline();
        let (streams, _ending) = Streams::new(STALL);
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        streams.execute(async move {
            let _ended = ended;
            let pieces = Pieces::of_stream();
            pieces.asked();
            pieces.gave();
            for at in taken_s {
                tokio::time::sleep_until(began + Duration::from_secs(*at)).await;
                pieces.asked();
                pieces.gave();
            }
            std::future::pending::<()>().await;
        });
        end.await.unwrap_err();
        sleep(Duration::ZERO).deadline() - began
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_which_nothing_is_taken_is_given_up() {
        assert_eq!(lives(&[]).await.as_secs(), 30);
        assert_eq!(lives(&[29, 58, 60]).await.as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_nothing_to_give_is_not() {
        let (streams, ending) = Streams::new(STALL);
        let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
        streams.execute(async move {
            let _ended = ended;
            let pieces = Pieces::of_stream();
            pieces.gave();
            tokio::task::yield_now().await;
            pieces.asked();
            poll_fn(|_| Poll::<()>::Pending).await;
        });
        tokio::time::timeout(100 * STALL, &mut end).await.unwrap_err();
        // It ends with its connection.
        drop(ending);
        end.await.unwrap_err();
    }
}
