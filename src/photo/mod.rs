//! Photographs: files ↔ pixels ↔ tensors.

use crate::error::{Error, Result};
use crate::file;
use burn::tensor::{Device, Tensor, TensorData};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use std::path::Path;

/// The extensions of the photographs that can be read, in lower case.
pub const PHOTO_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp"];

const EXPECTED: &str = ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp";

/// Whether a path has one of the [`PHOTO_EXTENSIONS`], in whatever case.
pub fn is_photo(path: impl AsRef<Path>) -> bool {
    let extension = path.as_ref().extension().unwrap_or_default().to_ascii_lowercase();
    PHOTO_EXTENSIONS.iter().any(|known| extension == *known)
}

/// Reads a photograph and turns it upright where its EXIF data says how.
///
/// The format is taken from the content, not from the name.
///
/// # Errors
///
/// [`Error::Read`] where the file is missing, damaged, in no known format, or larger than the
/// `image` crate's limits allow.
pub fn open_photo(path: impl AsRef<Path>) -> Result<DynamicImage> {
    let path = path.as_ref();
    let failed = |reason: String| Error::Read { path: path.to_owned(), reason };
    let reader = ImageReader::open(path).map_err(|error| failed(error.to_string()))?;
    let reader = reader.with_guessed_format().map_err(|error| failed(error.to_string()))?;
    if reader.format().is_none() {
        return Err(failed(format!("not a photograph in a known format ({EXPECTED})")));
    }
    let decode = || {
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut photo = DynamicImage::from_decoder(decoder)?;
        photo.apply_orientation(orientation);
        Ok(photo)
    };
    decode().map_err(|error: image::ImageError| failed(Error::first_line(error)))
}

/// Writes a photograph in the format that the path's extension names. The file is replaced in one
/// step: a crash, or a disk that is full, leaves the old one.
///
/// # Errors
///
/// [`Error::UnknownExtension`], or [`Error::Write`] where the encoder or the disk refuses.
pub fn save_photo(photo: &DynamicImage, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let format = ImageFormat::from_path(path).ok().filter(|_| is_photo(path));
    let format = format.ok_or_else(|| Error::UnknownExtension {
        path: path.to_owned(),
        expected: EXPECTED,
    })?;
    file::write_with(path, |writer| photo.write_to(writer, format))
}

/// A photograph as a tensor.
///
/// # Shapes
/// - output: `[1, 3, height, width]`, RGB in `[0, 1]`
pub fn photo_to_tensor(photo: &RgbImage, device: &Device) -> Tensor<4> {
    let (width, height) = photo.dimensions();
    let [width, height] = [width as usize, height as usize];
    let mut planes = vec![0.0; 3 * height * width];
    for (index, pixel) in photo.pixels().enumerate() {
        for (channel, byte) in pixel.0.into_iter().enumerate() {
            planes[channel * height * width + index] = f32::from(byte) / 255.0;
        }
    }
    Tensor::from_data(TensorData::new(planes, [1, 3, height, width]), device)
}

/// A tensor as a photograph. Values are clamped to `[0, 1]` and rounded to the nearest of 256
/// levels.
///
/// # Shapes
/// - `tensor`: `[1, 3, height, width]`, RGB in `[0, 1]`
///
/// # Errors
///
/// [`Error::Execution`] where the device cannot deliver the values.
///
/// # Panics
///
/// If the batch is not 1 or there are not three channels.
pub fn tensor_to_photo(tensor: Tensor<4>) -> Result<RgbImage> {
    let [batch, channels, height, width] = tensor.dims();
    assert_eq!([batch, channels], [1, 3], "a photograph is one image with three channels");
    let planes: Vec<f32> = tensor
        .try_into_vec_as()
        .map_err(|error| Error::Execution { reason: Error::first_line(error) })?;
    // The cast saturates: what is outside [0, 1] is clamped by it.
    let level = |value: f32| (value * 255.0 + 0.5) as u8;
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let index = y as usize * width + x as usize;
        image::Rgb([0, 1, 2].map(|channel| level(planes[channel * height * width + index])))
    }))
}
