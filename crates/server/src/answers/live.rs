use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dialogue::Part;
use store::{ConversationId, Message, MessageId, Progress, Status, UserId};
use tokio::sync::watch;

use crate::bulwark::Cut;

/// An answer being written: its text so far, and those who wait for more.
#[derive(Debug)]
pub(crate) struct Live {
    owner: UserId,
    /// As it was when it began to be written: empty, or with the text from which it goes on.
    begun: Message,
    text: Mutex<Text>,
    /// Counts changes of `text`.
    version: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

/// Only grows, until it is done.
#[derive(Debug, Default)]
struct Text {
    content: String,
    reasoning: String,
    reasoning_began: Option<Duration>,
    /// What the reasoning took before this process went on with it.
    reasoning_before_ms: u64,
    reasoning_ms: Option<u64>,
    first_at: Option<Duration>,
    /// Whether it has grown since it was last saved.
    grown: bool,
    /// What was cut of it for its class or the load.
    cut: Cut,
    /// The message as it was stored at the end.
    done: Option<Message>,
}

impl Text {
    fn time_reasoning(&mut self, now: Duration) {
        if let Some(began) = self.reasoning_began {
            let now_ms = millis(now.saturating_sub(began));
            self.reasoning_ms = Some(self.reasoning_before_ms.saturating_add(now_ms));
        }
    }
}

/// How much of an answer a reader has, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    content: usize,
    reasoning: usize,
    /// Whether they know what was cut.
    cut: bool,
}

/// What a reader doesn't have yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) reasoning: String,
    pub(crate) content: String,
    /// What was cut of the answer.
    pub(crate) cut: Option<Cut>,
    pub(crate) done: Option<Message>,
}

impl Live {
    pub(crate) fn new(owner: UserId, begun: Message) -> Self {
        let text = Text {
            content: begun.content.clone(),
            reasoning: begun.reasoning.clone().unwrap_or_default(),
            reasoning_ms: begun.reasoning_ms,
            reasoning_before_ms: begun.reasoning_ms.unwrap_or_default(),
            ..Text::default()
        };
        Self {
            owner,
            begun,
            text: Mutex::new(text),
            version: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        }
    }

    pub(crate) fn id(&self) -> MessageId {
        self.begun.id
    }

    pub(crate) fn owner(&self) -> UserId {
        self.owner
    }

    pub(crate) fn conversation(&self) -> ConversationId {
        self.begun.conversation_id
    }

    /// The question.
    pub(crate) fn parent(&self) -> Option<MessageId> {
        self.begun.parent_id
    }

    /// As it was when it began to be written.
    pub(crate) fn begun(&self) -> &Message {
        &self.begun
    }

    /// Adds text; `now` is monotonic.
    pub(crate) fn push(&self, part: Part, piece: &str, now: Duration) {
        let mut text = self.lock();
        text.first_at.get_or_insert(now);
        match part {
            Part::Reasoning => {
                text.reasoning.push_str(piece);
                text.reasoning_began.get_or_insert(now);
                text.time_reasoning(now);
            }
            Part::Content => {
                if text.content.is_empty() {
                    text.time_reasoning(now);
                }
                text.content.push_str(piece);
            }
        }
        text.grown = true;
        drop(text);
        self.wake();
    }

    /// Notes what was cut.
    pub(crate) fn cut(&self, cut: Cut) {
        self.lock().cut = cut;
        self.wake();
    }

    /// When the first text came.
    pub(crate) fn first_text(&self) -> Option<Duration> {
        self.lock().first_at
    }

    /// All of it, as the database has it.
    pub(crate) fn progress(&self) -> Progress {
        self.progress_of(&self.lock())
    }

    /// All of it, if it has grown since the last call.
    pub(crate) fn take_progress(&self) -> Option<Progress> {
        let mut text = self.lock();
        std::mem::take(&mut text.grown).then(|| self.progress_of(&text))
    }

    fn progress_of(&self, text: &Text) -> Progress {
        Progress {
            owner: self.owner,
            id: self.begun.id,
            content: text.content.clone(),
            reasoning: (!text.reasoning.is_empty()).then(|| text.reasoning.clone()),
            reasoning_ms: text.reasoning_ms,
        }
    }

    /// The message as it will stay; nothing more comes.
    pub(crate) fn finish(&self, message: Message) {
        self.lock().done = Some(message);
        self.wake();
    }

    /// The message as it would be with this end, where the database could not say.
    pub(crate) fn ended(&self, status: Status) -> Message {
        let text = self.progress();
        Message {
            status,
            content: text.content,
            reasoning: text.reasoning,
            reasoning_ms: text.reasoning_ms,
            ..self.begun.clone()
        }
    }

    /// Asks for the end; what is written stays.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ready when the end was asked for. Cancel-safe.
    pub(crate) async fn stop_asked(&self) {
        // The sender lives as long as we do.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Everything so far, and how much that is.
    pub(crate) fn snapshot(&self) -> (Message, Seen) {
        let text = self.lock();
        let seen = Seen { content: text.content.len(), reasoning: text.reasoning.len(), cut: false };
        let message = text.done.clone().unwrap_or_else(|| Message {
            content: text.content.clone(),
            reasoning: (!text.reasoning.is_empty()).then(|| text.reasoning.clone()),
            reasoning_ms: text.reasoning_ms,
            ..self.begun.clone()
        });
        (message, seen)
    }

    /// What came after `seen`, which then counts as seen.
    pub(crate) fn news(&self, seen: &mut Seen) -> News {
        let text = self.lock();
        let news = News {
            // Text only grows, by whole characters.
            reasoning: text.reasoning.get(seen.reasoning..).unwrap_or_default().to_owned(),
            content: text.content.get(seen.content..).unwrap_or_default().to_owned(),
            cut: Some(text.cut).filter(|cut| !seen.cut && !cut.is_none()),
            done: text.done.clone(),
        };
        let cut = !text.cut.is_none();
        *seen = Seen { content: text.content.len(), reasoning: text.reasoning.len(), cut };
        news
    }

    /// Waits with this for changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits for the end.
    pub(crate) async fn done(&self) -> Message {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            if let Some(message) = self.lock().done.clone() {
                return message;
            }
            // The sender lives as long as we do.
            let _ = changes.changed().await;
        }
    }

    fn wake(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        // Appending leaves a good text wherever it panics.
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use store::Role;

    use super::*;

    fn blank() -> Message {
        Message {
            id: MessageId::from([1; 16]),
            conversation_id: ConversationId::from([2; 16]),
            parent_id: None,
            role: Role::Assistant,
            status: Status::Generating,
            content: String::new(),
            reasoning: None,
            reasoning_ms: None,
            error: None,
            model: None,
            created_ms: 0,
            usage: None,
            timing: None,
        }
    }

    #[test]
    fn readers_who_join_at_any_time_get_every_byte_once() {
        let pieces = [
            (Part::Reasoning, "hm, "),
            (Part::Reasoning, "é"),
            (Part::Content, "抹香"),
            (Part::Content, "鲸"),
        ];
        for joins_after in 0..=pieces.len() {
            for reads_every in 1..=pieces.len() {
                let live = Live::new(UserId::from([3; 16]), blank());
                let mut reader = None;
                for (count, (part, piece)) in pieces.iter().enumerate() {
                    if count == joins_after {
                        reader = Some(live.snapshot());
                    }
                    live.push(*part, piece, Duration::from_millis(count as u64));
                    if let Some((message, seen)) = &mut reader
                        && count % reads_every == 0
                    {
                        add(message, &live.news(seen));
                    }
                }
                let (mut message, mut seen) = reader.unwrap_or_else(|| live.snapshot());
                add(&mut message, &live.news(&mut seen));
                assert_eq!(
                    (message.content.as_str(), message.reasoning.as_deref()),
                    ("抹香鲸", Some("hm, é"))
                );
            }
        }
    }

    fn add(message: &mut Message, news: &News) {
        message.content.push_str(&news.content);
        if !news.reasoning.is_empty() {
            message.reasoning.get_or_insert_default().push_str(&news.reasoning);
        }
    }

    #[test]
    fn reasoning_is_timed_until_the_answer_begins() {
        let live = Live::new(UserId::from([3; 16]), blank());
        let at = Duration::from_millis;
        live.push(Part::Reasoning, "a", at(100));
        live.push(Part::Reasoning, "b", at(150));
        assert_eq!(live.progress().reasoning_ms, Some(50));
        live.push(Part::Content, "c", at(180));
        live.push(Part::Content, "d", at(999));
        assert_eq!(live.progress().reasoning_ms, Some(80));
        assert_eq!(live.first_text(), Some(at(100)));
    }

    #[test]
    fn what_goes_on_keeps_what_it_had() {
        let begun = Message { reasoning: Some("a".to_owned()), reasoning_ms: Some(30), ..blank() };
        let live = Live::new(UserId::from([3; 16]), begun);
        let (message, mut seen) = live.snapshot();
        assert_eq!((message.reasoning.as_deref(), message.reasoning_ms), (Some("a"), Some(30)));
        assert_eq!(live.take_progress(), None);
        live.push(Part::Reasoning, "b", Duration::from_millis(100));
        live.push(Part::Content, "c", Duration::from_millis(150));
        assert_eq!((live.news(&mut seen).reasoning.as_str(), live.progress().reasoning_ms), ("b", Some(80)));
        assert_eq!(live.progress().reasoning.as_deref(), Some("ab"));
    }

    #[test]
    fn progress_is_given_once() {
        let live = Live::new(UserId::from([3; 16]), blank());
        assert_eq!(live.take_progress(), None);
        live.push(Part::Content, "a", Duration::ZERO);
        assert_eq!(live.take_progress().map(|progress| progress.content), Some("a".to_owned()));
        assert_eq!(live.take_progress(), None);
    }
}
