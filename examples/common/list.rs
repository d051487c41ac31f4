//! Lists of paths, one a line.

use super::{Result, unreadable};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

/// The most bytes of a line. No operating system takes a longer path.
const MOST_LINE: usize = 32 << 10;

/// The most lines, and the most bytes of all of them: a list is kept in memory.
const MOST_LINES: usize = 1_000_000;
const MOST_BYTES: usize = 256 << 20;

/// The lines of a file, or of standard input (`-`). They are paths in any encoding; empty lines are
/// skipped.
pub fn read(list: &Path) -> Result<Vec<PathBuf>> {
    if list == Path::new("-") {
        return read_from(stdin().lock(), Path::new("standard input"));
    }
    let file = File::open(list).map_err(|error| unreadable(list, error))?;
    read_from(BufReader::new(file), list)
}

fn read_from(mut reader: impl BufRead, list: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut bytes = 0;
    for number in 1.. {
        let mut line = Vec::new();
        let most = MOST_LINE as u64 + 1;
        let length = reader.by_ref().take(most).read_until(b'\n', &mut line);
        bytes += match length.map_err(|error| unreadable(list, error))? {
            0 => break,
            length => length,
        };
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > MOST_LINE {
            let reason =
                format!("line {number} is longer than {MOST_LINE} bytes: no list of paths");
            return Err(unreadable(list, reason));
        }
        if number > MOST_LINES || bytes > MOST_BYTES {
            let most = MOST_BYTES >> 20;
            let reason = format!("it has more than {MOST_LINES} lines or {most} MiB");
            return Err(unreadable(list, reason));
        }
        if !line.is_empty() {
            paths.push(path(line));
        }
    }
    Ok(paths)
}

#[cfg(unix)]
fn path(mut line: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    line.shrink_to_fit();
    std::ffi::OsString::from_vec(line).into()
}

#[cfg(not(unix))]
fn path(line: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&line).trim_end_matches('\r').into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn list(text: impl Read) -> Result<Vec<PathBuf>> {
        read_from(BufReader::new(text), Path::new("list"))
    }

    #[test]
    fn each_line_is_a_path() {
        let paths = list(&b"a.png\n\nnight/b c.jpg\nlast"[..]).unwrap();
        assert_eq!(paths, ["a.png", "night/b c.jpg", "last"].map(PathBuf::from));
        let longest = [vec![b'x'; MOST_LINE], b"\nnext\n".to_vec()].concat();
        assert_eq!(list(&longest[..]).unwrap().len(), 2);
        assert_eq!(list(&longest[..MOST_LINE]).unwrap().len(), 1);
    }

    #[test]
    fn a_list_without_an_end_is_refused() {
        let message = list(io::repeat(0)).unwrap_err().to_string();
        assert_eq!(
            message,
            "cannot read list: line 1 is longer than 32768 bytes: no list of paths"
        );
        for line in ["y\n", "\n"] {
            let message = list(Forever(line.as_bytes())).unwrap_err().to_string();
            assert!(message.contains("more than 1000000 lines"), "{message}");
        }
    }

    /// A line again and again.
    struct Forever(&'static [u8]);

    impl Read for Forever {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let lines = buffer.chunks_exact_mut(self.0.len());
            let length = lines.map(|line| line.copy_from_slice(self.0)).count() * self.0.len();
            Ok(length)
        }
    }
}
