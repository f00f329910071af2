use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::OfMessage;
use super::views::MessageView;
use crate::accounts::{Caller, Standing};
use crate::answers::{Found, Live, News, Seen, find};
use crate::app::App;
use crate::bulwark::Listens;
use crate::error::ApiError;
use crate::sse;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageDelta)]
pub(crate) struct DeltaView {
    part: MessagePart,
    text: String,
}

/// What a piece of an answer is added to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MessagePart {
    Reasoning,
    Content,
}

/// An answer as it is written, joined at any time: everything
/// so far, then what is added, then the message as it stays.
#[utoipa::path(
    get,
    path = "/api/conversations/{id}/messages/{message}/stream",
    operation_id = "stream",
    tag = "chat",
    params(("id" = String, Path), ("message" = String, Path)),
    responses((
        status = 200,
        description = "Events: first `snapshot`, a Message with everything so far; then `delta`, a MessageDelta each; \
            last `done`, the Message as it stays. Where the answer may be no larger than so much, for the load or for \
            whose it is, `reduced`, an AnswerReduced, comes once between them.",
        body = String,
        content_type = "text/event-stream",
    )),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    standing: Standing,
    OfMessage(conversation, message): OfMessage,
) -> Result<Response, ApiError> {
    let found = find(&app, caller.user, conversation, message).await?;
    let keep_alive = app.settings.keep_alive;
    Ok(match found {
        Found::Live(live) => {
            let changes = live.changes();
            let listens = app.bulwark.listen(standing);
            let listens = listens.inspect_err(|_| app.metrics.refused(standing.class, "portion"))?;
            sse::respond(Following { live, changes, keep_alive, seen: None, ended: false, _listens: listens })
        }
        Found::Ended(message) => {
            let view = MessageView::from(*message);
            let text = [sse::event("snapshot", &view), sse::event("done", &view)].concat();
            sse::respond(Once(Some(text.into())))
        }
    })
}

/// Everything at once.
struct Once(Option<Bytes>);

impl sse::Source for Once {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.take()
    }
}

struct Following {
    live: Arc<Live>,
    changes: watch::Receiver<u64>,
    keep_alive: Duration,
    /// What this client has; none before it has the snapshot.
    seen: Option<Seen>,
    ended: bool,
    _listens: Listens,
}

impl sse::Source for Following {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let Some(seen) = &mut self.seen else {
            let (message, seen) = self.live.snapshot();
            self.seen = Some(seen);
            return Some(sse::event("snapshot", &MessageView::from(message)));
        };
        loop {
            // Marked as seen before it is looked at: what comes in between wakes us again.
            self.changes.borrow_and_update();
            let news = self.live.news(seen);
            self.ended = news.done.is_some();
            let bytes = events(news);
            if !bytes.is_empty() {
                return Some(bytes);
            }
            if timeout(self.keep_alive, self.changes.changed()).await.is_err() {
                return Some(sse::KEEP_ALIVE);
            }
        }
    }
}

fn events(news: News) -> Bytes {
    let mut bytes = BytesMut::new();
    if let Some(cut) = news.cut {
        bytes.extend_from_slice(&sse::event("reduced", &cut));
    }
    for (part, text) in [(MessagePart::Reasoning, news.reasoning), (MessagePart::Content, news.content)] {
        if !text.is_empty() {
            bytes.extend_from_slice(&sse::event("delta", &DeltaView { part, text }));
        }
    }
    if let Some(message) = news.done {
        bytes.extend_from_slice(&sse::event("done", &MessageView::from(message)));
    }
    bytes.freeze()
}
