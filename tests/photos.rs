//! Photographs from files and to files: every kind of pixel in every format, what goes with the
//! pixels, and files that are not what they seem.

mod common;

use image::{ColorType, DynamicImage};
use jpeg_encoder::SamplingFactor;
use sci_burn::photo::{
    ChromaSampling, PngCompression, ReadOptions, SaveOptions, find_photos, open_photo_with,
    save_photo_with,
};
use sci_burn::{Enhancer, Error, Photo, image, open_photo, save_photo};
use std::path::Path;
use tempfile::tempdir;

use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgb32F, Rgba8, Rgba16, Rgba32F};

const KINDS: [ColorType; 10] = [L8, La8, Rgb8, Rgba8, L16, La16, Rgb16, Rgba16, Rgb32F, Rgba32F];
const FORMATS: [&str; 5] = ["png", "tiff", "webp", "bmp", "jpg"];

/// A picture that changes from pixel to pixel, in alpha too, with levels between those of 8 bits.
fn picture(kind: ColorType) -> DynamicImage {
    let picture = image::ImageBuffer::from_fn(37, 23, |x, y| {
        let [x, y] = [x as u16, y as u16];
        image::Rgba([x * 1000 + 77, y * 1700 + 5, (x + y) * 900, 65535 - x * 500])
    });
    converted(&picture.into(), kind)
}

fn converted(picture: &DynamicImage, kind: ColorType) -> DynamicImage {
    match kind {
        L8 => picture.to_luma8().into(),
        La8 => picture.to_luma_alpha8().into(),
        Rgb8 => picture.to_rgb8().into(),
        Rgba8 => picture.to_rgba8().into(),
        L16 => picture.to_luma16().into(),
        La16 => picture.to_luma_alpha16().into(),
        Rgb16 => picture.to_rgb16().into(),
        Rgba16 => picture.to_rgba16().into(),
        Rgb32F => picture.to_rgb32f().into(),
        _ => picture.to_rgba32f().into(),
    }
}

/// What is read of a picture of some kind that was saved in a format.
fn kept(kind: ColorType, format: &str) -> ColorType {
    match (format, kind) {
        ("png", Rgb32F) => Rgb16,
        ("png", Rgba32F) => Rgba16,
        ("tiff", La8) => Rgba8,
        ("tiff", La16) => Rgba16,
        ("png" | "tiff", _) => kind,
        ("jpg", L8 | La8 | L16 | La16) => L8,
        ("jpg", _) => Rgb8,
        (_, La8 | Rgba8 | La16 | Rgba16 | Rgba32F) => Rgba8,
        (_, _) => Rgb8,
    }
}

#[test]
fn every_kind_of_pixel_goes_through_every_format() {
    let folder = tempdir().unwrap();
    for (kind, format) in KINDS.iter().flat_map(|kind| FORMATS.map(|format| (*kind, format))) {
        let path = folder.path().join(format!("{kind:?}.{format}"));
        let saved = picture(kind);
        save_photo(&saved.clone().into(), &path).unwrap();
        let found = open_photo(&path).unwrap().pixels;
        assert_eq!(found.color(), kept(kind, format), "{kind:?} in {format}");
        let expected = converted(&saved, found.color());
        if format == "jpg" {
            let apart = found.as_bytes().iter().zip(expected.as_bytes());
            let apart = apart.map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart < Some(12), "{kind:?} in {format}: {apart:?}");
        } else {
            assert!(found == expected, "{kind:?} in {format}");
        }
    }
}

#[test]
fn what_is_read_is_enhanced_and_saved_in_its_kind() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("bright.png");
    let enhancer = Enhancer::from_file(common::fixture("weights/cascade.pt"), &common::cpu());
    let enhancer = enhancer.unwrap();
    for kind in [L8, La8, Rgb8, Rgba8, L16, La16, Rgb16, Rgba16] {
        let bright = enhancer.enhance_photo(&picture(kind).into()).unwrap();
        save_photo(&bright, &path).unwrap();
        assert_eq!(open_photo(&path).unwrap(), bright);
        assert_eq!(bright.pixels.color(), kind);
    }
    let refused = enhancer.enhance_photo(&picture(Rgba32F).into()).unwrap_err();
    assert!(matches!(refused, Error::PixelFormat { .. }), "{refused}");
}

#[test]
fn palettes_become_rgb() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("palette.png");
    let bytes = [
        137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 1, 1, 3,
        0, 0, 0, 206, 236, 237, 201, 0, 0, 0, 6, 80, 76, 84, 69, 10, 20, 30, 40, 50, 60, 213, 27,
        180, 233, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 112, 0, 0, 0, 66, 0, 65, 41, 55, 244,
        239, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
    ];
    std::fs::write(&path, bytes).unwrap();
    let expected = image::RgbImage::from_vec(2, 1, vec![10, 20, 30, 40, 50, 60]).unwrap();
    assert_eq!(open_photo(&path).unwrap().pixels, expected.into());
}

/// EXIF data with an orientation and a second directory, that of a thumbnail.
fn exif(big: bool, orientation: u16) -> Vec<u8> {
    let short = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut exif = if big { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    exif.extend(long(8));
    exif.extend(short(1));
    exif.extend([short(0x112), short(3)].concat());
    exif.extend(long(1));
    exif.extend([short(orientation), short(0)].concat());
    exif.extend(long(26));
    // The second directory, whose one entry leads to a picture of nothing.
    exif.extend([short(1), short(0x201), short(4)].concat());
    exif.extend([long(1), long(0), long(0)].concat());
    exif
}

/// What stands where the second directory is linked.
fn thumbnail(exif: &[u8]) -> &[u8] {
    &exif[22..26]
}

/// A profile, or the part of it that is looked at.
fn icc(space: &[u8; 4]) -> Vec<u8> {
    let mut icc: Vec<u8> = (0..200).collect();
    icc[16..20].copy_from_slice(space);
    icc
}

#[test]
fn a_photograph_is_turned_once_and_keeps_what_goes_with_it() {
    let folder = tempdir().unwrap();
    let enhancer = Enhancer::from_file(common::fixture("weights/cascade.pt"), &common::cpu());
    let enhancer = enhancer.unwrap();
    for (format, big) in [("png", false), ("webp", true), ("jpg", false), ("jpg", true)] {
        let (dark, bright) = (folder.path().join("dark").with_extension(format), "bright");
        let pixels = picture(Rgb8);
        let taken = Photo::from(pixels.clone()).with_exif(exif(big, 6)).with_icc(icc(b"RGB "));
        save_photo(&taken, &dark).unwrap();

        let read = open_photo(&dark).unwrap();
        assert_eq!((read.pixels.width(), read.pixels.height()), (23, 37));
        if format != "jpg" {
            assert!(read.pixels == pixels.rotate90());
        }
        assert_eq!(thumbnail(taken.exif.as_ref().unwrap()).iter().max(), Some(&26));
        let mut expected = exif(big, 1);
        expected[22..26].fill(0);
        assert_eq!(read.exif, Some(expected), "{format}");
        assert_eq!(read.icc, taken.icc, "{format}");

        let enhanced = enhancer.enhance_photo(&read).unwrap();
        for other in FORMATS {
            let bright = folder.path().join(bright).with_extension(other);
            save_photo(&enhanced, &bright).unwrap();
            let again = open_photo(&bright).unwrap();
            assert_eq!((again.pixels.width(), again.pixels.height()), (23, 37));
            let holds_exif = ["png", "webp", "jpg"].contains(&other);
            assert_eq!(again.exif, read.exif.clone().filter(|_| holds_exif), "{other}");
            assert_eq!(again.icc, read.icc.clone().filter(|_| other != "bmp"), "{other}");
        }
    }
}

#[test]
fn a_profile_is_written_only_with_pixels_of_its_kind() {
    let folder = tempdir().unwrap();
    for (kind, format, space, written) in [
        (Rgb8, "jpg", b"GRAY", false),
        (Rgb8, "jpg", b"CMYK", false),
        (L8, "jpg", b"GRAY", true),
        (La16, "png", b"GRAY", true),
        (L8, "png", b"RGB ", false),
        // These are written as RGB.
        (L8, "webp", b"GRAY", false),
        (La8, "tiff", b"GRAY", false),
    ] {
        let path = folder.path().join("photo").with_extension(format);
        save_photo(&Photo::from(picture(kind)).with_icc(icc(space)), &path).unwrap();
        let found = open_photo(&path).unwrap().icc;
        assert_eq!(found, written.then(|| icc(space)), "{kind:?} in {format}");
    }
}

#[test]
fn exif_data_that_a_jpeg_cannot_hold_is_left_out() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    for (length, written) in [(65527, true), (65528, false)] {
        let mut long = exif(false, 1);
        long.resize(length, 0);
        save_photo(&Photo::from(picture(Rgb8)).with_exif(long), &path).unwrap();
        assert_eq!(open_photo(&path).unwrap().exif.is_some(), written, "{length}");
    }
}

#[test]
fn empty_exif_data_is_left_out() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    save_photo(&Photo::from(picture(Rgb8)).with_exif(vec![]), &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(4).any(|bytes| bytes == b"Exif"));
}

/// A JPEG as another program writes it.
fn jpeg(picture: &DynamicImage, sampling: SamplingFactor, exif: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(sampling);
    encoder.add_exif_metadata(exif).unwrap();
    let [width, height] = [picture.width(), picture.height()].map(|side| side as u16);
    let pixels = picture.to_rgb8();
    encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// Where a JPEG's frame header stands: marker, length, precision, height, width, number of components,
/// and for each its name, its factors and its table.
fn frame_header(jpeg: &[u8]) -> std::ops::Range<usize> {
    let at = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    at..at + 10 + 3 * usize::from(jpeg[at + 9])
}

/// The sampling factors of a JPEG's components, across and down.
fn factors(path: &Path) -> Vec<u8> {
    let jpeg = std::fs::read(path).unwrap();
    let components = &jpeg[frame_header(&jpeg)][10..];
    components.chunks(3).map(|component| component[1]).collect()
}

use ChromaSampling::{Cs420, Cs422, Cs440, Cs444};

#[test]
fn a_jpeg_keeps_its_chroma_sampling() {
    let folder = tempdir().unwrap();
    let [dark, bright] = ["dark.jpg", "bright.jpg"].map(|name| folder.path().join(name));
    let enhancer = Enhancer::from_file(common::fixture("weights/cascade.pt"), &common::cpu());
    let enhancer = enhancer.unwrap();
    for (sampling, upright, sideways) in [
        (SamplingFactor::F_1_1, (Cs444, 0x11), (Cs444, 0x11)),
        (SamplingFactor::F_2_1, (Cs422, 0x21), (Cs440, 0x12)),
        (SamplingFactor::F_1_2, (Cs440, 0x12), (Cs422, 0x21)),
        (SamplingFactor::F_2_2, (Cs420, 0x22), (Cs420, 0x22)),
        // Rarer ones have all of their samples in the nearest of these.
        (SamplingFactor::F_4_1, (Cs422, 0x21), (Cs440, 0x12)),
        (SamplingFactor::F_1_4, (Cs440, 0x12), (Cs422, 0x21)),
        (SamplingFactor::F_4_2, (Cs420, 0x22), (Cs420, 0x22)),
        (SamplingFactor::F_2_4, (Cs420, 0x22), (Cs420, 0x22)),
    ] {
        for (orientation, (chroma, luma)) in [(1, upright), (3, upright), (6, sideways)] {
            let taken = jpeg(&picture(Rgb8), sampling, &exif(false, orientation));
            std::fs::write(&dark, taken).unwrap();
            let read = open_photo(&dark).unwrap();
            assert_eq!(read.chroma, Some(chroma), "{sampling:?} {orientation}");
            save_photo(&enhancer.enhance_photo(&read).unwrap(), &bright).unwrap();
            assert_eq!(factors(&bright), [luma, 0x11, 0x11], "{sampling:?} {orientation}");
            assert_eq!(open_photo(&bright).unwrap().chroma, Some(chroma));
        }
    }
}

#[test]
fn the_chroma_sampling_can_be_chosen() {
    let folder = tempdir().unwrap();
    let [source, result] = ["source", "result.jpg"].map(|name| folder.path().join(name));
    let luma = |photo: &Photo, chroma| {
        let options = SaveOptions::new().with_chroma(chroma);
        save_photo_with(photo, &result, &options).unwrap();
        let factors = factors(&result);
        assert!(factors[1..].iter().all(|&factor| factor == 0x11), "{factors:x?}");
        factors[0]
    };
    let mut photos = Vec::new();
    for format in ["png", "tiff", "webp", "bmp"] {
        let path = source.with_extension(format);
        save_photo(&Photo::from(picture(Rgb8)).with_chroma(Cs420), &path).unwrap();
        photos.push(open_photo(&path).unwrap());
        assert_eq!(photos.last().unwrap().chroma, None, "{format}");
    }
    photos.push(picture(Rgba16).into());
    for photo in photos {
        assert_eq!(luma(&photo, None), 0x11);
        for (chroma, expected) in [(Cs444, 0x11), (Cs422, 0x21), (Cs440, 0x12), (Cs420, 0x22)] {
            assert_eq!(luma(&photo, Some(chroma)), expected);
            let photo = photo.clone().with_chroma(Cs420);
            assert_eq!(luma(&photo, Some(chroma)), expected, "rather than that of the source");
        }
    }
    for kind in [L8, La16] {
        let gray = Photo::from(picture(kind)).with_chroma(Cs420);
        assert_eq!(luma(&gray, Some(Cs422)), 0x11);
        assert_eq!(open_photo(&result).unwrap().chroma, None);
    }
}

/// An encoder that takes one pixel for all would make colors of noise, and move them.
#[test]
fn chroma_is_the_mean_of_its_pixels() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    // Colors of equal luma in turn, across and down.
    let colors = [[180, 90, 100], [95, 133, 101]].map(image::Rgb);
    let board = image::RgbImage::from_fn(64, 64, |x, y| colors[(x + y) as usize % 2]);
    let mean = [0, 1, 2].map(|n| colors[0].0[n].midpoint(colors[1].0[n]));
    let options = SaveOptions::new().with_chroma(Some(Cs420));
    save_photo_with(&Photo::from(DynamicImage::from(board)), &path, &options).unwrap();
    for pixel in open_photo(&path).unwrap().pixels.into_rgb8().pixels() {
        let apart = (0..3).map(|n| pixel.0[n].abs_diff(mean[n])).max();
        assert!(apart < Some(6), "{pixel:?} {mean:?}");
    }
}

/// Whatever a frame header claims, the sampling alone is no reason to refuse what can be decoded.
#[test]
fn damaged_frame_headers_do_no_harm() {
    let folder = tempdir().unwrap();
    let [path, result] = ["photo.jpg", "result.jpg"].map(|name| folder.path().join(name));
    let whole = jpeg(&picture(Rgb8), SamplingFactor::F_2_2, &exif(false, 1));
    let mut read = 0;
    for at in frame_header(&whole).skip(2) {
        for value in [0, 1, 2, 3, 4, 5, 0x10, 0x12, 0x21, 0x22, 0x31, 0x44, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            std::fs::write(&path, &damaged).unwrap();
            let decoded = image::load_from_memory(&damaged);
            match open_photo(&path) {
                Ok(photo) => {
                    read += 1;
                    save_photo(&photo, &result).unwrap();
                }
                // The walk to the end of the file refuses a length that leads beyond it.
                Err(error) => {
                    assert!(decoded.is_err() || at < 4 + frame_header(&whole).start, "{error}")
                }
            }
        }
    }
    assert!(read > 30, "{read}");
    // The rest of the header is behind the end.
    for length in frame_header(&whole) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(one_line(&path).ends_with("the JPEG is cut off"));
    }
}

/// WebP files of some programs keep the heading that EXIF data has in a JPEG.
#[test]
fn exif_data_may_have_its_heading() {
    let folder = tempdir().unwrap();
    for (format, big) in [("png", false), ("webp", true), ("webp", false)] {
        let path = folder.path().join("photo").with_extension(format);
        let headed = [b"Exif\0\0".as_slice(), &exif(big, 6)].concat();
        save_photo(&Photo::from(picture(Rgb8)).with_exif(headed), &path).unwrap();
        let read = open_photo(&path).unwrap();
        assert_eq!(read.pixels.width(), 23, "{format}");
        let mut expected = exif(big, 1);
        expected[22..26].fill(0);
        assert_eq!(read.exif, Some(expected));
    }
}

/// Data that ends, or leads, anywhere is passed on as it is.
#[test]
fn damaged_exif_data_does_no_harm() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.png");
    let whole = exif(true, 6);
    let mut astray = whole.clone();
    astray[4..8].fill(0xff);
    let cut = (1..26).map(|length| whole[..length].to_vec());
    for exif in cut.chain([astray, b"no EXIF at all".to_vec()]) {
        save_photo(&Photo::from(picture(L8)).with_exif(exif.clone()), &path).unwrap();
        assert_eq!(open_photo(&path).unwrap().exif.unwrap().len(), exif.len());
    }
}

/// A gray TIFF of 2 by 1 pixels, by what its header says.
fn tiff([width, height]: [u32; 2], orientation: u32) -> Vec<u8> {
    let entries = [
        [256, width],
        [257, height],
        [258, 8],
        [259, 1],
        [262, 1],
        [273, 8],
        [274, orientation],
        [277, 1],
        [278, height],
        [279, 2],
    ];
    let mut tiff = b"II*\0\x0a\0\0\0\x01\x02".to_vec();
    tiff.extend((entries.len() as u16).to_le_bytes());
    for [tag, value] in entries {
        tiff.extend((tag as u16).to_le_bytes());
        tiff.extend([4, 0, 1, 0, 0, 0]);
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend([0; 4]);
    tiff
}

#[test]
fn the_orientation_of_a_tiff_is_not_carried_over() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.tif");
    std::fs::write(&path, tiff([2, 1], 8)).unwrap();
    let read = open_photo(&path).unwrap();
    let upright = image::GrayImage::from_vec(1, 2, vec![2, 1]).unwrap();
    assert_eq!(read.pixels, upright.into());
    save_photo(&read, &path).unwrap();
    assert_eq!(open_photo(&path).unwrap(), read);
}

#[test]
fn the_limit_is_what_the_pixels_take() {
    let folder = tempdir().unwrap();
    for (kind, format) in KINDS.iter().flat_map(|kind| FORMATS.map(|format| (*kind, format))) {
        let path = folder.path().join(format!("{kind:?}.{format}"));
        save_photo(&picture(kind).into(), &path).unwrap();
        let needed = 37 * 23 * u64::from(kept(kind, format).bytes_per_pixel());
        let read = |limit| open_photo_with(&path, &ReadOptions::new().with_max_bytes(limit));
        read(needed).unwrap();
        match read(needed - 1).unwrap_err() {
            Error::TooLarge { width: 37, height: 23, bytes, limit, .. } => {
                assert_eq!([bytes, limit], [needed, needed - 1], "{kind:?} in {format}");
            }
            error => panic!("{kind:?} in {format}: {error}"),
        }
    }
}

#[test]
fn headers_that_claim_gigabytes_are_refused_with_their_size() {
    let folder = tempdir().unwrap();
    let saved = |name: &str| {
        let path = folder.path().join(name);
        save_photo(&picture(Rgb8).into(), &path).unwrap();
        std::fs::read(path).unwrap()
    };
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let message = one_line(&path);
        message.strip_prefix(&format!("cannot read {}: ", path.display())).unwrap().to_owned()
    };

    let mut png = saved("bomb.png");
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let expected =
        "reading 65535×65535 pixels takes 12884508675 bytes, more than the limit of 1073741824";
    assert_eq!(refused("bomb.png", &png), expected);

    // A single row; the decoder would let a compressed profile have what its rows may take.
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1]);
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let message = refused("row.png", &png);
    assert_eq!(message, "its rows take 68719476704 bytes, more than the limit of 1073741824");

    let mut jpeg = saved("bomb.jpg");
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    assert_eq!(refused("bomb.jpg", &jpeg), expected);

    let mut bmp = saved("bomb.bmp");
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    assert_eq!(refused("bomb.bmp", &bmp), expected);

    let expected = "reading 4294967295×4294967295 pixels takes 18446744065119617025 bytes";
    let message = refused("bomb.tiff", &tiff([u32::MAX; 2], 1));
    assert!(message.starts_with(expected), "{message}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// The error of opening a file, which must be one line that names it.
fn one_line(path: &Path) -> String {
    let message = open_photo(path).unwrap_err().to_string();
    println!("{message}");
    assert!(message.contains(&path.display().to_string()), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn what_is_no_photograph_is_refused_in_a_line() {
    let folder = tempdir().unwrap();
    for (name, bytes, reason) in [
        ("empty.jpg", b"".as_slice(), "the file is empty"),
        ("gif.png", b"GIF89a\x01\0\x01\0\0\0\0;", "its format is GIF, expected .png"),
        ("text.png", b"This is a letter.", "not a photograph in a known format"),
        ("start.jpg", b"\xff\xd8\xff", "the JPEG is cut off"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let message = one_line(&path);
        assert!(message.contains(reason), "{message}");
    }
    let path = folder.path().join("folder.png");
    assert!(one_line(&path).contains("No such file") || cfg!(not(unix)));
    std::fs::create_dir(&path).unwrap();
    assert!(one_line(&path).contains("it is a folder"));
}

#[test]
fn files_that_are_cut_off_are_refused() {
    let folder = tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join("photo").with_extension(format);
        save_photo(&picture(Rgb8).into(), &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [whole.len() / 2, whole.len() * 9 / 10] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = one_line(&path);
            assert!(format != "jpg" || message.ends_with("the JPEG is cut off"), "{message}");
        }
    }
}

/// Cameras write previews and the like behind the end.
#[test]
fn a_jpeg_may_have_something_behind_its_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    save_photo(&picture(Rgb8).into(), &path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let expected = open_photo(&path).unwrap();
    bytes.extend(b"\xff\xd8\xff\xe0 and so on");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(open_photo(&path).unwrap(), expected);
}

#[test]
fn palettes_of_an_odd_length_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("palette.png");
    let header = [0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 0, 0, 0];
    for palette in [4, 5, 7, 769, 771] {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        let palette = vec![7; palette];
        let chunks =
            [(b"IHDR", header.as_slice()), (b"PLTE", &palette), (b"IDAT", &[]), (b"IEND", &[])];
        for (kind, content) in chunks {
            png.extend((content.len() as u32).to_be_bytes());
            png.extend([kind, content].concat());
            png.extend(crc32(&[kind, content].concat()).to_be_bytes());
        }
        std::fs::write(&path, png).unwrap();
        let message = one_line(&path);
        assert!(message.contains("palette is not a multiple of three"), "{message}");
    }
}

#[test]
#[cfg(unix)]
fn only_regular_files_are_photographs() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let link = folder.path().join("link.png");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let socket = folder.path().join("socket.png");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&pipe, &link, &socket] {
        let message = one_line(path);
        assert!(message.ends_with("it is not a regular file"), "{message}");
    }
    let photo = folder.path().join("photo.png");
    save_photo(&picture(Rgb8).into(), &photo).unwrap();
    assert_eq!(find_photos(folder.path()).unwrap(), [photo]);
}

#[test]
fn formats_hold_what_they_can_and_refuse_the_rest() {
    let folder = tempdir().unwrap();
    let strip = |width: u32, height: u32, alpha: bool| -> Photo {
        let level = |x: u32, y: u32| (x * 7 + y * 5) as u8;
        match alpha {
            true => DynamicImage::from(image::RgbaImage::from_fn(width, height, |x, y| {
                image::Rgba([level(x, y), 3, 9, level(y, x)])
            })),
            false => {
                image::RgbImage::from_fn(width, height, |x, y| image::Rgb([level(x, y), 3, 9]))
                    .into()
            }
        }
        .into()
    };
    let webp = folder.path().join("strip.webp");
    for alpha in [false, true] {
        for side in [16383, 16384] {
            for photo in [strip(side, 1, alpha), strip(1, side, alpha), strip(side, 2, alpha)] {
                save_photo(&photo, &webp).unwrap();
                assert!(open_photo(&webp).unwrap() == photo, "{side} {alpha}");
                let photo = photo.with_icc(icc(b"RGB "));
                save_photo(&photo, &webp).unwrap();
                assert!(open_photo(&webp).unwrap() == photo, "{side} {alpha} with a profile");
            }
        }
    }
    let jpeg = folder.path().join("strip.jpg");
    save_photo(&strip(65535, 1, false), &jpeg).unwrap();
    assert_eq!(open_photo(&jpeg).unwrap().pixels.width(), 65535);
    for (path, side, longest) in [(webp, 16385, 16384), (jpeg, 65536, 65535)] {
        let before = std::fs::read(&path).unwrap();
        let error = save_photo(&strip(side, 1, false), &path).unwrap_err().to_string();
        let expected = format!(
            "cannot write {}: a photograph of {side}×1 pixels does not fit into this format: each \
             side must be 1 to {longest} pixels",
            path.display()
        );
        assert_eq!(error, expected);
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    let nothing = Photo::from(DynamicImage::from(image::RgbImage::new(0, 7)));
    for format in FORMATS {
        let path = folder.path().join("nothing").with_extension(format);
        let error = save_photo(&nothing, &path).unwrap_err().to_string();
        assert!(error.contains("0×7 pixels"), "{error}");
    }
}

#[test]
fn photographs_may_have_names_of_255_bytes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join(format!("{}.png", "n".repeat(251)));
    save_photo(&picture(Rgb8).into(), &path).unwrap();
    assert_eq!(open_photo(&path).unwrap(), picture(Rgb8).into());
}

#[test]
fn a_limit_that_holds_no_pixel_is_refused() {
    for limit in [0, 15] {
        let options = ReadOptions::new().with_max_bytes(limit);
        let error = open_photo_with("photo.png", &options).unwrap_err();
        assert!(
            matches!(&error, Error::Setting { setting, .. } if setting == "max_bytes"),
            "{error}"
        );
    }
}

#[test]
fn options_change_the_size_and_nothing_else() {
    let folder = tempdir().unwrap();
    let photo = Photo::from(picture(Rgb8));
    let size = |name: &str, options: SaveOptions| {
        let path = folder.path().join(name);
        save_photo_with(&photo, &path, &options).unwrap();
        let read = open_photo(&path).unwrap();
        assert!(name.ends_with("jpg") || read == photo);
        std::fs::metadata(path).unwrap().len()
    };
    let jpeg = |quality| size("photo.jpg", SaveOptions::new().with_quality(quality));
    assert!(jpeg(1) < jpeg(50) && jpeg(50) < jpeg(100));
    let png = |name: PngCompression| size("photo.png", SaveOptions::new().with_compression(name));
    let [fast, _, best] = PngCompression::ALL.map(png);
    assert!(best <= fast, "{best} {fast}");
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    for quality in [0, 101] {
        let options = SaveOptions::new().with_quality(quality);
        let error = save_photo_with(&picture(L8).into(), &path, &options).unwrap_err();
        assert_eq!(error.to_string(), format!("setting `quality`: is {quality}, must be 1 to 100"));
        assert!(!path.exists());
    }
    let error = "most".parse::<PngCompression>().unwrap_err().to_string();
    assert_eq!(error, "argument `compression`: is `most`, must be fast, default or best");
    for known in PngCompression::ALL {
        assert_eq!(known.to_string().parse::<PngCompression>().unwrap(), known);
    }
    let error = "411".parse::<ChromaSampling>().unwrap_err().to_string();
    assert_eq!(error, "argument `chroma`: is `411`, must be 444, 422, 440 or 420");
    for known in ChromaSampling::ALL {
        assert_eq!(known.to_string().parse::<ChromaSampling>().unwrap(), known);
        assert_eq!(serde_json::to_value(known).unwrap(), known.name());
    }
}

/// The bounds on memory are computed from headers that only libwebp writes; `make.py` beside the files
/// made them.
#[test]
fn every_kind_of_webp_is_read() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/samples/coffee-clean.png");
    let sample = open_photo(sample).unwrap().pixels;
    let expected = sample.resize_exact(90, 60, image::imageops::FilterType::Triangle).into_rgb8();
    let mut read = 0;
    for entry in std::fs::read_dir(common::fixture("webp")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "webp") {
            continue;
        }
        let found = open_photo(&path).unwrap_or_else(|error| panic!("{error}")).pixels.into_rgb8();
        assert_eq!(found.dimensions(), (90, 60), "{}", path.display());
        let apart = found.iter().zip(expected.iter()).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let mean = apart.sum::<u64>() / found.len() as u64;
        // The grayest and the one of four colors are farther away.
        assert!(mean < 45, "{}: {mean}", path.display());
        read += 1;
    }
    assert_eq!(read, 7);
}
