use std::io;
use std::pin::pin;

use dialogue::{AnswerEvent, ChatRequest, Dialogue, Finish, Part, Timing, Usage};

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

/// Asks, and prints the answer as it comes. Ctrl-C ends the answer.
pub(super) fn ask(
    runtime: &tokio::runtime::Runtime,
    dialogue: &Dialogue,
    request: &ChatRequest,
    printer: &mut Printer<'_>,
) -> anyhow::Result<Told> {
    let prompt = dialogue.check(request)?;
    runtime.block_on(async {
        // Listened to from the first turn of the loop on.
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let mut answer = dialogue.start(prompt)?;
        let (mut reasoning, mut content) = (String::new(), String::new());
        let mut listening = true;
        loop {
            let event = tokio::select! {
                biased;
                _ = &mut interrupted, if listening => {
                    listening = false;
                    answer.cancel();
                    continue;
                }
                event = answer.next() => event,
            };
            match event {
                Some(AnswerEvent::Started { .. }) => {}
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
    })
}

/// Counts and speed, for people.
pub(super) fn stats(told: &Told) -> String {
    let Usage { prompt_tokens, completion_tokens, reasoning_tokens } = told.usage;
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
        Finish::Stop => None,
        Finish::Length => Some("cut: the token limit or the end of the context is reached".to_owned()),
        Finish::Cancelled => Some("stopped".to_owned()),
        Finish::ShuttingDown => Some("cut: the model is shutting down".to_owned()),
        Finish::Failed(why) => Some(format!("failed: {why}")),
    }
}
