//! Computes what may come next in steered sequences, on a thread of its own while the model runs.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use base::TokenId;

use crate::scheduler::SequenceId;
use crate::steering::{Allowed, Steering, TokenMask};

/// A steering whose panics end nothing but its own sequence, also one while it is dropped.
pub(crate) struct Guarded {
    /// Gone if it panicked.
    steering: Option<Box<dyn Steering>>,
}

/// What may come next in one sequence.
pub(crate) struct Next {
    pub(crate) steering: Guarded,
    pub(crate) allowed: Result<Allowed, String>,
    pub(crate) mask: TokenMask,
}

struct Job {
    id: SequenceId,
    steering: Guarded,
    mask: TokenMask,
}

struct Worker {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<(SequenceId, Next)>,
}

/// See the module's documentation. The thread is started when it is first needed, sleeps while there is nothing to do,
/// and ends with this. One is enough: a mask takes microseconds to a millisecond, a pass of a model over as many
/// sequences much longer, and the model's own threads want all cores.
pub(crate) struct Masks {
    vocab_size: usize,
    worker: Option<Worker>,
    /// Jobs that were begun and not collected.
    begun: usize,
    /// Kept for their memory.
    spare: Vec<TokenMask>,
    ready: HashMap<SequenceId, Next>,
}

impl Masks {
    pub(crate) fn new(vocab_size: usize) -> Self {
        Self { vocab_size, worker: None, begun: 0, spare: Vec::new(), ready: HashMap::new() }
    }

    /// Begins to compute what may come next in a sequence.
    pub(crate) fn begin(&mut self, id: SequenceId, steering: Guarded) {
        let mut mask = self.spare.pop().unwrap_or_else(|| TokenMask::new(self.vocab_size));
        mask.clear();
        let job = Job { id, steering, mask };
        let worker = match self.worker.take() {
            Some(worker) => Some(worker),
            None => start(),
        };
        let refused = match &worker {
            Some(worker) => worker.jobs.send(job).err().map(|error| error.0),
            None => Some(job),
        };
        self.worker = worker;
        match refused {
            None => self.begun += 1,
            // There is no thread to be had; it takes a little longer.
            Some(job) => self.ready.extend([compute(job)]),
        }
    }

    /// Waits until all that was begun is there.
    pub(crate) fn wait(&mut self) {
        while self.begun > 0 {
            self.begun -= 1;
            match self.worker.as_ref().map(|worker| worker.done.recv()) {
                Some(Ok(next)) => self.ready.extend([next]),
                // Its sequences fail for want of an answer.
                _ => self.worker = None,
            }
        }
    }

    /// What may come next in a sequence for which that was begun.
    pub(crate) fn take(&mut self, id: SequenceId) -> Option<Next> {
        self.ready.remove(&id)
    }

    /// Takes a mask back.
    pub(crate) fn recycle(&mut self, mask: TokenMask) {
        self.spare.push(mask);
    }
}

fn start() -> Option<Worker> {
    let (jobs, received) = mpsc::channel::<Job>();
    let (sender, done) = mpsc::channel();
    let run = move || {
        for job in received {
            if sender.send(compute(job)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("masks".to_owned()).spawn(run).ok()?;
    Some(Worker { jobs, done })
}

fn compute(job: Job) -> (SequenceId, Next) {
    let Job { id, mut steering, mut mask } = job;
    let allowed = steering.allowed(&mut mask);
    (id, Next { steering, allowed, mask })
}

impl Guarded {
    pub(crate) fn new(steering: Box<dyn Steering>) -> Self {
        Self { steering: Some(steering) }
    }

    fn allowed(&mut self, mask: &mut TokenMask) -> Result<Allowed, String> {
        self.guard(|steering| steering.allowed(mask))
    }

    pub(crate) fn took(&mut self, token: TokenId) -> Result<(), String> {
        self.guard(|steering| steering.took(token))
    }

    fn guard<T>(&mut self, ask: impl FnOnce(&mut dyn Steering) -> Result<T, String>) -> Result<T, String> {
        let mut steering = self.steering.take().ok_or(STOPPED)?;
        let Ok(answer) = catch_unwind(AssertUnwindSafe(|| ask(&mut *steering))) else {
            drop(Self { steering: Some(steering) });
            return Err(STOPPED.to_owned());
        };
        self.steering = Some(steering);
        answer
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let steering = self.steering.take();
        // The panic has been reported where it happened, and nobody is left to hear of it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(steering)));
    }
}

/// For the caller of a sequence whose steering panicked.
pub(crate) const STOPPED: &str = "what the answer must look like could not be worked out";

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is asked, told or dropped.
    #[derive(Debug)]
    struct Brittle {
        asked: bool,
        told: bool,
    }

    impl Steering for Brittle {
        fn allowed(&mut self, mask: &mut TokenMask) -> Result<Allowed, String> {
            assert!(!self.asked, "told to panic");
            mask.allow(3);
            Ok(Allowed::Masked)
        }

        fn took(&mut self, _: TokenId) -> Result<(), String> {
            assert!(!self.told, "told to panic");
            Ok(())
        }
    }

    impl Drop for Brittle {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "told to panic");
        }
    }

    fn begin(masks: &mut Masks, id: u64, asked: bool, told: bool) {
        masks.begin(SequenceId(id), Guarded::new(Box::new(Brittle { asked, told })));
    }

    #[test]
    fn panics_are_answers_of_their_sequence_and_others_get_theirs() {
        let mut masks = Masks::new(10);
        for round in 0..3 {
            begin(&mut masks, 1, true, false);
            begin(&mut masks, 2, false, true);
            begin(&mut masks, 3, false, false);
            masks.wait();
            let mut bad = masks.take(SequenceId(1)).unwrap();
            assert_eq!(bad.allowed, Err(STOPPED.to_owned()));
            assert_eq!(bad.steering.took(3), Err(STOPPED.to_owned()), "it is not asked again");
            for (id, expected) in [(2, Err(STOPPED.to_owned())), (3, Ok(()))] {
                let mut next = masks.take(SequenceId(id)).unwrap();
                assert_eq!(next.allowed, Ok(Allowed::Masked), "round {round}");
                let held: Vec<_> = (0..10).filter(|&token| next.mask.contains(token)).collect();
                assert_eq!(held, [3], "a used mask comes cleared");
                assert_eq!(next.steering.took(3), expected);
                masks.recycle(next.mask);
            }
            assert!(masks.take(SequenceId(3)).is_none());
        }
    }

    #[test]
    fn the_thread_is_started_when_it_is_needed_and_ends_with_its_owner() {
        /// Says when the thread on which it was asked has ended.
        #[derive(Debug)]
        struct Watch(mpsc::Sender<()>);
        thread_local! {
            static ENDS: std::cell::RefCell<Option<mpsc::Sender<()>>> = const { std::cell::RefCell::new(None) };
        }
        impl Steering for Watch {
            fn allowed(&mut self, _: &mut TokenMask) -> Result<Allowed, String> {
                ENDS.set(Some(self.0.clone()));
                Ok(Allowed::All)
            }

            fn took(&mut self, _: TokenId) -> Result<(), String> {
                Ok(())
            }
        }
        let mut masks = Masks::new(10);
        masks.wait();
        assert!(masks.worker.is_none());
        let (sender, ended) = mpsc::channel();
        masks.begin(SequenceId(1), Guarded::new(Box::new(Watch(sender))));
        masks.wait();
        drop(masks.take(SequenceId(1)));
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty), "it sleeps");
        drop(masks);
        assert_eq!(ended.recv(), Err(mpsc::RecvError), "it has ended");
    }
}
