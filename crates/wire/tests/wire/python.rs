//! Stock decoders in another language read the vectors, and a client written from the documentation follows a
//! scripted session.

use std::path::PathBuf;
use std::process::Command;

use crate::vectors::root;

/// Returns `TICKWIRE_PYTHON`, or what `scripts/setup-tests.sh` made.
fn python() -> PathBuf {
    let python = match std::env::var_os("TICKWIRE_PYTHON") {
        Some(named) => PathBuf::from(named),
        None => root().join(".cache/venv/bin/python"),
    };
    assert!(python.is_file(), "there is no {}: run scripts/setup-tests.sh", python.display());
    python
}

#[track_caller]
fn check(module: &str) {
    let output = Command::new(python())
        .args(["-B", "-m", "unittest", module])
        .current_dir(root().join("tests/python"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{module} failed; if a module is missing, run scripts/setup-tests.sh\n{said}"
    );
    assert!(said.contains("\nOK"), "{module} ran no test:\n{said}");
}

#[test]
fn stock_decoders_read_the_vectors() {
    check("test_vectors");
}

#[test]
fn a_client_from_the_documentation_follows_a_session() {
    check("test_probe");
}
