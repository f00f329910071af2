use std::collections::VecDeque;
use std::time::Duration;

use base::TokenId;
use engine::{EngineUsage, FinishReason, Sequence, SequenceEvent};

use crate::assemble::{Assembler, Output};

/// The two parts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What the model thinks before it answers.
    Reasoning,
    /// The answer.
    Content,
}

/// A piece of the answer. Never both parts in one; all of the reasoning comes before the content.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// Which part it belongs to.
    pub part: Part,
    /// The text, never empty.
    pub text: String,
    /// The tokens whose text begins in this piece, if log-probabilities were asked for. (Tags and stop strings
    /// belong to no piece.)
    pub tokens: Vec<TokenLogprob>,
}

/// A piece of a call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDelta {
    /// Which call of the answer, from 0.
    pub index: usize,
    /// In the first piece of a call: what is called.
    pub begins: Option<ToolCallStart>,
    /// More of the arguments, as JSON text. Empty in the first piece at most.
    pub arguments: String,
}

/// What is known of a call when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCallStart {
    /// What the result is answered to.
    pub id: String,
    /// The tool.
    pub name: String,
}

/// A token with its log-probability.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: TokenId,
    /// Its text; `U+FFFD` where it holds only a part of a character.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
    /// The most probable tokens, most probable first, as many as were asked for.
    pub top: Vec<TopLogprob>,
}

/// A token that might have come instead.
#[derive(Debug, Clone, PartialEq)]
pub struct TopLogprob {
    /// The token.
    pub id: TokenId,
    /// Its text; `U+FFFD` where it holds only a part of a character.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// This stop string did.
    StopString(String),
    /// The model has called tools and waits for what they give back.
    ToolCalls,
    /// The token limit or the context is reached.
    Length,
    /// The caller cancelled it.
    Cancelled,
    /// The server shut down first.
    ShuttingDown,
    /// It never began: the queue was full, and others came first.
    Displaced,
    /// The model could not go on; a text for the caller.
    Failed(String),
}

/// What an answer took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the conversation, as the model saw it.
    pub prompt_tokens: usize,
    /// Those of them that an earlier request had left in the prefix cache.
    pub cached_tokens: usize,
    /// Tokens generated: reasoning, tags and content, without the end token.
    pub completion_tokens: usize,
    /// Those of them up to and with the tag that ended the reasoning.
    pub reasoning_tokens: usize,
}

/// What an answer took, in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// From the submission until the prompt was being read.
    pub queued: Duration,
    /// From there to the first token.
    pub prefill: Duration,
    /// From the first token to the end.
    pub decode: Duration,
}

impl Timing {
    /// From the submission to the first token.
    pub fn first_token(&self) -> Duration {
        self.queued.saturating_add(self.prefill)
    }

    /// From the submission to the end.
    pub fn total(&self) -> Duration {
        self.first_token().saturating_add(self.decode)
    }
}

/// What happens to an answer: `Started`, then `Delta`s, then `Finished`, which is always the last and always
/// comes. `Started` and the deltas may be missing.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerEvent {
    /// It left the queue; the model is reading the conversation.
    Started {
        /// Time in the queue.
        queued: Duration,
    },
    /// The tokens of the prompt but the first, where that was asked for; comes once, before the deltas.
    Prompt(Vec<TokenLogprob>),
    /// Text.
    Delta(Delta),
    /// A piece of a call of a tool; comes after the text.
    ToolCall(ToolDelta),
    /// Nothing more comes.
    Finished {
        /// Why.
        finish: Finish,
        /// What it took, in tokens.
        usage: Usage,
        /// What it took, in time.
        timing: Timing,
    },
}

/// An answer being generated. Dropping it cancels it.
#[derive(Debug)]
pub struct Answer {
    sequence: Sequence,
    assembler: Assembler,
    /// Events that are due before the engine is asked again.
    ready: VecDeque<AnswerEvent>,
    stop: Vec<String>,
    /// This stop string was found; what the engine still generates is nobody's.
    stopped: Option<usize>,
    finished: bool,
}

impl Answer {
    pub(crate) fn new(sequence: Sequence, assembler: Assembler, stop: Vec<String>) -> Self {
        Self { sequence, assembler, ready: VecDeque::new(), stop, stopped: None, finished: false }
    }

    /// The next event; after [`AnswerEvent::Finished`], which always comes, `None`. Cancel-safe.
    pub async fn next(&mut self) -> Option<AnswerEvent> {
        while self.ready.is_empty() && !self.finished {
            let event = self.sequence.next().await;
            self.receive(event);
        }
        self.ready.pop_front()
    }

    /// [`next`](Self::next) for a thread that may block.
    ///
    /// # Panics
    /// When called within an async runtime.
    pub fn blocking_next(&mut self) -> Option<AnswerEvent> {
        while self.ready.is_empty() && !self.finished {
            let event = self.sequence.blocking_next();
            self.receive(event);
        }
        self.ready.pop_front()
    }

    /// Asks for the end. What is generated already still comes, then `Finished`.
    pub fn cancel(&self) {
        self.sequence.cancel();
    }

    fn receive(&mut self, event: Option<SequenceEvent>) {
        match event {
            Some(SequenceEvent::Started { queued }) => self.ready.push_back(AnswerEvent::Started { queued }),
            Some(SequenceEvent::Prompt(tokens)) => {
                let tokens = tokens.into_iter().map(|token| self.assembler.prompt_logprob(token)).collect();
                self.ready.push_back(AnswerEvent::Prompt(tokens));
            }
            Some(SequenceEvent::Token(token)) if self.stopped.is_none() => {
                let pushed = self.assembler.push(token);
                self.ready.extend(pushed.outputs.into_iter().map(told));
                if pushed.stopped.is_some() {
                    self.stopped = pushed.stopped;
                    self.sequence.cancel();
                }
            }
            Some(SequenceEvent::Token(_)) => {}
            Some(SequenceEvent::Finished { reason, usage }) => self.finish(reason, &usage),
            // The engine always says Finished before this; a caller must not hang if it ever doesn't.
            None => {
                let reason = FinishReason::Failed("the engine ended without a last event".to_owned());
                self.finish(reason, &EngineUsage::default());
            }
        }
    }

    fn finish(&mut self, reason: FinishReason, engine: &EngineUsage) {
        let outputs = self.assembler.finish();
        self.ready.extend(outputs.into_iter().map(told));
        let finish = match reason {
            _ if let Some(place) = self.stopped => {
                Finish::StopString(self.stop.get(place).cloned().unwrap_or_default())
            }
            FinishReason::EndToken if self.assembler.calls() > 0 => Finish::ToolCalls,
            FinishReason::EndToken => Finish::Stop,
            FinishReason::Length => Finish::Length,
            FinishReason::Cancelled => Finish::Cancelled,
            FinishReason::ShuttingDown => Finish::ShuttingDown,
            FinishReason::Displaced => Finish::Displaced,
            FinishReason::Failed(why) => Finish::Failed(why),
        };
        let usage = Usage {
            prompt_tokens: engine.prompt_tokens,
            cached_tokens: engine.cached_tokens,
            completion_tokens: self.assembler.tokens(),
            reasoning_tokens: self.assembler.reasoning_tokens(),
        };
        let timing = Timing { queued: engine.queued, prefill: engine.prefill, decode: engine.decode };
        self.ready.push_back(AnswerEvent::Finished { finish, usage, timing });
        self.finished = true;
    }
}

fn told(output: Output) -> AnswerEvent {
    match output {
        Output::Text(delta) => AnswerEvent::Delta(delta),
        Output::Call(delta) => AnswerEvent::ToolCall(delta),
    }
}
