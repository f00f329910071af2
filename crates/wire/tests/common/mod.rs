//! JSON that somebody might send: mostly what an API knows, in places where it may not belong.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Values with these keys and strings in them.
pub(crate) fn json_like(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let word = prop_oneof![9 => proptest::sample::select(words).prop_map(str::to_owned), 1 => ".{0,8}"];
    let number = prop_oneof![
        Just(Value::from(0)),
        Just(Value::from(1)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => number,
        4 => word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((word.clone(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A request with a few of its fields replaced.
pub(crate) fn replaced(whole: Value, words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let fields: Vec<String> =
        whole.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect();
    let changes = prop::collection::vec((proptest::sample::select(fields), json_like(words)), 0..3);
    changes.prop_map(move |changes| {
        let mut request = whole.clone();
        for (field, value) in changes {
            request[field] = value;
        }
        request
    })
}
