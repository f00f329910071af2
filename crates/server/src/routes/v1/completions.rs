use std::collections::{BTreeMap, VecDeque};

use axum::extract::State;
use axum::response::Response;
use base::TokenId;
use bytes::Bytes;
use dialogue::{
    AnswerEvent, CacheScope, CompletionPrompt, Dialogue, Finish, Priority, TokenLogprob, TopLogprob,
};
use wire::STREAM_DONE;
use wire::completions::{
    Completion, CompletionChoice, CompletionChunk, CompletionChunkChoice, CompletionInput,
    CompletionLogprobs, CompletionRequest,
};

use super::{Naming, finish_reason, wire_number, wire_usage};
use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::generation::{Asked, Ended, Form, Order, Running, Step, begin, stream, translate, whole};
use crate::sse;

const ENDPOINT: &str = "/v1/completions";

/// Continues texts, or fills in their middle where the model can.
#[utoipa::path(
    post,
    path = "/v1/completions",
    operation_id = "completions",
    tag = "programs",
    request_body = wire::bodies::CompletionBody,
    responses((
        status = 200,
        description = "The answers; with `stream`, events without a name, each a CompletionChunk, and a last `[DONE]`. \
            Whoever had to wait may get an error in its place: the status was sent before.",
        headers(("x-cachalot-reduced" = Option<String>, description = "What was cut of what was asked for, for the load or for \
            whose it is, as in `thinking_tokens=512, output_tokens=1024`: most tokens of the thought, and of all of the \
            answer.")),
        content((wire::completions::Completion = "application/json"), (String = "text/event-stream")),
    )),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, room): JsonBytes,
) -> Result<Response, ApiError> {
    let request = CompletionRequest::from_json(&body)?;
    drop(body);
    let (streams, include_usage, answers) = (request.stream, request.include_usage, request.answers as usize);
    let order = Order {
        endpoint: ENDPOINT,
        model: request.model.clone(),
        asked: Asked::Completions(asked(&request)),
        answers,
    };
    // The dialogue names fields as the chat has them.
    let named = |error: ApiError| error.renamed("messages", "prompt").renamed("top_logprobs", "logprobs");
    let mut running = begin(&app, client, standing, order).await.map_err(named)?;
    let texts = texts(request, &mut running);
    drop(room);
    let naming = Naming::new(&app, "cmpl-", &running);
    if streams {
        return Ok(stream(&app, running, Chunks { naming, include_usage, texts }));
    }
    let cut = running.cut();
    Ok(cut.mark(whole(&app, completion(running, naming, texts)).await?))
}

fn asked(request: &CompletionRequest) -> Vec<dialogue::CompletionRequest> {
    // A request for no tokens at all is one for the prompt, which must be read for its probabilities.
    let of_prompt = request.logprobs.or((request.max_tokens == 0).then_some(0)).filter(|_| request.echo);
    let completion = |input: &CompletionInput| dialogue::CompletionRequest {
        prompt: match input {
            CompletionInput::Text(text) => CompletionPrompt::Text(text.clone()),
            CompletionInput::Tokens(tokens) => CompletionPrompt::Tokens(tokens.clone()),
        },
        suffix: request.suffix.clone(),
        sampling: translate::sampling(request.sampling.clone(), request.logprobs),
        tokens_max: Some(request.max_tokens as usize),
        stop: request.stop.clone(),
        format: translate::format(request.format.clone()),
        prompt_logprobs: of_prompt.map(|top| top as usize),
        priority: Priority::default(),
        scope: CacheScope::default(),
    };
    request.prompts.iter().map(completion).collect()
}

/// What each choice begins with.
fn texts(request: CompletionRequest, running: &mut Running) -> Vec<Text> {
    let (answers, logprobs, echo) = (request.answers as usize, request.logprobs.is_some(), request.echo);
    let prompts = running.take_prompts();
    let prompts = request.prompts.into_iter().zip(prompts);
    let text = |(input, tokens): (CompletionInput, Vec<TokenId>)| Text {
        echo,
        echoed: echo.then(|| Echo::new(input, &tokens, running.dialogue())),
        entries: logprobs.then(Entries::default),
        given: 0,
    };
    prompts.map(text).flat_map(|text| std::iter::repeat_n(text, answers)).collect()
}

/// A prompt to give back.
#[derive(Clone)]
struct Echo {
    text: String,
    /// Its first token, before which there is nothing that could make it probable.
    first: (String, Vec<u8>),
    /// Bytes of its tokens.
    bytes: usize,
}

impl Echo {
    fn new(input: CompletionInput, tokens: &[TokenId], dialogue: &Dialogue) -> Self {
        let spelled = || tokens.iter().map(|&token| dialogue.spell(token));
        let first = spelled().next().unwrap_or_default();
        let all: Vec<u8> = spelled().flat_map(|(_, bytes)| bytes).collect();
        let text = match input {
            CompletionInput::Text(text) => text,
            CompletionInput::Tokens(_) => String::from_utf8_lossy(&all).into_owned(),
        };
        Self { text, first, bytes: all.len() }
    }
}

/// What is said of one choice, piece by piece.
#[derive(Clone)]
struct Text {
    /// Whether the prompt is given back too.
    echo: bool,
    /// Not yet given back.
    echoed: Option<Echo>,
    /// None if no log-probabilities were asked for.
    entries: Option<Entries>,
    /// Tokens after the prompt that have an entry.
    given: usize,
}

/// A piece of a choice.
#[derive(Default)]
struct Piece {
    text: String,
    logprobs: Option<CompletionLogprobs>,
    finish: Option<Finish>,
}

impl Text {
    /// The pieces that an event brings.
    fn take(&mut self, event: AnswerEvent) -> Vec<Piece> {
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::ToolCall(_) => Vec::new(),
            AnswerEvent::Prompt(tokens) => self.echo(tokens).into_iter().collect(),
            AnswerEvent::Delta(delta) => {
                let echoed = self.echo(Vec::new());
                self.given += delta.tokens.len();
                let logprobs = self.entries.as_mut().map(|entries| entries.of(delta.tokens));
                let piece = Piece { text: delta.text, logprobs, finish: None };
                echoed.into_iter().chain([piece]).collect()
            }
            AnswerEvent::Finished { finish, usage, .. } => {
                let echoed = self.echo(Vec::new());
                let missing = self.without_text(&finish, usage.completion_tokens);
                let logprobs = self.entries.as_mut().map(|entries| entries.unknown(missing));
                let piece = Piece { logprobs, finish: Some(finish), ..Piece::default() };
                echoed.into_iter().chain([piece]).collect()
            }
        }
    }

    /// The prompt, unless it was given back already or nobody wants it.
    fn echo(&mut self, tokens: Vec<TokenLogprob>) -> Option<Piece> {
        let Echo { text, first, bytes } = self.echoed.take()?;
        let logprobs = self.entries.as_mut().map(|entries| entries.of_prompt(&text, first, bytes, tokens));
        Some(Piece { text, logprobs, finish: None })
    }

    /// Tokens that were generated and have no text. Behind a prompt that is given back the lists have an entry for each
    /// of them, and for the one with which the model ended: clients find the prompt's by counting from the end.
    fn without_text(&self, finish: &Finish, generated: usize) -> usize {
        match finish {
            _ if !self.echo => 0,
            Finish::Stop => (generated + 1).saturating_sub(self.given),
            Finish::Length => generated.saturating_sub(self.given),
            _ => 0,
        }
    }
}

/// Where the next token begins.
#[derive(Clone, Default)]
struct Entries {
    /// Characters that have begun.
    begun: usize,
    /// Bytes of tokens that are not in the text: of one that begins every prompt, or the space that some tokenizers
    /// put before the first word.
    unseen: usize,
}

impl Entries {
    fn of_prompt(
        &mut self,
        text: &str,
        first: (String, Vec<u8>),
        bytes: usize,
        tokens: Vec<TokenLogprob>,
    ) -> CompletionLogprobs {
        let mut list = CompletionLogprobs::default();
        self.unseen = bytes.saturating_sub(text.len());
        self.add(&mut list, &first.0, &first.1, None);
        for token in tokens {
            self.add_token(&mut list, &token);
        }
        (self.begun, self.unseen) = (text.chars().count(), 0);
        list
    }

    fn of(&mut self, tokens: Vec<TokenLogprob>) -> CompletionLogprobs {
        let mut list = CompletionLogprobs::default();
        for token in tokens {
            self.add_token(&mut list, &token);
        }
        list
    }

    fn unknown(&mut self, count: usize) -> CompletionLogprobs {
        let mut list = CompletionLogprobs::default();
        for _ in 0..count {
            self.add(&mut list, "", &[], None);
        }
        list
    }

    fn add_token(&mut self, list: &mut CompletionLogprobs, token: &TokenLogprob) {
        let itself = (spelling(&token.text, &token.bytes), wire_number(token.logprob));
        let mut top: BTreeMap<String, f32> = BTreeMap::new();
        let others = token.top.iter();
        let others = others
            .map(|TopLogprob { text, bytes, logprob, .. }| (spelling(text, bytes), wire_number(*logprob)));
        for (name, logprob) in [itself].into_iter().chain(others) {
            // Two tokens may be spelled alike; the more probable one counts.
            top.entry(name).and_modify(|known| *known = known.max(logprob)).or_insert(logprob);
        }
        self.add(list, &token.text, &token.bytes, Some((wire_number(token.logprob), top)));
    }

    fn add(
        &mut self,
        list: &mut CompletionLogprobs,
        text: &str,
        bytes: &[u8],
        known: Option<(f32, BTreeMap<String, f32>)>,
    ) {
        let hidden = self.unseen.min(bytes.len());
        self.unseen -= hidden;
        let seen = &bytes[hidden..];
        let goes_on = |byte: &u8| byte & 0xc0 == 0x80;
        // A token that goes on with a character begins where the character does.
        let offset = self.begun - usize::from(self.begun > 0 && seen.first().is_some_and(goes_on));
        self.begun += seen.iter().filter(|byte| !goes_on(byte)).count();
        let (logprob, top) = known.unzip();
        list.tokens.push(spelling(text, bytes));
        list.token_logprobs.push(logprob);
        list.top_logprobs.push(top);
        list.text_offset.push(offset);
    }
}

/// A token's text, or its bytes where they are not whole characters.
fn spelling(text: &str, bytes: &[u8]) -> String {
    if std::str::from_utf8(bytes).is_ok() {
        return text.to_owned();
    }
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("bytes:{escaped}")
}

async fn completion(
    mut running: Running,
    naming: Naming,
    mut texts: Vec<Text>,
) -> Result<Completion, ApiError> {
    let mut choices: Vec<_> = texts.iter().enumerate().map(|(index, text)| empty(index, text)).collect();
    while let Step::Event(choice, event) = running.next().await? {
        let (Some(text), Some(choice)) = (texts.get_mut(choice), choices.get_mut(choice)) else { continue };
        for piece in text.take(event) {
            choice.text.push_str(&piece.text);
            if let (Some(all), Some(more)) = (&mut choice.logprobs, piece.logprobs) {
                all.tokens.extend(more.tokens);
                all.token_logprobs.extend(more.token_logprobs);
                all.top_logprobs.extend(more.top_logprobs);
                all.text_offset.extend(more.text_offset);
            }
            choice.finish_reason = piece.finish.as_ref().map_or(choice.finish_reason, finish_reason);
        }
    }
    let ended = running.ended().ok_or_else(|| ApiError::internal("an answer did not end"))?;
    let Naming { id, created, model, fingerprint } = naming;
    let completion = Completion::new(id, created, model, choices, wire_usage(ended.usage));
    Ok(Completion { system_fingerprint: Some(fingerprint), ..completion })
}

fn empty(index: usize, text: &Text) -> CompletionChoice {
    CompletionChoice {
        index: number(index),
        text: String::new(),
        logprobs: text.entries.is_some().then(CompletionLogprobs::default),
        finish_reason: finish_reason(&Finish::Stop),
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The stream: the prompts if they are wanted, what continues them, for each choice a last chunk that says why it ended,
/// and `[DONE]`. The usage rides on the last chunk, or comes in one of its own where that was asked for.
struct Chunks {
    naming: Naming,
    include_usage: bool,
    texts: Vec<Text>,
}

impl Chunks {
    fn chunk(&self, choices: Vec<CompletionChunkChoice>) -> CompletionChunk {
        let Naming { id, created, model, fingerprint } = &self.naming;
        let system_fingerprint = Some(fingerprint.clone());
        CompletionChunk { system_fingerprint, ..CompletionChunk::new(id, *created, model, choices) }
    }
}

impl Form for Chunks {
    fn event(&mut self, choice: usize, event: AnswerEvent, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        let pieces = self.texts.get_mut(choice).map(|text| text.take(event)).unwrap_or_default();
        for Piece { text, logprobs, finish } in pieces {
            let usage = ended.filter(|_| finish.is_some() && !self.include_usage);
            let piece = CompletionChunkChoice {
                index: number(choice),
                text,
                logprobs: logprobs.filter(|logprobs| !logprobs.tokens.is_empty()),
                finish_reason: finish.as_ref().map(finish_reason),
            };
            let usage = usage.map(|ended| wire_usage(ended.usage));
            out.push_back(sse::data(&CompletionChunk { usage, ..self.chunk(vec![piece]) }));
        }
    }

    fn done(&mut self, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        if let Some(ended) = ended.filter(|_| self.include_usage) {
            let usage = Some(wire_usage(ended.usage));
            out.push_back(sse::data(&CompletionChunk { usage, ..self.chunk(Vec::new()) }));
        }
        out.push_back(sse::done(STREAM_DONE));
    }

    fn error(&mut self, error: &ApiError, out: &mut VecDeque<Bytes>) {
        out.push_back(sse::data(&error.body()));
        out.push_back(sse::done(STREAM_DONE));
    }
}

#[cfg(test)]
mod tests {
    use dialogue::{Delta, Part, Timing, Usage};

    use super::*;

    fn token(bytes: &[u8], logprob: f32) -> TokenLogprob {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let other = TopLogprob { id: 1, text: "?".to_owned(), bytes: b"?".to_vec(), logprob: -0.5 };
        TokenLogprob { id: 0, text, bytes: bytes.to_vec(), logprob, top: vec![other] }
    }

    fn finished(finish: Finish, completion_tokens: usize) -> AnswerEvent {
        let usage = Usage { completion_tokens, ..Usage::default() };
        AnswerEvent::Finished { finish, usage, timing: Timing::default() }
    }

    fn echoing(text: &str, first: &[u8], bytes: usize) -> Text {
        let first = (String::from_utf8_lossy(first).into_owned(), first.to_vec());
        let echoed = Some(Echo { text: text.to_owned(), first, bytes });
        Text { echo: true, echoed, entries: Some(Entries::default()), given: 0 }
    }

    /// All that events say: the text, the tokens, where they begin, and whether each has a probability.
    fn say(mut text: Text, events: Vec<AnswerEvent>) -> (String, Vec<String>, Vec<usize>, Vec<bool>) {
        let mut said = (String::new(), Vec::new(), Vec::new(), Vec::new());
        for piece in events.into_iter().flat_map(|event| text.take(event)) {
            said.0.push_str(&piece.text);
            let list = piece.logprobs.unwrap_or_default();
            assert_eq!(list.token_logprobs.len(), list.top_logprobs.len());
            said.1.extend(list.tokens);
            said.2.extend(list.text_offset);
            said.3.extend(list.token_logprobs.iter().map(Option::is_some));
        }
        said
    }

    #[test]
    fn each_token_of_prompt_and_answer_has_an_entry_where_it_begins() {
        // A prompt of three tokens behind one that begins every prompt; a character of the answer takes two tokens, and
        // the model's end is a token too.
        let events = vec![
            AnswerEvent::Prompt(vec![token("é".as_bytes(), -1.0), token(b"a", -2.0)]),
            AnswerEvent::Delta(Delta {
                part: Part::Content,
                text: "→!".to_owned(),
                tokens: vec![token(&[0xe2, 0x86], -1.0), token(&[0x92], 0.0), token(b"!", -1.0)],
            }),
            finished(Finish::Stop, 3),
        ];
        let (text, tokens, offsets, known) = say(echoing("éa", b"<s>", 6), events);
        assert_eq!(text, "éa→!");
        assert_eq!(tokens, ["<s>", "é", "a", "bytes:\\xe2\\x86", "bytes:\\x92", "!", ""]);
        assert_eq!(offsets, [0, 0, 1, 2, 2, 3, 4]);
        assert_eq!(known, [false, true, true, true, true, true, false]);
    }

    #[test]
    fn a_client_that_counts_from_the_end_finds_the_prompt() {
        // What lm-eval asks: one token after the prompt, of which it knows the length.
        for (finish, generated, tokens) in [
            (Finish::Length, 1, vec![token(b"b", -1.0)]),
            (Finish::Length, 1, vec![]),
            (Finish::Stop, 0, vec![]),
        ] {
            let mut events = vec![AnswerEvent::Prompt(vec![token(b"a", -1.0)])];
            if !tokens.is_empty() {
                events.push(AnswerEvent::Delta(Delta { part: Part::Content, text: "b".to_owned(), tokens }));
            }
            events.push(finished(finish, generated));
            let (_, tokens, ..) = say(echoing("xa", b"x", 2), events);
            assert_eq!(tokens.len(), 3);
        }
    }

    #[test]
    fn a_prompt_is_given_back_without_probabilities_too() {
        let echoed = Text { entries: None, ..echoing("ab", b"a", 2) };
        let delta = Delta { part: Part::Content, text: "c".to_owned(), tokens: Vec::new() };
        let (text, tokens, ..) = say(echoed, vec![AnswerEvent::Delta(delta), finished(Finish::Stop, 1)]);
        assert_eq!((text.as_str(), tokens.len()), ("abc", 0));
    }

    #[test]
    fn the_token_itself_is_among_the_most_probable() {
        let list = Entries::default().of(vec![token(b"a", -3.0), token(b"?", -0.25)]);
        let top = list.top_logprobs[0].as_ref().unwrap();
        assert_eq!((top["a"], top["?"]), (-3.0, -0.5));
        // Two that are spelled alike are one entry, of the more probable.
        assert!((list.top_logprobs[1].as_ref().unwrap()["?"] + 0.25).abs() < 1e-6);
    }
}
