//! Turns at something that few can do at once, such as the hash of a password: who is trusted more comes first, those who
//! are trusted as much take turns however often each asks, and of the places to wait in each class has its share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::FairQueue;
use defence::{Class, Full, Pool, Shares, Slot};
use tokio::sync::oneshot;

use crate::accounts::{Standing, Who};

/// Turns of higher classes after which one that waits has its own.
const PASSED_OVER_MAX: u32 = 8;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// How many more may be at it.
    free: usize,
    /// Of those who are at it or wait.
    places: Pool<Who>,
    /// By class.
    waiting: [FairQueue<Who, oneshot::Sender<()>>; 4],
    passed_over: u32,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    place: Option<Slot<Who>>,
    has_begun: bool,
}

impl Turns {
    /// Turns for `at_once`, and places for so many, of which one may hold `per_caller_max`.
    pub(crate) fn new(at_once: usize, places: u32, shares: Shares, per_caller_max: u32) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            free: at_once,
            places: Pool::new(places, shares, per_caller_max),
            waiting: Default::default(),
            passed_over: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is behind it is good wherever a panic leaves it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.iter().map(FairQueue::len).sum()
    }

    /// A turn, when it comes. Cancel-safe.
    ///
    /// # Errors
    /// When there is no place to wait in.
    pub(crate) async fn take(&self, standing: Standing) -> Result<Turn, Full> {
        let (mut turn, waiting) = self.enter(standing)?;
        if let Some(mut waiting) = waiting {
            let mut asked = Asked { waiting: &mut waiting, turns: self, is_given: false };
            // The sender is dropped by nobody before it was used.
            let _ = (&mut *asked.waiting).await;
            asked.is_given = true;
        }
        turn.has_begun = true;
        Ok(turn)
    }

    fn enter(&self, standing: Standing) -> Result<(Turn, Option<oneshot::Receiver<()>>), Full> {
        let mut inner = self.lock();
        let place = inner.places.take(standing.class, standing.who)?;
        let waiting = if inner.free > 0 {
            inner.free -= 1;
            None
        } else {
            let (sender, receiver) = oneshot::channel();
            inner.waiting[standing.class.index()].push(standing.who, sender);
            Some(receiver)
        };
        Ok((Turn { turns: self.clone(), place: Some(place), has_begun: false }, waiting))
    }

    /// Gives a turn that is over to the next who still waits. They are woken when the lock is free again: the thread that
    /// runs then may take the core at once, and would wait for the lock as long as this one waits for the core.
    fn pass_on(&self) {
        loop {
            let next = self.lock().next();
            if next.is_none_or(|sender| sender.send(()).is_ok()) {
                return;
            }
        }
    }
}

/// Somebody who waits and may go away: a turn that was given to them then goes on to the next.
struct Asked<'a> {
    waiting: &'a mut oneshot::Receiver<()>,
    turns: &'a Turns,
    is_given: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.is_given {
            return;
        }
        self.waiting.close();
        let was_given = self.waiting.try_recv().is_ok();
        // No more wait than there are places.
        self.turns.lock().waiting.iter_mut().for_each(|queue| queue.retain(|sender| !sender.is_closed()));
        if was_given {
            self.turns.pass_on();
        }
    }
}

impl Inner {
    /// The next who still waits, whose turn it then is; where there is none, there is a turn more for whoever comes.
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        while let Some(class) = self.next_class() {
            let next = self.waiting[class].pop_if(|sender| !sender.is_closed());
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }

    /// The highest class that waits, or now and then the lowest.
    fn next_class(&mut self) -> Option<usize> {
        let mut waits =
            Class::ALL.into_iter().map(Class::index).filter(|class| !self.waiting[*class].is_empty());
        let lowest = waits.next()?;
        let Some(highest) = waits.next_back() else { return Some(lowest) };
        self.passed_over += 1;
        if self.passed_over > PASSED_OVER_MAX {
            self.passed_over = 0;
            return Some(lowest);
        }
        Some(highest)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.turns.lock().places.give_back(place);
        }
        if self.has_begun {
            self.turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use defence::Prefix;

    use super::*;

    fn of(class: Class, number: u32) -> Standing {
        let address = std::net::Ipv4Addr::from_bits(number).into();
        Standing { class, who: Who::Network(Prefix::narrow(address)) }
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_trusted_more_comes_first() {
        let turns = Turns::new(1, 100, Shares::default(), 10);
        let Poll::Ready(Ok(first)) = poll(pin!(turns.take(of(Class::Unknown, 0)))) else { panic!() };
        let mut stranger = pin!(turns.take(of(Class::Unknown, 1)));
        let mut user = pin!(turns.take(of(Class::Established, 2)));
        assert!(poll(stranger.as_mut()).is_pending() && poll(user.as_mut()).is_pending());
        assert_eq!(turns.waiting(), 2);
        drop(first);
        assert!(poll(stranger.as_mut()).is_pending());
        let Poll::Ready(Ok(second)) = poll(user.as_mut()) else { panic!("it is theirs") };
        drop(second);
        assert!(matches!(poll(stranger.as_mut()), Poll::Ready(Ok(_))));
    }

    #[test]
    fn who_asks_often_waits_behind_who_asks_once() {
        let turns = Turns::new(1, 100, Shares::default(), 100);
        let Poll::Ready(Ok(mut running)) = poll(pin!(turns.take(of(Class::New, 0)))) else { panic!() };
        let mut often: Vec<_> = (0..3).map(|_| Box::pin(turns.take(of(Class::New, 1)))).collect();
        assert!(often.iter_mut().all(|turn| poll(turn.as_mut()).is_pending()));
        let mut once = pin!(turns.take(of(Class::New, 2)));
        assert!(poll(once.as_mut()).is_pending());
        // Who goes away is in nobody's way.
        drop(often.remove(0));
        drop(running);
        let Poll::Ready(Ok(first)) = poll(often[0].as_mut()) else { panic!("it came first") };
        running = first;
        assert!(poll(often[1].as_mut()).is_pending());
        drop(running);
        assert!(poll(often[1].as_mut()).is_pending());
        assert!(poll(once.as_mut()).is_ready());
    }

    #[test]
    fn nobody_waits_for_ever_behind_others() {
        let turns = Turns::new(1, 1000, Shares::default(), 1000);
        let Poll::Ready(Ok(mut running)) = poll(pin!(turns.take(of(Class::Unknown, 0)))) else { panic!() };
        let mut stranger = pin!(turns.take(of(Class::Unknown, 1)));
        assert!(poll(stranger.as_mut()).is_pending());
        let mut users: Vec<_> = (0..20).map(|_| Box::pin(turns.take(of(Class::Established, 2)))).collect();
        assert!(users.iter_mut().all(|user| poll(user.as_mut()).is_pending()));
        let mut before = 0;
        for user in &mut users {
            drop(running);
            if poll(stranger.as_mut()).is_ready() {
                break;
            }
            let Poll::Ready(Ok(next)) = poll(user.as_mut()) else { panic!("it is somebody's turn") };
            (running, before) = (next, before + 1);
        }
        assert_eq!(before, PASSED_OVER_MAX);
    }

    #[test]
    fn who_goes_away_leaves_the_turn_and_the_place_to_others() {
        let turns = Turns::new(1, 3, Shares { reserved: [0; 4], floor: [0; 4] }, 10);
        let Poll::Ready(Ok(first)) = poll(pin!(turns.take(of(Class::Guest, 0)))) else { panic!() };
        let mut gone = Box::pin(turns.take(of(Class::Guest, 1)));
        let mut stays = pin!(turns.take(of(Class::Guest, 2)));
        assert!(poll(gone.as_mut()).is_pending() && poll(stays.as_mut()).is_pending());
        let refused = poll(pin!(turns.take(of(Class::Guest, 3))));
        assert!(matches!(refused, Poll::Ready(Err(Full::Class { slots: 3, .. }))), "{refused:?}");
        // It was given to the one that goes.
        drop(first);
        drop(gone);
        let Poll::Ready(Ok(second)) = poll(stays.as_mut()) else { panic!("it was lost") };
        drop(second);
        assert!(matches!(poll(pin!(turns.take(of(Class::Guest, 4)))), Poll::Ready(Ok(_))));
        let inner = turns.lock();
        assert_eq!((inner.free, inner.places.free()), (1, 3));
    }
}
