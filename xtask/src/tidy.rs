//! The rules of the house (ARCHITECTURE.md) that can be read off `cargo metadata` and the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Which of our crates each of our crates may name in `[dependencies]`.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("cachalot-base", &[]),
    ("cachalot-kernels", &["cachalot-base"]),
    ("cachalot-models", &["cachalot-base", "cachalot-kernels"]),
    ("cachalot-engine", &["cachalot-base", "cachalot-models"]),
    ("cachalot-dialogue", &["cachalot-base", "cachalot-engine", "cachalot-kernels", "cachalot-models"]),
    ("cachalot-wire", &[]),
    ("cachalot-drill", &["cachalot-base"]),
    ("cachalot-store", &["cachalot-base"]),
    ("cachalot-defence", &["cachalot-base"]),
    (
        "cachalot-server",
        &["cachalot-base", "cachalot-defence", "cachalot-dialogue", "cachalot-store", "cachalot-wire"],
    ),
    (
        "cachalot",
        &[
            "cachalot-base",
            "cachalot-dialogue",
            "cachalot-drill",
            "cachalot-engine",
            "cachalot-kernels",
            "cachalot-models",
            "cachalot-server",
            "cachalot-store",
        ],
    ),
    ("xtask", &[]),
];

/// Crates from outside that only some rooms may name: (crate, rooms).
const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "tokio",
        &[
            "cachalot-engine",
            "cachalot-dialogue",
            "cachalot-store",
            "cachalot-server",
            "cachalot-drill",
            "cachalot",
        ],
    ),
    ("axum", &["cachalot-server"]),
    ("hyper", &["cachalot", "cachalot-drill", "cachalot-server"]),
    ("sqlx", &["cachalot-store"]),
    ("ureq", &["cachalot", "cachalot-server"]),
    ("hf-hub", &["cachalot"]),
];

/// Words that may not stand in the pure parts, whatever their crate depends on.
const PURE_PARTS: &[(&str, &[&str])] = &[
    ("crates/engine/src/scheduler", &["tokio::", "std::thread", "std::fs", "std::net"]),
    (
        "crates/server/src/connections/roster",
        &["tokio::", "axum::", "std::thread", "std::fs", "TcpStream", "Instant", "SystemTime", "SystemClock"],
    ),
    (
        "crates/defence/src",
        &[
            "tokio::",
            "axum::",
            "async ",
            "std::thread",
            "std::fs",
            "std::env",
            "std::process",
            "TcpStream",
            "UdpSocket",
            "Instant",
            "SystemTime",
            "SystemClock",
            "RandomState",
            "from_os",
        ],
    ),
];

/// Largest tracked file, in bytes: models and other large data come from packages, with a checksum.
const TRACKED_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// Runs every check, prints every finding, and fails if there is one.
pub(crate) fn run() -> ExitCode {
    match findings() {
        Ok(found) if found.is_empty() => {
            println!("tidy: no findings");
            ExitCode::SUCCESS
        }
        Ok(found) => {
            for finding in &found {
                eprintln!("tidy: {finding}");
            }
            eprintln!("tidy: {} finding(s)", found.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn findings() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().exec().context("cargo metadata")?;
    let root = metadata.workspace_root.clone().into_std_path_buf();
    let mut found = dependency_findings(&workspace_dependencies(&metadata));
    for (folder, words) in PURE_PARTS {
        found.extend(pure_part_findings(&root, folder, words)?);
    }
    found.extend(unsafe_findings(&root)?);
    found.extend(concrete_store_findings(&root)?);
    found.extend(large_file_findings(&root)?);
    found.extend(left_out_findings(&root)?);
    Ok(found)
}

/// Names of the normal dependencies of each workspace member; tests and build scripts may name what they like.
fn workspace_dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
            (package.name.to_string(), normal.map(|d| d.name.clone()).collect())
        })
        .collect()
}

fn dependency_findings(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (package, named) in dependencies {
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(name, _)| name == package) else {
            found.push(format!("crate {package} has no line in MAY_DEPEND_ON (xtask/src/tidy.rs)"));
            continue;
        };
        for dependency in named {
            let ours = MAY_DEPEND_ON.iter().any(|(name, _)| name == dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{package} names {dependency}; allowed: {}", allowed.join(", ")));
            }
            if let Some((_, rooms)) = ONLY_IN.iter().find(|(name, _)| name == dependency)
                && !rooms.contains(&package.as_str())
            {
                found.push(format!("{package} names {dependency}; allowed only in: {}", rooms.join(", ")));
            }
        }
    }
    found
}

fn pure_part_findings(root: &Path, folder: &str, words: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let files = rust_files(&root.join(folder))?;
    if files.is_empty() {
        found.push(format!("{folder} has no Rust files: PURE_PARTS (xtask/src/tidy.rs) is out of date"));
    }
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                let place = file.strip_prefix(root).unwrap_or(&file).display();
                found.push(format!("{place}:{}: {word} in a part that is kept pure", number + 1));
            }
        }
    }
    Ok(found)
}

/// `unsafe` stays in kernels, where a memory map is made, and where a socket is told what no library knows.
fn unsafe_findings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in rust_files(&root.join("crates"))? {
        let place = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
        if place.starts_with("crates/kernels") {
            continue;
        }
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens = ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|form| code.contains(form));
            if opens && !UNSAFE_OUTSIDE_KERNELS.iter().any(|allowed| place == Path::new(allowed)) {
                found.push(format!("{}:{}: unsafe outside kernels", place.display(), number + 1));
            }
        }
    }
    Ok(found)
}

/// Files outside kernels that may hold `unsafe`, each for one system call.
const UNSAFE_OUTSIDE_KERNELS: &[&str] =
    &["crates/models/src/gguf/mod.rs", "crates/server/src/connections/door.rs"];

/// Stores by the names of their types, which only the crate that has them, the binary and tests may spell: everyone
/// else takes the traits.
const CONCRETE_STORES: &[&str] = &["SqliteStore"];
const MAY_BUILD_STORES: &[&str] = &["crates/store", "crates/cli"];

fn concrete_store_findings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in rust_files(&root.join("crates"))? {
        let place = file.strip_prefix(root).unwrap_or(&file);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        found.extend(concrete_stores_in(place, &text));
    }
    Ok(found)
}

fn concrete_stores_in(place: &Path, text: &str) -> Vec<String> {
    let is_test = place.components().any(|part| part.as_os_str() == "tests");
    if is_test || MAY_BUILD_STORES.iter().any(|crate_| place.starts_with(crate_)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for store in CONCRETE_STORES.iter().filter(|store| code.contains(**store)) {
            let allowed = MAY_BUILD_STORES.join(", ");
            let place = place.display();
            found.push(format!("{place}:{}: {store}; allowed only in: {allowed} and tests", number + 1));
        }
    }
    found
}

fn large_file_findings(root: &Path) -> Result<Vec<String>> {
    let listing =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().context("git ls-files")?;
    let names = String::from_utf8(listing.stdout).context("git ls-files printed a name that is not UTF-8")?;
    let mut found = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A file that was deleted but not yet committed has no size.
        let Ok(facts) = std::fs::metadata(root.join(name)) else { continue };
        if facts.len() > TRACKED_BYTES_MAX {
            found.push(format!("{name} has {} bytes; allowed: {TRACKED_BYTES_MAX}", facts.len()));
        }
    }
    Ok(found)
}

/// All `.rs` files under `folder`, sorted; none if there is no such folder.
/// Where a field is left out if it is empty, the `OpenAPI` document has to say that it is never `null`.
fn left_out_findings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["crates/server/src", "crates/wire/src"] {
        for file in rust_files(&root.join(folder))? {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            found.extend(left_out_in(file.strip_prefix(root).unwrap_or(&file), &text));
        }
    }
    Ok(found)
}

fn left_out_in(place: &Path, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let after = lines.get(number + 1).copied().unwrap_or_default();
        if line.contains("skip_serializing_if = \"Option::is_none\"") && !after.contains("nullable = false") {
            let place = place.display();
            found.push(format!(
                "{place}:{}: without #[schema(nullable = false)] on the next line",
                number + 1
            ));
        }
    }
    found
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        if !next.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(package: &str, dependencies: &[&str], expected: &[&str]) {
        let named = dependencies.iter().map(ToString::to_string).collect();
        let found = dependency_findings(&BTreeMap::from([(package.to_owned(), named)]));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expected) {
            assert!(finding.contains(part), "{finding:?} should say {part:?}");
        }
    }

    #[test]
    fn dependencies_point_one_way() {
        check("cachalot-engine", &["cachalot-models", "tokio"], &[]);
        check("cachalot-models", &["cachalot-engine"], &["cachalot-models names cachalot-engine"]);
        check("cachalot-kernels", &["tokio"], &["cachalot-kernels names tokio"]);
        check("cachalot-server", &["sqlx"], &["cachalot-server names sqlx"]);
        check("cachalot-server", &["cachalot-defence"], &[]);
        check("cachalot-defence", &["cachalot-server"], &["cachalot-defence names cachalot-server"]);
        check("cachalot-defence", &["axum"], &["cachalot-defence names axum"]);
        check("cachalot-dialogue", &["cachalot-defence"], &["cachalot-dialogue names cachalot-defence"]);
        check("cachalot-novelty", &[], &["has no line"]);
    }

    #[test]
    fn concrete_stores_are_for_the_binary_and_tests() {
        let check = |place: &str, text: &str, expected: usize| {
            let found = concrete_stores_in(Path::new(place), text);
            assert_eq!(found.len(), expected, "{place}: {found:?}");
        };
        let builds = "\nlet store = SqliteStore::open(path)?;";
        check("crates/server/src/lib.rs", builds, 1);
        check("crates/dialogue/src/hub.rs", "use store::SqliteStore;", 1);
        check("crates/server/src/lib.rs", "// As SqliteStore has it.", 0);
        check("crates/server/tests/it/main.rs", builds, 0);
        check("crates/cli/src/commands/up.rs", builds, 0);
        check("crates/store/src/sqlite/mod.rs", builds, 0);
    }

    #[test]
    fn what_is_left_out_is_never_null() {
        let check = |text: &str, expected: usize| {
            assert_eq!(left_out_in(Path::new("views.rs"), text).len(), expected, "{text}");
        };
        let left_out = "#[serde(skip_serializing_if = \"Option::is_none\")]\n";
        check(&format!("{left_out}#[schema(nullable = false)]\npassword: Option<String>,"), 0);
        check(&format!("{left_out}password: Option<String>,"), 1);
        check("#[serde(skip_serializing_if = \"Vec::is_empty\")]\ncalls: Vec<Call>,", 0);
    }

    #[test]
    fn a_pure_part_that_is_gone_is_a_finding() {
        let found = pure_part_findings(Path::new("."), "no-such-folder", &["tokio::"]).unwrap();
        assert_eq!(found.len(), 1);
    }
}
