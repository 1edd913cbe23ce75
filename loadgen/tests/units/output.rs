//! Results are written here.

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn check_refused(directory: Option<&Path>, page: Option<&Path>, expected: &[&str]) {
    let error = check(directory, page).expect_err("it cannot be written").to_string();
    for part in expected {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn a_check_leaves_everything_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let (new, old) = (place.path().join("a/b"), place.path().join("old.html"));
    fs::write(&old, "old").unwrap();
    check(Some(&new), Some(&new.join("page.html"))).unwrap();
    check(Some(place.path()), Some(&old)).unwrap();
    assert_eq!(names(place.path()), ["old.html"]);
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
}

#[test]
fn what_cannot_be_written_is_named_with_reason_and_remedy() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let missing = place.path().join("none/page.html");
    check_refused(
        None,
        Some(&missing),
        &["--html", "none/page.html", "No such file or directory", "make the directory first"],
    );
    check_refused(None, Some(place.path()), &["is a directory", "name a file in it"]);
    check_refused(Some(&file), None, &["--out", "file is a file", "only directories"]);
    check_refused(Some(&file.join("deeper")), None, &["--out", "file is a file"]);
    let directory = place.path().join("taken");
    fs::create_dir_all(directory.join("report.json")).unwrap();
    check_refused(Some(&directory), None, &["--out", "taken"]);
    check_refused(Some(place.path()), Some(&place.path().join("report.json")), &["a name of its own"]);
    // The kernel lets nobody make files there, not even root.
    check_refused(Some(Path::new("/proc/x")), None, &["--out /proc/x"]);
    assert_eq!(names(place.path()), ["file", "taken"]);
}

#[test]
fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
    let place = tempfile::tempdir().unwrap();
    let (path, link) = (place.path().join("a"), place.path().join("link"));
    write(&path, "first").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write(&link, "second").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(place.path()), ["a", "link"]);
    // A device is written to and stays one; this one has no room.
    let error = format!("{:#}", write(Path::new("/dev/full"), "text").unwrap_err());
    assert!(error.contains("cannot write /dev/full: No space left"), "{error}");
    write(Path::new("/dev/null"), "text").unwrap();
}
