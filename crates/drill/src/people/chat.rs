//! A chat, in the web app or over the API.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::accounts::Established;
use super::visits::World;
use crate::events::Event;
use crate::http::{Connection, Events, Pass, Trouble};
use crate::record::{Chat, End, Stages};
use crate::schedule::{Phase, question};

/// What a chat has seen so far, for when it is given up.
#[derive(Debug, Default)]
struct Seen {
    first: Option<Duration>,
    last: Duration,
    tokens: u32,
    stall: Duration,
    /// Times of the clock; what the server says of its own is as it says.
    stages: Stages,
}

impl Seen {
    fn token(&mut self, now: Duration) {
        match self.first {
            None => self.first = Some(now),
            Some(_) => self.stall = self.stall.max(now.saturating_sub(self.last)),
        }
        self.last = now;
        self.tokens += 1;
    }

    fn inter_token(&self) -> Duration {
        let between = self.last.saturating_sub(self.first.unwrap_or(self.last));
        between / self.tokens.saturating_sub(1).max(1)
    }
}

/// Chats, over a connection of its own, as whoever comes back after a while has to open one.
pub(crate) async fn hold_chat(world: &World, user: usize, asked: u64, phase: Phase, at: Duration) -> Chat {
    let established = &world.accounts.established[user % world.accounts.established.len()];
    let with_key = matches!(established.pass, Pass::Key(_));
    let targets = &world.plan.targets;
    let text = question(asked);
    let mut seen = Seen::default();
    // As long again for the answer as for its beginning.
    let limit = (at + targets.patience * 2).saturating_sub(world.timer.now());
    let talk = async {
        if with_key {
            by_key(world, established, &text, &mut seen).await
        } else {
            in_the_app(world, established, &text, &mut seen).await
        }
    };
    let ended = timeout(limit, talk).await;
    let end = match ended {
        Ok(Ok(end)) => end,
        Ok(Err(_)) if seen.first.is_some() => End::Broken,
        Ok(Err(trouble)) => End::of_trouble(&trouble),
        Err(_) => End::GaveUp,
    };
    let ttft = seen.first.map(|first| first.saturating_sub(at)).filter(|ttft| *ttft <= targets.patience);
    let since = |time: Option<Duration>| time.map(|time| time.saturating_sub(at));
    let stages =
        Stages { connected: since(seen.stages.connected), taken: since(seen.stages.taken), ..seen.stages };
    Chat { phase, at, with_key, ttft, inter_token: seen.inter_token(), stall: seen.stall, stages, end }
}

/// The API for programs: one request, whose answer is as long as was asked for.
async fn by_key(world: &World, user: &Established, text: &str, seen: &mut Seen) -> Result<End, Trouble> {
    let mut connection = Connection::open(&world.target, user.address).await?;
    seen.stages.connected = Some(world.timer.now());
    let body = json!({
        "model": world.accounts.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": world.plan.people.answer_tokens,
        "temperature": 0,
        "stream": true,
    });
    let answer = connection.stream("POST", "/v1/chat/completions", &user.pass, Some(&body)).await?;
    let mut events = match answer {
        Ok(events) => events,
        Err(refusal) => return Ok(End::of_answer(&refusal)),
    };
    seen.stages.taken = Some(world.timer.now());
    let mut finished = false;
    while let Some(Event { data, .. }) = events.next().await? {
        if data == "[DONE]" {
            return Ok(if finished { End::Done } else { End::Broken });
        }
        let chunk: Value = serde_json::from_str(&data).unwrap_or_default();
        let choice = &chunk["choices"][0];
        let said = ["content", "reasoning_content"].map(|part| choice["delta"][part].as_str());
        if said.into_iter().flatten().any(|text| !text.is_empty()) {
            seen.token(world.timer.now());
        }
        finished |= choice["finish_reason"].is_string();
    }
    Ok(End::Broken)
}

/// The web app: a conversation, a question, the stream of the answer, which is stopped when it is long enough, as
/// somebody does who has read what they wanted.
async fn in_the_app(world: &World, user: &Established, text: &str, seen: &mut Seen) -> Result<End, Trouble> {
    let mut connection = Connection::open(&world.target, user.address).await?;
    seen.stages.connected = Some(world.timer.now());
    let made = connection.ask("POST", "/api/conversations", &user.pass, Some(&json!({}))).await?;
    let Some(conversation) = made.body["id"].as_str().filter(|_| made.status == 201) else {
        return Ok(End::of_answer(&made));
    };
    let messages = format!("/api/conversations/{conversation}/messages");
    let turn = connection.ask("POST", &messages, &user.pass, Some(&json!({"content": text}))).await?;
    let Some(message) = turn.body["assistant"]["id"].as_str().filter(|_| turn.status == 201) else {
        return Ok(End::of_answer(&turn));
    };
    seen.stages.taken = Some(world.timer.now());
    let message = format!("{messages}/{message}");
    match connection.stream("GET", &format!("{message}/stream"), &user.pass, None).await? {
        Ok(events) => follow(world, user, &message, events, seen).await,
        Err(refusal) => Ok(End::of_answer(&refusal)),
    }
}

async fn follow(
    world: &World,
    user: &Established,
    message: &str,
    mut events: Events,
    seen: &mut Seen,
) -> Result<End, Trouble> {
    let mut stopping = None;
    while let Some(Event { name, data }) = events.next().await? {
        let view: Value = serde_json::from_str(&data).unwrap_or_default();
        match name.as_str() {
            "delta" => seen.token(world.timer.now()),
            // Joined when something was said already.
            "snapshot"
                if ["content", "reasoning"]
                    .iter()
                    .any(|part| view[part].as_str().is_some_and(|text| !text.is_empty())) =>
            {
                seen.token(world.timer.now());
            }
            "done" => {
                // An answer that was whole when the stream was joined.
                if seen.first.is_none() && view["content"].as_str().is_some_and(|text| !text.is_empty()) {
                    seen.token(world.timer.now());
                }
                let said = |name: &str| view["timing"][name].as_u64().map(Duration::from_millis);
                (seen.stages.queued, seen.stages.server_ttft) = (said("queued_ms"), said("ttft_ms"));
                let ended = matches!(view["status"].as_str(), Some("complete" | "stopped" | "length"));
                return Ok(if ended { End::Done } else { End::Broken });
            }
            _ => {}
        }
        if seen.tokens as usize >= world.plan.people.answer_tokens && stopping.is_none() {
            stopping = Some(tokio::spawn(stop(world.clone(), user.clone(), format!("{message}/stop"))));
        }
    }
    Ok(End::Broken)
}

/// A stop that is refused is seen in the stream, which goes on.
async fn stop(world: World, user: Established, path: String) {
    if let Ok(mut connection) = Connection::open(&world.target, user.address).await {
        let _ = connection.ask("POST", &path, &user.pass, Some(&json!({}))).await;
    }
}
