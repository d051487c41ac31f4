//! Steps that every walk over a file's structure takes.

use std::io::{self, Error, ErrorKind, Read};

/// An error: the file breaks the rules of its format.
pub(super) fn invalid<T>(reason: &'static str) -> io::Result<T> {
    Err(Error::new(ErrorKind::InvalidData, reason))
}

/// The next `N` bytes.
pub(super) fn bytes<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
