//! Files that are written whole or not at all.

use crate::error::{Error, Result};
use burn::store::burn_pack::AtomicFile;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Puts `bytes` at `path`, in place of what was there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Lets `fill` write a file beside `path`, and gives it that name when it is complete and on the
/// disk. If anything fails on the way, what was at `path` stays.
pub(crate) fn write_with<E: std::fmt::Display>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<std::fs::File>) -> std::result::Result<(), E>,
) -> Result<()> {
    let failed = |reason: String| Error::Write { path: path.to_owned(), reason };
    // The directory is looked at first for the sake of a message that says what is missing.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(failed(format!("there is no folder {}", directory.display())));
    }
    if path.is_dir() {
        return Err(failed("it is a folder".to_owned()));
    }
    let (scratch, file) =
        AtomicFile::create(path).map_err(|error| failed(Error::first_line(error)))?;
    let mut file = BufWriter::new(file);
    fill(&mut file).map_err(|error| failed(Error::first_line(error)))?;
    file.flush().map_err(|error| failed(error.to_string()))?;
    drop(file);
    scratch.commit().map_err(|error| failed(Error::first_line(error)))
}
