//! What guarded templates call when they run: see [`super::guard`].

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// How deep lists and maps may nest: as deep as the schemas of tools, and what is around them.
const DEPTH_MAX: usize = super::json::LEVELS_MAX + 16;

/// What [`super::guard::GUARD`] does: walks a value and pays for it; a lazy sequence comes back as a list.
pub(super) fn guard(state: &mut State, value: Value) -> Result<Value, Error> {
    if value.kind() != ValueKind::Iterable {
        walk(state, &value, 0)?;
        return Ok(value);
    }
    let mut items = Vec::new();
    for item in value.try_iter()? {
        walk(state, &item, 1)?;
        items.push(item);
    }
    Ok(Value::from(items))
}

/// What [`super::guard::GUARD_HELD`] does: as [`guard`], and keeps namespaces out of namespaces, which could come to hold themselves
/// and would never be freed.
pub(super) fn guard_held(state: &mut State, value: Value) -> Result<Value, Error> {
    let value = guard(state, value)?;
    if has_namespace(&value)? {
        return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot hold a namespace"));
    }
    Ok(value)
}

/// Whether there is a namespace in a value that was walked before.
fn has_namespace(value: &Value) -> Result<bool, Error> {
    if value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace")) {
        return Ok(true);
    }
    let is_map = value.kind() == ValueKind::Map;
    if is_map || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        for item in value.try_iter()? {
            if has_namespace(&item)? || (is_map && has_namespace(&value.get_item(&item)?)?) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Pays for everything in a value that would be visited by formatting or comparing it.
pub(super) fn walk(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String if depth > 0 => {
            state.consume_fuel(1 + value.as_str().map_or(0, str::len) as u64 / 64)
        }
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            if depth >= DEPTH_MAX {
                return Err(Error::new(ErrorKind::InvalidOperation, "lists and maps nest too deeply"));
            }
            state.consume_fuel(1)?;
            let is_map = value.kind() == ValueKind::Map;
            for item in value.try_iter()? {
                walk(state, &item, depth + 1)?;
                if is_map {
                    walk(state, &value.get_item(&item)?, depth + 1)?;
                }
            }
            Ok(())
        }
        // Also for the item that an iterator gives when it failed.
        ValueKind::Invalid => Err(Error::new(ErrorKind::InvalidOperation, "invalid value")),
        _ if depth > 0 => state.consume_fuel(1),
        _ => Ok(()),
    }
}
