use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use models::gguf::{Array, Gguf, Value};
use models::library::ResolvedModel;
use serde_json::json;

use crate::home::Context;
use crate::pull::text::{printable, size};

/// Shows what a model file holds: metadata, tensors, chat template.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name of an installed model, or a path to a GGUF file.
    model: String,

    /// Only the path of the file.
    #[arg(long, conflicts_with_all = ["tensors", "template", "json"])]
    path: bool,

    /// Also every tensor.
    #[arg(long)]
    tensors: bool,

    /// The whole chat template, not just its head.
    #[arg(long)]
    template: bool,

    /// Machine-readable output, with every tensor and the whole template.
    #[arg(long)]
    json: bool,
}

const TEMPLATE_KEY: &str = "tokenizer.chat_template";
const TEMPLATE_HEAD_LINES: usize = 8;
const TEXT_CHARS_MAX: usize = 200;
/// Longer arrays (vocabularies) are told by type and length in the JSON form also.
const JSON_ARRAY_MAX: usize = 64;

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let model = context.library()?.resolve(&arguments.model)?;
    if arguments.path {
        writeln!(std::io::stdout(), "{}", model.path.display())?;
        return Ok(());
    }
    let file = Gguf::open(&model.path)?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &as_json(&model, &file))?;
        writeln!(out)?;
    } else {
        write!(out, "{}", as_text(&model, &file, arguments.tensors, arguments.template))?;
    }
    Ok(())
}

/// Count, bytes and weights of the tensors of one format.
#[derive(Default)]
struct FormatTotal {
    tensors: u64,
    weights: u64,
    bytes: u64,
}

fn totals(file: &Gguf) -> BTreeMap<&'static str, FormatTotal> {
    let mut totals: BTreeMap<_, FormatTotal> = BTreeMap::new();
    for info in file.tensors() {
        let total = totals.entry(info.format.name()).or_default();
        total.tensors += 1;
        total.weights = total.weights.saturating_add(info.elements());
        total.bytes += info.bytes;
    }
    totals
}

fn as_text(model: &ResolvedModel, file: &Gguf, all_tensors: bool, whole_template: bool) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{} ({})", printable(&model.name), printable(&model.path.display().to_string()));
    if let Some(entry) = &model.entry {
        let _ = writeln!(out, "{}; licence: {}", entry.title, entry.license);
    }
    let _ = writeln!(out, "GGUF version {}, {}\n\nMetadata", file.version(), size(file.file_bytes()));
    for (key, value) in file.metadata().iter().filter(|(key, _)| *key != TEMPLATE_KEY) {
        let _ = writeln!(out, "  {} = {}", printable(key), shortened(value));
    }
    let _ = writeln!(out, "\nTensors ({})", file.tensors().len());
    for (format, total) in totals(file) {
        let (tensors, weights, bytes) = (total.tensors, total.weights, size(total.bytes));
        let _ = writeln!(out, "  {format:<7} {tensors:>5} tensors  {weights:>15} weights  {bytes:>10}");
    }
    if all_tensors {
        let _ = writeln!(out);
        for info in file.tensors() {
            let shape: Vec<String> = info.shape.iter().map(u64::to_string).collect();
            let (name, format) = (printable(&info.name), info.format.name());
            let _ = writeln!(out, "  {name:<32} {format:<7} [{}]", shape.join(", "));
        }
    }
    match file.metadata().str(TEMPLATE_KEY) {
        Ok(Some(template)) => write_template(&mut out, template, whole_template),
        Ok(None) => out.push_str("\nNo chat template\n"),
        Err(error) => drop(writeln!(out, "\nChat template: {}", printable(&error.to_string()))),
    }
    out
}

fn write_template(out: &mut String, template: &str, whole: bool) {
    let lines = template.lines().count();
    let shown = if whole { lines } else { TEMPLATE_HEAD_LINES };
    let _ = writeln!(out, "\nChat template ({} bytes)", template.len());
    for line in template.lines().take(shown) {
        let text = if whole { line.to_owned() } else { cut(line) };
        let _ = writeln!(out, "  {}", printable(&text));
    }
    if lines > shown {
        let _ = writeln!(out, "  … {} more lines (--template shows them)", lines - shown);
    }
}

/// The first [`TEXT_CHARS_MAX`] characters.
fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn shortened(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", cut(text)),
        other => printable(&other.to_string()),
    }
}

fn as_json(model: &ResolvedModel, file: &Gguf) -> serde_json::Value {
    let metadata: serde_json::Map<String, serde_json::Value> =
        file.metadata().iter().map(|(key, value)| (key.to_owned(), value_json(value))).collect();
    let formats: serde_json::Map<String, serde_json::Value> = totals(file)
        .into_iter()
        .map(|(format, total)| {
            let FormatTotal { tensors, weights, bytes } = total;
            (format.to_owned(), json!({ "tensors": tensors, "weights": weights, "bytes": bytes }))
        })
        .collect();
    let tensors: Vec<_> = file
        .tensors()
        .map(|info| {
            json!({ "name": info.name, "shape": info.shape, "format": info.format.name(),
                    "offset": info.offset, "bytes": info.bytes })
        })
        .collect();
    json!({
        "name": model.name,
        "path": model.path.display().to_string(),
        "license": model.entry.as_ref().map(|entry| entry.license.clone()),
        "version": file.version(),
        "bytes": file.file_bytes(),
        "metadata": metadata,
        "formats": formats,
        "tensors": tensors,
    })
}

fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => json!(text),
        Value::Bool(truth) => json!(truth),
        Value::F32(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::U64(number) => json!(number),
        Value::Array(array) if array.len() <= JSON_ARRAY_MAX => array_json(array),
        Value::Array(array) => json!({ "type": value.type_name(), "length": array.len() }),
        // Every other integer fits.
        integer => json!(integer.integer().and_then(|number| i64::try_from(number).ok())),
    }
}

fn array_json(array: &Array) -> serde_json::Value {
    match array {
        Array::Bool(items) => json!(items),
        Array::F32(items) => json!(items),
        Array::F64(items) => json!(items),
        Array::U64(items) => json!(items),
        Array::String(items) => json!(items.iter().collect::<Vec<_>>()),
        Array::Array(items) => items.iter().map(array_json).collect(),
        integers => {
            let numbers = integers.integers().unwrap_or_default();
            numbers.into_iter().map(|number| i64::try_from(number).unwrap_or_default()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use models::formats::Format;
    use models::gguf::testing::GgufWriter;

    use super::*;

    fn sample() -> (ResolvedModel, Gguf) {
        let bytes = GgufWriter::new()
            .key("general.architecture", "llama")
            .key("general.name", "evil \u{1b}[31m name")
            .key("llama.block_count", 3_u32)
            .key("big", u64::MAX)
            .key("tokenizer.ggml.tokens", vec!["a"; 500])
            .key("nested", Value::Array(Array::Array(vec![Array::I8(vec![-1]), Array::Bool(vec![true])])))
            .key(TEMPLATE_KEY, "line\n".repeat(20).as_str())
            .tensor("a.weight", &[32, 2], Format::Q4_1, &[0; 40])
            .f32_tensor("b.weight", &[4], &[0.0; 4])
            .finish();
        let model = ResolvedModel { name: "sample".to_owned(), path: "/x/sample.gguf".into(), entry: None };
        (model, Gguf::from_bytes(bytes).unwrap())
    }

    #[test]
    fn text_has_metadata_formats_and_the_head_of_the_template() {
        let (model, file) = sample();
        let text = as_text(&model, &file, false, false);
        for expected in [
            "  general.architecture = \"llama\"\n",
            "  llama.block_count = 3\n",
            "  tokenizer.ggml.tokens = array of string [500]\n",
            "  Q4_1        1 tensors               64 weights        40 B\n",
            "… 12 more lines",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "a file must not command the terminal");
        assert!(!text.contains("b.weight"));
        let all = as_text(&model, &file, true, true);
        assert!(all.contains("b.weight") && !all.contains("more lines"));
    }

    #[test]
    fn json_has_everything_but_the_vocabulary() {
        let (model, file) = sample();
        let value = as_json(&model, &file);
        assert_eq!(value["metadata"]["llama.block_count"], 3);
        assert_eq!(value["metadata"]["big"], u64::MAX);
        assert_eq!(value["metadata"]["nested"], json!([[-1], [true]]));
        assert_eq!(value["metadata"]["tokenizer.ggml.tokens"]["length"], 500);
        assert_eq!(value["formats"]["Q4_1"]["weights"], 64);
        assert_eq!(value["tensors"][1]["name"], "b.weight");
        assert_eq!(value["metadata"][TEMPLATE_KEY].as_str().map(str::len), Some(100));
    }
}
