//! A fresh store with its first user, and what the parts of the suite ask of it again and again.

use std::sync::Arc;

use base::ManualClock;
use store::{
    Conversation, KeyId, KeyScope, Limits, Message, MessageId, NewConversation, NewKey, NewTurn, NewUser,
    Outcome, ParentChoice, Progress, Status, Store, StoreError, Turn, User, UserId, UserRole,
};

pub(crate) const ROOMY: Limits = Limits { messages_max: 10_000, bytes_max: 1 << 30 };

/// A store, the clock that it was given, and the administrator who owns what the fixture makes.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) owner: UserId,
}

impl Fixture {
    /// With the first user.
    pub(crate) async fn new(store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Self {
        let first = NewUser { role: UserRole::Admin, first: true, ..new_user("Ahab") };
        let owner = store.add_user(first).await.unwrap().id;
        Self { store, clock, owner }
    }

    pub(crate) async fn user(&self, name: &str) -> User {
        self.store.add_user(new_user(name)).await.unwrap()
    }

    pub(crate) async fn conversation(&self) -> Conversation {
        self.store
            .add_conversation(self.owner, NewConversation { model: "first".to_owned() }, 1000)
            .await
            .unwrap()
    }

    pub(crate) async fn turn(
        &self,
        conversation: &Conversation,
        parent: ParentChoice,
        content: &str,
    ) -> Turn {
        self.try_turn(conversation, parent, content, ROOMY).await.unwrap()
    }

    pub(crate) async fn try_turn(
        &self,
        conversation: &Conversation,
        parent: ParentChoice,
        content: &str,
        limits: Limits,
    ) -> Result<Turn, StoreError> {
        let turn = NewTurn {
            conversation_id: conversation.id,
            parent,
            content: content.to_owned(),
            model: "second".to_owned(),
            title_if_none: format!("about {content}"),
            limits,
        };
        self.store.add_turn(self.owner, turn).await
    }

    pub(crate) async fn finish(&self, id: MessageId, content: &str) -> Message {
        self.store.finish(self.outcome(id, content)).await.unwrap()
    }

    pub(crate) async fn finished_turn(
        &self,
        conversation: &Conversation,
        parent: ParentChoice,
        content: &str,
    ) -> Turn {
        let mut turn = self.turn(conversation, parent, content).await;
        turn.assistant = self.finish(turn.assistant.id, "an answer").await;
        turn
    }

    pub(crate) fn outcome(&self, id: MessageId, content: &str) -> Outcome {
        Outcome {
            text: Progress {
                owner: self.owner,
                id,
                content: content.to_owned(),
                reasoning: None,
                reasoning_ms: None,
            },
            status: Status::Complete,
            error: None,
            usage: None,
            timing: None,
            metered: None,
        }
    }
}

/// An ordinary one, not the first.
pub(crate) fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        email: None,
        role: UserRole::User,
        password_hash: Some("$argon2id$not-a-hash".to_owned()),
        first: false,
    }
}

/// A key that may do everything; keys of other numbers are others.
pub(crate) fn new_key(user: UserId, number: u8) -> NewKey {
    NewKey {
        id: KeyId::from([number; 16]),
        user,
        name: format!("key {number}"),
        start: format!("sk-cachalot-{number}"),
        hash: [number; 32],
        created_ms: 0,
        expires_ms: None,
        scope: KeyScope::default(),
    }
}
