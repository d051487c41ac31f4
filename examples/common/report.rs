//! What failed, as a file for programs: a table with the columns `photograph` and `reason`.

use super::{Failed, Result, may_write, regular, unwritable, write_whole};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The beginning of every report.
const HEADER: &str = "photograph,reason\n";

/// Refuses the name of a report that cannot be written, before the work begins. The report of an earlier
/// run will be replaced, but no other file.
pub fn may_report(path: &Path, inputs: &[&Path]) -> Result<()> {
    may_write(path, true, inputs)?;
    if regular(path).is_err() {
        return Err(unwritable(path, "it is not a regular file"));
    }
    let mut beginning = [0; HEADER.len()];
    match File::open(path).and_then(|mut file| file.read_exact(&mut beginning)) {
        Ok(()) if beginning == HEADER.as_bytes() => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(unwritable(path, "it exists and is not the report of an earlier run")),
    }
}

/// Removes the report of an earlier run, if there is one.
pub fn remove_report(path: &Path) -> Result<()> {
    may_report(path, &[])?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(path, error)),
        _ => Ok(()),
    }
}

/// Writes a report of all failures, in the order of the photographs; without any, a table without rows.
pub fn write_report(path: &Path, mut failures: Vec<Failed>) -> Result<()> {
    failures.sort_by(|(one, _), (other, _)| one.cmp(other));
    let in_memory = "memory takes every record";
    let mut table = csv::Writer::from_writer(HEADER.as_bytes().to_vec());
    for (photo, reason) in failures {
        let record = [photo.to_string_lossy().into_owned(), reason.to_string()];
        table.write_record(record).expect(in_memory);
    }
    may_report(path, &[])?;
    write_whole(path, &table.into_inner().expect(in_memory), true)
}
