//! The lanes in which writes come to the database, which takes one after another.
//!
//! If all stood in one line, whoever can make many writes wait would make everybody wait. So whoever is trusted less
//! stands in a lane of their own, and of each lane one at a time goes on to the next. In a lane, callers take turns however
//! many writes each of them has there. So a write of the first lane waits for one of each caller there and for one of each
//! other lane.
//!
//! ```text
//! fourth -> one at a time -> third -> one at a time -> second -> one at a time -> first -> one at a time -> the writer
//! ```
//!
//! Nobody is shut out either: the one that has gone on has its turn like all others there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::FairQueue;
use tokio::sync::oneshot;

use crate::StoreError;

/// In which line a write stands, the last first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Lane {
    /// Of strangers.
    Fourth,
    /// Of those of whom a little is known.
    Third,
    /// Of those who are known, but not for long.
    Second,
    /// Of everybody else, and of the program itself.
    #[default]
    First,
}

impl Lane {
    /// All of them, the last first.
    pub const ALL: [Self; 4] = [Self::Fourth, Self::Third, Self::Second, Self::First];
}

/// Where the writes of a task stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// In which line.
    pub lane: Lane,
    /// In whose name, for turns. What the program does by itself has one name together.
    pub caller: u64,
}

tokio::task_local! {
    static PLACE: Place;
}

/// Does `work`, whose writes stand in this place. What it spawns stands in the first lane in the program's own name unless
/// it is told [otherwise](place).
pub async fn in_place<F: Future>(place: Place, work: F) -> F::Output {
    PLACE.scope(place, work).await
}

/// Where writes of the task stand that asks.
pub fn place() -> Place {
    PLACE.try_with(|place| *place).unwrap_or_default()
}

/// How long a write may wait to be let on.
const WAIT: Duration = Duration::from_secs(30);

/// The lanes of one database.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Who leaves each lane, one at a time.
    doors: [Arc<Door>; Lane::ALL.len()],
    /// Writes that were begun, by lane.
    begun: [AtomicU64; Lane::ALL.len()],
}

/// Has the doors behind it shut until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered(#[expect(dead_code, reason = "held")] [Option<Pass>; Lane::ALL.len()]);

impl Lanes {
    pub(crate) fn new() -> Self {
        Self { doors: Default::default(), begun: Default::default() }
    }

    /// From the lane of this task to the writer. Cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::Busy`]
    pub(crate) async fn enter(&self) -> Result<Entered, StoreError> {
        let Place { lane, caller } = place();
        let mut held = [None, None, None, None];
        let walk = async {
            // The one of the own lane first.
            for (door, held) in self.doors.iter().zip(&mut held).skip(lane as usize) {
                *held = Some(Door::pass(door, caller).await);
            }
        };
        if tokio::time::timeout(WAIT, walk).await.is_err() {
            return Err(StoreError::Busy(
                format!("a write was not let on within {} s", WAIT.as_secs()).into(),
            ));
        }
        self.begun[lane as usize].fetch_add(1, Ordering::Relaxed);
        Ok(Entered(held))
    }

    /// Writes that were begun, by lane, the last first.
    pub(crate) fn begun(&self) -> [u64; Lane::ALL.len()] {
        std::array::from_fn(|lane| self.begun[lane].load(Ordering::Relaxed))
    }
}

/// Lets one pass at a time; callers who wait take turns, and each caller's come in their order.
#[derive(Debug, Default)]
struct Door(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    is_taken: bool,
    /// By caller.
    line: FairQueue<u64, oneshot::Sender<Pass>>,
}

/// Shuts a door until it is dropped.
#[derive(Debug)]
struct Pass(Option<Arc<Door>>);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(door) = self.0.take() {
            Door::let_next(&door);
        }
    }
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is behind it is good wherever a panic leaves it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancel-safe.
    async fn pass(door: &Arc<Self>, caller: u64) -> Pass {
        loop {
            let turn = {
                let mut waiting = door.lock();
                if !waiting.is_taken {
                    waiting.is_taken = true;
                    return Pass(Some(Arc::clone(door)));
                }
                let (sender, turn) = oneshot::channel();
                waiting.line.push(caller, sender);
                turn
            };
            // The sender is dropped by nobody before it was used.
            if let Ok(pass) = turn.await {
                return pass;
            }
        }
    }

    /// The next who is still there has it.
    fn let_next(door: &Arc<Self>) {
        let mut waiting = door.lock();
        // Those who have gone away take nobody's turn.
        while let Some(next) = waiting.line.pop_if(|sender| !sender.is_closed()) {
            let pass = Pass(Some(Arc::clone(door)));
            let Err(mut unused) = next.send(pass) else { return };
            // They went away; it must not open the door again, which is locked.
            unused.0 = None;
        }
        waiting.is_taken = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Mutex as Line;

    use super::*;

    /// Who writes: some of each lane ask before the last, which is in the first, while the writer is taken. Where it is in
    /// the order in which they had it.
    async fn place_of_a_user_behind(strangers: &[Lane]) -> usize {
        // As sqlx gives its one connection: to whoever asked first.
        let (lanes, writer) = (Arc::new(Lanes::new()), Arc::new(Line::new(())));
        let order = Arc::new(Mutex::new(Vec::new()));
        let taken = writer.lock().await;
        let mut tasks = Vec::new();
        for lane in strangers.iter().copied().chain([Lane::First]) {
            let (lanes, writer, order) = (Arc::clone(&lanes), Arc::clone(&writer), Arc::clone(&order));
            tasks.push(tokio::spawn(in_place(Place { lane, caller: 1 }, async move {
                let _entered = lanes.enter().await.unwrap();
                let _turn = writer.lock().await;
                order.lock().unwrap().push(lane);
                tokio::task::yield_now().await;
            })));
            // It stands where it stands before the next comes.
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        }
        drop(taken);
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        assert_eq!(order.len(), strangers.len() + 1, "everybody has their turn");
        order.iter().position(|lane| *lane == Lane::First).unwrap()
    }

    #[tokio::test]
    async fn however_many_strangers_wait_one_of_each_lane_is_before_a_user() {
        assert_eq!(place_of_a_user_behind(&[Lane::Fourth; 500]).await, 1);
        assert_eq!(place_of_a_user_behind(&[Lane::Second; 500]).await, 1);
        let mixed: Vec<_> = (0..600).map(|number| Lane::ALL[number % 3]).collect();
        assert!(place_of_a_user_behind(&mixed).await <= 3);
        // Those of their own lane are before them.
        assert_eq!(place_of_a_user_behind(&[]).await, 0);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_door_open() {
        let lanes = Lanes::new();
        let fourth = Place { lane: Lane::Fourth, caller: 1 };
        let first = in_place(fourth, lanes.enter()).await.unwrap();
        let second = in_place(fourth, lanes.enter());
        let gone = tokio::time::timeout(Duration::from_millis(10), second).await;
        assert!(gone.is_err(), "one at a time");
        drop(first);
        let entered = in_place(fourth, lanes.enter()).await.unwrap();
        assert_eq!(lanes.begun(), [2, 0, 0, 0]);
        drop(entered);
        assert!(lanes.enter().await.is_ok());
        assert_eq!(lanes.begun(), [2, 0, 0, 1]);
    }

    #[tokio::test]
    async fn callers_take_turns_however_much_one_of_them_writes() {
        let lanes = Arc::new(Lanes::new());
        let entered = lanes.enter().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for caller in std::iter::repeat_n(1, 200).chain([2, 3, 2]) {
            let (lanes, order) = (Arc::clone(&lanes), Arc::clone(&order));
            tasks.push(tokio::spawn(in_place(Place { lane: Lane::First, caller }, async move {
                let _entered = lanes.enter().await.unwrap();
                order.lock().unwrap().push(caller);
            })));
            tokio::task::yield_now().await;
        }
        // Some of the one who writes much go away.
        for task in tasks.iter().take(50).step_by(2) {
            task.abort();
        }
        tokio::task::yield_now().await;
        drop(entered);
        let ended = futures_util::future::join_all(tasks).await;
        assert_eq!(ended.iter().filter(|ended| ended.is_err()).count(), 25);
        let order = order.lock().unwrap();
        assert_eq!(order.len(), 178, "nobody else is lost");
        assert_eq!(order[..6], [1, 2, 3, 1, 2, 1]);
    }

    #[tokio::test]
    async fn what_is_not_told_stands_in_the_first_lane() {
        assert_eq!(place(), Place::default());
        let third = Place { lane: Lane::Third, caller: 7 };
        in_place(third, async {
            assert_eq!(place(), third);
            assert_eq!(tokio::spawn(async { place() }).await.unwrap(), Place::default());
        })
        .await;
    }
}
