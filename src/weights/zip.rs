//! The ZIP archives that `torch.save` writes: every entry is stored as it is.

use crate::error::Cause;
use std::collections::BTreeMap;

/// More entries than the largest model has tensors.
const MAX_ENTRIES: usize = 2048;

/// The entries of an archive by name, as slices of it: whatever an archive claims, nothing is
/// allocated for their contents.
pub(super) fn entries(archive: &[u8]) -> Result<BTreeMap<&str, &[u8]>, Cause> {
    let truncated = || Cause::from("the archive is truncated");
    let directory_end = find_directory_end(archive).ok_or_else(truncated)?;
    let count = usize::from(u16_at(archive, directory_end + 10).ok_or_else(truncated)?);
    if count > MAX_ENTRIES {
        return Err(format!("{count} archive entries are too many for an SCI model").into());
    }
    let mut position = u32_at(archive, directory_end + 16).ok_or_else(truncated)?;
    let mut entries = BTreeMap::new();
    let mut total = 0;
    for _ in 0..count {
        let header = archive.get(position..).ok_or_else(truncated)?;
        if !header.starts_with(b"PK\x01\x02") {
            return Err("the archive's directory is damaged".into());
        }
        let field_u16 = |at| u16_at(header, at).map(usize::from).ok_or_else(truncated);
        let field_u32 = |at| u32_at(header, at).ok_or_else(truncated);
        let name_length = field_u16(28)?;
        let name = header.get(46..46 + name_length).ok_or_else(truncated)?;
        let name = str::from_utf8(name)?;
        let size = field_u32(24)?;
        if field_u16(8)? & 1 != 0 || field_u16(10)? != 0 || field_u32(20)? != size {
            let reason = "is compressed or encrypted, which `torch.save` never does";
            return Err(format!("archive entry `{name}` {reason}").into());
        }
        let local = archive.get(field_u32(42)?..).ok_or_else(truncated)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(format!("archive entry `{name}` is damaged").into());
        }
        let skipped = [26, 28].map(|at| u16_at(local, at).map(usize::from));
        let [Some(local_name), Some(local_extra)] = skipped else { return Err(truncated()) };
        let start = 30 + local_name + local_extra;
        let data = local.get(start..).and_then(|rest| rest.get(..size)).ok_or_else(truncated)?;
        total += size;
        if total > archive.len() {
            return Err("the archive's entries overlap".into());
        }
        // A checksum of 0 was not computed.
        let checksum = field_u32(16)?;
        if checksum != 0 && checksum != crc32(data) as usize {
            return Err(format!("archive entry `{name}` is damaged: wrong checksum").into());
        }
        if entries.insert(name, data).is_some() {
            return Err(format!("archive entry `{name}` appears twice").into());
        }
        let length = 46 + name_length + field_u16(30)? + field_u16(32)?;
        position = position.checked_add(length).ok_or_else(truncated)?;
    }
    Ok(entries)
}

/// Where the record at the end of an archive begins. A comment of up to 65535 bytes may follow it.
fn find_directory_end(archive: &[u8]) -> Option<usize> {
    let last = archive.len().checked_sub(22)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| archive[at..].starts_with(b"PK\x05\x06"))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

/// The checksum of the ZIP format (IEEE 802.3).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut remainder = index as u32;
            let mut bit = 0;
            while bit < 8 {
                let carry = remainder & 1;
                remainder = (remainder >> 1) ^ (carry * 0xedb8_8320);
                bit += 1;
            }
            table[index] = remainder;
            index += 1;
        }
        table
    };
    let step = |sum: u32, byte: &u8| TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8);
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
