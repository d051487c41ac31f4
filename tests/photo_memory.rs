//! Reading a photograph takes no more memory than its limit, whatever is in the file. In a binary of
//! its own with one test, since it counts what the whole process allocates.

mod common;

use common::allocation::{Counting, peak_of};
use image::DynamicImage;
use sci_burn::photo::{ReadOptions, open_photo_with, save_photo};
use sci_burn::{Photo, image};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMIT: usize = 16 << 20;

/// What does not count: the first MiB of working memory, and tables of fixed size.
const CONSTANT: usize = 2 << 20;

/// What a reading took, and its error.
fn taken(path: &Path) -> (usize, Result<Photo, String>) {
    let options = ReadOptions::new().with_max_bytes(LIMIT as u64);
    let (result, taken) = peak_of(|| open_photo_with(path, &options));
    (taken, result.map_err(|error| error.to_string()))
}

fn picture(width: u32, height: u32, alpha: bool) -> DynamicImage {
    let pixel = |x: u32, y: u32| [(x * 7 + y * 3) as u8, (x ^ y) as u8, (x * y) as u8];
    match alpha {
        true => image::RgbaImage::from_fn(width, height, |x, y| {
            let [r, g, b] = pixel(x, y);
            image::Rgba([r, g, b, (x + y) as u8])
        })
        .into(),
        false => image::RgbImage::from_fn(width, height, |x, y| image::Rgb(pixel(x, y))).into(),
    }
}

fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in chunks {
        png.extend((content.len() as u32).to_be_bytes());
        let content = [kind.as_slice(), content].concat();
        png.extend(&content);
        png.extend(crc32(&content).to_be_bytes());
    }
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Zeros, compressed: copies of the last 258 bytes, two bits each in the code of one block.
fn compressed_zeros(count: usize) -> Vec<u8> {
    // A block with fixed codes: the literal 0, then lengths of 258 at distance 1.
    let mut bits = vec![1u8, 1, 0];
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0]);
    for _ in 0..count / 258 {
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1]);
        bits.extend([0; 5]);
    }
    bits.extend([0; 7]);
    let deflated =
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | bit));
    let length = 1 + count / 258 * 258;
    let sum = 1 + (length as u32 % 65521) * 65536;
    [vec![0x78, 0x01], deflated.collect(), sum.to_be_bytes().to_vec()].concat()
}

fn chunk(kind: &[u8; 4], claimed: u32, content: &[u8]) -> Vec<u8> {
    [kind.as_slice(), &claimed.to_le_bytes(), content].concat()
}

fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
    [b"RIFF\xff\xff\0\0WEBP".to_vec(), chunks.concat()].concat()
}

fn canvas(flags: u8, side: u32) -> Vec<u8> {
    let side = &(side - 1).to_le_bytes()[..3];
    chunk(b"VP8X", 10, &[&[flags, 0, 0, 0], side, side].concat())
}

/// A lossless WebP with a thousand groups of Huffman codes, each of which takes 68 KiB: ten bytes say
/// that 2048 symbols have codes of 11 bits, and that the other four codes have one symbol.
fn many_codes() -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |numbers: &[(u32, usize)]| {
        for &(number, count) in numbers {
            bits.extend((0..count).map(|bit| number >> bit & 1 == 1));
        }
    };
    // The signature and a size of 64 × 64, no transforms, a cache of 2048 colors.
    put(&[(0x2f, 8), (63, 14), (63, 14), (0, 4), (0, 1), (1, 1), (11, 4)]);
    // One entropy image of blocks of 4 × 4: green 255 and red 3 in all of its pixels.
    put(&[(1, 1), (0, 3), (0, 1)]);
    for symbol in [255, 3, 0, 0, 0] {
        put(&[(1, 1), (0, 1), (1, 1), (symbol, 8)]);
    }
    for _ in 0..1024 {
        put(&[(0, 1), (11, 4), (0, 21), (0, 21), (1, 3)]);
        put(&[(1, 1), (5, 3), (2046, 12)]);
        for _ in 0..4 {
            put(&[(1, 4)]);
        }
    }
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    let content: Vec<u8> = bits.chunks(8).map(byte).collect();
    webp(&[chunk(b"VP8L", content.len() as u32, &content)])
}

/// A TIFF of entries of tag, type, count, value.
fn tiff(entries: &[[u32; 4]]) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    tiff.extend((entries.len() as u16).to_le_bytes());
    for [tag, kind, count, value] in entries {
        tiff.extend([(*tag as u16).to_le_bytes(), (*kind as u16).to_le_bytes()].concat());
        tiff.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    tiff.extend([0; 40]);
    tiff
}

/// Files that claim, or hold, more than the limit.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let lossless = |side: u32| {
        let header = (side - 1) | (side - 1) << 14;
        // No transforms, no cache, and five codes of one symbol: black.
        let black = [0x88, 0x88, 0x08];
        chunk(b"VP8L", 8, &[&[0x2f], header.to_le_bytes().as_slice(), &black].concat())
    };
    let gray = [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0];
    let profile = [b"p\0\0".to_vec(), compressed_zeros(1 << 30)].concat();
    let text = [b"t\0\0".to_vec(), compressed_zeros(1 << 28)].concat();
    let size = [[256, 4, 1, 4], [257, 4, 1, 4], [258, 3, 1, 8], [262, 3, 1, 1]];
    let strips = [[273, 4, 1, 8], [278, 4, 1, 4], [279, 4, 1, 16]];
    let mut big_profile = tiff(&[size.as_slice(), &strips, &[[34675, 7, 20 << 20, 100]]].concat());
    big_profile.resize(21 << 20, 0);
    let jpeg_in_tiff = {
        let strips = [[273, 4, 1, 200], [278, 4, 1, 4], [279, 4, 1, 100], [259, 3, 1, 7]];
        let mut file = tiff(&[size.as_slice(), &strips].concat());
        file.resize(200, 0);
        file.extend(
            b"\xff\xd8\xff\xc0\0\x0b\x08\x40\0\x40\0\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0",
        );
        file.resize(300, 0);
        file
    };
    vec![
        ("profile.png", png(&[(b"IHDR", &gray), (b"iCCP", &profile), (b"IDAT", &[])])),
        ("text.png", png(&[(b"IHDR", &gray), (b"zTXt", &text), (b"IDAT", &[])])),
        ("many-texts.png", {
            let mut chunks: Vec<(&[u8; 4], &[u8])> = vec![(b"IHDR", &gray)];
            chunks.extend((0..200_000).map(|_| (b"tEXt", b"a\0".as_slice())));
            png(&chunks)
        }),
        (
            "exif.webp",
            webp(&[canvas(8, 16), lossless(16), chunk(b"EXIF", u32::MAX - 1, &[0; 600])]),
        ),
        ("profile.webp", webp(&[canvas(32, 16), lossless(16), chunk(b"ICCP", 3 << 30, &[0; 600])])),
        ("pixels.webp", webp(&[lossless(16384)])),
        ("codes.webp", many_codes()),
        ("another-size.webp", webp(&[canvas(0, 2300), lossless(1)])),
        ("cut-off.webp", webp(&[canvas(0, 2300), lossless(2300)[..12].to_vec()])),
        ("just-too-many-pixels.webp", webp(&[lossless(2300)])),
        (
            "canvas.webp",
            webp(&[canvas(2, 1 << 15), chunk(b"ANIM", 6, &[0; 6]), chunk(b"ANMF", 40, &[0; 40])]),
        ),
        (
            "values.tif",
            tiff(&[size.as_slice(), &[[273, 4, 5 << 20, 8], [279, 4, 5 << 20, 8]]].concat()),
        ),
        ("profile.tif", big_profile),
        (
            "tile.tif",
            tiff(
                &[
                    size.as_slice(),
                    &[[322, 4, 1, u32::MAX / 2], [323, 4, 1, 1], [324, 4, 1, 8], [325, 4, 1, 8]],
                ]
                .concat(),
            ),
        ),
        ("jpeg.tif", jpeg_in_tiff),
    ]
}

fn small() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0".to_vec();
    exif.extend([0; 4]);
    let mut icc: Vec<u8> = (0..200).collect();
    icc[16..20].copy_from_slice(b"RGB ");
    let mut files = Vec::new();
    for format in ["png", "jpg", "webp", "tif", "bmp"] {
        for alpha in [false, true] {
            for metadata in [false, true] {
                let mut photo = Photo::from(picture(19, 13, alpha));
                if metadata {
                    photo = photo.with_exif(exif.clone()).with_icc(icc.clone());
                }
                let path = folder.path().join(format!("{alpha}-{metadata}.{format}"));
                save_photo(&photo, &path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    files
}

#[test]
fn no_file_takes_more_memory_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let checked = |path: &Path| {
        let (bytes, result) = taken(path);
        assert!(bytes <= LIMIT + CONSTANT, "{}: {bytes} bytes, {result:?}", path.display());
        if let Err(message) = &result {
            assert!(message.contains(&path.display().to_string()), "{message}");
            assert!(message.lines().count() == 1 && message.len() < 500, "{message}");
        }
        result.map_err(|message| (bytes, message))
    };

    for (name, bytes) in hostile() {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (bytes, message) = checked(&path).unwrap_err();
        println!("{bytes:>9} {message}");
        std::fs::remove_file(path).unwrap();
    }

    // Gigabytes of nothing behind, and inside, a JPEG.
    let path = folder.path().join("photo.jpg");
    save_photo(&picture(64, 48, false).into(), &path).unwrap();
    let mut file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(4 << 30).unwrap();
    assert!(checked(&path).is_ok());
    file.seek(SeekFrom::Start(600)).unwrap();
    file.write_all(&[0xff, 0x00]).unwrap();
    drop(file);

    // What fits is read, and what does not is refused, for every format and kind of pixel.
    for (name, alpha) in ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"].into_iter().zip([true; 5]) {
        for alpha in [alpha, false] {
            let mut read = 0;
            for height in [100, 300, 500, 700, 900, 1100, 1300, 1500, 1800, 3500] {
                let path = folder.path().join(name);
                save_photo(&picture(2000, height, alpha).into(), &path).unwrap();
                match checked(&path) {
                    Ok(_) => read += 1,
                    Err((bytes, message)) => {
                        assert!(
                            message.contains("pixels takes") || message.contains("data take"),
                            "{message}"
                        );
                        assert!(bytes < LIMIT, "{message}: {bytes}");
                    }
                }
            }
            println!("{name} {alpha}: {read}");
            assert!((3..10).contains(&read), "{name} {alpha}: {read}");
        }
    }

    // Small files with a few bytes changed. More of them, with another seed: `MUTATIONS=100000,7`.
    let wanted = std::env::var("MUTATIONS").unwrap_or_else(|_| "2000,1".to_owned());
    let (count, seed) = wanted.split_once(',').unwrap();
    let mut state: u64 = seed.parse().unwrap();
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let files = small();
    let [mut whole, mut refused] = [0, 0];
    for _ in 0..count.parse().unwrap() {
        let (name, original) = &files[random(files.len())];
        let mut bytes = original.clone();
        for _ in 0..1 + random(6) {
            // As often in the header as anywhere.
            let most = if random(2) == 0 { 100 } else { usize::MAX };
            let at = random(bytes.len().min(most));
            match random(6) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random(6)],
                2 => bytes[at] = random(256) as u8,
                3 => bytes.truncate(at.max(30)),
                4 => {
                    let end = (at + 1 + random(4)).min(bytes.len());
                    bytes[at..end].fill([0, 0xff][random(2)]);
                }
                _ => {
                    let from = random(bytes.len());
                    let end = (from + random(40)).min(bytes.len());
                    let copied = bytes[from..end].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        if name.ends_with("png") && random(2) == 0 {
            mend_checksums(&mut bytes);
        }
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        match checked(&path) {
            Ok(_) => whole += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{whole} mutations were read, {refused} refused");
}

/// Without this, hardly a changed PNG comes past its checksums.
fn mend_checksums(png: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = png.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= png.len()) else {
            return;
        };
        let checksum = crc32(&png[at + 4..end]);
        png[end..end + 4].copy_from_slice(&checksum.to_be_bytes());
        at = end + 4;
    }
}
