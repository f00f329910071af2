use std::io::Write as _;

use models::catalog::{Catalog, CatalogEntry};
use models::library::InstalledModel;
use serde::Serialize;

use crate::home::Context;
use crate::pull::text::{printable, size};

/// Lists the models: installed ones, and those in the catalogue that can be pulled.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only what is installed.
    #[arg(long)]
    installed: bool,

    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

/// One line of the list, and one object of the JSON form.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    name: String,
    title: Option<String>,
    installed: bool,
    bytes: u64,
    parameters: Option<u64>,
    context: Option<usize>,
    thinking: Option<&'static str>,
    license: Option<String>,
    note: Option<String>,
    source: Option<String>,
    sha256: Option<String>,
    path: Option<String>,
}

impl Line {
    fn new(name: &str, entry: Option<&CatalogEntry>, model: Option<&InstalledModel>) -> Self {
        let pinned_to =
            || entry.and_then(|entry| entry.sources.iter().find_map(|source| source.sha256.clone()));
        Self {
            name: name.to_owned(),
            title: entry.map(|entry| entry.title.clone()),
            installed: model.is_some(),
            bytes: model.map(|model| model.bytes).or(entry.map(|entry| entry.bytes)).unwrap_or(0),
            parameters: entry.map(|entry| entry.parameters),
            context: entry.map(|entry| entry.context),
            thinking: entry.map(|entry| entry.thinking.name()),
            license: entry.map(|entry| entry.license.clone()),
            note: entry.and_then(|entry| entry.note.clone()),
            source: model.map(|model| model.source.clone()),
            sha256: model.map(|model| model.sha256.clone()).or_else(pinned_to),
            path: model.map(|model| model.path.display().to_string()),
        }
    }

    fn columns(&self) -> [String; 7] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            printable(&self.name),
            if self.installed { "installed".to_owned() } else { "available".to_owned() },
            size(self.bytes),
            or_dash(self.parameters.map(parameters)),
            or_dash(self.context.map(|tokens| tokens.to_string())),
            or_dash(self.thinking.map(str::to_owned)),
            or_dash(self.license.clone()),
        ]
    }
}

const HEADS: [&str; 7] = ["NAME", "STATE", "SIZE", "WEIGHTS", "CONTEXT", "THINKING", "LICENCE"];

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let library = context.library()?;
    let lines = lines(Catalog::built_in(), &library.installed()?, arguments.installed);
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "models": lines }))?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&lines))?;
    }
    Ok(())
}

/// The catalogue in its order, then what is installed besides.
fn lines(catalog: &Catalog, installed: &[InstalledModel], only_installed: bool) -> Vec<Line> {
    let model = |name: &str| installed.iter().find(|model| model.name == name);
    let known = catalog.entries().iter().map(|entry| Line::new(&entry.name, Some(entry), model(&entry.name)));
    let others = installed.iter().filter(|model| catalog.get(&model.name).is_none());
    let others = others.map(|model| Line::new(&model.name, None, Some(model)));
    known.chain(others).filter(|line| line.installed || !only_installed).collect()
}

fn table(lines: &[Line]) -> String {
    let rows: Vec<[String; 7]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(lines.iter().map(Line::columns)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = rows.iter().fold(String::new(), |mut out, row| {
        // Size, weights and context are numbers: to the right.
        let cell = |(index, text): (usize, &String)| match index {
            2..=4 => format!("{text:>width$}", width = widths[index]),
            _ => format!("{text:<width$}", width = widths[index]),
        };
        let line = row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
        out
    });
    if lines.iter().any(|line| line.note.is_some()) {
        text.push('\n');
    }
    for line in lines {
        if let Some(note) = &line.note {
            text = format!("{text}{}: {note}\n", line.name);
        }
    }
    text
}

/// `135M`, `1.8B`, `70.6B`.
fn parameters(count: u64) -> String {
    if count >= 1_000_000_000 {
        format!("{:.1}B", count as f64 / 1e9)
    } else {
        format!("{:.0}M", count as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(name: &str) -> InstalledModel {
        InstalledModel {
            name: name.to_owned(),
            path: "/home/blobs/x".into(),
            bytes: 1_500_000,
            sha256: "a".repeat(64),
            source: "hf:a/b/c.gguf".to_owned(),
            entry: None,
        }
    }

    #[test]
    fn the_catalogue_comes_first_and_strangers_after() {
        let catalog = Catalog::built_in();
        let lines = lines(catalog, &[installed("hf:a/b/c.gguf"), installed("smollm2-135m")], false);
        assert_eq!(lines.len(), catalog.entries().len() + 1);
        assert_eq!(
            (lines[0].name.as_str(), lines[0].installed, lines[0].bytes),
            ("smollm2-135m", true, 1_500_000)
        );
        assert!(!lines[1].installed);
        assert_eq!(lines.last().unwrap().name, "hf:a/b/c.gguf");
        let text = table(&lines);
        assert!(text.starts_with("NAME"));
        let first: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(first, ["smollm2-135m", "installed", "1.5", "MB", "135M", "8192", "none", "Apache-2.0"]);
        let notes = lines.iter().filter(|line| line.note.is_some()).count();
        assert_eq!(text.lines().count(), 1 + lines.len() + 1 + notes, "{text}");
        assert!(text.contains("\nqwen2.5-3b: the licence allows research"), "{text}");
    }

    #[test]
    fn only_installed() {
        let lines = lines(Catalog::built_in(), &[installed("x")], true);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].parameters, None);
    }

    #[test]
    fn weights_read_well() {
        assert_eq!([134_515_008, 1_777_088_000, 70_553_706_496].map(parameters), ["135M", "1.8B", "70.6B"]);
    }
}
