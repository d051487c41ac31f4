//! A dark photograph in, a bright one out.

use crate::error::{Error, Result};
use crate::model::{IlluminationEstimator, IlluminationEstimatorConfig, reflectance};
use crate::photo::{photo_to_tensor, tensor_to_photo};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::DynamicImage;
use std::path::Path;

/// Enhances photographs with a trained estimator.
///
/// An enhancer does not change, and can be shared by many threads.
///
/// ```no_run
/// let device = sci_burn::open_device("cpu")?;
/// let enhancer = sci_burn::Enhancer::from_file("medium.pt", &device)?;
/// let dark = sci_burn::open_photo("dark.png")?;
/// sci_burn::save_photo(&enhancer.enhance(&dark)?, "bright.png")?;
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[doc(alias = "Finetunemodel")]
#[derive(Clone, Debug)]
pub struct Enhancer {
    estimator: IlluminationEstimator,
    device: Device,
}

/// What an [`Enhancer`] makes of a tensor. Both are `[batch, 3, height, width]`.
#[derive(Clone, Debug)]
pub struct Enhanced {
    /// How much light fell on each point, in `[1e-4, 1]`.
    pub illumination: Tensor<4>,
    /// The enhanced image: the dark one divided by the illumination, in `[0, 1]`.
    pub reflectance: Tensor<4>,
}

impl Enhancer {
    /// An enhancer from a trained estimator, which is moved to `device`.
    pub fn new(estimator: IlluminationEstimator, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        Self { estimator: estimator.valid().to_device(&device), device }
    }

    /// An enhancer with the weights of a file, of an estimator with the published configuration or
    /// of a whole cascade.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`](crate::SciCascadeConfig::load).
    pub fn from_file(weights: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let estimator = IlluminationEstimatorConfig::new().load(weights, &device)?;
        Ok(Self::new(estimator, &device))
    }

    /// The device that the work is done on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The enhanced photograph, of the same size. Levels are rounded to nearest.
    ///
    /// # Errors
    ///
    /// [`Error::PixelFormat`] for anything but 8-bit RGB, [`Error::Execution`] where the device
    /// fails.
    pub fn enhance(&self, photo: &DynamicImage) -> Result<DynamicImage> {
        let DynamicImage::ImageRgb8(photo) = photo else {
            return Err(Error::PixelFormat { kind: format!("{:?}", photo.color()) });
        };
        if photo.is_empty() {
            return Ok(photo.clone().into());
        }
        let enhanced = self.forward(photo_to_tensor(photo, &self.device));
        Ok(tensor_to_photo(enhanced.reflectance)?.into())
    }

    /// Illumination and enhanced image of a batch (the paper's section 3.4: one pass of the
    /// estimator, without the calibrator).
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`, on this enhancer's device
    ///
    /// # Panics
    /// If the image has not three channels.
    pub fn forward(&self, image: Tensor<4>) -> Enhanced {
        let illumination = self.estimator.forward(image.clone());
        Enhanced { reflectance: reflectance(image, illumination.clone()), illumination }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn enhancer() -> Enhancer {
        let device = Device::flex();
        Enhancer::new(IlluminationEstimatorConfig::new().init(&device).unwrap(), &device)
    }

    #[test]
    fn can_be_shared_by_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&enhancer());
    }

    #[test]
    fn never_darkens() {
        let dark = image::RgbImage::from_fn(9, 5, |x, y| image::Rgb([x as u8, y as u8 * 9, 200]));
        let bright = enhancer().enhance(&dark.clone().into()).unwrap().into_rgb8();
        assert!(dark.iter().zip(bright.iter()).all(|(dark, bright)| dark <= bright));
    }

    #[test]
    fn an_empty_picture_stays_empty() {
        let empty = DynamicImage::ImageRgb8(image::RgbImage::new(0, 4));
        assert_eq!(enhancer().enhance(&empty).unwrap(), empty);
    }

    #[test]
    fn other_pixels_are_refused_by_name() {
        let error = enhancer().enhance(&DynamicImage::new_luma16(2, 2)).unwrap_err();
        assert_eq!(error.to_string(), "L16 pixels are not supported, expected 8-bit RGB");
    }
}
