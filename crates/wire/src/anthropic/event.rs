use serde::{Deserialize, Serialize};

use super::{ContentBlock, ErrorReply, Message, StopReason, Usage};

/// An event of a stream. `message_start`, then of each block `content_block_start`, `content_block_delta`s and
/// `content_block_stop`, then `message_delta` and `message_stop`; `ping` anywhere; `error` in the place of what would
/// still have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicStreamEvent)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamEvent {
    /// The answer begins.
    MessageStart {
        /// The answer without its content.
        message: Message,
    },
    /// A block begins.
    ContentBlockStart {
        /// Which block, from 0.
        index: usize,
        /// The block, empty.
        content_block: ContentBlock,
    },
    /// More of a block.
    ContentBlockDelta {
        /// Which block.
        index: usize,
        /// What is added.
        delta: BlockDelta,
    },
    /// A block ends.
    ContentBlockStop {
        /// Which block.
        index: usize,
    },
    /// The answer ended.
    MessageDelta {
        /// Why.
        delta: MessageEnd,
        /// What it took; takes the place of what `message_start` said.
        usage: Usage,
    },
    /// Nothing more comes.
    MessageStop,
    /// The stream is alive.
    Ping,
    /// The answer broke off.
    #[serde(untagged)]
    Error(ErrorReply),
}

impl StreamEvent {
    /// The name of the event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error(_) => "error",
        }
    }
}

/// What is added to a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicBlockDelta)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockDelta {
    /// More of the thoughts.
    ThinkingDelta {
        /// The text.
        thinking: String,
    },
    /// What stands in the place of their signature; comes last.
    SignatureDelta {
        /// [`UNSIGNED`](super::UNSIGNED)
        signature: String,
    },
    /// More of the answer.
    TextDelta {
        /// The text.
        text: String,
    },
    /// More of a call's arguments.
    InputJsonDelta {
        /// A piece of JSON; all pieces together are an object.
        partial_json: String,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicMessageEnd)]
pub struct MessageEnd {
    /// Why.
    pub stop_reason: StopReason,
    /// The stop sequence that did it.
    pub stop_sequence: Option<String>,
}
