//! One pass of the model over some rows of a plan, whatever it does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use models::batch::{Chunk, Model, Ran, emptied};

use crate::scheduler::{PlanRow, Scheduler};

/// Why the model did not run some rows.
pub(crate) enum ForwardFailure {
    /// It refused them, by its own account without running any.
    Refused(String),
    /// It panicked, or broke its contract.
    Broken(String),
}

impl ForwardFailure {
    pub(crate) fn is_panic(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    pub(crate) fn for_log(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Broken(why) => why,
        }
    }

    pub(crate) fn for_caller(&self) -> String {
        match self {
            Self::Refused(why) => format!("the model could not go on: {why}"),
            Self::Broken(_) => "the model stopped unexpectedly".to_owned(),
        }
    }
}

/// Runs some rows of a plan, unless `stop` says otherwise meanwhile; `logits` gets `[rows of logits that they want,
/// vocab_size]`.
pub(crate) fn forward_rows(
    model: &mut dyn Model,
    scheduler: &Scheduler,
    rows: &[PlanRow],
    chunks: &mut Vec<Chunk<'static>>,
    logits: &mut Vec<f32>,
    stop: &mut dyn FnMut() -> bool,
) -> Result<Ran, ForwardFailure> {
    // The vector's memory outlives the step, its contents don't: it is empty here and there.
    let mut batch: Vec<Chunk<'_>> = std::mem::take(chunks);
    batch.extend(rows.iter().map(|row| scheduler.chunk(row)));
    let outcome = catch_unwind(AssertUnwindSafe(|| model.forward_unless(&batch, logits, stop)));
    *chunks = emptied(batch);
    match outcome {
        Ok(Ok(Ran::Whole)) => (),
        Ok(Ok(Ran::GivenUp)) => return Ok(Ran::GivenUp),
        Ok(Err(error)) => return Err(ForwardFailure::Refused(error.to_string())),
        Err(panic) => return Err(ForwardFailure::Broken(panic_text(&*panic))),
    }
    let wanted = rows.iter().map(PlanRow::logits_rows).sum::<usize>() * model.info().vocab_size;
    if logits.len() == wanted {
        Ok(Ran::Whole)
    } else {
        Err(ForwardFailure::Broken(format!("{wanted} logits were wanted, the model gave {}", logits.len())))
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("no text"))
}
