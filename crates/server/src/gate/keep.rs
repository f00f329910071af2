//! The gate's moves: each second, and by operators; kept, noted in the audit log and logged.

use std::sync::Arc;

use axum::http::StatusCode;
use defence::gate::NoMail;
use defence::{Level, Moment, Move};
use store::{AuditEntry, GatePin};
use tokio::time::MissedTickBehavior;

use super::{Recorded, word};
use crate::accounts::Operator;
use crate::app::{App, State};
use crate::error::ApiError;

/// Ticks as long as the server runs.
pub(crate) async fn keep_gate(app: App) {
    let mut ticks = tokio::time::interval(app.gatehouse.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(moved) = app.gatehouse.tick(app.moment()) {
            // It is recorded whole, even if the server stops meanwhile.
            let recorder = Arc::clone(&app);
            let recorded = app.detached(async move {
                recorder.record(&moved).await;
                let reasons: Vec<_> = moved.reasons.iter().map(ToString::to_string).collect();
                let note = format!("{} to {}: {}", word(moved.from), word(moved.to), reasons.join("; "));
                recorder
                    .note(AuditEntry {
                        at_ms: moved.at_ms,
                        user_id: None,
                        by: None,
                        event: "gate_moved".to_owned(),
                        address: String::new(),
                        note: Some(note),
                    })
                    .await;
                Ok(())
            });
            if recorded.await.is_err() {
                tracing::error!("the task that records a move of the gate panicked");
            }
        }
    }
}

impl State {
    /// Now, on both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment::now(&*self.clock)
    }

    /// Keeps and logs a move. That it can't be kept changes nothing about it.
    async fn record(&self, moved: &Move) {
        let reasons: Vec<_> = moved.reasons.iter().map(ToString::to_string).collect();
        let (from, to) = (word(moved.from), word(moved.to));
        tracing::warn!(from, to, reasons = reasons.join("; "), "the registration gate moved");
        self.metrics.gate_level(self.gatehouse.level());
        if let Err(error) = self.store.add_move(Recorded::from(moved).into()).await {
            tracing::error!(%error, "a move of the registration gate could not be kept");
        }
    }

    /// Holds the gate at a level, over restarts, or with `None` lets it run.
    pub(crate) async fn pin_gate(
        &self,
        level: Option<Level>,
        reason: Option<String>,
        operator: &Operator,
    ) -> Result<(), ApiError> {
        let gatehouse = &self.gatehouse;
        gatehouse.load(&*self.store, self.moment()).await?;
        let _alone = gatehouse.changing.lock().await;
        let Some(level) = level else {
            self.store.set_pin(None).await?;
            gatehouse.unpin(self.moment());
            tracing::warn!("an operator lets the registration gate run");
            self.audit_with(operator, "gate_unpinned", None, reason).await;
            return Ok(());
        };
        if level == Level::EmailFirst && !gatehouse.has_mail {
            return Err(no_mail(NoMail));
        }
        let now = self.moment();
        self.store.set_pin(Some(GatePin { level: word(level), at_ms: now.unix_ms })).await?;
        if let Some(moved) = gatehouse.pin(level, now).map_err(no_mail)? {
            self.record(&moved).await;
        }
        let note = match reason {
            Some(reason) => format!("{}: {reason}", word(level)),
            None => word(level),
        };
        self.audit_with(operator, "gate_pinned", None, Some(note)).await;
        Ok(())
    }
}

fn no_mail(error: NoMail) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "no_mail", error.to_string()).with_param("level")
}
