use std::io;
use std::pin::pin;

use dialogue::{Answer, AnswerEvent, ChatRequest, Dialogue, Finish, Part, Timing, Usage};

use super::printer::Printer;

/// What became of a question.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) reasoning: String,
    pub(super) content: String,
    pub(super) finish: Finish,
    pub(super) usage: Usage,
    pub(super) timing: Timing,
}

/// Where an answer comes from.
trait Speaker {
    async fn next(&mut self) -> Option<AnswerEvent>;
    fn cancel(&self);
}

impl Speaker for Answer {
    async fn next(&mut self) -> Option<AnswerEvent> {
        Answer::next(self).await
    }

    fn cancel(&self) {
        Answer::cancel(self);
    }
}

/// Asks, and prints the answer as it comes. Ctrl-C ends the answer; a second time, at once.
pub(super) fn ask(
    runtime: &tokio::runtime::Runtime,
    dialogue: &Dialogue,
    request: &ChatRequest,
    printer: &mut Printer<'_>,
) -> anyhow::Result<Told> {
    let prompt = dialogue.check(request)?;
    runtime.block_on(async {
        // Listened to from the first turn of the loop on.
        let mut signal = pin!(tokio::signal::ctrl_c());
        let interrupted = async || {
            let _ = signal.as_mut().await;
            signal.set(tokio::signal::ctrl_c());
        };
        tell(dialogue.start(prompt)?, interrupted, printer).await
    })
}

async fn tell(
    mut answer: impl Speaker,
    mut interrupted: impl AsyncFnMut(),
    printer: &mut Printer<'_>,
) -> anyhow::Result<Told> {
    let (mut reasoning, mut content) = (String::new(), String::new());
    let mut cancelled = false;
    loop {
        let event = tokio::select! {
            biased;
            () = interrupted() => {
                if cancelled {
                    // The model is in the middle of a long step: what it still says is nobody's.
                    printer.end()?;
                    let (usage, timing) = (Usage::default(), Timing::default());
                    return Ok(Told { reasoning, content, finish: Finish::Cancelled, usage, timing });
                }
                cancelled = true;
                answer.cancel();
                continue;
            }
            event = answer.next() => event,
        };
        match event {
            Some(AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_)) => {}
            Some(AnswerEvent::Delta(delta)) => {
                let text = if delta.part == Part::Reasoning { &mut reasoning } else { &mut content };
                text.push_str(&delta.text);
                printer.print(delta.part, &delta.text)?;
            }
            Some(AnswerEvent::Finished { finish, usage, timing }) => {
                printer.end()?;
                return Ok(Told { reasoning, content, finish, usage, timing });
            }
            None => return Err(io::Error::other("the answer ended without a last event").into()),
        }
    }
}

/// Counts and speed, for people.
pub(super) fn stats(told: &Told) -> String {
    let Usage { prompt_tokens, completion_tokens, reasoning_tokens, .. } = told.usage;
    let decoded = completion_tokens.saturating_sub(1) as f64;
    let seconds = told.timing.decode.as_secs_f64();
    let speed = if seconds > 0.0 { decoded / seconds } else { 0.0 };
    let first = told.timing.first_token().as_secs_f64() * 1e3;
    let reasoning =
        if reasoning_tokens > 0 { format!(" ({reasoning_tokens} reasoning)") } else { String::new() };
    format!(
        "{prompt_tokens} tokens in, {completion_tokens} out{reasoning}, first after {first:.0} ms, then {speed:.1} tokens/s"
    )
}

/// Why an answer is not all there, for people.
pub(super) fn cut_short(finish: &Finish) -> Option<String> {
    match finish {
        Finish::Stop | Finish::StopString(_) | Finish::ToolCalls => None,
        Finish::Length => Some("cut: the token limit or the end of the context is reached".to_owned()),
        Finish::Cancelled => Some("stopped".to_owned()),
        Finish::ShuttingDown => Some("cut: the model is shutting down".to_owned()),
        Finish::Displaced => Some("the queue is full".to_owned()),
        Finish::Failed(why) => Some(format!("failed: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};
    use std::time::Duration;

    use dialogue::Delta;

    use super::super::printer::Style;
    use super::*;

    /// Says one word, then hangs in a step, whatever it is told.
    struct Stuck<'a> {
        said: bool,
        cancels: &'a Cell<usize>,
    }

    impl Speaker for Stuck<'_> {
        async fn next(&mut self) -> Option<AnswerEvent> {
            if std::mem::replace(&mut self.said, true) {
                pending::<()>().await;
            }
            let (part, text) = (Part::Content, "Hm".to_owned());
            Some(AnswerEvent::Delta(Delta { part, text, tokens: Vec::new() }))
        }

        fn cancel(&self) {
            self.cancels.set(self.cancels.get() + 1);
        }
    }

    #[test]
    fn a_second_interrupt_does_not_wait_for_the_model() {
        let (cancels, turns) = (Cell::new(0), Cell::new(0));
        let answer = Stuck { said: false, cancels: &cancels };
        // The first turn is for the word.
        let interrupted = async || {
            turns.set(turns.get() + 1);
            if turns.get() == 1 { pending().await } else { ready(()).await }
        };
        let mut out = Vec::new();
        let mut printer = Printer::together(&mut out, Style::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let told = runtime.block_on(async {
            let telling = tell(answer, interrupted, &mut printer);
            tokio::time::timeout(Duration::from_secs(60), telling).await.expect("it ends").unwrap()
        });
        assert_eq!((told.finish, told.content.as_str(), cancels.get()), (Finish::Cancelled, "Hm", 1));
        assert_eq!(out, b"Hm\n");
    }
}
