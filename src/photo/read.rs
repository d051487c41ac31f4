use super::chroma::ChromaSampling;
use super::demand::{self, Demand, Source};
use super::exif;
use super::files::EXPECTED;
use crate::contain::contain;
use crate::error::{Error, Result};
use crate::file;
use burn::config::Config;
use image::codecs::bmp::BmpDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageResult, Limits};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// A photograph and what its file says of it.
///
/// One that was never in a file is made from its pixels by `From`, and completed by
/// [`with_exif`](Self::with_exif), [`with_icc`](Self::with_icc) and
/// [`with_chroma`](Self::with_chroma).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Photo {
    /// The pixels, upright.
    pub pixels: DynamicImage,
    /// EXIF data: what the camera noted, as a TIFF structure that begins with its byte order. In that
    /// of a photograph that was read, the orientation is *upright* and the thumbnail is not linked
    /// any more, since neither would be true of the pixels; data that is not valid is not changed.
    /// That of a TIFF is not read.
    pub exif: Option<Vec<u8>>,
    /// The ICC profile: which colors the levels stand for.
    pub icc: Option<Vec<u8>>,
    /// The chroma sampling of the pixels, upright, if they were in a JPEG that has chroma. As a JPEG,
    /// they are written with the same.
    pub chroma: Option<ChromaSampling>,
}

impl Photo {
    /// The same photograph with other EXIF data, or with none.
    pub fn with_exif(self, exif: impl Into<Option<Vec<u8>>>) -> Self {
        Self { exif: exif.into(), ..self }
    }

    /// The same photograph with another ICC profile, or with none.
    pub fn with_icc(self, icc: impl Into<Option<Vec<u8>>>) -> Self {
        Self { icc: icc.into(), ..self }
    }

    /// The same photograph with another chroma sampling, or with none.
    pub fn with_chroma(self, chroma: impl Into<Option<ChromaSampling>>) -> Self {
        Self { chroma: chroma.into(), ..self }
    }
}

impl From<DynamicImage> for Photo {
    fn from(pixels: DynamicImage) -> Self {
        Self { pixels, exif: None, icc: None, chroma: None }
    }
}

/// How photographs are read.
#[derive(Config, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The most bytes of memory that reading one photograph may take, at least 16.
    ///
    /// This counts all that is in memory at the same time: the pixels, which take width times height
    /// times 1 (8-bit gray) to 16 bytes (floating-point RGBA); the metadata and the profile; the
    /// compressed data, where the decoder needs all of it (JPEG); and the decoder's working memory,
    /// which is as large as the pixels for TIFF, WebP without loss, and progressive JPEG, and small
    /// for others. A photograph that is turned by its orientation needs its pixels twice.
    ///
    /// The memory is computed from the file's structure, before the decoder starts. Tables of fixed
    /// size, and the first MiB beside the pixels, do not count.
    #[config(default = "1 << 30")]
    pub max_bytes: u64,
}

/// What does not count.
const UNCOUNTED: u64 = 1 << 20;

/// The bytes of the largest pixel.
const LARGEST_PIXEL: u64 = 16;

/// Reads a photograph within 1 GiB of memory and turns it upright where its EXIF data says how.
///
/// The format is taken from the content, not from the name. 8 and 16 bits a sample and floating point
/// stay as they are; palettes become RGB (those of TIFFs are refused), and so does CMYK, by its
/// simplest formula. Of an animation, the first frame is read.
///
/// A codec that panics on a damaged file makes an error too. So that nothing is printed then, the first
/// call installs a panic hook, which passes all other panics to the hook that was there before.
///
/// # Errors
///
/// [`Error::Read`] where the file is missing, not a regular file, damaged, cut off, of no known format,
/// or where its metadata alone is larger than that; [`Error::TooLarge`] where its pixels are, or all
/// that reading them takes.
pub fn open_photo(path: impl AsRef<Path>) -> Result<Photo> {
    open_photo_with(path, &ReadOptions::new())
}

/// As [`open_photo`], with other options.
///
/// # Errors
///
/// As [`open_photo`], and [`Error::Setting`] where the limit cannot hold a pixel.
pub fn open_photo_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Photo> {
    let (path, limit) = (path.as_ref(), options.max_bytes);
    if limit < LARGEST_PIXEL {
        let reason =
            format!("is {limit}, must be at least {LARGEST_PIXEL}, which one pixel may take");
        return Err(Error::setting("max_bytes", reason));
    }
    contained(path, || {
        let Opened { mut decoder, demand, orientation, exif, icc } = open(path, limit)?;
        let (width, height) = decoder.dimensions();
        let pixels = decoder.total_bytes();
        let kept = [&exif, &icc].into_iter().flatten().map(|data| data.len() as u64).sum::<u64>();
        let decoding = (pixels.saturating_mul(3 + demand.copies) / 3)
            .saturating_add(demand.scratch)
            .saturating_add(demand.metadata)
            .saturating_add(2 * kept);
        let sideways = is_sideways(orientation);
        let turning = if sideways { pixels.saturating_mul(2) } else { 0 };
        let all = decoding.max(turning.saturating_add(kept));
        if pixels > limit || all > limit.saturating_add(UNCOUNTED) {
            let bytes = if pixels > limit { pixels } else { all };
            return Err(Error::TooLarge { path: path.to_owned(), width, height, bytes, limit });
        }
        // A TIFF's decoder takes as one the pixels and the longest part of the compressed data, which
        // it does not keep in memory.
        let mut limits = Limits::default();
        limits.max_alloc = Some(pixels.saturating_mul(2).saturating_add(limit));
        decoder.set_limits(limits).map_err(|error| Error::read(path, error))?;
        let mut pixels =
            DynamicImage::from_decoder(decoder).map_err(|error| Error::read(path, error))?;
        pixels.apply_orientation(orientation);
        let turned = |chroma: ChromaSampling| if sideways { chroma.sideways() } else { chroma };
        Ok(Photo { pixels, exif, icc, chroma: demand.chroma.map(turned) })
    })
}

/// Width and height of a photograph, upright, from its header.
#[cfg(feature = "train")]
pub(crate) fn photo_size(path: &Path) -> Result<(u32, u32)> {
    contained(path, || {
        let Opened { decoder, orientation, .. } = open(path, ReadOptions::new().max_bytes)?;
        let (width, height) = decoder.dimensions();
        Ok(if is_sideways(orientation) { (height, width) } else { (width, height) })
    })
}

/// A decoder's panic is an error of reading.
fn contained<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    contain(read).unwrap_or_else(|panic| Err(Error::read(path, panic)))
}

fn is_sideways(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// A photograph of which all but the pixels has been read.
struct Opened {
    decoder: Box<dyn ImageDecoder>,
    demand: Demand,
    orientation: Orientation,
    exif: Option<Vec<u8>>,
    icc: Option<Vec<u8>>,
}

/// Opens a photograph's file and reads its header and metadata, in at most `limit` bytes.
fn open(path: &Path, limit: u64) -> Result<Opened> {
    let failed = |error: io::Error| Error::read(path, error);
    let undecoded = |error: ImageError| Error::read(path, error);
    let (file, length) = file::open(path)?;
    let mut file = BufReader::new(file);
    let start = file.fill_buf().map_err(failed)?;
    if start.is_empty() {
        return Err(Error::read(path, "the file is empty"));
    }
    let format = image::guess_format(start).map_err(|_| {
        Error::read(path, format!("not a photograph in a known format ({EXPECTED})"))
    })?;
    let demand = match format {
        ImageFormat::Png => demand::png(&mut file, length),
        ImageFormat::Jpeg => demand::jpeg(&mut file, length),
        ImageFormat::WebP => demand::webp(&mut file, length),
        ImageFormat::Tiff => demand::tiff(&mut file, length),
        ImageFormat::Bmp => Ok(Demand::default()),
        other => {
            let name = format!("{other:?}").to_uppercase();
            return Err(Error::read(path, format!("its format is {name}, expected {EXPECTED}")));
        }
    };
    let demand = demand.map_err(failed)?;
    let allowed = limit.saturating_add(UNCOUNTED);
    if demand.metadata > allowed {
        let reason = match demand.end {
            Some(_) => "compressed data and metadata take",
            None => "metadata takes",
        };
        let bytes = demand.metadata;
        let reason = format!("its {reason} {bytes} bytes, more than the limit of {limit}");
        return Err(Error::read(path, reason));
    }
    // The PNG decoder allocates rows before its size can be asked for.
    if format == ImageFormat::Png && demand.metadata.saturating_add(demand.scratch) > allowed {
        let reason =
            format!("its rows take {} bytes, more than the limit of {limit}", demand.scratch);
        return Err(Error::read(path, reason));
    }
    let mut icc = None;
    if let Some(range) = demand.icc.clone() {
        let mut profile = vec![0; (range.end - range.start) as usize];
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        file.read_exact(&mut profile).map_err(failed)?;
        icc = Some(profile);
    }
    file.rewind().map_err(failed)?;
    let decoder: ImageResult<Box<dyn ImageDecoder>> = match format {
        ImageFormat::Png => {
            // A compressed profile grows in steps and is kept twice. A row, which is a quarter of the
            // scratch memory, is counted too.
            let mut limits = Limits::default();
            limits.max_alloc = Some((allowed - demand.metadata) / 4);
            PngDecoder::with_limits(file, limits).map(boxed)
        }
        ImageFormat::Jpeg => {
            JpegDecoder::new(Beginning::new(file, demand.end.unwrap_or(length))).map(boxed)
        }
        ImageFormat::WebP => match demand.size {
            Some(size) if demand.scratch <= allowed => {
                let mut whole = Vec::with_capacity(length as usize + 18);
                file.read_to_end(&mut whole).map_err(failed)?;
                let alpha = whole.get(24).is_some_and(|bits| bits & 0x10 != 0);
                whole.splice(12..12, demand::webp_canvas(size, alpha));
                WebPDecoder::new(Cursor::new(whole)).map(boxed)
            }
            Some([width, height]) => {
                let bytes = demand.scratch;
                return Err(Error::TooLarge { path: path.to_owned(), width, height, bytes, limit });
            }
            None => WebPDecoder::new(file).map(boxed),
        },
        ImageFormat::Tiff => TiffDecoder::new(file).map(boxed),
        _ => BmpDecoder::new(file).map(boxed),
    };
    let mut decoder = decoder.map_err(undecoded)?;
    if format == ImageFormat::Tiff {
        let orientation = decoder.orientation().map_err(undecoded)?;
        return Ok(Opened { decoder, demand, orientation, exif: None, icc });
    }
    let exif = decoder.exif_metadata().map_err(undecoded)?.map(exif::upright);
    let (orientation, exif) = exif.unzip();
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let icc = decoder.icc_profile().map_err(undecoded)?;
    Ok(Opened { decoder, demand, orientation, exif, icc })
}

fn boxed<'a>(decoder: impl ImageDecoder + 'a) -> Box<dyn ImageDecoder + 'a> {
    Box::new(decoder)
}

/// A file as if it ended earlier.
struct Beginning {
    file: Source,
    at: u64,
    end: u64,
}

impl Beginning {
    /// Of a file at its start.
    fn new(file: Source, end: u64) -> Self {
        Self { file, at: 0, end }
    }
}

impl Read for Beginning {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.end.saturating_sub(self.at);
        let read = (&mut self.file).take(most).read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }

    /// Allocates once: a buffer that grows takes up to three times its content.
    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let most = self.end.saturating_sub(self.at);
        // The last read, which finds nothing, asks for some space too.
        buffer.reserve_exact(most as usize + 32);
        let read = (&mut self.file).take(most).read_to_end(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl BufRead for Beginning {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let most = self.end.saturating_sub(self.at);
        let buffer = self.file.fill_buf()?;
        Ok(&buffer[..buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
        self.at += amount as u64;
    }
}

impl Seek for Beginning {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let position = match position {
            SeekFrom::End(distance) => SeekFrom::Start(self.end.saturating_add_signed(distance)),
            other => other,
        };
        self.at = self.file.seek(position)?;
        Ok(self.at)
    }
}
