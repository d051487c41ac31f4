//! Files that are written whole or not at all, and files that are safe to read.
//!
//! A file is written under a temporary name, `.sci-burn-` and 16 hexadecimal digits and `.tmp`, in
//! the folder of its target, and given its own name when it is complete. The temporary file is locked while it
//! is written. The operating system releases the lock when the process ends, however it ends, so a
//! temporary file that can be locked belongs to nobody and is removed.

use crate::error::{Cause, Error, Result, shown};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const PREFIX: &str = ".sci-burn-";
const SUFFIX: &str = ".tmp";
const DIGITS: usize = 16;

/// Puts `bytes` at `path`, in place of what was there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, true, |file| file.write_all(bytes))
}

/// Lets `fill` write a file beside `path`, and gives it that name when it is complete and on the
/// disk. If anything fails on the way, what was at `path` stays. Where nothing is to be replaced, a
/// file that is there, or is there by then, is an error of the kind [`ErrorKind::AlreadyExists`].
pub(crate) fn write_with<E: Into<Cause>>(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::result::Result<(), E>,
) -> Result<()> {
    let failed = |cause: Cause| Error::write(path, cause);
    let unwritten = |error: io::Error| failed(error.into());
    // The folder is checked first for the sake of a message that says what is missing.
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(failed(format!("there is no folder {}", shown(folder)).into()));
    }
    if path.is_dir() {
        return Err(failed("it is a folder".into()));
    }
    if !replace && is_taken(path) {
        return Err(unwritten(taken()));
    }
    remove_dead_once(folder);
    let (temporary, file) = Temporary::create(folder).map_err(unwritten)?;
    let mut file = BufWriter::new(file);
    fill(&mut file).map_err(|error| failed(error.into()))?;
    let file = file.into_inner().map_err(|error| unwritten(error.into_error()))?;
    #[cfg(unix)]
    if replace && let Ok(replaced) = fs::metadata(path) {
        // Some file systems know no permissions; the file is worth more than they are.
        let _ = file.set_permissions(replaced.permissions());
    }
    // Some disks report only now what they could not write.
    file.sync_all().map_err(unwritten)?;
    // The file is closed, and with that unlocked, after it has its final name.
    match replace {
        true => temporary.rename(path),
        false => temporary.rename_to_new(path),
    }
    .map_err(unwritten)
}

/// Whether there is a file, a folder or a link of this name, be it one to nowhere.
fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn taken() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "it exists already")
}

/// A temporary file's name in its folder. The file is removed when this is dropped.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// Creates and locks a new file.
    fn create(folder: &Path) -> io::Result<(Self, File)> {
        loop {
            // A `RandomState` is seeded by the operating system, and differs from call to call.
            let number = RandomState::new().hash_one(std::process::id());
            let path = folder.join(format!("{PREFIX}{number:016x}{SUFFIX}"));
            let file = match File::create_new(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            let temporary = Self { path, renamed: false };
            match file.try_lock() {
                // Between its creation and its lock the file looked dead, and another process may
                // have removed it, or be about to.
                Err(TryLockError::WouldBlock) => continue,
                Ok(()) if !temporary.path.try_exists()? => continue,
                // On a file system without locks nobody can lock the file to remove it either.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok((temporary, file)),
            }
        }
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }

    /// [`rename`](Self::rename), unless there is a file of that name: two processes that do this at the
    /// same time do not replace each other's file.
    fn rename_to_new(self, path: &Path) -> io::Result<()> {
        // The standard library renames only with replacement. A second name is never one that is there,
        // and the first is removed when this is dropped.
        match fs::hard_link(&self.path, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(taken()),
            // A file system without second names.
            Err(_) if is_taken(path) => Err(taken()),
            Err(_) => self.rename(path),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// [`remove_dead`], when this process writes into the folder for the first time: a folder with a
/// million photographs is not listed for each of them.
fn remove_dead_once(folder: &Path) {
    static DONE: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if done.get_or_insert_default().insert(folder.clone()) {
        drop(done);
        remove_dead(&folder);
    }
}

/// Removes the temporary files that processes left in a folder when they were killed.
///
/// Whatever cannot be listed, locked or removed stays.
pub(crate) fn remove_dead(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // The type is that of the entry itself: links are not followed.
        if is_temporary(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            let file = File::options().write(true).open(&path);
            if let Ok(file) = file
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Whether this is the name of a temporary file.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| {
        digits.len() == DIGITS
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Opens a regular file, and says how long it is. Anything else, a pipe or a device for example, may
/// block for ever or never end, and is refused.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let failed = |error: io::Error| Error::read(path, error);
    let regular = |metadata: fs::Metadata| match metadata.file_type() {
        kind if kind.is_file() => Ok(metadata.len()),
        kind if kind.is_dir() => Err(Error::read(path, "it is a folder")),
        _ => Err(Error::read(path, "it is not a regular file")),
    };
    // Before it is opened, since opening a pipe waits for its writer; and again, of the file that was
    // opened, since another may have taken its place.
    regular(fs::metadata(path).map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    let length = regular(file.metadata().map_err(failed)?)?;
    Ok((file, length))
}

/// The content of a regular file, or as much of it as that.
pub(crate) fn beginning(path: &Path, most: u64) -> Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(|error| Error::read(path, error))?;
    Ok(bytes)
}

/// The content of a regular file that has at most as many bytes.
#[cfg(feature = "train")]
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    match beginning(path, most + 1)? {
        bytes if bytes.len() as u64 > most => {
            Err(Error::read(path, format!("it is larger than {most} bytes")))
        }
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"old").unwrap();
        let error = write_with(&path, true, |file| {
            file.write_all(&[0; 100_000]).unwrap();
            Err("the encoder gave up\nfor many reasons")
        });
        let message = error.unwrap_err().to_string();
        assert!(message.ends_with("file: the encoder gave up"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);

        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_file_that_is_there_is_replaced_only_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let write_new = |bytes: &[u8]| write_with(&path, false, |file| file.write_all(bytes));
        write_new(b"old").unwrap();
        let error = write_new(b"new").unwrap_err();
        assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists));
        assert!(error.to_string().ends_with("file: it exists already"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }

    /// However many write at the same time, one of them succeeds.
    #[test]
    fn a_file_that_appears_in_the_meantime_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..10 {
            let path = folder.path().join(round.to_string());
            let start = std::sync::Barrier::new(4);
            let written = |writer: u8| {
                let result = write_with(&path, false, |file| {
                    start.wait();
                    file.write_all(&[writer; 100])
                });
                match result {
                    Ok(()) => Some(writer),
                    Err(error) => {
                        assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists), "{error}");
                        None
                    }
                }
            };
            let written: Vec<u8> = std::thread::scope(|scope| {
                let writers: Vec<_> =
                    (0..4).map(|writer| scope.spawn(move || written(writer))).collect();
                writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
            });
            assert_eq!(written.len(), 1);
            assert_eq!(fs::read(&path).unwrap(), [written[0]; 100]);
        }
        assert_eq!(names(folder.path()).len(), 10);
    }

    #[test]
    fn a_name_may_be_as_long_as_the_file_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        for length in [200, 245, 255] {
            let name = "n".repeat(length);
            write(&folder.path().join(&name), b"whole").unwrap();
            assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"whole");
        }
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_is_replaced_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn only_temporary_files_without_a_writer_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let others = [
            ".sci-burn-0123456789abcdef",
            ".sci-burn-0123456789abcdef.tmp.png",
            ".sci-burn-0123456789ABCDEF.tmp",
            ".sci-burn-012345678.tmp",
            "a.png.77-1.tmp",
            "photo.tmp",
        ];
        for name in others {
            fs::write(folder.join(name), b"").unwrap();
        }
        fs::create_dir(folder.join(".sci-burn-00000000000000aa.tmp")).unwrap();
        fs::write(folder.join(".sci-burn-00000000000000bb.tmp"), b"dead").unwrap();
        let (live, file) = Temporary::create(folder).unwrap();
        remove_dead(folder);
        assert!(live.path.exists());
        assert!(!folder.join(".sci-burn-00000000000000bb.tmp").exists());
        assert_eq!(names(folder).len(), others.len() + 2);
        drop(file);
        remove_dead(folder);
        assert!(!live.path.exists());
        assert_eq!(names(folder).len(), others.len() + 1);
    }

    const KILLED: &str = "SCI_TEST_KILLED_WRITER";

    /// Not a test by itself: the process that the next one lets die.
    #[test]
    #[ignore = "is run by another test"]
    fn a_writer_that_dies() {
        let Some(path) = std::env::var_os(KILLED).map(PathBuf::from) else { return };
        let _ = write_with(&path, true, |file| -> io::Result<()> {
            file.write_all(&[0; 100_000])?;
            std::process::abort()
        });
    }

    #[test]
    fn the_next_writer_removes_what_a_killed_process_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for _ in 0..3 {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "file::tests::a_writer_that_dies"])
                .env(KILLED, &path)
                .output()
                .unwrap();
            assert!(!child.status.success());
            // Each removes what the one before it left.
            let left = names(folder.path());
            assert!(left.len() == 1 && is_temporary(left[0].as_ref()), "{left:?}");
        }
        write(&path, b"whole").unwrap();
        assert_eq!(names(folder.path()), ["file"]);
    }

    /// A writer that cannot lock its new file at once takes another name.
    #[test]
    fn writers_and_removers_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    for number in 0..50 {
                        let path = folder.join(format!("{writer}-{number}"));
                        write(&path, b"whole").unwrap();
                        remove_dead(folder);
                    }
                });
            }
        });
        assert_eq!(names(folder).len(), 200);
    }
}
