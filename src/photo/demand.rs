//! How much memory a decoder will ask for, found from a file's structure before the decoder sees it.
//!
//! The decoders allocate by what a file claims, and bound little of it. Each function here walks over
//! the structure of one format, reads little of the content and keeps none of it.

use super::chroma::ChromaSampling;
use super::parse::{bytes, invalid};
use super::webp::{self, Sides, area};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;

/// What is found in a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Demand {
    /// The most bytes that the decoder allocates for headers and metadata.
    pub(super) metadata: u64,
    /// The most bytes that it allocates beside pixels and metadata while it decodes.
    pub(super) scratch: u64,
    /// How many bytes of pixels it allocates beside those that it returns, of the latter's number.
    pub(super) copies: u64,
    /// Where the photograph ends in the file, if that is before the file's end.
    pub(super) end: Option<u64>,
    /// Where the profile lies in the file, if the decoder is not to be asked for it.
    pub(super) icc: Option<Range<u64>>,
    /// The size of the pixels, where the decoder does not read it correctly.
    pub(super) size: Option<[u32; 2]>,
    /// The chroma sampling of a JPEG, if it has chroma.
    pub(super) chroma: Option<ChromaSampling>,
}

pub(super) type Source = BufReader<File>;

/// No sound file has more parts than this; a walk over more would take seconds.
const MOST_PARTS: usize = 1 << 20;

/// Chunks of PNG: length, type, content, checksum.
pub(super) fn png(file: &mut Source, length: u64) -> io::Result<Demand> {
    let mut demand = Demand::default();
    let mut at = file.seek(SeekFrom::Start(8))?;
    for _ in 0..MOST_PARTS {
        if at + 8 > length {
            return Ok(demand);
        }
        let size = u32::from_be_bytes(bytes(file)?);
        let size_in_file = u64::from(size).min(length - at);
        match &bytes(file)? {
            // `png` 0.18.1 panics at such a palette.
            b"PLTE" if size > 768 || size % 3 != 0 => {
                return invalid("the length of its palette is not a multiple of three up to 768");
            }
            b"IHDR" if size == 13 => {
                let width = u32::from_be_bytes(bytes(file)?);
                // Some rows of the largest kind of pixel, packed and unpacked.
                demand.scratch = 4 * 8 * u64::from(width);
                file.seek_relative(-4)?;
            }
            b"IDAT" | b"fdAT" => {}
            b"IEND" => return Ok(demand),
            // What is kept of a chunk, and the buffer that it was read into.
            _ => demand.metadata += 2 * size_in_file + 300,
        }
        file.seek_relative(i64::from(size) + 4)?;
        at += u64::from(size) + 12;
    }
    invalid("it has too many chunks")
}

/// What a JPEG's frame header and first scan say.
#[derive(Default)]
struct JpegFrame {
    size: [u64; 2],
    /// Horizontal and vertical sampling factors.
    components: Vec<[u64; 2]>,
    progressive: bool,
    /// How many components the first scan has.
    in_first_scan: usize,
    /// Bytes of application segments.
    applications: u64,
}

impl JpegFrame {
    fn pixels(&self) -> u64 {
        self.size[0] * self.size[1] * self.components.len() as u64
    }

    /// Rows of blocks in several stages, and coefficients of the whole picture where its parts come
    /// one after another.
    fn scratch(&self) -> u64 {
        let most = |side: usize| self.components.iter().map(|c| c[side]).max().unwrap_or(1);
        let blocks = [0, 1].map(|side| self.size[side].div_ceil(8 * most(side)));
        let parts = self.progressive || self.in_first_scan < self.components.len();
        let scratch = |&[across, down]: &[u64; 2]| {
            let rows = 96 * 8 * blocks[0] * most(0) * down;
            let coefficients = 2 * 64 * blocks[0] * blocks[1] * across * down;
            rows + if parts { coefficients } else { 0 }
        };
        self.components.iter().map(scratch).sum()
    }
}

/// Goes through a JPEG to its end marker, or to its first scan.
///
/// The decoder fills with gray what is missing at the end, and reads whatever stands behind it.
fn jpeg_frame(file: &mut (impl BufRead + SkipBytes), whole: bool) -> io::Result<JpegFrame> {
    let mut frame = JpegFrame::default();
    loop {
        // From one segment to the next, or through compressed data.
        file.skip_until(0xff)?;
        let mut marker = [0xff];
        while marker == [0xff] {
            file.read_exact(&mut marker)?;
        }
        // What has no content: a byte FF in the data, restarts, the beginning.
        if matches!(marker[0], 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if marker[0] == 0xd9 {
            return Ok(frame);
        }
        let mut content = u64::from(u16::from_be_bytes(bytes(file)?)).saturating_sub(2);
        match marker[0] {
            0xe0..=0xef => frame.applications += content + 64,
            0xc0..=0xc2 if content >= 6 => {
                let [_, h1, h0, w1, w0, count] = bytes(file)?;
                content -= 6;
                let sides = [[w1, w0], [h1, h0]];
                frame.size = sides.map(|side| u16::from_be_bytes(side).into());
                frame.progressive = marker[0] == 0xc2;
                frame.components.clear();
                for _ in 0..count.min(4) {
                    if content < 3 {
                        break;
                    }
                    let [_, factors, _] = bytes(file)?;
                    content -= 3;
                    let factors = [factors >> 4, factors & 15];
                    frame.components.push(factors.map(|factor| u64::from(factor.clamp(1, 4))));
                }
            }
            0xda if content >= 1 => {
                let [count] = bytes(file)?;
                content -= 1;
                if frame.in_first_scan == 0 {
                    frame.in_first_scan = count.into();
                }
                if !whole {
                    return Ok(frame);
                }
            }
            _ => {}
        }
        file.skip_bytes(content)?;
    }
}

trait SkipBytes {
    fn skip_bytes(&mut self, count: u64) -> io::Result<()>;
}

impl SkipBytes for Source {
    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        self.seek_relative(count as i64)
    }
}

impl SkipBytes for io::Take<&mut Source> {
    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.take(count), &mut io::sink())?;
        if skipped < count { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

pub(super) fn jpeg(file: &mut Source, _: u64) -> io::Result<Demand> {
    let frame = jpeg_frame(file, true).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Error::new(ErrorKind::UnexpectedEof, "the JPEG is cut off"),
        _ => error,
    })?;
    let end = file.stream_position()?;
    Ok(Demand {
        // The parts of a profile, whole, and as it is returned. The decoder keeps the file.
        metadata: end + 3 * frame.applications,
        scratch: frame.scratch(),
        end: Some(end),
        chroma: ChromaSampling::from_factors(&frame.components),
        ..Demand::default()
    })
}

/// The header of a WebP's extended kind.
struct Canvas {
    sides: Sides,
    alpha: bool,
    animated: bool,
}

pub(super) fn webp(file: &mut Source, length: u64) -> io::Result<Demand> {
    webp_chunks(file, length).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Error::new(ErrorKind::UnexpectedEof, "the WebP is cut off"),
        _ => error,
    })
}

/// Chunks of RIFF: type, length, content, and a byte where the length is odd.
fn webp_chunks(file: &mut Source, length: u64) -> io::Result<Demand> {
    let mut demand = Demand::default();
    let mut at = file.seek(SeekFrom::Start(12))?;
    let mut canvas: Option<Canvas> = None;
    // The decoder takes the first of each kind.
    let mut images = Vec::new();
    for _ in 0..MOST_PARTS {
        if at + 8 > length {
            return Ok(demand);
        }
        let kind = bytes(file)?;
        let size = u32::from_le_bytes(bytes(file)?);
        let next = at + 8 + u64::from(size.saturating_add(size & 1));
        let size = u64::from(size);
        let in_file = at + 8 + size <= length;
        let animated = canvas.as_ref().is_some_and(|canvas| canvas.animated);
        let is_image = [*b"VP8 ", *b"VP8L", *b"ALPH", *b"ANMF"].contains(&kind);
        match &kind {
            // The decoder allocates what these claim. It knows no other that it keeps.
            b"EXIF" | b"ICCP" | b"ANIM" if !in_file => return invalid("the WebP is cut off"),
            b"EXIF" | b"ICCP" => demand.metadata += 2 * size,
            b"VP8X" if at == 12 => canvas = Some(webp_header(file)?),
            _ if is_image && !images.contains(&kind) => {
                images.push(kind);
                match (&kind, &canvas) {
                    (b"ANMF", Some(canvas)) if animated => {
                        demand.scratch += webp_frame(file, size, canvas)?;
                    }
                    (b"ANMF", _) => return invalid("it has frames, but is no animation"),
                    _ if animated => {}
                    (b"ALPH", canvas) if !canvas.as_ref().is_some_and(|canvas| canvas.alpha) => {}
                    _ if !in_file => return invalid("the WebP is cut off"),
                    (_, Some(canvas)) => {
                        demand.scratch += webp_image(file, &kind, size, canvas.sides)?;
                    }
                    (b"VP8L", None) => {
                        let sides = webp::lossless_sides(file)?;
                        file.seek_relative(-5)?;
                        demand.scratch += webp_image(file, &kind, size, sides)?;
                        // `image-webp` 0.2.4 adds the 1 before it takes the 14 bits, so that 16384
                        // becomes 0. It reads the size of a canvas correctly.
                        if sides.contains(&16384) {
                            demand.size = Some(sides);
                            demand.scratch += length;
                        }
                    }
                    (_, None) => demand.scratch += webp::lossy(&mut file.take(size), size)?.1,
                }
            }
            _ => {}
        }
        at = file.seek(SeekFrom::Start(next))?;
    }
    invalid("it has too many chunks")
}

fn webp_header(file: &mut Source) -> io::Result<Canvas> {
    let [flags, _, _, _, sides @ ..] = bytes::<10>(file)?;
    let canvas =
        Canvas { sides: webp_sides(sides), alpha: flags & 0x10 != 0, animated: flags & 2 != 0 };
    // `image-webp` 0.2.4 computes the length of the canvas with 32 bits.
    match area(canvas.sides) * 4 <= u64::from(u32::MAX) {
        true => Ok(canvas),
        false => invalid("the canvas of the WebP is too large"),
    }
}

/// Width and height, each 24 bits and less by one.
fn webp_sides([w0, w1, w2, h0, h1, h2]: [u8; 6]) -> Sides {
    [[w0, w1, w2, 0], [h0, h1, h2, 0]].map(|side| u32::from_le_bytes(side) + 1)
}

/// What the first frame of an animation takes, a chunk of `size` bytes: the canvas, the frame, and
/// what its parts take.
fn webp_frame(file: &mut Source, size: u64, canvas: &Canvas) -> io::Result<u64> {
    if size < 24 {
        return invalid("the WebP is cut off");
    }
    let mut frame = file.take(size);
    let [_, _, _, _, _, _, sides @ .., _, _, _, _] = bytes::<16>(&mut frame)?;
    let sides = webp_sides(sides);
    if sides.iter().zip(canvas.sides).any(|(&side, canvas)| side > canvas.min(16384)) {
        return invalid("a frame of the WebP is outside of its canvas");
    }
    let mut taken = 4 * area(canvas.sides) + 4 * area(sides);
    // The image, or its alpha and the image.
    for _ in 0..2 {
        let kind = bytes(&mut frame)?;
        let size = u32::from_le_bytes(bytes(&mut frame)?);
        taken += webp_image(&mut frame, &kind, size.into(), sides)?;
        if kind != *b"ALPH" {
            break;
        }
        io::copy(&mut frame.by_ref().take((size & 1).into()), &mut io::sink())?;
    }
    Ok(taken)
}

/// What an image, or its alpha, takes beside the pixels that are returned, and goes past it.
fn webp_image(file: &mut impl Read, kind: &[u8; 4], size: u64, sides: Sides) -> io::Result<u64> {
    let mut content = file.take(size);
    let (found, taken) = match kind {
        b"VP8 " => webp::lossy(&mut content, size)?,
        b"VP8L" => {
            let found = webp::lossless_sides(&mut content)?;
            // The pixels with alpha, where they are returned without.
            (found, 4 * area(found) + webp::lossless(&mut content, found)?)
        }
        b"ALPH" => {
            let [method] = bytes(&mut content)?;
            let codes = if method & 3 == 1 { webp::lossless(&mut content, sides)? } else { 0 };
            // Pixels of which alpha is one byte, and alpha alone.
            (sides, 5 * area(sides) + codes)
        }
        _ => return invalid("a frame of the WebP is damaged"),
    };
    if found != sides {
        return invalid("the WebP has images of different sizes");
    }
    io::copy(&mut content, &mut io::sink())?;
    Ok(taken)
}

/// The chunk that tells a decoder the size of the canvas.
pub(super) fn webp_canvas([width, height]: [u32; 2], alpha: bool) -> [u8; 18] {
    let mut chunk = *b"VP8X\x0a\0\0\0\0\0\0\0wwwhhh";
    chunk[8] = if alpha { 0x10 } else { 0 };
    chunk[12..15].copy_from_slice(&(width - 1).to_le_bytes()[..3]);
    chunk[15..18].copy_from_slice(&(height - 1).to_le_bytes()[..3]);
    chunk
}

/// The numbers of a TIFF, in its byte order, and of its offsets' size.
struct Tiff<'a> {
    file: &'a mut Source,
    little: bool,
    big: bool,
}

/// An entry of a TIFF's directory.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where its values stand.
    at: u64,
}

impl Tiff<'_> {
    fn number(&mut self, size: usize) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes[..size])?;
        Ok(match self.little {
            true => u64::from_le_bytes(bytes),
            false => u64::from_be_bytes(bytes) >> (64 - 8 * size),
        })
    }

    fn entry(&mut self) -> io::Result<Entry> {
        let offset = if self.big { 8 } else { 4 };
        let [tag, kind] = [self.number(2)? as u16, self.number(2)? as u16];
        let count = self.number(offset)?;
        let here = self.file.stream_position()?;
        let there = self.number(offset)?;
        let inside = count.saturating_mul(size(kind)) <= offset as u64;
        Ok(Entry { tag, kind, count, at: if inside { here } else { there } })
    }

    /// One of an entry's values.
    fn value(&mut self, entry: &Entry, index: u64) -> io::Result<u64> {
        let at = size(entry.kind).saturating_mul(index).saturating_add(entry.at);
        self.file.seek(SeekFrom::Start(at))?;
        self.number(size(entry.kind) as usize)
    }
}

/// The bytes of one value of a TIFF's type.
fn size(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

/// The first directory of a TIFF.
pub(super) fn tiff(file: &mut Source, length: u64) -> io::Result<Demand> {
    // Of TIFF 6.0; chunks are strips or tiles.
    const WIDTH: u16 = 256;
    const COMPRESSION: u16 = 259;
    const SAMPLES: u16 = 277;
    const TILE_WIDTH: u16 = 322;
    const CHUNK_OFFSETS: [u16; 2] = [273, 324];
    const CHUNK_LENGTHS: [u16; 2] = [279, 325];
    const JPEG_TABLES: u16 = 347;
    const ICC: u16 = 34675;
    let start = bytes::<4>(file)?;
    let little = start[0] == b'I';
    let big = start[if little { 2 } else { 3 }] == 43;
    let mut tiff = Tiff { file, little, big };
    if big {
        tiff.number(4)?;
    }
    let directory = tiff.number(if big { 8 } else { 4 })?;
    tiff.file.seek(SeekFrom::Start(directory))?;
    let count = tiff.number(if big { 8 } else { 2 })?;
    if count > u64::from(u16::MAX) {
        return invalid("it has too many entries");
    }
    // The decoder writes the pixels into a buffer of its own; one of CMYK is larger by a third.
    let mut demand = Demand { copies: 4, metadata: 100 * count, ..Demand::default() };
    let (mut width, mut samples, mut jpeg) = (0, 1, false);
    let [mut offsets, mut lengths] = [None, None];
    for _ in 0..count {
        let entry = tiff.entry()?;
        let next = tiff.file.stream_position()?;
        let taken = entry.count.saturating_mul(size(entry.kind));
        // Values of these tags are read, and kept in 32 bytes each before they become numbers.
        if entry.tag <= 1000 && entry.tag != 700 {
            if entry.at.saturating_add(taken) > length {
                return invalid("the TIFF is cut off");
            }
            demand.metadata += entry.count.saturating_mul(32 + 16 + 8);
        }
        match entry.tag {
            WIDTH | TILE_WIDTH => width = tiff.value(&entry, 0)?.max(width),
            SAMPLES => samples = tiff.value(&entry, 0)?,
            COMPRESSION => jpeg = matches!(tiff.value(&entry, 0)?, 6 | 7),
            JPEG_TABLES => demand.scratch += taken,
            // The decoder would take 48 times its length.
            ICC if matches!(entry.kind, 1 | 7) && entry.at.saturating_add(taken) <= length => {
                demand.icc = Some(entry.at..entry.at + taken);
                demand.metadata += taken;
            }
            tag if CHUNK_OFFSETS.contains(&tag) => offsets = Some(entry),
            tag if CHUNK_LENGTHS.contains(&tag) => lengths = Some(entry),
            _ => {}
        }
        tiff.file.seek(SeekFrom::Start(next))?;
    }
    // A row of a tile, of samples of the largest kind.
    demand.scratch =
        demand.scratch.saturating_add(width.saturating_mul(samples).saturating_mul(16));
    if let (true, Some(offsets), Some(lengths)) = (jpeg, offsets, lengths) {
        let (mut most, mut all) = (0, 0u64);
        for index in 0..offsets.count.min(lengths.count) {
            let offset = tiff.value(&offsets, index)?;
            let taken = tiff.value(&lengths, index)?.min(length);
            // Each is gone through, so that many in one place would take quadratic time.
            all = all.saturating_add(taken);
            if all > length {
                return invalid("its strips overlap");
            }
            tiff.file.seek(SeekFrom::Start(offset))?;
            let frame = jpeg_frame(&mut (&mut *tiff.file).take(taken), false)?;
            most = most.max(3 * taken + 2 * frame.pixels() + frame.scratch());
        }
        demand.scratch = demand.scratch.saturating_add(most);
    }
    Ok(demand)
}
