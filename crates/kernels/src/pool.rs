//! A fixed set of threads for the short, frequent parallel regions of a forward pass.
//!
//! A forward pass has some 150 regions of a few microseconds each, so starting and ending one must cost about a
//! microsecond. One 64-bit word, `claim`, holds the running job's number of tasks (high half) and the next task
//! that nobody has taken (low half):
//!
//! ```text
//! run(tasks, f):  job = f; unfinished = tasks; claim = (tasks, 0); wake sleepers
//!                 work(); spin until unfinished == 0
//! work():         while claim = (t, i) with i < t:
//!                     if compare_and_swap(claim, (t, i), (t, i + 1)):  job(i); unfinished -= 1
//! worker:         spin a while for work(), then sleep until woken
//! ```
//!
//! Whoever wins the swap holds an unfinished task of the job that is current at that moment, and `run` does not
//! return, nor the next job replace this one, before that task is finished. So a slow thread can never run a
//! task of a job that is over.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Looks at `claim` before a worker sleeps: some 250 microseconds, longer than the serial parts of a step.
const SPINS_BEFORE_SLEEP: u32 = if cfg!(miri) { 10 } else { 10_000 };
/// Looks at `unfinished` before the caller lets others have its core.
const SPINS_BEFORE_YIELD: u32 = if cfg!(miri) { 10 } else { 2_000 };

thread_local! {
    /// Whether this thread is inside a task, of whichever pool.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
}

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// Each in a cache line pair of its own, so that claiming and finishing don't disturb each other.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared {
    /// tasks << 32 | next unclaimed task.
    claim: Padded<AtomicU64>,
    unfinished: Padded<AtomicUsize>,
    /// Written by `run` while `claim` offers nothing and `unfinished` is 0; read by who has claimed a task.
    job: UnsafeCell<Option<*const Task<'static>>>,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Workers that sleep or are about to.
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    wake: Condvar,
    stop: AtomicBool,
}

#[expect(unsafe_code, reason = "the job slot is guarded by the claim protocol, not by a lock")]
// SAFETY: `job` is the only field that isn't Sync and Send by itself. It is written only by the thread that
// holds `Pool::turn`, at a time when no task is claimable or unfinished, and published by the store to `claim`;
// it is read only between claiming a task (acquire) and finishing it (release). What it points to is Sync.
unsafe impl Sync for Shared {}
#[expect(unsafe_code, reason = "the job slot is guarded by the claim protocol, not by a lock")]
// SAFETY: see `Sync` above; the pointer is only followed while `run` keeps its target alive.
unsafe impl Send for Shared {}

/// Fixed worker threads that split the tasks of one region at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One region at a time; callers on other threads wait here.
    turn: Mutex<()>,
}

// A panic in a task leaves the pool as it was: see `run`.
impl std::panic::UnwindSafe for Pool {}
impl std::panic::RefUnwindSafe for Pool {}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller of [`Self::run`] being one of them. 0 is taken as 1. Where the
    /// system refuses a thread the pool has fewer.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            claim: Padded(AtomicU64::new(0)),
            unfinished: Padded(AtomicUsize::new(0)),
            job: UnsafeCell::new(None),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let start = |index: usize| {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("kernel-{index}"));
            builder.spawn(move || shared.serve()).ok()
        };
        let workers = (1..threads).map_while(start).collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    /// Threads that work on a region, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(0)` to `task(tasks - 1)`, each once, in any order, on any of the threads; returns when all
    /// are done. Inside a task of any pool, everything runs on the calling thread.
    ///
    /// # Panics
    /// When a task panics, with its payload, after the others have ended; tasks not begun by then are skipped.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 || self.workers.is_empty() || IN_TASK.get() {
            (0..tasks).for_each(task);
            return;
        }
        let _turn = lock(&self.turn);
        // A task index has 32 bits in `claim`.
        let mut first = 0;
        while first < tasks {
            let some = (tasks - first).min(u32::MAX as usize);
            self.shared.run(some, &|index| task(first + index));
            first += some;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.bed));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics, so that joining can't fail.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// One region, `tasks` in `1..2^32`. The caller holds `turn`.
    fn run(&self, tasks: usize, task: &Task<'_>) {
        let task: *const Task<'_> = task;
        #[expect(unsafe_code, reason = "the lifetime of a borrowed closure can't be named across threads")]
        #[expect(clippy::transmute_ptr_to_ptr, reason = "a cast can't lengthen the lifetime")]
        // SAFETY: only the lifetime changes. The pointer is followed by threads that hold an unfinished task, and
        // this function does not return before `unfinished` is 0, panics included.
        let task: *const Task<'static> =
            unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        #[expect(unsafe_code, reason = "the claim protocol gives this thread the slot")]
        // SAFETY: the previous region has ended (`turn` is held), so `claim` offers nothing and nobody reads.
        unsafe {
            *self.job.get() = Some(task);
        }
        self.unfinished.0.store(tasks, Ordering::Relaxed);
        // SeqCst, as the look at `sleepers` must not move before it: see `sleep`.
        self.claim.0.store((tasks as u64) << 32, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.bed));
            self.wake.notify_all();
        }
        self.work();
        let mut spins = 0_u32;
        while self.unfinished.0.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS_BEFORE_YIELD { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        if self.panicked.swap(false, Ordering::Relaxed) {
            let payload = lock(&self.panic).take();
            resume_unwind(payload.unwrap_or_else(|| Box::new("a task panicked")));
        }
    }

    /// Takes and runs tasks until none is left to take. True if there was one.
    fn work(&self) -> bool {
        let mut worked = false;
        let mut claim = self.claim.0.load(Ordering::Acquire);
        while has_task(claim) {
            match self.claim.0.compare_exchange_weak(claim, claim + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.perform((claim & 0xffff_ffff) as usize);
                    worked = true;
                    claim = self.claim.0.load(Ordering::Acquire);
                }
                Err(current) => claim = current,
            }
        }
        worked
    }

    /// Runs a task that this thread has claimed.
    fn perform(&self, index: usize) {
        if !self.panicked.load(Ordering::Relaxed) {
            #[expect(unsafe_code, reason = "the claim protocol keeps the job alive")]
            // SAFETY: this thread holds an unfinished task, so `run` has written the slot before (the claim was
            // acquired), will not write it again and keeps the closure alive until `unfinished` falls below.
            let task = unsafe { (*self.job.get()).map(|task| &*task) };
            IN_TASK.set(true);
            let result = catch_unwind(AssertUnwindSafe(|| task.into_iter().for_each(|task| task(index))));
            IN_TASK.set(false);
            if let Err(payload) = result {
                lock(&self.panic).get_or_insert(payload);
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
        self.unfinished.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// The life of a worker.
    fn serve(&self) {
        let mut spins = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.work() {
                spins = 0;
            } else if spins < SPINS_BEFORE_SLEEP {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.sleep();
                spins = 0;
            }
        }
    }

    /// Sleeps until `run` or `drop` wakes. Either `run` sees this sleeper, or the sleeper sees the new claim.
    fn sleep(&self) {
        let mut bed = lock(&self.bed);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !has_task(self.claim.0.load(Ordering::SeqCst)) && !self.stop.load(Ordering::SeqCst) {
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn has_task(claim: u64) -> bool {
    (claim & 0xffff_ffff) < (claim >> 32)
}

/// The locks here guard nothing that a panic could leave half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|task| {
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once_whatever_the_threads() {
        for threads in [0, 1, 2, 3, 8] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for tasks in [0, 1, 2, 7, if cfg!(miri) { 20 } else { 1000 }] {
                assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn many_short_regions_in_a_row() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        let regions = if cfg!(miri) { 50 } else { 20_000 };
        for _ in 0..regions {
            pool.run(4, &|task| {
                total.fetch_add(task, Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), regions * 6);
    }

    #[test]
    fn works_again_after_the_workers_went_to_sleep() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            assert_eq!(counts(&pool, 50), vec![1; 50]);
            while pool.shared.sleepers.load(Ordering::SeqCst) < 1 {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn nested_regions_run_inline() {
        let (outer, inner) = (Pool::new(3), Pool::new(2));
        let total = AtomicUsize::new(0);
        outer.run(6, &|_| {
            for pool in [&outer, &inner] {
                pool.run(5, &|_| {
                    total.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(total.into_inner(), 60);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(threads);
            for bad in [0, 3, 9] {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    pool.run(10, &|task| assert!(task != bad, "task {bad}"));
                }));
                let payload = result.expect_err("the panic must come out");
                assert_eq!(payload.downcast_ref::<String>(), Some(&format!("task {bad}")));
                assert_eq!(counts(&pool, 20), vec![1; 20]);
            }
        }
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..if cfg!(miri) { 3 } else { 200 } {
                        assert_eq!(counts(&pool, 9), vec![1; 9]);
                    }
                });
            }
        });
    }
}
