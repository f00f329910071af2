//! `cachalot bench` as its user sees it, and the packed weights that it leaves for the next start.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/tiny/llama-tied.gguf")
}

fn succeeds(home: &TempDir, arguments: &[&str], pack_cache_gib: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachalot"));
    command.args(arguments).env("CACHALOT_HOME", home.path()).env("CACHALOT_PACK_CACHE_GIB", pack_cache_gib);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The one object that it prints.
fn bench(home: &TempDir, arguments: &[&str], pack_cache_gib: &str) -> Value {
    let fixed = ["bench", "-p", "8", "-n", "4", "-r", "1", "-t", "1", "--no-limits", "--json"];
    let output = succeeds(home, &[&fixed, arguments].concat(), pack_cache_gib);
    serde_json::from_slice(&output.stdout).expect("an object")
}

fn packs(home: &TempDir) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(home.path().join("packs")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "pack")).collect()
}

#[test]
fn it_measures_and_the_model_s_packed_weights_are_kept() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let source = format!("file:{}", tiny().canonicalize().expect("the tiny model").display());
    succeeds(&home, &["pull", &source], "0");
    let name = "llama-tied.gguf";
    for (arguments, gib) in [(vec![name, "--no-pack-cache"], "20"), (vec![name], "0")] {
        bench(&home, &arguments, gib);
        assert!(packs(&home).is_empty(), "{arguments:?} with {gib} GiB keeps nothing");
    }

    let report = bench(&home, &[name], "20");
    for (field, tokens) in [("prefill", 8), ("decode", 4)] {
        assert_eq!(report[field]["tokens"], tokens);
        assert!(report[field]["tokens_s"].as_f64().expect("a rate") > 0.0, "{report}");
    }
    let kept = packs(&home);
    assert_eq!(kept.len(), 1);
    let pack = kept[0].file_name().expect("a name").to_string_lossy().into_owned();
    let written = kept[0].metadata().expect("facts").modified().expect("a time");

    // The second start uses it, which its time tells.
    std::thread::sleep(std::time::Duration::from_millis(50));
    bench(&home, &[name], "20");
    assert_eq!(packs(&home), kept);
    assert!(kept[0].metadata().expect("facts").modified().expect("a time") > written, "{pack} was not used");

    succeeds(&home, &["rm", name], "20");
    assert!(packs(&home).is_empty(), "what belongs to a model goes with it");
}
