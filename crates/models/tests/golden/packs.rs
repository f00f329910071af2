//! Packed weights on disk: a model that is loaded from them is the same model, and whatever is wrong with them, it is
//! packed again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base::TokenId;
use models::packs::{PackCache, PackError, Saved};
use models::{LoadOptions, LoadedModel};
use tempfile::TempDir;

use crate::reference::{golden, golden_json, smollm};
use crate::runner::all_logits;

const PLENTY: u64 = 1 << 40;

/// A home directory for packs, and a folder for model files.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary directory") }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A copy of a tiny model, outside the library.
    fn model(&self, tiny: &str, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::copy(golden(&format!("tiny/{tiny}.gguf")), &path).expect("a copy");
        path
    }

    fn load(&self, model: &Path, bytes_max: u64) -> LoadedModel {
        let packs = Some(PackCache::new(&self.home(), bytes_max));
        let options = LoadOptions { threads: 1, packs, ..LoadOptions::default() };
        models::load(model, &options).expect("a model")
    }

    /// Loads and saves; what saving did, none if the pack was found.
    fn start(&self, model: &Path, bytes_max: u64) -> Option<Result<Saved, PackError>> {
        self.load(model, bytes_max).unsaved_pack.map(models::packs::UnsavedPack::save)
    }

    fn packs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home().join("packs")).expect("packs");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut packs: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "pack")).collect();
        packs.sort();
        packs
    }
}

/// Puts a model file under the name that the library gives it, where its checksum is known.
fn as_blob(place: &Place, tiny: &str) -> PathBuf {
    let bytes = std::fs::read(golden(&format!("tiny/{tiny}.gguf"))).expect("a model");
    let sum: String = sha2_of(&bytes);
    let blobs = place.home().join("blobs");
    std::fs::create_dir_all(&blobs).expect("a directory");
    let path = blobs.join(format!("sha256-{sum}"));
    std::fs::write(&path, bytes).expect("a copy");
    path
}

fn sha2_of(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tokens() -> Vec<TokenId> {
    serde_json::from_value(golden_json("tiny/tokens.json")).expect("tokens")
}

fn logits(mut loaded: LoadedModel, tokens: &[TokenId]) -> Vec<u32> {
    all_logits(&mut *loaded.model, tokens, 7).iter().map(|logit| logit.to_bits()).collect()
}

fn written(saved: Option<Result<Saved, PackError>>) -> u64 {
    match saved {
        Some(Ok(Saved::Written { bytes })) => bytes,
        other => panic!("the pack was not written: {other:?}"),
    }
}

#[test]
fn models_from_packs_are_the_same_models() {
    let (place, tokens) = (Place::new(), tokens());
    let names = golden_json("tiny/models.json")["models"].take();
    for tiny in names.as_array().expect("a list") {
        let name = tiny["name"].as_str().expect("a name");
        let blob = as_blob(&place, name);
        let packed = logits(models::load(&blob, &LoadOptions::default()).expect("a model"), &tokens);
        written(place.start(&blob, PLENTY));
        let loaded = place.load(&blob, PLENTY);
        assert!(loaded.unsaved_pack.is_none(), "{name}: the pack is used");
        assert!(logits(loaded, &tokens) == packed, "{name}: the same logits, bit for bit");
    }
}

#[test]
fn the_real_model_from_its_pack_is_the_same_model() {
    let place = Place::new();
    let path = smollm();
    let tokens: Vec<TokenId> = (100..140).collect();
    let packed = logits(models::load(&path, &LoadOptions::default()).expect("a model"), &tokens);
    let bytes = written(place.start(&path, PLENTY));
    println!("a pack of {bytes} bytes");
    let loaded = place.load(&path, PLENTY);
    // A file outside the library that was changed long ago is known again.
    assert!(loaded.unsaved_pack.is_none());
    assert!(logits(loaded, &tokens) == packed);
}

#[test]
fn a_file_that_was_changed_is_packed_again() {
    let (place, tokens) = (Place::new(), tokens());
    let path = place.model("llama-tied", "model.gguf");
    written(place.start(&path, PLENTY));
    // It was written a moment ago: another change might not show in its times, so it is hashed again.
    assert!(matches!(place.start(&path, PLENTY), Some(Ok(Saved::Already))));
    std::thread::sleep(Duration::from_secs(3));
    assert!(matches!(place.start(&path, PLENTY), Some(Ok(Saved::Already))));
    assert!(place.start(&path, PLENTY).is_none(), "known by its times");

    let facts = std::fs::metadata(&path).expect("facts");
    std::fs::copy(golden("tiny/llama-f16.gguf"), &path).expect("other weights");
    let file = File::options().write(true).open(&path).expect("the file");
    file.set_modified(facts.modified().expect("a time")).expect("the time of before");
    let expected = models::load(&golden("tiny/llama-f16.gguf"), &LoadOptions::default()).expect("a model");
    let loaded = place.load(&path, PLENTY);
    assert!(loaded.unsaved_pack.is_some(), "its pack is not that of before");
    assert!(logits(loaded, &tokens) == logits(expected, &tokens));
}

#[test]
fn a_file_that_changes_while_it_is_loaded_is_not_kept() {
    let place = Place::new();
    let path = place.model("llama-tied", "model.gguf");
    let unsaved = place.load(&path, PLENTY).unsaved_pack.expect("something to save");
    let file = File::options().append(true).open(&path).expect("the file");
    std::io::Write::write_all(&mut &file, b"more").expect("a longer file");
    let error = unsaved.save().expect_err("it has changed");
    assert!(matches!(error, PackError::Changed { .. }), "{error}");
    assert!(place.packs().is_empty());
}

#[test]
fn whatever_is_wrong_with_a_pack_the_model_is_packed_again() {
    let (place, tokens) = (Place::new(), tokens());
    let blob = as_blob(&place, "qwen2-tied");
    let bytes = written(place.start(&blob, PLENTY));
    let expected = logits(place.load(&blob, PLENTY), &tokens);
    let path = place.packs().remove(0);
    let whole = std::fs::read(&path).expect("the pack");
    assert_eq!(whole.len() as u64, bytes);
    let with = |at: usize, value: u8| {
        let mut changed = whole.clone();
        changed[at] = value;
        changed
    };
    let text = |from: &str, to: &str| {
        let header = String::from_utf8_lossy(&whole[16..4096]).into_owned();
        let at = header.find(from).unwrap_or_else(|| panic!("{from} in {header}"));
        let mut changed = whole.clone();
        changed[16 + at..][..to.len()].copy_from_slice(to.as_bytes());
        changed
    };
    let damaged = [
        ("empty", Vec::new()),
        ("no more than a beginning", whole[..15].to_vec()),
        ("cut in its header", whole[..100].to_vec()),
        ("cut in its weights", whole[..whole.len() - 64].to_vec()),
        ("longer", [&whole[..], &[0; 64]].concat()),
        ("no pack", with(0, b'X')),
        ("another version", with(8, 99)),
        ("a header longer than the file", with(15, 255)),
        ("no header", with(16, b'X')),
        ("another model's", text("\"sha256\":\"", "\"sha256\":\"zzzz")),
        ("lacking a matrix", text("token_embd.weight", "token_embd.Weight")),
        ("a matrix of another size", text("\"bytes\":", "\"bytes\":1")),
        ("a matrix that isn't aligned", text("\"offset\":0", "\"offset\":1")),
    ];
    for (what, bytes) in damaged {
        std::fs::remove_file(&path).expect("the pack of before");
        std::fs::write(&path, bytes).expect("a damaged pack");
        let mut loaded = place.load(&blob, PLENTY);
        let unsaved = loaded.unsaved_pack.take();
        assert!(logits(loaded, &tokens) == expected, "{what}");
        written(Some(unsaved.expect(what).save()));
        assert!(std::fs::read(&path).expect("the pack") == whole, "{what}: it is as it was");
        assert!(place.start(&blob, PLENTY).is_none(), "{what}: it is used again");
    }
}

#[test]
fn packs_stay_within_their_bound() {
    let place = Place::new();
    let models = ["llama-tied", "qwen2-tied", "qwen3-tied"].map(|name| as_blob(&place, name));
    let bytes: Vec<u64> = models.iter().map(|model| written(place.start(model, PLENTY))).collect();
    assert_eq!(place.packs().len(), 3);
    let used = |model: &Path, hours: u64| {
        let sum = model.file_name().expect("a name").to_string_lossy().replace("sha256-", "");
        let path = place.home().join(format!("packs/{sum}.v2.pack"));
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - hours * 3600);
        File::options().write(true).open(&path).expect("the pack").set_modified(then).expect("a time");
        path
    };
    let [first, second, third] = [(0, 3), (1, 2), (2, 1)].map(|(model, hours)| used(&models[model], hours));
    // The first is used now, and the second is longest ago.
    assert!(place.start(&models[0], PLENTY).is_none());
    let other_version = place.home().join("packs/other.v0.pack");
    std::fs::write(&other_version, b"an older program's").expect("a file");
    let unfinished = place.home().join("packs/ended.v2.new");
    std::fs::write(&unfinished, b"of a program that was ended").expect("a file");
    let fourth = as_blob(&place, "llama3-rope");
    let fourth_bytes = written(place.start(&fourth, bytes.iter().sum::<u64>() + 1));
    assert!(
        fourth_bytes > 0 && first.exists() && !second.exists() && third.exists() && !other_version.exists()
    );

    let error = place.start(&models[1], fourth_bytes / 4).expect("not kept").expect_err("too large");
    assert!(matches!(error, PackError::TooLarge { .. }), "{error}");
    assert!(first.exists() && third.exists(), "nothing makes room for what doesn't fit");
}
