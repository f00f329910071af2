//! Rows as operators see them.

use serde::Serialize;
use store::{AuditRow, Group, Session, UserCard};
use utoipa::ToSchema;

use super::super::words::Role;
use crate::app::App;
use crate::error::ApiError;
use crate::gate::{IncidentView, LevelName, MoveView, RegistrationView, SignalsView, StatusView};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct UserCardView {
    id: String,
    name: String,
    email: Option<String>,
    email_verified: bool,
    role: Role,
    created_ms: i64,
    disabled_ms: Option<i64>,
    groups: Vec<String>,
    totp: bool,
    passkeys: u64,
    links: u64,
    /// Without any, somebody must give them one.
    ways_in: Vec<WayIn>,
    seen_ms: Option<i64>,
}

/// What somebody can sign in with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum WayIn {
    Password,
    Passkey,
    Provider,
}

impl From<UserCard> for UserCardView {
    fn from(card: UserCard) -> Self {
        let ways = [
            (WayIn::Password, card.user.password_hash.is_some()),
            (WayIn::Passkey, card.passkeys > 0),
            (WayIn::Provider, card.links > 0),
        ];
        Self {
            id: card.user.id.to_string(),
            name: card.user.name,
            email_verified: card.user.email_verified_ms.is_some(),
            email: card.user.email,
            role: card.user.role.into(),
            created_ms: card.user.created_ms,
            disabled_ms: card.user.disabled_ms,
            groups: card.groups.iter().map(ToString::to_string).collect(),
            totp: card.totp,
            passkeys: card.passkeys,
            links: card.links,
            ways_in: ways.into_iter().filter_map(|(way, has)| has.then_some(way)).collect(),
            seen_ms: card.seen_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminDevice)]
pub(crate) struct SessionView {
    id: String,
    created_ms: i64,
    seen_ms: i64,
    agent: String,
    address: String,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.to_string(),
            created_ms: session.created_ms,
            seen_ms: session.seen_ms,
            agent: session.agent,
            address: session.address,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Group)]
pub(crate) struct GroupView {
    id: String,
    name: String,
    models: Option<Vec<String>>,
    limits: LimitsView,
    members: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
struct LimitsView {
    answers_at_once: Option<u32>,
    messages_per_day: Option<u32>,
    output_tokens_max: Option<u32>,
}

impl From<Group> for GroupView {
    fn from(group: Group) -> Self {
        Self {
            id: group.id.to_string(),
            name: group.name,
            models: group.models,
            limits: LimitsView {
                answers_at_once: group.limits.answers_at_once,
                messages_per_day: group.limits.messages_per_day,
                output_tokens_max: group.limits.output_tokens_max,
            },
            members: group.members,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditView {
    number: i64,
    at_ms: i64,
    user_id: Option<String>,
    user_name: Option<String>,
    by_id: Option<String>,
    by_name: Option<String>,
    event: String,
    address: String,
    /// What the operator wrote about it.
    note: Option<String>,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            number: row.number,
            at_ms: row.entry.at_ms,
            user_id: row.entry.user_id.map(|id| id.to_string()),
            user_name: row.user_name,
            by_id: row.entry.by.map(|id| id.to_string()),
            by_name: row.by_name,
            event: row.entry.event,
            address: row.entry.address,
            note: row.entry.note,
        }
    }
}

/// The registration gate.
#[derive(Serialize, ToSchema)]
#[schema(as = AdminGate)]
pub(crate) struct GateView {
    registration: RegistrationView,
    /// While there is one.
    incident: Option<IncidentView>,
    /// The last moves, the newest first; at most 64.
    moves: Vec<MoveView>,
    /// The level that is pinned.
    #[schema(value_type = Option<LevelName>)]
    pin: Option<String>,
    /// What the gate was told at its last tick.
    signals: SignalsView,
    /// Of the last 60 seconds.
    accounts_made: u32,
}

impl GateView {
    pub(super) async fn of(app: &App) -> Result<Self, ApiError> {
        // Where no server runs, what the store knows was not read before.
        app.gatehouse.load(&*app.store, app.moment()).await?;
        let inside = app.gatehouse.inside(app.clock.monotonic());
        let StatusView { registration, incident, moves } = app.gate_status();
        Ok(Self {
            registration,
            incident,
            moves,
            pin: inside.pin,
            signals: inside.signals,
            accounts_made: inside.accounts_made,
        })
    }
}
