//! Computes what may come next in steered sequences, on a thread of its own while the model runs.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use crate::scheduler::SequenceId;
use crate::steering::{Allowed, Steering, TokenMask};

/// What may come next in one sequence.
pub(crate) struct Next {
    /// Gone if it panicked.
    pub(crate) steering: Option<Box<dyn Steering>>,
    pub(crate) allowed: Result<Allowed, String>,
    pub(crate) mask: TokenMask,
}

struct Job {
    id: SequenceId,
    steering: Box<dyn Steering>,
    mask: TokenMask,
}

struct Worker {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<(SequenceId, Next)>,
}

/// See the module's documentation. The thread is started when it is first needed, sleeps while there is nothing to do,
/// and ends with this.
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
    pub(crate) fn begin(&mut self, id: SequenceId, steering: Box<dyn Steering>) {
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
                // It catches panics, so it is there; were it not, its sequences fail for want of an answer.
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
    let next = match catch_unwind(AssertUnwindSafe(|| steering.allowed(&mut mask))) {
        Ok(allowed) => Next { steering: Some(steering), allowed, mask },
        Err(_) => Next { steering: None, allowed: Err(STOPPED.to_owned()), mask },
    };
    (id, next)
}

/// For the caller of a sequence whose steering panicked.
pub(crate) const STOPPED: &str = "what the answer must look like could not be worked out";
