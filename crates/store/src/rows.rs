use std::fmt;
use std::str::FromStr;

use crate::{ConversationId, HoldId, MessageId, ParseIdError, UsageRow, UserId};

/// A conversation: its settings; the messages hang off it in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Empty until the first message gives one, or the user does.
    pub title: String,
    /// Name of the model that was used last.
    pub model: String,
    /// Instructions put before the first message.
    pub system: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds of the last change.
    pub updated_ms: i64,
}

/// What a new conversation starts with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewConversation {
    /// Name of the model.
    pub model: String,
}

/// Fields to change; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationChange {
    /// The new title.
    pub title: Option<String>,
    /// The new model.
    pub model: Option<String>,
    /// The new instructions; `Some(None)` takes them away.
    pub system: Option<Option<String>>,
}

/// A place in the list of conversations, after which the next page begins. Its text form is opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) updated_ms: i64,
    pub(crate) id: ConversationId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.updated_ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (updated_ms, id) = text.split_once('.').ok_or(ParseIdError)?;
        Ok(Self { updated_ms: updated_ms.parse().map_err(|_| ParseIdError)?, id: id.parse()? })
    }
}

/// Which part of the list of conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Most conversations to return.
    pub limit: u32,
    /// `None` for the first page.
    pub before: Option<Cursor>,
}

/// A part of the list of conversations, the last changed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationPage {
    /// At most `limit` of them.
    pub conversations: Vec<Conversation>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<Cursor>,
}

macro_rules! word_type {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every word.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word that stands for it in the database and in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What a word stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use word_type;

word_type! {
    /// Who wrote a message.
    Role {
        /// Instructions.
        System = "system",
        /// The person.
        User = "user",
        /// The model.
        Assistant = "assistant",
    }
}

word_type! {
    /// How far a message is.
    Status {
        /// It is whole.
        Complete = "complete",
        /// It is being written.
        Generating = "generating",
        /// The user stopped it.
        Stopped = "stopped",
        /// The token limit or the context cut it.
        Length = "length",
        /// The program ended in the middle of it.
        Interrupted = "interrupted",
        /// It could not be generated; `error` says why.
        Failed = "failed",
    }
}

/// Tokens that an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Generated, reasoning included.
    pub completion_tokens: u64,
    /// Of those, reasoning.
    pub reasoning_tokens: u64,
}

/// How long an answer took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// In the queue.
    pub queued_ms: u64,
    /// From the request to the first text; `None` if there was none.
    pub ttft_ms: Option<u64>,
    /// From the request to the end.
    pub total_ms: u64,
}

/// A node of a conversation's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The conversation that it belongs to.
    pub conversation_id: ConversationId,
    /// The message that it answers; `None` at the root.
    pub parent_id: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// How far it is.
    pub status: Status,
    /// Its text.
    pub content: String,
    /// What the model thought before it.
    pub reasoning: Option<String>,
    /// How long it thought.
    pub reasoning_ms: Option<u64>,
    /// Why it failed, for the user.
    pub error: Option<String>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Known when it has ended.
    pub usage: Option<Usage>,
    /// Known when it has ended.
    pub timing: Option<Timing>,
}

/// Where a new user message hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentChoice {
    /// Under the newest message of the conversation, at the root if there is none.
    Newest,
    /// At the root: a new first message.
    Root,
    /// Under this message.
    Message(MessageId),
}

/// How much one conversation may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub messages_max: u64,
    /// Bytes of all its texts.
    pub bytes_max: u64,
}

/// A question and the answer about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTurn {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Where the question hangs.
    pub parent: ParentChoice,
    /// The question.
    pub content: String,
    /// The model that will answer; becomes the conversation's.
    pub model: String,
    /// Title for a conversation that has none yet.
    pub title_if_none: String,
    /// Capacity of the conversation.
    pub limits: Limits,
}

/// What [`NewTurn`] became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The question, complete.
    pub user: Message,
    /// The answer, empty and generating.
    pub assistant: Message,
}

/// Another answer to the same question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The answer beside which the new one stands.
    pub beside: MessageId,
    /// The model that will answer; becomes the conversation's.
    pub model: String,
    /// Capacity of the conversation.
    pub limits: Limits,
}

/// The text of an answer so far, the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whose it is.
    pub owner: UserId,
    /// The answer.
    pub id: MessageId,
    /// Its content so far.
    pub content: String,
    /// Its reasoning so far.
    pub reasoning: Option<String>,
    /// How long the reasoning has taken.
    pub reasoning_ms: Option<u64>,
}

/// How an answer ended. Whose it is stands in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The whole text.
    pub text: Progress,
    /// Any status but `Generating`.
    pub status: Status,
    /// Why it failed, for the user.
    pub error: Option<String>,
    /// What it took.
    pub usage: Option<Usage>,
    /// How long it took.
    pub timing: Option<Timing>,
    /// What to note of it as usage, and the hold that it is settled from, if there is one.
    pub metered: Option<(Option<HoldId>, UsageRow)>,
}
