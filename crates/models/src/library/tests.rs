use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{InstalledModel, Library, LibraryError, NewModel};
use crate::catalog::Location;

fn home() -> (tempfile::TempDir, Library) {
    let directory = tempfile::tempdir().unwrap();
    let library = Library::open(&directory.path().join("home")).unwrap();
    (directory, library)
}

fn sha(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn install(library: &Library, name: &str, digit: char) -> InstalledModel {
    let file = library.partial_directory().join("some.part");
    std::fs::write(&file, b"weights").unwrap();
    let sha256 = sha(digit);
    let new = NewModel { name, file: &file, sha256: &sha256, bytes: 7, source: "file:/x" };
    library.install(&new).unwrap()
}

#[test]
fn a_model_is_installed_found_listed_and_removed() {
    let (_directory, library) = home();
    assert_eq!(library.installed().unwrap(), []);
    let model = install(&library, "smollm2-135m", 'a');
    assert_eq!(model.path, library.home().join("blobs").join(format!("sha256-{}", sha('a'))));
    assert_eq!(std::fs::read(&model.path).unwrap(), b"weights");
    assert_eq!(model.entry.as_ref().map(|entry| entry.title.as_str()), Some("SmolLM2 135M Instruct"));
    assert_eq!(library.find("smollm2-135m").unwrap().as_ref(), Some(&model));
    assert_eq!(library.installed().unwrap(), std::slice::from_ref(&model));
    let resolved = library.resolve("smollm2-135m").unwrap();
    assert_eq!((resolved.path, resolved.entry), (model.path.clone(), model.entry));
    let removed = library.remove("smollm2-135m").unwrap();
    assert_eq!((removed.freed_bytes, removed.still_used_by.len()), (7, 0));
    assert!(!model.path.exists());
    assert!(matches!(library.remove("smollm2-135m"), Err(LibraryError::NotThere { .. })));
    assert_eq!(std::fs::read_dir(library.partial_directory()).unwrap().count(), 0);
}

#[test]
fn a_file_with_two_names_goes_with_the_last() {
    let (_directory, library) = home();
    let first = install(&library, "first", 'b');
    install(&library, "second", 'b');
    let removed = library.remove("first").unwrap();
    assert_eq!((removed.freed_bytes, removed.still_used_by), (0, vec!["second".to_owned()]));
    assert!(first.path.exists());
    assert_eq!(library.remove("second").unwrap().freed_bytes, 7);
    assert!(!first.path.exists());
}

#[test]
fn a_newer_file_replaces_the_older_of_that_name() {
    let (_directory, library) = home();
    let old = install(&library, "model", 'c');
    let new = install(&library, "model", 'd');
    assert!(!old.path.exists() && new.path.exists());
    assert_eq!(library.installed().unwrap(), [new]);
}

#[test]
fn resolving_says_what_to_do() {
    let (directory, library) = home();
    let error = library.resolve("smollm2-135m").unwrap_err().to_string();
    assert_eq!(error, "model \"smollm2-135m\" is not installed; get it with: cachalot pull smollm2-135m");
    assert!(matches!(library.resolve("hf:a/b/c.gguf"), Err(LibraryError::NotInstalled { .. })));
    let error = library.resolve("smolm").unwrap_err().to_string();
    assert!(error.contains("smollm2-135m"), "{error}");
    let path = directory.path().join("my model.gguf");
    std::fs::write(&path, b"x").unwrap();
    let resolved = library.resolve(path.to_str().unwrap()).unwrap();
    assert_eq!((resolved.name.as_str(), resolved.path.as_path()), ("my model", path.as_path()));
    assert!(library.resolve(&format!("file:{}", path.display())).is_ok());
    let model = install(&library, "model", 'e');
    std::fs::remove_file(&model.path).unwrap();
    assert!(matches!(library.resolve("model"), Err(LibraryError::FileMissing { .. })));
    assert_eq!(library.remove("model").unwrap().freed_bytes, 0);
}

#[test]
fn any_text_can_be_a_name() {
    let (_directory, library) = home();
    let long = "x".repeat(5_000);
    let names = [
        "hf:Owner/repo/File.gguf",
        "https://example.org/a.gguf",
        "../../etc/passwd",
        "",
        ".",
        "=a",
        "é",
        &long,
    ];
    for name in names {
        let model = install(&library, name, 'f');
        assert_eq!(library.find(name).unwrap(), Some(model), "{name}");
    }
    assert_eq!(library.installed().unwrap().len(), names.len());
    let inside = |path: &Path| path.starts_with(library.home());
    for entry in std::fs::read_dir(library.home().join("models")).unwrap() {
        assert!(inside(&entry.unwrap().path()));
    }
    assert!(library.find("f").unwrap().is_none());
    // Names that differ only in case stay apart where file systems ignore case.
    install(&library, "Model", 'a');
    install(&library, "model", 'b');
    assert_ne!(library.find("Model").unwrap().unwrap().path, library.find("model").unwrap().unwrap().path);
}

#[test]
fn damaged_and_meddled_manifests_do_no_harm() {
    let (_directory, library) = home();
    install(&library, "good", 'a');
    let models = library.home().join("models");
    std::fs::write(models.join("broken.json"), b"{").unwrap();
    let other = std::fs::read_to_string(models.join("good.json")).unwrap();
    std::fs::write(models.join("other.json"), &other).unwrap();
    std::fs::write(models.join("evil.json"), other.replace("good", "evil").replace(&sha('a'), "../../x"))
        .unwrap();
    let names: Vec<_> = library.installed().unwrap().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["good"]);
    assert!(library.find("evil").unwrap().is_none());
    let error = library.find("broken").unwrap_err().to_string();
    assert!(error.contains("broken.json is damaged"), "{error}");
}

#[test]
fn the_first_checksum_is_pinned() {
    let (_directory, library) = home();
    let location: Location = "hf:a/b/c.gguf".parse().unwrap();
    assert_eq!(library.pin(&location).unwrap(), None);
    library.set_pin(&location, &sha('1')).unwrap();
    assert_eq!(library.pin(&location).unwrap(), Some(sha('1')));
    assert_eq!(library.pin(&"hf:a/b/d.gguf".parse().unwrap()).unwrap(), None);
}

#[test]
fn one_holds_a_lock_and_the_other_waits() {
    let (_directory, library) = home();
    let first = library.lock("model", &mut || panic!("nobody holds it")).unwrap();
    // Another key is not held up.
    library.lock("other model", &mut || panic!("nobody holds it")).unwrap();
    let waits = AtomicUsize::new(0);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            library.lock("model", &mut || {
                waits.fetch_add(1, Ordering::SeqCst);
                tell.send(()).unwrap();
            })
        });
        told.recv().unwrap();
        drop(first);
        second.join().unwrap().unwrap();
    });
    assert_eq!(waits.load(Ordering::SeqCst), 1);
}

#[test]
fn many_names_installed_at_once_all_stay() {
    let (_directory, library) = home();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let library = &library;
            scope.spawn(move || {
                let file = library.partial_directory().join(format!("{number}.part"));
                std::fs::write(&file, b"weights").unwrap();
                let (name, sha256) = (format!("model-{number}"), sha('7'));
                let new = NewModel { name: &name, file: &file, sha256: &sha256, bytes: 7, source: "x" };
                library.install(&new).unwrap();
            });
        }
    });
    assert_eq!(library.installed().unwrap().len(), 8);
}
