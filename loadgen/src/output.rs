//! Where results go. What cannot be written is found before a run begins, and a file is replaced as a whole or stays what it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use tempfile::{Builder, NamedTempFile};

/// Files that a run writes into its directory under any circumstances.
const ALWAYS: [&str; 2] = ["report.json", "latency.hgrm"];

/// Checks what `--out` and `--html` name. Leaves nothing behind, and touches nothing that is there.
///
/// # Errors
/// When one of them cannot be written; the text names the option, the path, the reason, and a remedy.
pub(crate) fn check(directory: Option<&Path>, page: Option<&Path>) -> anyhow::Result<()> {
    // The page may go into the directory, which is there until this is checked.
    let _made = directory.map(check_directory).transpose()?;
    if let Some(page) = page {
        check_file(page).map_err(|error| refused("--html", page, &error))?;
        let is_taken = |name: &&&str| directory.is_some_and(|directory| directory.join(name) == page);
        if let Some(name) = ALWAYS.iter().find(is_taken) {
            bail!("--html {}: --out writes {name} there; give the page a name of its own", page.display());
        }
    }
    Ok(())
}

fn refused(option: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "make the directory first, or name another",
        ErrorKind::IsADirectory => "name a file in it",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "name a path that has only directories in it",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "name one where you may write",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or name one on another disk",
        _ => "name another",
    };
    anyhow::anyhow!("{option} {}: cannot be written: {error}; {remedy}. Nothing was started", path.display())
}

/// Directories that are there for the time of a check.
#[derive(Debug, Default)]
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn check_directory(directory: &Path) -> anyhow::Result<Made> {
    let refused = |error: &io::Error| refused("--out", directory, error);
    let made = make(directory).map_err(|error| refused(&error))?;
    drop(beside(&directory.join(ALWAYS[0])).map_err(|error| refused(&error))?);
    for name in ALWAYS {
        check_file(&directory.join(name)).map_err(|error| refused(&error))?;
    }
    Ok(made)
}

/// Makes a directory and those above it; what it returns takes those that were not there away again.
fn make(directory: &Path) -> io::Result<Made> {
    let above: Vec<_> = directory.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    let mut made = Made::default();
    for path in above.into_iter().rev() {
        match fs::create_dir(path) {
            Ok(()) => made.0.push(path.to_owned()),
            Err(_) if path.is_dir() => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(io::Error::new(
                    ErrorKind::NotADirectory,
                    format!("{} is a file", path.display()),
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// Whether a file can be written, or made, without doing it.
fn check_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        // Whoever reads a pipe may come later.
        Ok(found) if found.file_type().is_fifo() => Ok(()),
        // Opened for writing, and not truncated.
        Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => beside(path).map(drop),
        Err(error) => Err(error),
    }
}

/// An empty file in the directory of another, with no name that lasts.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let mode = fs::Permissions::from_mode(0o666);
    Builder::new()
        .prefix(".tickwire-loadgen-")
        .permissions(mode)
        .tempfile_in(directory.unwrap_or(Path::new(".")))
}

/// Writes a file. One that is there keeps its content until the new one is whole.
///
/// # Errors
/// When it cannot be written; the text names it.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    put(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let found = fs::metadata(path).ok();
    ensure!(!found.as_ref().is_some_and(fs::Metadata::is_dir), "it is a directory");
    // A device or a pipe is written to and not replaced; a link stays one.
    let is_replaced = found.as_ref().is_none_or(fs::Metadata::is_file);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match beside(&target) {
        Ok(mut file) if is_replaced => {
            file.write_all(text.as_bytes())?;
            if let Some(found) = found {
                file.as_file().set_permissions(found.permissions())?;
            }
            file.as_file().sync_all()?;
            file.persist(&target).map_err(|error| error.error)?;
        }
        // A file that may be written in a directory that may not.
        _ if found.is_some() => {
            OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes())?;
        }
        Ok(_) => File::create(path)?.write_all(text.as_bytes())?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
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
}
