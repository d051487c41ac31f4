use crate::error::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};
use image::{ImageBuffer, Pixel, Primitive, Rgb, RgbImage};

/// A photograph as a tensor.
///
/// # Shapes
/// - output: `[1, 3, height, width]`, RGB in `[0, 1]`
///
/// # Panics
///
/// On a GPU, if the photograph has no pixels.
pub fn photo_to_tensor(photo: &RgbImage, device: &Device) -> Tensor<4> {
    images_to_tensor(std::slice::from_ref(photo), |byte| f32::from(byte) / 255.0, device)
}

/// Images of one size as a tensor, `[images, 3, height, width]`, of what `value` makes of samples.
///
/// # Panics
///
/// If there is no image, or on a GPU, if the images have no pixels.
pub(crate) fn images_to_tensor<S: Primitive>(
    images: &[ImageBuffer<Rgb<S>, Vec<S>>],
    value: impl Fn(S) -> f32,
    device: &Device,
) -> Tensor<4>
where
    Rgb<S>: Pixel<Subpixel = S>,
{
    let (width, height) = images[0].dimensions();
    let [width, height] = [width as usize, height as usize];
    let mut planes = vec![0.0; images.len() * 3 * height * width];
    for (number, image) in images.iter().enumerate() {
        for (index, pixel) in image.pixels().enumerate() {
            for (channel, &sample) in pixel.0.iter().enumerate() {
                planes[(number * 3 + channel) * height * width + index] = value(sample);
            }
        }
    }
    let shape = [images.len(), 3, height, width];
    Tensor::from_data(TensorData::new(planes, shape), device)
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
    let planes: Vec<f32> = tensor.try_into_vec_as().map_err(Error::execution)?;
    // The cast saturates: what is outside [0, 1] is clamped by it.
    let level = |value: f32| (value * 255.0 + 0.5) as u8;
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let index = y as usize * width + x as usize;
        Rgb([0, 1, 2].map(|channel| level(planes[channel * height * width + index])))
    }))
}
