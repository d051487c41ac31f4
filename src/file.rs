//! Files that are written whole or not at all.

use crate::error::{Cause, Error, Result, shown};
use burn::store::burn_pack::AtomicFile;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Puts `bytes` at `path`, in place of what was there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Lets `fill` write a file beside `path`, and gives it that name when it is complete and on the
/// disk. If anything fails on the way, what was at `path` stays.
pub(crate) fn write_with<E: Into<Cause>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<std::fs::File>) -> std::result::Result<(), E>,
) -> Result<()> {
    let failed = |cause: Cause| Error::write(path, cause);
    // The directory is looked at first for the sake of a message that says what is missing.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(failed(format!("there is no folder {}", shown(directory)).into()));
    }
    if path.is_dir() {
        return Err(failed("it is a folder".into()));
    }
    let (scratch, file) = AtomicFile::create(path).map_err(|error| failed(error.into()))?;
    let mut file = BufWriter::new(file);
    fill(&mut file).map_err(|error| failed(error.into()))?;
    let written = file.into_inner().map_err(|error| failed(error.into_error().into()))?;
    // Some disks report only now what they could not write.
    written.sync_all().map_err(|error| failed(error.into()))?;
    drop(written);
    scratch.commit().map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_half_way_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"old").unwrap();
        let error = write_with(&path, |file| {
            file.write_all(&[0; 100_000]).unwrap();
            Err("the encoder gave up\nfor many reasons")
        });
        let message = error.unwrap_err().to_string();
        assert!(message.ends_with("file: the encoder gave up"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
