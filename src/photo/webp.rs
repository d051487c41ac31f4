//! How much memory `image-webp` 0.2.4 allocates beside the pixels while it decodes one image of a
//! WebP, computed from the image's header.
//!
//! What the decoder would refuse is refused here before anything is allocated for it.

use super::parse::{bytes, invalid};
use std::io::{self, Read};

/// Width and height.
pub(super) type Sides = [u32; 2];

pub(super) fn area([across, down]: Sides) -> u64 {
    u64::from(across) * u64::from(down)
}

/// A lossy image, a `VP8 ` chunk of `length` bytes: its size, and the bytes that its planes and its
/// compressed data take.
pub(super) fn lossy(file: &mut impl Read, length: u64) -> io::Result<(Sides, u64)> {
    let [t0, t1, t2, _, _, _, w0, w1, h0, h1] = bytes(file)?;
    let sides = [[w0, w1], [h0, h1]].map(|side| u32::from(u16::from_le_bytes(side) & 0x3fff));
    let first = u64::from(u32::from_le_bytes([t0, t1, t2, 0]) >> 5);
    if 10 + first > length {
        return invalid("the WebP is cut off");
    }
    let mut header = file.by_ref().take(first);
    let others = partitions(&mut header)? - 1;
    io::copy(&mut header, &mut io::sink())?;
    // The decoder allocates all partitions but the last by the lengths that stand before them.
    let mut claimed = 10 + first + 3 * others;
    for _ in 0..others {
        let [s0, s1, s2] = bytes(file)?;
        claimed += u64::from(u32::from_le_bytes([s0, s1, s2, 0]));
    }
    if claimed > length {
        return invalid("the WebP is cut off");
    }
    let blocks = area(sides.map(|side| side.div_ceil(16)));
    // Luminance and chrominance of a block, and a list of blocks that grows by doubling, as the
    // buffer for the last partition does.
    Ok((sides, blocks * (384 + 3 * 32) + 3 * length))
}

/// How many partitions a lossy image has, from the header in its first one.
fn partitions(header: &mut impl Read) -> io::Result<u64> {
    let mut bits = ArithmeticBits { source: header, value: 0, range: 255, available: 0 };
    // Color space, clamping.
    bits.skip(2)?;
    // Segments.
    if bits.flag()? {
        let [map, levels] = [bits.flag()?, bits.flag()?];
        if levels {
            bits.skip(1)?;
            for length in [8, 8, 8, 8, 7, 7, 7, 7] {
                bits.skip_optional(length)?;
            }
        }
        if map {
            for _ in 0..3 {
                bits.skip_optional(8)?;
            }
        }
    }
    // Kind, level and sharpness of the filter, and what changes them.
    bits.skip(1 + 6 + 3)?;
    if bits.flag()? && bits.flag()? {
        for _ in 0..8 {
            bits.skip_optional(7)?;
        }
    }
    let [high, low] = [bits.flag()?, bits.flag()?];
    Ok(1 << (2 * u8::from(high) + u8::from(low)))
}

/// The arithmetic coding of VP8, of bits that are as likely 0 as 1.
struct ArithmeticBits<R> {
    source: R,
    value: u64,
    range: u64,
    /// How many bits of `value` follow those that are compared with the range.
    available: u32,
}

impl<R: Read> ArithmeticBits<R> {
    fn flag(&mut self) -> io::Result<bool> {
        // Eight bits to compare, and at most seven that are shifted out.
        while self.available < 16 {
            // The decoder goes on for a little with zeros behind the end.
            let mut byte = [0];
            let _ = self.source.read(&mut byte)?;
            self.value = self.value << 8 | u64::from(byte[0]);
            self.available += 8;
        }
        let split = self.range.div_ceil(2);
        let compared = split << (self.available - 8);
        let flag = self.value >= compared;
        if flag {
            self.value -= compared;
            self.range -= split;
        } else {
            self.range = split;
        }
        while self.range < 128 {
            self.range <<= 1;
            self.available -= 1;
        }
        Ok(flag)
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    fn skip_optional(&mut self, count: usize) -> io::Result<()> {
        if self.flag()? { self.skip(count) } else { Ok(()) }
    }
}

/// The size of a lossless image, a `VP8L` chunk, from its first five bytes.
pub(super) fn lossless_sides(file: &mut impl Read) -> io::Result<Sides> {
    let [signature, header @ ..] = bytes::<5>(file)?;
    if signature != 0x2f {
        return invalid("the WebP is damaged");
    }
    let header = u32::from_le_bytes(header);
    Ok([header, header >> 14].map(|side| (side & 0x3fff) + 1))
}

/// The bytes that the transforms and the Huffman codes of a lossless image take, from what follows its
/// size.
///
/// Ten bytes can describe codes that take 68 KiB, so that these are computed one by one.
pub(super) fn lossless(file: &mut impl Read, [mut across, down]: Sides) -> io::Result<u64> {
    let mut bits = Bits { source: file, buffer: 0, available: 0 };
    let mut memory = 0;
    let mut transforms = [false; 4];
    while bits.flag()? {
        let kind = bits.take(2)? as usize;
        if std::mem::replace(&mut transforms[kind], true) {
            return invalid("the WebP is damaged");
        }
        match kind {
            // Prediction and color: an image with a pixel for each block.
            0 | 1 => {
                let blocks = bits.blocks([across, down])?;
                memory += 4 * area(blocks);
                bits.skip_image(blocks)?;
            }
            // Subtraction of green has no parameters.
            2 => {}
            // A palette: several small indices share a pixel.
            _ => {
                let colors = bits.take(8)? + 1;
                bits.skip_image([colors, 1])?;
                across = match colors {
                    0..=2 => across.div_ceil(8),
                    3..=4 => across.div_ceil(4),
                    5..=16 => across.div_ceil(2),
                    _ => across,
                };
            }
        }
    }
    let cached = bits.cache()?;
    let mut groups = 1;
    if bits.flag()? {
        let blocks = bits.blocks([across, down])?;
        // Pixels of four bytes, and the numbers of two that are made of them.
        memory += 6 * area(blocks);
        groups = u64::from(bits.skip_image(blocks)?) + 1;
    }
    // The list of groups grows by doubling, five codes of 56 bytes each.
    memory += 3 * 5 * 56 * groups.max(4);
    for _ in 0..groups {
        for alphabet in alphabets(cached) {
            memory += bits.code(alphabet)?.memory();
        }
    }
    Ok(memory)
}

/// The sizes of the alphabets: green, lengths and the cache of colors; red; blue; alpha; distances.
fn alphabets(cached: usize) -> [usize; 5] {
    [256 + 24 + cached, 256, 256, 256, 40]
}

const LONGEST: usize = 15;

/// The longest code that is found by one access to a table.
const TABLE_BITS: usize = 10;

/// A Huffman code, as it is needed to go through data: little, and not fast.
struct Code {
    /// The number of symbols of each length.
    counts: [u16; LONGEST + 1],
    /// The symbols in the order of their codes.
    symbols: Vec<u16>,
    simple: bool,
}

impl Code {
    /// A code of one or two symbols.
    fn simple(symbols: Vec<u16>) -> Self {
        let mut counts = [0; LONGEST + 1];
        counts[1] = if symbols.len() == 2 { 2 } else { 0 };
        Self { counts, symbols, simple: true }
    }

    /// The code in which each symbol has a length, 0 where it does not occur.
    fn new(lengths: &[u8]) -> io::Result<Self> {
        let mut counts = [0; LONGEST + 1];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        let unused = usize::from(std::mem::take(&mut counts[0]));
        let mut next = [0; LONGEST + 1];
        for length in 1..LONGEST {
            next[length + 1] = next[length] + usize::from(counts[length]);
        }
        let mut symbols = vec![0; lengths.len() - unused];
        for (symbol, &length) in lengths.iter().enumerate() {
            if length > 0 {
                let next = &mut next[usize::from(length)];
                symbols[*next] = symbol as u16;
                *next += 1;
            }
        }
        if symbols.len() == 1 {
            return Ok(Self { simple: false, ..Self::simple(symbols) });
        }
        let taken = (1..=LONGEST).map(|length| u32::from(counts[length]) << (LONGEST - length));
        match taken.sum::<u32>() == 1 << LONGEST {
            true => Ok(Self { counts, symbols, simple: false }),
            false => invalid("the WebP is damaged"),
        }
    }

    /// What the decoder's form of the code takes.
    fn memory(&self) -> u64 {
        match (self.symbols.len(), self.simple) {
            (1, _) => 0,
            (_, true) => 3 * 16 + 2 * 4,
            (_, false) => {
                let longest = self.counts.iter().rposition(|&count| count > 0).unwrap_or(0);
                let beyond = self.counts[TABLE_BITS + 1..].iter().map(|&count| u64::from(count));
                (4 << longest.min(TABLE_BITS)) + 2 * 16 * beyond.sum::<u64>()
            }
        }
    }
}

/// Bits, the lowest of a byte first.
struct Bits<R> {
    source: R,
    buffer: u32,
    available: u32,
}

impl<R: Read> Bits<R> {
    /// At most 24 bits.
    fn take(&mut self, count: u32) -> io::Result<u32> {
        while self.available < count {
            let [byte] = bytes(&mut self.source)?;
            self.buffer |= u32::from(byte) << self.available;
            self.available += 8;
        }
        let taken = self.buffer & ((1 << count) - 1);
        self.buffer >>= count;
        self.available -= count;
        Ok(taken)
    }

    fn flag(&mut self) -> io::Result<bool> {
        Ok(self.take(1)? == 1)
    }

    /// How many blocks an image has, across and down.
    fn blocks(&mut self, sides: Sides) -> io::Result<Sides> {
        let bits = self.take(3)? + 2;
        Ok(sides.map(|side| side.div_ceil(1 << bits)))
    }

    /// How many colors are cached.
    fn cache(&mut self) -> io::Result<usize> {
        if !self.flag()? {
            return Ok(0);
        }
        match self.take(4)? {
            bits @ 1..=11 => Ok(1 << bits),
            _ => invalid("the WebP is damaged"),
        }
    }

    fn code(&mut self, alphabet: usize) -> io::Result<Code> {
        if self.flag()? {
            let two = self.flag()?;
            let first = if self.flag()? { 8 } else { 1 };
            let mut symbols = vec![self.take(first)? as u16];
            if two {
                symbols.push(self.take(8)? as u16);
            }
            return match symbols.iter().all(|&symbol| usize::from(symbol) < alphabet) {
                true => Ok(Code::simple(symbols)),
                false => invalid("the WebP is damaged"),
            };
        }
        const ORDER: [usize; 19] =
            [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut lengths = [0; 19];
        let count = 4 + self.take(4)? as usize;
        for &symbol in &ORDER[..count] {
            lengths[symbol] = self.take(3)? as u8;
        }
        let code = Code::new(&lengths)?;
        let mut reads = alphabet;
        if self.flag()? {
            let bits = 2 + 2 * self.take(3)?;
            reads = 2 + self.take(bits)? as usize;
            if reads > alphabet {
                return invalid("the WebP is damaged");
            }
        }
        let mut lengths = vec![0; alphabet];
        let (mut at, mut previous) = (0, 8);
        while at < alphabet && reads > 0 {
            reads -= 1;
            let (length, repeated) = match self.symbol(&code)? {
                16 => (previous, 3 + self.take(2)? as usize),
                17 => (0, 3 + self.take(3)? as usize),
                18 => (0, 11 + self.take(7)? as usize),
                length => (length as u8, 1),
            };
            let Some(part) = lengths.get_mut(at..at + repeated) else {
                return invalid("the WebP is damaged");
            };
            part.fill(length);
            at += repeated;
            if length != 0 {
                previous = length;
            }
        }
        Code::new(&lengths)
    }

    fn symbol(&mut self, code: &Code) -> io::Result<u16> {
        if let [symbol] = code.symbols[..] {
            return Ok(symbol);
        }
        // Codes of one length follow each other; `first` is the first of them.
        let (mut read, mut first, mut before) = (0, 0, 0);
        for &count in &code.counts[1..] {
            read = read << 1 | self.take(1)?;
            let count = u32::from(count);
            if read < first + count {
                return Ok(code.symbols[(before + read - first) as usize]);
            }
            before += count;
            first = (first + count) << 1;
        }
        invalid("the WebP is damaged")
    }

    /// A length or a distance, of which a symbol says the magnitude.
    fn distance(&mut self, symbol: u16) -> io::Result<u64> {
        let symbol = u32::from(symbol);
        if symbol < 4 {
            return Ok(u64::from(symbol) + 1);
        }
        let bits = (symbol - 2) >> 1;
        let least = (2 + (symbol & 1)) << bits;
        Ok(u64::from(least + self.take(bits)?) + 1)
    }

    /// Goes through an image of parameters, and finds the largest number of red and green in it.
    ///
    /// Copies and cached colors repeat what was there before, or black.
    fn skip_image(&mut self, sides: Sides) -> io::Result<u32> {
        let cached = self.cache()?;
        let mut codes = Vec::with_capacity(5);
        for alphabet in alphabets(cached) {
            codes.push(self.code(alphabet)?);
        }
        let [green, red, blue, alpha, distances] = &codes[..] else { unreachable!() };
        let mut most = 0;
        let mut left = area(sides);
        let same = codes[..4].iter().all(|code| code.symbols.len() == 1);
        while left > 0 {
            let pixels = match self.symbol(green)? {
                level @ 0..256 => {
                    let number = u32::from(self.symbol(red)?) << 8 | u32::from(level);
                    self.symbol(blue)?;
                    self.symbol(alpha)?;
                    most = most.max(number);
                    if same { left } else { 1 }
                }
                length @ 256..280 => {
                    let length = self.distance(length - 256)?;
                    let symbol = self.symbol(distances)?;
                    self.distance(symbol)?;
                    length
                }
                _ => 1,
            };
            left = match left.checked_sub(pixels) {
                Some(left) => left,
                None => return invalid("the WebP is damaged"),
            };
        }
        Ok(most)
    }
}
