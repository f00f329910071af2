//! What goes on on one connection, as all that has a part in it sees it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::watch::{Deadlines, Reason, Verdict, Watch};

#[derive(Debug)]
pub(super) struct Activity {
    watch: Mutex<Watch>,
    /// Of who looks after the connection.
    watcher: AtomicWaker,
    /// Told when the connection is to end.
    ending: Notify,
    /// Whether the socket is to be reset when it is closed.
    abrupt: AtomicBool,
}

impl Activity {
    pub(super) fn new(deadlines: Deadlines, now: Duration) -> Self {
        Self {
            watch: Mutex::new(Watch::new(deadlines, now)),
            watcher: AtomicWaker::new(),
            ending: Notify::new(),
            abrupt: AtomicBool::new(false),
        }
    }

    /// Changes what is known, by the connection's own task, which looks at it when it has done what it is at.
    pub(super) fn note(&self, change: impl FnOnce(&mut Watch)) {
        change(&mut self.lock());
    }

    /// Changes what is known, by any task, and has it looked at if `then` says so. `then` is done before anybody else
    /// notes anything.
    pub(super) fn note_and<T>(&self, change: impl FnOnce(&mut Watch) -> T, then: impl FnOnce(T) -> bool) {
        let mut watch = self.lock();
        let changed = change(&mut watch);
        let look = then(changed);
        drop(watch);
        if look {
            self.watcher.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connection closed at once.
    pub(super) fn close(&self, reason: Reason) {
        self.abrupt.store(reason.is_abrupt(), Ordering::Release);
        self.note_and(|watch| watch.close(reason), |()| true);
    }

    /// Why it had to be closed, if it had.
    pub(super) fn closed(&self) -> Option<Reason> {
        self.lock().closed()
    }

    pub(super) fn is_abrupt(&self) -> bool {
        self.abrupt.load(Ordering::Acquire)
    }

    /// Ready when the connection is to end.
    pub(super) async fn ending(&self) {
        self.ending.notified().await;
    }

    /// Ready when the connection must be closed, and why. Says before, where it can, that it is to end.
    pub(super) async fn must_close(&self, now: impl Fn() -> Duration) -> Reason {
        let mut alarm = Alarm::default();
        let mut is_told = false;
        poll_fn(|context| {
            self.watcher.register(context.waker());
            loop {
                let verdict = self.lock().verdict(now());
                let next = match verdict {
                    Verdict::Close(reason) => {
                        self.abrupt.store(reason.is_abrupt(), Ordering::Release);
                        return Poll::Ready(reason);
                    }
                    Verdict::End(_, next) => {
                        if !is_told {
                            is_told = true;
                            self.ending.notify_one();
                        }
                        next
                    }
                    Verdict::Wait(next) => next,
                };
                ready!(alarm.poll_until(context, next, now()));
            }
        })
        .await
    }
}

/// A timer that is set anew only when it would ring too late: most deadlines are moved before they come.
#[derive(Default)]
struct Alarm(Option<(Duration, Pin<Box<Sleep>>)>);

impl Alarm {
    /// Ready at that time, or before it.
    fn poll_until(&mut self, context: &mut std::task::Context<'_>, at: Duration, now: Duration) -> Poll<()> {
        if at == Duration::MAX {
            return Poll::Pending;
        }
        if self.0.as_ref().is_none_or(|(set, _)| *set > at) {
            self.0 = Some((at, Box::pin(sleep(at.saturating_sub(now)))));
        }
        let Some((_, alarm)) = &mut self.0 else { return Poll::Pending };
        ready!(alarm.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(())
    }
}
