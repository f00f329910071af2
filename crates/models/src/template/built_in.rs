//! Templates for files that have none. Each is the text its model was published with.

use crate::tokenizer::Tokenizer;

/// Names of the built-in templates.
pub const NAMES: [&str; 8] = [
    "chatml",
    "smollm2",
    "llama-3",
    "qwen2.5",
    "qwen3",
    "deepseek-v2",
    "deepseek-r1-distill",
    "deepseek-r1-0528-qwen3",
];

/// The text of a built-in template.
pub fn source(name: &str) -> Option<&'static str> {
    Some(match name {
        "chatml" => include_str!("../../templates/chatml.jinja"),
        "smollm2" => include_str!("../../templates/smollm2.jinja"),
        "llama-3" => include_str!("../../templates/llama-3.jinja"),
        "qwen2.5" => include_str!("../../templates/qwen2.5.jinja"),
        "qwen3" => include_str!("../../templates/qwen3.jinja"),
        "deepseek-v2" => include_str!("../../templates/deepseek-v2.jinja"),
        "deepseek-r1-distill" => include_str!("../../templates/deepseek-r1-distill.jinja"),
        "deepseek-r1-0528-qwen3" => include_str!("../../templates/deepseek-r1-0528-qwen3.jinja"),
        _ => return None,
    })
}

/// The built-in template for a model, by the special tokens its vocabulary has, then by architecture. None is better
/// than a wrong one: a model without any of the known tokens was not trained for conversations.
pub fn choose(architecture: &str, pre: Option<&str>, tokenizer: &Tokenizer) -> Option<&'static str> {
    let has = |literal: &str| tokenizer.token_id(literal).is_some_and(|id| tokenizer.is_special(id));
    if has("<｜User｜>") && has("<｜Assistant｜>") {
        return Some(if architecture == "qwen3" { "deepseek-r1-0528-qwen3" } else { "deepseek-r1-distill" });
    }
    if has("<|start_header_id|>") && has("<|eot_id|>") {
        return Some("llama-3");
    }
    if has("<|im_start|>") && has("<|im_end|>") {
        return Some(match (architecture, pre) {
            ("qwen3", _) => "qwen3",
            ("qwen2", _) => "qwen2.5",
            (_, Some("smollm")) => "smollm2",
            _ => "chatml",
        });
    }
    (architecture == "deepseek2").then_some("deepseek-v2")
}
