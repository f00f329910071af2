//! The lanes in which writes come to the database, which takes one after another.
//!
//! If all stood in one line, whoever can make many writes wait would make everybody wait. So whoever is trusted less
//! stands in a lane of their own, and of each lane one at a time goes on to the next: however many wait in the others, a
//! write of the first lane waits for those before it in its own lane and for one of each other.
//!
//! ```text
//! fourth -> one at a time -> third -> one at a time -> second -> one at a time -> first -> the writer
//! ```
//!
//! Nobody is shut out either: the one that has gone on has its turn like all others there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

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

tokio::task_local! {
    static LANE: Lane;
}

/// Does `work`, whose writes stand in this lane. What it spawns stands in the first unless it is told
/// [otherwise](lane).
pub async fn in_lane<F: Future>(lane: Lane, work: F) -> F::Output {
    LANE.scope(lane, work).await
}

/// The lane in which writes of the task stand that asks.
pub fn lane() -> Lane {
    LANE.try_with(|lane| *lane).unwrap_or_default()
}

/// How long a write may wait to be let on.
const WAIT: Duration = Duration::from_secs(30);

/// The lanes of one database.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Who leaves the second lane, the third and the fourth, one at a time each.
    doors: [Semaphore; 3],
    /// Writes that were begun, by lane.
    begun: [AtomicU64; 4],
}

/// Has the doors behind it shut until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered<'a>(#[expect(dead_code, reason = "held")] [Option<SemaphorePermit<'a>>; 3]);

impl Lanes {
    pub(crate) fn new() -> Self {
        Self { doors: [const { Semaphore::const_new(1) }; 3], begun: Default::default() }
    }

    /// From the lane of this task to the end of the first. Cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::Busy`]
    pub(crate) async fn enter(&self) -> Result<Entered<'_>, StoreError> {
        let lane = lane();
        let doors = Lane::First as usize - lane as usize;
        let mut held = [None, None, None];
        let walk = async {
            // The one of the own lane first.
            for (door, held) in self.doors.iter().zip(&mut held).take(doors).rev() {
                // Nobody closes them.
                *held = door.acquire().await.ok();
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
    pub(crate) fn begun(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|lane| self.begun[lane].load(Ordering::Relaxed))
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
            tasks.push(tokio::spawn(in_lane(lane, async move {
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
        let first = in_lane(Lane::Fourth, lanes.enter()).await.unwrap();
        let second = in_lane(Lane::Fourth, lanes.enter());
        let gone = tokio::time::timeout(Duration::from_millis(10), second).await;
        assert!(gone.is_err(), "one at a time");
        drop(first);
        let _entered = in_lane(Lane::Fourth, lanes.enter()).await.unwrap();
        assert_eq!(lanes.begun(), [2, 0, 0, 0]);
        assert!(lanes.enter().await.is_ok(), "the first lane has no door");
        assert_eq!(lanes.begun(), [2, 0, 0, 1]);
    }

    #[tokio::test]
    async fn what_is_not_told_stands_in_the_first_lane() {
        assert_eq!(lane(), Lane::First);
        in_lane(Lane::Third, async {
            assert_eq!(lane(), Lane::Third);
            assert_eq!(tokio::spawn(async { lane() }).await.unwrap(), Lane::First);
        })
        .await;
    }
}
