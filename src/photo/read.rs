use super::files::EXPECTED;
use crate::error::{Cause, Error, Result};
use burn::config::Config;
use image::codecs::bmp::BmpDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageResult, Limits};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Result as IoResult, Seek};
use std::path::Path;

/// A photograph and what its file says of it.
///
/// One that was never in a file is made of its pixels by `From`.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// The pixels, upright.
    pub pixels: DynamicImage,
    /// EXIF data: what the camera noted, as a TIFF structure that begins with its byte order. Of a
    /// photograph that was read, the orientation is *upright* and the thumbnail is not linked any
    /// more, since neither would be true of the pixels. That of a TIFF is not read.
    pub exif: Option<Vec<u8>>,
    /// The ICC profile: which colors the levels stand for.
    pub icc: Option<Vec<u8>>,
}

impl From<DynamicImage> for Photo {
    fn from(pixels: DynamicImage) -> Self {
        Self { pixels, exif: None, icc: None }
    }
}

/// How photographs are read.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The most bytes that the pixels of a photograph may take: width times height times 1 (8-bit
    /// gray) to 16 (floating point RGBA). Decoders need memory beside that.
    #[config(default = "1 << 30")]
    pub max_bytes: u64,
}

/// Reads a photograph of at most 1 GiB of pixels and turns it upright where its EXIF data says how.
///
/// The format is taken from the content, not from the name. 8 and 16 bits stay as they are; palettes
/// become RGB (those of TIFFs are refused), and so does CMYK, in the simplest way.
///
/// # Errors
///
/// [`Error::Read`] where the file is missing, damaged, cut off or in no known format;
/// [`Error::TooLarge`] where its header announces more pixels than that.
pub fn open_photo(path: impl AsRef<Path>) -> Result<Photo> {
    open_photo_with(path, &ReadOptions::new())
}

/// As [`open_photo`], with a limit of yours.
///
/// # Errors
///
/// As [`open_photo`].
pub fn open_photo_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Photo> {
    let path = path.as_ref();
    let failed = |error: ImageError| read_error(path, error);
    let limit = options.max_bytes;
    let mut limits = Limits::default();
    limits.max_alloc = Some(limit);
    let mut decoder = decoder(path, limits.clone())?;
    // A header can claim any size; nothing is allocated on its word alone.
    let (width, height) = decoder.dimensions();
    let bytes = decoder.total_bytes();
    if bytes > limit {
        return Err(Error::TooLarge { path: path.to_owned(), width, height, bytes, limit });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let exif = decoder.exif_metadata().map_err(failed)?;
    let icc = decoder.icc_profile().map_err(failed)?;
    // For the pixels and as much again beside them. Not before the profile is read: from here on, a
    // TIFF's decoder refuses one that is large for so few pixels.
    limits.max_alloc = Some(bytes.saturating_add(limit));
    decoder.set_limits(limits).map_err(failed)?;
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(failed)?;
    pixels.apply_orientation(orientation);
    Ok(Photo { pixels, exif: exif.map(without_stale_entries), icc })
}

/// Width and height of a photograph, upright, from its header.
#[cfg(feature = "train")]
pub(crate) fn photo_size(path: &Path) -> Result<(u32, u32)> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let mut decoder = decoder(path, Limits::default())?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation();
    Ok(match orientation.map_err(|error| read_error(path, error))? {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    })
}

fn read_error(path: &Path, cause: impl Into<Cause>) -> Error {
    Error::read(path, cause)
}

/// Opens a photograph's file and reads its header.
fn decoder(path: &Path, limits: Limits) -> Result<Box<dyn ImageDecoder>> {
    let failed = |error: std::io::Error| read_error(path, error);
    if path.is_dir() {
        return Err(read_error(path, "it is a folder"));
    }
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let start = file.fill_buf().map_err(failed)?;
    if start.is_empty() {
        return Err(read_error(path, "the file is empty"));
    }
    let format = image::guess_format(start).map_err(|_| {
        read_error(path, format!("not a photograph in a known format ({EXPECTED})"))
    })?;
    if format == ImageFormat::Jpeg {
        find_jpeg_end(&mut file).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => read_error(path, "the JPEG is cut off"),
            _ => failed(error),
        })?;
        file.rewind().map_err(failed)?;
    }
    let decoder: ImageResult<Box<dyn ImageDecoder>> = match format {
        ImageFormat::Png => PngDecoder::with_limits(file, limits).map(boxed),
        ImageFormat::Jpeg => JpegDecoder::new(file).map(boxed),
        ImageFormat::WebP => WebPDecoder::new(file).map(boxed),
        ImageFormat::Tiff => TiffDecoder::new(file).map(boxed),
        ImageFormat::Bmp => BmpDecoder::new(file).map(boxed),
        other => {
            let name = format!("{other:?}").to_uppercase();
            return Err(read_error(path, format!("its format is {name}, expected {EXPECTED}")));
        }
    };
    decoder.map_err(|error| read_error(path, error))
}

fn boxed<'a>(decoder: impl ImageDecoder + 'a) -> Box<dyn ImageDecoder + 'a> {
    Box::new(decoder)
}

/// Goes through a JPEG to its end marker, since the decoder fills with gray what is missing.
fn find_jpeg_end(jpeg: &mut (impl BufRead + Seek)) -> IoResult<()> {
    loop {
        // From one segment to the next, or through compressed data.
        jpeg.skip_until(0xff)?;
        let mut marker = [0xff];
        while marker == [0xff] {
            jpeg.read_exact(&mut marker)?;
        }
        match marker[0] {
            0xd9 => return Ok(()),
            // What has no content: a byte FF in the data, restarts, the beginning.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let mut length = [0; 2];
                jpeg.read_exact(&mut length)?;
                let content = u16::from_be_bytes(length).saturating_sub(2);
                jpeg.seek_relative(content.into())?;
            }
        }
    }
}

/// EXIF data of which the pixels have been turned upright and will be enhanced: the orientation is
/// *upright*, and the thumbnail, which viewers show in place of the photograph, is left out.
fn without_stale_entries(mut exif: Vec<u8>) -> Vec<u8> {
    let _ = Orientation::remove_from_exif_chunk(&mut exif);
    if let Some(link) = thumbnail_link(&exif) {
        exif[link..link + 4].fill(0);
    }
    exif
}

/// Where the offset of the thumbnail's directory stands: behind the first directory.
fn thumbnail_link(exif: &[u8]) -> Option<usize> {
    let little = exif.starts_with(b"II");
    let number = |at: usize, length: usize| {
        let bytes = exif.get(at..at.checked_add(length)?)?.iter().map(|&byte| byte as usize);
        let digit = |number: usize, byte: usize| number << 8 | byte;
        Some(if little { bytes.rev().fold(0, digit) } else { bytes.fold(0, digit) })
    };
    let directory = number(4, 4)?;
    let link = directory + 2 + 12 * number(directory, 2)?;
    number(link, 4).map(|_| link)
}
