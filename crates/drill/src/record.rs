//! What became of everybody who came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::http::{Answer, Trouble};
use crate::plan::Targets;
use crate::schedule::Phase;

/// How a request of somebody honest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Done,
    /// The answer began and was cut.
    Broken,
    /// The server asked for proof of something before it would serve.
    Challenged,
    /// The server refused, with this status and code.
    Refused(u16, String),
    /// No connection, or it broke before the answer began.
    Unreachable,
    /// Whoever asked waited as long as people wait, and went away.
    GaveUp,
}

impl End {
    /// Whether the server turned somebody away, rather than being slow.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self, Self::Challenged | Self::Refused(..) | Self::Unreachable)
    }

    /// What an answer that is not the wanted one means.
    pub(crate) fn of_answer(answer: &Answer) -> Self {
        if answer.status == 428 || answer.code().contains("challenge") {
            Self::Challenged
        } else {
            Self::Refused(answer.status, answer.code().to_owned())
        }
    }

    pub(crate) fn of_trouble(_: &Trouble) -> Self {
        Self::Unreachable
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::Broken => "broken".to_owned(),
            Self::Challenged => "challenged".to_owned(),
            Self::Refused(status, code) => format!("refused {status} {code}").trim_end().to_owned(),
            Self::Unreachable => "unreachable".to_owned(),
            Self::GaveUp => "gave up".to_owned(),
        }
    }
}

/// A chat of an established user.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chat {
    pub(crate) phase: Phase,
    /// When it was to begin.
    pub(crate) at: Duration,
    /// Whether it was asked with an API key.
    pub(crate) with_key: bool,
    /// From then to the first token, if one came.
    pub(crate) ttft: Option<Duration>,
    /// Mean time between tokens.
    pub(crate) inter_token: Duration,
    /// Longest time between tokens.
    pub(crate) stall: Duration,
    pub(crate) stages: Stages,
    pub(crate) end: End,
}

/// On the way to the first token, as far as it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stages {
    /// From when the chat was to begin until there was a connection.
    pub(crate) connected: Option<Duration>,
    /// From then until the server had the question: in the web app said so, over the API began to answer.
    pub(crate) taken: Option<Duration>,
    /// What the server says that the model's queue took, in the web app.
    pub(crate) queued: Option<Duration>,
    /// What the server says of the time from the question to the first token, in the web app.
    pub(crate) server_ttft: Option<Duration>,
}

impl Chat {
    pub(crate) fn is_good(&self, targets: &Targets) -> bool {
        self.end == End::Done
            && self.ttft.is_some_and(|ttft| ttft <= targets.ttft)
            && self.inter_token <= targets.inter_token
            && self.stall <= targets.stall
    }

    /// What counts as its time to the first token: of a chat that had none at least as long as people wait.
    pub(crate) fn waited(&self, targets: &Targets) -> Duration {
        self.ttft.unwrap_or(targets.patience)
    }
}

/// A login with the right password from a new address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Login {
    pub(crate) phase: Phase,
    pub(crate) at: Duration,
    pub(crate) waited: Duration,
    pub(crate) end: End,
}

/// What somebody who wanted an account got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Account,
    /// A place in the waiting list.
    Place,
    /// A letter, which nobody in a drill reads.
    Letter,
    Nothing(End),
}

/// A sign-up of somebody honest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SignUp {
    pub(crate) phase: Phase,
    pub(crate) at: Duration,
    pub(crate) waited: Duration,
    pub(crate) challenges: u32,
    pub(crate) got: Got,
}

/// All that was noted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) chats: Vec<Chat>,
    pub(crate) logins: Vec<Login>,
    pub(crate) sign_ups: Vec<SignUp>,
}

/// Where it is noted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Records>>);

impl Recorder {
    pub(crate) fn note(&self, write: impl FnOnce(&mut Records)) {
        // Lists that are only added to hold good values whoever panicked.
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn all(&self) -> Records {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
