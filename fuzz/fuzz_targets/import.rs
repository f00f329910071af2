//! Any bytes as a file to import: read within its bounds or refused in few words, and what is read is whole. Bytes that
//! are no archive are tried in one too, so that its checksums don't keep changes from the JSON in it.

#![no_main]

use std::io::{Cursor, Write as _};

use libfuzzer_sys::fuzz_target;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if !bytes.starts_with(b"PK") {
        read(&packed(bytes));
    }
});

fn read(file: &[u8]) {
    if let Err(error) = server::read_whole(file) {
        assert!(error.len() < 1000, "{error}");
    }
}

/// As services send their exports, though not compressed.
fn packed(json: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("conversations.json", options).expect("a name");
    zip.write_all(json).expect("memory");
    zip.finish().expect("memory").into_inner()
}
