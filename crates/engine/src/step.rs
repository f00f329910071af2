//! The step loop.
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::{Clock, Rng};
use models::batch::Model;

use crate::engine::{Command, EngineConfig, Shared};

pub(crate) struct StepLoop {
    _receiver: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
}

impl StepLoop {
    pub(crate) fn new(
        _model: Box<dyn Model>,
        _config: EngineConfig,
        _length_max: usize,
        _clock: Arc<dyn Clock>,
        _seeds: Rng,
        receiver: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { _receiver: receiver, shared }
    }

    pub(crate) fn run(self) {
        let _ = Duration::ZERO;
        self.shared.stop();
    }
}
