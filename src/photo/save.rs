use super::chroma::ChromaSampling;
use super::files::{EXPECTED, is_photo};
use super::read::Photo;
use crate::contain::contain;
use crate::error::{Cause, Error, Result};
use crate::file;
use burn::config::Config;
use image::codecs::bmp::BmpEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ColorType, DynamicImage, ImageEncoder, ImageError, ImageFormat, ImageResult};
use jpeg_encoder::{ChromaSubsamplingMethod, EncodingError, SamplingFactor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

/// How photographs are written. TIFF and BMP have no options, since they are not compressed; WebP is
/// lossless and has none either.
#[derive(Config, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveOptions {
    /// A JPEG's quality, in `1..=100`. Enhancing makes the artifacts of strong compression visible,
    /// hence the high default.
    #[config(default = 95)]
    pub quality: u8,
    /// A JPEG's chroma sampling. By default it is [`Photo::chroma`], that of the JPEG which the
    /// photograph comes from, or 4:4:4.
    pub chroma: Option<ChromaSampling>,
    /// How hard a PNG is compressed.
    #[config(default = "PngCompression::Default")]
    pub compression: PngCompression,
    /// Whether a file that is there is replaced. Otherwise it is an error, whose
    /// [`io_kind`](Error::io_kind) is [`AlreadyExists`](std::io::ErrorKind::AlreadyExists), even if the
    /// file appears while the photograph is encoded; then only where the file system has hard links.
    #[config(default = true)]
    pub replace: bool,
}

/// How hard a PNG is compressed. All levels are lossless.
///
/// The noise that enhancing brings out leaves little to compress. Of 24 enhanced photographs (28.7 MB
/// of 8-bit RGB, about one of 3840×2160 pixels) one thread made
///
/// | | in | part of the pixels' size |
/// |---|---|---|
/// | `Fast` | 0.05 s | 64.4 % |
/// | `Default` | 0.19 s | 61.3 % |
/// | `Best` | 2.54 s | 58.0 % |
///
/// `Default` has half of what there is to gain.
/// Filters are chosen row by row in all of them: no single one made smaller files of 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "lowercase")]
pub enum PngCompression {
    /// As fast as can be.
    Fast,
    /// Nearly as small as can be, at a small part of the time.
    #[default]
    Default,
    /// As small as can be.
    Best,
}

impl PngCompression {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Default, Self::Best];

    /// Its name: `fast`, `default` or `best`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Best => "best",
        }
    }
}

impl fmt::Display for PngCompression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for PngCompression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            Error::argument("compression", format!("is `{name}`, must be fast, default or best"))
        })
    }
}

/// Writes a photograph in the format that the path's extension names, with the default
/// [`SaveOptions`]. The file is replaced in one step: a crash, or a disk that is full, leaves the
/// old one.
///
/// Where the format cannot hold what the photograph is, the nearest that it can is written:
///
/// | | PNG | TIFF | WebP | BMP | JPEG |
/// |---|---|---|---|---|---|
/// | 16 bits | yes | yes | 8 | 8 | 8 |
/// | floating point | 16 bits | yes | 8 bits | 8 bits | 8 bits |
/// | alpha | yes | yes | yes | yes | left out |
/// | gray | yes | yes | RGB | palette | yes |
/// | gray with alpha | yes | RGBA | RGBA | RGBA | gray |
/// | EXIF data | yes | left out | yes | left out | up to 65527 bytes |
/// | ICC profile | yes | yes | yes | left out | yes |
///
/// Levels are rounded to nearest. A profile that is not for the kind of pixels that are written,
/// RGB or gray, is left out in every format, such as that of a CMYK photograph.
///
/// # Errors
///
/// [`Error::UnknownExtension`], or [`Error::Write`] where the format cannot hold the photograph
/// (a side of a JPEG has at most 65535 pixels, that of a WebP 16384), or the encoder or the disk fails.
pub fn save_photo(photo: &Photo, path: impl AsRef<Path>) -> Result<()> {
    save_photo_with(photo, path, &SaveOptions::new())
}

/// As [`save_photo`], with other options.
///
/// # Errors
///
/// As [`save_photo`], [`Error::Setting`] where the quality is out of its range, and [`Error::Write`] where
/// a file is there that is not to be replaced.
pub fn save_photo_with(photo: &Photo, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
    let quality = options.quality;
    if !(1..=100).contains(&quality) {
        let reason = format!("is {quality}, must be 1 to 100");
        return Err(Error::setting("quality", reason));
    }
    let path = path.as_ref();
    let format = ImageFormat::from_path(path).ok().filter(|_| is_photo(path));
    let format = format
        .ok_or_else(|| Error::UnknownExtension { path: path.to_owned(), expected: EXPECTED })?;
    let (width, height) = (photo.pixels.width(), photo.pixels.height());
    let longest = longest_side(format);
    if !(1..=longest).contains(&width) || !(1..=longest).contains(&height) {
        let reason = format!(
            "a photograph of {width}×{height} pixels does not fit into this format: each side must \
             be 1 to {longest} pixels"
        );
        return Err(Error::write(path, reason));
    }
    let encoded = |file: &mut _| encode_as(photo, format, options, file);
    file::write_with(path, options.replace, |file| {
        contain(|| encoded(file)).unwrap_or_else(|panic| Err(panic.into()))
    })
}

/// The most pixels that a format has in a row or column. The encoders do not say it in their errors.
fn longest_side(format: ImageFormat) -> u32 {
    match format {
        ImageFormat::Jpeg => 65_535,
        ImageFormat::WebP => 16_384,
        ImageFormat::Png | ImageFormat::Bmp => i32::MAX as u32,
        _ => u32::MAX,
    }
}

fn encode_as(
    photo: &Photo,
    format: ImageFormat,
    options: &SaveOptions,
    file: &mut BufWriter<File>,
) -> Result<(), Cause> {
    let encoded = match format {
        ImageFormat::Png => {
            let level = match options.compression {
                PngCompression::Fast => CompressionType::Fast,
                PngCompression::Default => CompressionType::Level(1),
                PngCompression::Best => CompressionType::Best,
            };
            let encoder = PngEncoder::new_with_quality(file, level, FilterType::Adaptive);
            encode(photo, format, encoder)
        }
        ImageFormat::Jpeg => return encode_jpeg(photo, options, file),
        ImageFormat::WebP => encode(photo, format, WebPEncoder::new_lossless(file)),
        ImageFormat::Tiff => encode(photo, format, TiffEncoder::new(file)),
        _ => encode(photo, format, BmpEncoder::new(file)),
    };
    // The first line of an encoding error names the format alone; the reason is its cause.
    encoded.map_err(|error| match error {
        ImageError::Encoding(error) => match error.source() {
            Some(reason) => format!("{format:?} encoder: {reason}").into(),
            None => error.into(),
        },
        other => other.into(),
    })
}

/// With an encoder that, on x86 with AVX2, is more than twice as fast as that of the `image` crate.
fn encode_jpeg(photo: &Photo, options: &SaveOptions, file: impl Write) -> Result<(), Cause> {
    let encode = || -> Result<(), EncodingError> {
        let mut encoder = jpeg_encoder::Encoder::new(file, options.quality);
        encoder.set_sampling_factor(match options.chroma.or(photo.chroma).unwrap_or_default() {
            ChromaSampling::Cs444 => SamplingFactor::R_4_4_4,
            ChromaSampling::Cs422 => SamplingFactor::R_4_2_2,
            ChromaSampling::Cs440 => SamplingFactor::R_4_4_0,
            ChromaSampling::Cs420 => SamplingFactor::R_4_2_0,
        });
        // Its default is one of the pixels, as if there were no others.
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
        let gray = !photo.pixels.color().has_color();
        // What has no room is left out.
        if let Some(exif) = photo.exif.as_ref().filter(|exif| !exif.is_empty()) {
            let _ = encoder.add_exif_metadata(exif);
        }
        if let Some(icc) = profile(photo, gray) {
            let _ = encoder.add_icc_profile(icc);
        }
        // Both sides were compared with the longest that there can be.
        let [width, height] = [photo.pixels.width(), photo.pixels.height()].map(|side| side as u16);
        if gray {
            let pixels = match photo.pixels.as_luma8() {
                Some(pixels) => Cow::Borrowed(pixels),
                None => Cow::Owned(photo.pixels.to_luma8()),
            };
            encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Luma)
        } else {
            let pixels = match photo.pixels.as_rgb8() {
                Some(pixels) => Cow::Borrowed(pixels),
                None => Cow::Owned(photo.pixels.to_rgb8()),
            };
            encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb)
        }
    };
    encode().map_err(|error| match error {
        EncodingError::IoError(error) => error.into(),
        other => format!("Jpeg encoder: {other}").into(),
    })
}

fn encode(photo: &Photo, format: ImageFormat, mut encoder: impl ImageEncoder) -> ImageResult<()> {
    // An encoder that has no place for these answers with an error, and goes on without.
    if let Some(exif) = &photo.exif {
        let _ = encoder.set_exif_metadata(exif.clone());
    }
    let pixels = storable(&photo.pixels, format);
    let gray = !pixels.color().has_color() && format != ImageFormat::WebP;
    if let Some(icc) = profile(photo, gray) {
        let _ = encoder.set_icc_profile(icc.to_vec());
    }
    pixels.write_with_encoder(encoder)
}

/// The photograph's profile, if it is for the kind of pixels that are written.
fn profile(photo: &Photo, gray: bool) -> Option<&[u8]> {
    let space: &[u8] = if gray { b"GRAY" } else { b"RGB " };
    photo.icc.as_deref().filter(|icc| icc.get(16..20) == Some(space))
}

/// Pixels of a kind that the format can hold. What the `image` crate converts by itself is left to
/// it: to 8 bits for WebP and BMP.
fn storable(pixels: &DynamicImage, format: ImageFormat) -> Cow<'_, DynamicImage> {
    use ColorType::{La8, La16, Rgb32F, Rgba32F};
    Cow::Owned(match (format, pixels.color()) {
        (ImageFormat::Png, Rgb32F) => pixels.to_rgb16().into(),
        (ImageFormat::Png, Rgba32F) => pixels.to_rgba16().into(),
        (ImageFormat::Tiff, La16) => pixels.to_rgba16().into(),
        // A BMP of these would have its alpha left out without a word.
        (ImageFormat::Tiff, La8) | (ImageFormat::Bmp, La8 | La16) => pixels.to_rgba8().into(),
        _ => return Cow::Borrowed(pixels),
    })
}
