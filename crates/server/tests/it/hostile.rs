//! Files that want harm, or are broken, for imports.

use std::io::{Cursor, Write as _};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(crate) const CHATGPT: &str = include_str!("fixtures/chatgpt.json");
pub(crate) const DEEPSEEK: &str = include_str!("fixtures/deepseek.json");

/// A zip archive of these files.
pub(crate) fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Our own form, whose fields have an order.
pub(crate) fn own(version: &str, conversations: &Value) -> Vec<u8> {
    format!("{{\"format\": \"cachalot\", \"version\": {version}, \"conversations\": {conversations}}}")
        .into_bytes()
}

/// ChatGPT's form with one conversation of these nodes.
fn with_mapping(mapping: &Value) -> Vec<u8> {
    json!([
        {"title": "good", "create_time": 1, "mapping": {"q": node(None), "a": node(Some("q"))}},
        {"title": "bad", "create_time": 1, "mapping": mapping},
    ])
    .to_string()
    .into_bytes()
}

fn node(parent: Option<&str>) -> Value {
    let message = json!({"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["x"]}});
    json!({"parent": parent, "children": [], "message": message})
}

fn stored(name: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file(name, options).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Replaces bytes by as many others, everywhere.
fn replaced(mut file: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = false;
    for at in 0..=file.len() - from.len() {
        if &file[at..at + from.len()] == from {
            file[at..at + from.len()].copy_from_slice(to);
            found = true;
        }
    }
    assert!(found);
    file
}

/// Sets a field of each header of the central directory, at this distance from its start.
fn in_directory(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut found = false;
    for start in 0..file.len() - 46 {
        if &file[start..start + 4] == b"PK\x01\x02" {
            file[start + at..start + at + bytes.len()].copy_from_slice(bytes);
            found = true;
        }
    }
    assert!(found);
    file
}

/// More entries than a user of the test may have conversations, and some.
fn entries(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| format!("{number}.txt")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    zipped(&files)
}

/// Archives that want harm, or are broken, and how they are refused.
pub(crate) fn hostile_archives() -> Vec<(&'static str, Vec<u8>, u16)> {
    let good = CHATGPT.as_bytes();
    let with = |name: &str| zipped(&[("conversations.json", good), (name, b"x")]);
    let plain = zipped(&[("conversations.json", good)]);
    // 2 MiB of spaces in one entry, which packs a thousand to one; and the same as conversations.
    let spaces = vec![b' '; 2 << 20];
    let mut link = ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("conversations.json", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let link = link.finish().unwrap().into_inner();
    let twice = zipped(&[("conversations.json", good), ("conversationz.json", b"[]")]);
    let two = zipped(&[("conversations.json", good), ("b", b"xy")]);
    let mut damaged = stored("conversations.json", good);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    vec![
        ("out of its folder", with("../../x"), 400),
        ("out of its folder, deep", with("a/../../x"), 400),
        ("absolute", with("/etc/x"), 400),
        ("empty part", with("a//x"), 400),
        ("backslash", with("..\\x"), 400),
        ("drive", with("C:x"), 400),
        ("NUL", replaced(with("a?b"), b"a?b", b"a\0b"), 400),
        ("not UTF-8", replaced(with("a??b"), b"a??b", b"a\xff\xfeb"), 400),
        ("link", link, 400),
        ("encrypted", in_directory(plain.clone(), 8, &[1]), 422),
        ("unknown packing", in_directory(plain.clone(), 10, &[14, 0]), 422),
        ("huge declared size", in_directory(plain.clone(), 24, &[0xff, 0xff, 0xff, 0x7f]), 413),
        ("declared too small", in_directory(plain.clone(), 24, &[9, 0, 0, 0]), 400),
        ("bomb beside", zipped(&[("conversations.json", good), ("bomb.txt", &spaces)]), 413),
        ("bomb", zipped(&[("conversations.json", &spaces)]), 413),
        ("bomb in a bomb", zipped(&[("conversations.zip", &zipped(&[("conversations.json", good)]))]), 422),
        ("too many entries", entries(10_200), 413),
        ("twice", replaced(twice, b"conversationz.json", b"conversations.json"), 400),
        // The second header points to the first entry.
        ("overlapping", in_directory(two, 42, &[0, 0, 0, 0]), 400),
        ("damaged", damaged, 400),
        ("truncated", plain[..plain.len() / 2].to_vec(), 400),
        ("truncated directory", plain[..plain.len() - 30].to_vec(), 400),
        ("nothing in it", zipped(&[("a.txt", b"x")]), 422),
        ("empty", zipped(&[]), 422),
        ("only the beginning", b"PK".to_vec(), 400),
    ]
}

/// JSON that wants harm, or is broken, and how it is refused.
pub(crate) fn hostile_json() -> Vec<(&'static str, Vec<u8>, u16)> {
    let message = |id: &str, parent: Option<&str>, role: &str| json!({"id": id, "parent_id": parent, "role": role, "status": "complete", "content": "x", "created_ms": 1});
    let messages = |messages: Value| {
        let conversation = json!({"id": "1", "title": "bad", "model": "m", "created_ms": 1, "updated_ms": 1, "messages": messages});
        own("1", &json!([conversation]))
    };
    let deep = format!("[{}", "[".repeat(100_000)).into_bytes();
    let deep_field = format!("[{{\"mapping\":{}", "{\"a\":".repeat(100_000)).into_bytes();
    let wide: Value =
        (0..60_000).map(|number| (number.to_string(), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let cut = |text: &str, end: usize| text.as_bytes()[..end].to_vec();
    vec![
        ("nothing", Vec::new(), 400),
        ("no JSON", b"hello".to_vec(), 400),
        ("a number", b"7".to_vec(), 400),
        ("an empty list", b"[]".to_vec(), 422),
        ("an empty object", b"{}".to_vec(), 422),
        ("another's object", br#"{"format": "other", "version": 1, "conversations": []}"#.to_vec(), 422),
        ("a newer version", own("2", &json!([])), 422),
        ("the version as text", own("\"1\"", &json!([])), 400),
        ("cut off", cut(CHATGPT, CHATGPT.len() - 3), 400),
        ("cut off in the middle", cut(DEEPSEEK, 2000), 400),
        ("more after its end", [CHATGPT.as_bytes(), b"x"].concat(), 400),
        ("invalid UTF-8", replaced(CHATGPT.as_bytes().to_vec(), b"How deep", b"How \xff\xfe\xfd\xfc"), 400),
        (
            "half a surrogate",
            replaced(CHATGPT.as_bytes().to_vec(), b"\\ud83d\\udc0b", b"\\ud83d\\u0041"),
            400,
        ),
        ("lists in lists", deep, 400),
        ("objects in objects", deep_field, 400),
        ("too many nodes", with_mapping(&wide), 400),
        ("no mapping", br#"[{"title": "bad"}]"#.to_vec(), 422),
        ("a mapping that is a list", br#"[{"title": "bad", "mapping": [1]}]"#.to_vec(), 400),
        ("a circle", with_mapping(&json!({"a": node(Some("b")), "b": node(Some("a"))})), 422),
        ("its own parent", with_mapping(&json!({"a": node(Some("a"))})), 422),
        ("a parent that is not there", with_mapping(&json!({"a": node(Some("z"))})), 422),
        ("a parent of another type", with_mapping(&json!({"a": {"parent": 7}})), 400),
        ("a message of another type", with_mapping(&json!({"a": {"message": "x"}})), 400),
        ("content of another type", with_mapping(&json!({"a": {"message": {"content": 7}}})), 400),
        ("a title of another type", br#"[{"title": 7, "mapping": {}}]"#.to_vec(), 400),
        ("a time of another type", br#"[{"title": "x", "create_time": {}, "mapping": {}}]"#.to_vec(), 400),
        (
            "a time that is none",
            br#"[{"title": "x", "inserted_at": "yesterday", "mapping": {}}]"#.to_vec(),
            400,
        ),
        (
            "two services",
            br#"[{"inserted_at": "2025-01-20T08:00:00Z", "mapping": {}}, {"mapping": {}}]"#.to_vec(),
            422,
        ),
        ("an unknown role", messages(json!([message("1", None, "admin")])), 422),
        (
            "a child before its parent",
            messages(json!([message("2", Some("1"), "assistant"), message("1", None, "user")])),
            422,
        ),
        ("an answer to nothing", messages(json!([message("1", None, "assistant")])), 422),
        (
            "an answer to an answer",
            messages(json!([message("1", None, "user"), message("2", Some("1"), "user")])),
            422,
        ),
        ("one id twice", messages(json!([message("1", None, "user"), message("1", None, "user")])), 422),
        ("a message that is none", messages(json!([7])), 400),
        // The next follows a good one: nothing of the file is kept.
        (
            "a large conversation",
            with_mapping(&json!({"x": node(None), "y".repeat(20_000_000): node(None)})),
            413,
        ),
    ]
}
