//! The two things in EXIF data that are not true any more of a photograph that was turned upright
//! and changed: its orientation and its thumbnail.
//!
//! EXIF data is a TIFF structure: a byte order, and the offset of a chain of directories. Each
//! directory is a count, that many entries of 12 bytes, and the offset of the next. The first
//! describes the photograph, the second its thumbnail. Everything else, the camera maker's notes
//! above all, is full of offsets that only the camera's maker knows, and so is never moved: a crate
//! that writes the structure anew would destroy it.

use image::metadata::Orientation;
use std::ops::Range;

/// What WebP and some PNG writers leave in front, though it is part of a JPEG's segment.
const HEADING: &[u8] = b"Exif\0\0";

const ENTRY: usize = 12;
const ORIENTATION: u16 = 0x112;
const SHORT: u16 = 3;

/// EXIF data whose first directory lies where it says.
struct Exif {
    little: bool,
    /// The value of the orientation, two bytes, if there is one of the right type.
    orientation: Option<Range<usize>>,
    /// The offset of the next directory, if that is one.
    thumbnail: Option<Range<usize>>,
}

impl Exif {
    fn parse(data: &[u8]) -> Option<Self> {
        let little = match data.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let mut exif = Self { little, orientation: None, thumbnail: None };
        let first = exif.long(data, 4)?;
        let link = exif.end_of_directory(data, first)?;
        let mut entries = (first + 2..link).step_by(ENTRY);
        exif.orientation = entries
            .find(|&at| exif.short(data, at) == Some(ORIENTATION))
            .filter(|&at| exif.short(data, at + 2) == Some(SHORT))
            .filter(|&at| exif.long(data, at + 4) == Some(1))
            .map(|at| at + 8..at + 10);
        // A next directory inside the first, or cut off, is none: the four bytes are something else.
        let second =
            exif.long(data, link).filter(|&second| second >= link + 4 || second + 2 <= first);
        exif.thumbnail =
            second.and_then(|second| exif.end_of_directory(data, second)).map(|_| link..link + 4);
        Some(exif)
    }

    /// Where a directory's entries end, if it has any, and the offset behind them is there too.
    fn end_of_directory(&self, data: &[u8], at: usize) -> Option<usize> {
        let entries = self.short(data, at).filter(|&entries| entries > 0 && at >= 8)?;
        let end = at + 2 + ENTRY * usize::from(entries);
        self.long(data, end).map(|_| end)
    }

    fn short(&self, data: &[u8], at: usize) -> Option<u16> {
        let bytes = data.get(at..)?.first_chunk().copied()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, data: &[u8], at: usize) -> Option<usize> {
        let bytes = data.get(at..)?.first_chunk().copied()?;
        let value = if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        usize::try_from(value).ok()
    }
}

/// The orientation that EXIF data notes, and the data without heading, orientation and thumbnail.
///
/// The orientation becomes *upright*; the thumbnail, which viewers show in place of the photograph,
/// is not linked any more. Data that is no valid EXIF is returned as it is.
pub(super) fn upright(mut data: Vec<u8>) -> (Orientation, Vec<u8>) {
    let heading = if data.starts_with(HEADING) { HEADING.len() } else { 0 };
    let Some(exif) = Exif::parse(&data[heading..]) else {
        return (Orientation::NoTransforms, data);
    };
    data.drain(..heading);
    let mut orientation = None;
    if let Some(place) = exif.orientation.clone() {
        let value = exif.short(&data, place.start).and_then(|value| u8::try_from(value).ok());
        orientation = value.and_then(Orientation::from_exif);
        let upright = 1u16;
        data[place].copy_from_slice(&match exif.little {
            true => upright.to_le_bytes(),
            false => upright.to_be_bytes(),
        });
    }
    if let Some(link) = exif.thumbnail {
        data[link].fill(0);
    }
    (orientation.unwrap_or(Orientation::NoTransforms), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A first directory with an orientation, and a second with one entry.
    fn exif(little: bool, orientation: u16) -> Vec<u8> {
        let short = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if little { value.to_le_bytes() } else { value.to_be_bytes() };
        let mut exif = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        exif.extend(long(8));
        for (tag, next) in [(ORIENTATION, 26), (0x201, 0)] {
            exif.extend([short(1), short(tag), short(SHORT)].concat());
            exif.extend(long(1));
            exif.extend([short(orientation), short(0)].concat());
            exif.extend(long(next));
        }
        exif
    }

    /// The same after it was read.
    fn upright_exif(little: bool) -> Vec<u8> {
        let mut expected = exif(little, 6);
        expected[18..20].copy_from_slice(if little { &[1, 0] } else { &[0, 1] });
        expected[22..26].fill(0);
        expected
    }

    #[test]
    fn orientation_and_thumbnail_are_removed_with_and_without_heading() {
        for little in [true, false] {
            for heading in [b"".as_slice(), HEADING] {
                let (orientation, data) = upright([heading, &exif(little, 6)].concat());
                assert_eq!(orientation, Orientation::Rotate90);
                assert_eq!(data, upright_exif(little), "{little} {heading:?}");
            }
        }
    }

    #[test]
    fn what_is_not_quite_exif_is_left_as_it_is() {
        let valid = exif(true, 6);
        let changed = |at: usize, value: u8| {
            let mut data = valid.clone();
            data[at] = value;
            data
        };
        // Another byte order, magic number, offset of the first directory, count of entries.
        for data in
            [changed(0, b'M'), changed(2, 43), changed(4, 2), changed(4, 200), changed(8, 9)]
        {
            assert_eq!(upright(data.clone()), (Orientation::NoTransforms, data));
        }
        // Another type or count, with which the value is none, or lies elsewhere.
        for data in [changed(12, 4), changed(14, 2), changed(17, 1)] {
            let (orientation, after) = upright(data.clone());
            assert_eq!(orientation, Orientation::NoTransforms);
            assert_eq!(after[..22], data[..22]);
        }
        // A second directory that leads into the first, out of the data or into the header.
        for data in [changed(22, 10), changed(22, 200), changed(22, 4)] {
            let (orientation, after) = upright(data.clone());
            assert_eq!(orientation, Orientation::Rotate90);
            assert_eq!(after[22..], data[22..]);
        }
    }

    proptest! {
        #[test]
        fn nothing_else_changes_in_any_data(
            start in prop_oneof![Just(b"II*\0".to_vec()), Just(b"MM\0*".to_vec()),
                Just(b"Exif\0\0II*\0".to_vec()), Just(b"Exif\0\0MM\0*".to_vec()), Just(Vec::new())],
            rest in prop::collection::vec(prop_oneof![0u8..30, any::<u8>()], 0..120),
        ) {
            let data = [start, rest].concat();
            let (_, after) = upright(data.clone());
            prop_assert!(after.len() == data.len() || after.len() + HEADING.len() == data.len());
            let before = &data[data.len() - after.len()..];
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert!(changed <= 6, "{changed} bytes changed");
            if Exif::parse(before).is_none() {
                prop_assert_eq!(after, data);
            }
        }

        #[test]
        fn nothing_else_changes_in_damaged_exif_data(
            little: bool,
            places in prop::collection::vec((0..44usize, any::<u8>()), 0..4),
            length in 0..45usize,
        ) {
            let mut data = exif(little, 6);
            for (at, value) in places {
                data[at] = value;
            }
            data.truncate(length);
            let (_, after) = upright(data.clone());
            prop_assert_eq!(after.len(), data.len());
            // The directory may lie elsewhere after the damage; what changes is a value and a link.
            let changed: Vec<_> = (0..data.len()).filter(|&at| data[at] != after[at]).collect();
            let valid = Exif::parse(&data);
            prop_assert!(changed.is_empty() || valid.is_some());
            for at in changed {
                let exif = valid.as_ref().unwrap();
                prop_assert!([&exif.orientation, &exif.thumbnail].into_iter().flatten().any(|place| place.contains(&at)));
            }
        }
    }
}
