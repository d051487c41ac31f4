//! A dark photograph in, a bright one out.

mod exposure;
mod frame;

pub use exposure::{Exposure, SteadyExposure};
pub use frame::{Frame, FrameMut};

use crate::error::{Error, Result};
use crate::model::{IlluminationEstimator, IlluminationEstimatorConfig, reflectance};
use crate::ops::functions::{enhance_pixels, enhance_planes, has_kernel, sample_pixels};
use crate::ops::pixel::EnhancePixel;
use crate::ops::{FoldedEstimator, Lit, Operation, Samples};
use crate::photo::Photo;
#[cfg(feature = "presets")]
use crate::weights::Preset;
use burn::module::Module;
use burn::tensor::{Device, Slice, Tensor, TensorData, s};
use exposure::strength;
use image::{DynamicImage, ImageBuffer};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Enhances photographs with a trained estimator.
///
/// On a CPU device everything happens in one pass over the picture, from bytes to bytes. An enhancer
/// does not change, and can be shared by many threads.
///
/// ```no_run
/// let device = sci_burn::open_device("cpu")?;
/// let enhancer = sci_burn::Enhancer::from_preset(sci_burn::Preset::Medium, &device);
/// let dark = sci_burn::open_photo("dark.png")?;
/// sci_burn::save_photo(&enhancer.enhance_photo(&dark)?, "bright.png")?;
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[doc(alias = "Finetunemodel")]
#[derive(Clone, Debug)]
pub struct Enhancer {
    estimator: IlluminationEstimator,
    /// The estimator for the one-pass kernel, where the device has it.
    folded: Option<Arc<FoldedEstimator>>,
    device: Device,
    exposure: Exposure,
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
    ///
    /// # Panics
    ///
    /// If the device that the estimator is on fails to deliver its weights.
    pub fn new(estimator: IlluminationEstimator, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let estimator = estimator.valid().to_device(&device);
        let kernels = [Operation::EnhancePlanes, Operation::EnhancePixels, Operation::SamplePixels];
        let fast = kernels.iter().any(|kernel| has_kernel(*kernel, &device));
        let folded = fast.then(|| Arc::new(estimator.folded()));
        Self { estimator, folded, device, exposure: Exposure::Full }
    }

    /// An enhancer with the weights of a file, of an estimator with the published configuration or
    /// of a whole cascade.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`](crate::model::SciCascadeConfig::load).
    pub fn from_file(weights: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let estimator = IlluminationEstimatorConfig::new().load(weights, &device)?;
        Ok(Self::new(estimator, &device))
    }

    /// An enhancer with weights that come with this crate.
    ///
    /// # Panics
    ///
    /// If the device fails.
    #[cfg(feature = "presets")]
    pub fn from_preset(preset: Preset, device: &Device) -> Self {
        Self::new(preset.estimator(&device.clone().without_autodiff()), device)
    }

    /// The same enhancer with another exposure. It begins with [`Exposure::Full`].
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where a number in it is out of its range.
    pub fn with_exposure(self, exposure: Exposure) -> Result<Self> {
        Ok(Self { exposure: exposure.check()?, ..self })
    }

    /// How far it brightens.
    pub fn exposure(&self) -> Exposure {
        self.exposure
    }

    /// The device that the work is done on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The enhanced photograph, of the same size and kind. Levels are rounded to nearest.
    ///
    /// An alpha channel is kept as it is. A gray photograph is enhanced as one with three equal
    /// channels; the result is the luma of what comes out.
    ///
    /// # Errors
    ///
    /// [`Error::PixelFormat`] where the samples are not of 8 or 16 bits: those of a floating point
    /// picture mostly are linear light of any range, which the network was not trained on;
    /// [`Error::Execution`] where the device fails.
    pub fn enhance(&self, photo: &DynamicImage) -> Result<DynamicImage> {
        Ok(match photo {
            DynamicImage::ImageRgb8(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageRgb16(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageRgba8(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageRgba16(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageLuma8(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageLuma16(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageLumaA8(photo) => self.enhance_buffer(photo)?.into(),
            DynamicImage::ImageLumaA16(photo) => self.enhance_buffer(photo)?.into(),
            _ => return Err(Error::PixelFormat { kind: format!("{:?}", photo.color()) }),
        })
    }

    /// As [`enhance`](Self::enhance), with the EXIF data and the profile of the dark photograph.
    ///
    /// The profile is passed on, not applied: the network sees the levels as they are stored, as it
    /// does in training.
    ///
    /// # Errors
    ///
    /// As [`enhance`](Self::enhance).
    pub fn enhance_photo(&self, photo: &Photo) -> Result<Photo> {
        let Photo { pixels, exif, icc } = photo;
        Ok(Photo { pixels: self.enhance(pixels)?, exif: exif.clone(), icc: icc.clone() })
    }

    fn enhance_buffer<P: EnhancePixel>(
        &self,
        photo: &ImageBuffer<P, Vec<P::Subpixel>>,
    ) -> Result<ImageBuffer<P, Vec<P::Subpixel>>> {
        let (width, height) = photo.dimensions();
        let mut result = ImageBuffer::new(width, height);
        let [width, height] = [width as usize, height as usize];
        let stride = width * usize::from(P::CHANNEL_COUNT);
        let source = Frame::new(photo, width, height, stride)?;
        self.enhance_into(source, FrameMut::<P>::new(&mut result, width, height, stride)?)?;
        Ok(result)
    }

    /// Enhances a picture into memory that the caller owns, such as the frames of a video. On a CPU
    /// device, no memory is allocated for pixels after the first call.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use sci_burn::{Enhancer, Frame, FrameMut, IlluminationEstimatorConfig, image::Rgb};
    ///
    /// # let device = sci_burn::open_device("cpu")?;
    /// # let enhancer = Enhancer::new(IlluminationEstimatorConfig::new().init(&device)?, &device);
    /// let (width, height) = (640, 480);
    /// let dark = vec![20; width * height * 3];
    /// let mut bright = vec![0; width * height * 3];
    /// let source = Frame::<Rgb<u8>>::new(&dark, width, height, width * 3)?;
    /// let target = FrameMut::<Rgb<u8>>::new(&mut bright, width, height, width * 3)?;
    /// enhancer.enhance_into(source, target)?;
    /// # }
    /// # Ok::<(), sci_burn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where the two differ in size, [`Error::Execution`] where the device fails.
    pub fn enhance_into<P: EnhancePixel>(
        &self,
        source: Frame<'_, P>,
        target: FrameMut<'_, P>,
    ) -> Result<()> {
        let [height, width] = source.size;
        if source.size != target.size {
            let [other_height, other_width] = target.size;
            return Err(Error::Setting {
                setting: "target",
                reason: format!("is {other_width}×{other_height}, the source {width}×{height}"),
            });
        }
        if height == 0 || width == 0 {
            return Ok(());
        }
        let strength = match self.exposure {
            Exposure::Full => 1.0,
            Exposure::Strength(strength) => strength,
            Exposure::Auto { luminance } => self.strength(source, luminance)?,
        };
        let Some((routing, folded)) = self.kernel(Operation::EnhancePixels) else {
            return self.enhance_by_tensors(source, target, strength);
        };
        let size = source.size;
        let source = Samples { samples: source.samples, stride: source.stride };
        let target = Samples { samples: target.samples, stride: target.stride };
        enhance_pixels::<P>(routing, folded, size, strength, source, target)
    }

    /// A tensor by which an operation finds the device, and the estimator for it, where the device
    /// has the kernel.
    fn kernel(&self, operation: Operation) -> Option<(Tensor<1>, &FoldedEstimator)> {
        let folded = self.folded.as_ref().filter(|_| has_kernel(operation, &self.device))?;
        Some((self.estimator.output_conv.bias.val(), folded))
    }

    /// The strength that [`Exposure::Auto`] with this luminance finds for a picture. On a CPU device
    /// that takes a seventh of the time of enhancing 1920×1080 pixels; of small ones more.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where the luminance is out of its range, [`Error::Execution`] where the
    /// device fails.
    pub fn strength<P: EnhancePixel>(&self, source: Frame<'_, P>, luminance: f32) -> Result<f32> {
        Exposure::Auto { luminance }.check()?;
        if source.size.contains(&0) {
            return Ok(1.0);
        }
        let sample = match self.kernel(Operation::SamplePixels) {
            Some((routing, folded)) => {
                let samples = Samples { samples: source.samples, stride: source.stride };
                sample_pixels::<P>(routing, folded, source.size, samples, SAMPLE)?
            }
            None => self.sample_tiles(source)?,
        };
        Ok(strength(&sample, luminance))
    }

    /// The rows of tiles that a picture is taken apart into on devices without the one-pass kernel,
    /// since their buffers are limited (those of WebGPU to 128 MiB). Each tile is computed with the
    /// rows that the network sees above and below it, and so as if it had not been cut out.
    fn tiles([height, width]: [usize; 2]) -> impl ExactSizeIterator<Item = Range<usize>> {
        let rows = (TILE_PIXELS / width).max(1);
        (0..height.div_ceil(rows)).map(move |tile| tile * rows..((tile + 1) * rows).min(height))
    }

    /// Some rows of a picture with the rows that the network sees around them, and how many of those
    /// come first.
    fn tile<P: EnhancePixel>(
        &self,
        source: Frame<'_, P>,
        rows: &Range<usize>,
    ) -> (Tensor<4>, usize) {
        let [height, width] = source.size;
        let reach = self.estimator.blocks + 2;
        let outer = rows.start.saturating_sub(reach)..(rows.end + reach).min(height);
        let row = width * usize::from(P::CHANNEL_COUNT);
        let mut planes = vec![0.0; 3 * outer.len() * width];
        for (place, y) in outer.clone().enumerate() {
            let rows = plane_rows([outer.len(), width], place);
            let planes = planes.get_disjoint_mut(rows).expect("rows of three planes");
            P::load(&source.samples[y * source.stride..][..row], planes);
        }
        let planes = TensorData::new(planes, [1, 3, outer.len(), width]);
        (Tensor::from_data(planes, &self.device), rows.start - outer.start)
    }

    fn sample_tiles<P: EnhancePixel>(&self, source: Frame<'_, P>) -> Result<Vec<Lit>> {
        let step = sample_step(source.size);
        let mut sample = Vec::new();
        for rows in Self::tiles(source.size) {
            let (image, above) = self.tile(source, &rows);
            let illumination = self.estimator.forward(image.clone());
            // The rows that every `step`-th row of the whole picture would be.
            let first = rows.start.next_multiple_of(step) - rows.start;
            if first < rows.len() {
                let inner = above + first..above + rows.len();
                sample.extend(sample_tensors(&image, &illumination, inner, step)?);
            }
        }
        Ok(sample)
    }

    fn enhance_by_tensors<P: EnhancePixel>(
        &self,
        source: Frame<'_, P>,
        target: FrameMut<'_, P>,
        strength: f32,
    ) -> Result<()> {
        let [_, width] = source.size;
        let row = width * usize::from(P::CHANNEL_COUNT);
        for rows in Self::tiles(source.size) {
            let (image, above) = self.tile(source, &rows);
            let reflectance = self.with_strength(image, strength).reflectance;
            let planes = host(reflectance.slice(s![.., .., above..above + rows.len(), ..]))?;
            for (place, y) in rows.clone().enumerate() {
                let old = &source.samples[y * source.stride..][..row];
                let new = &mut target.samples[y * target.stride..][..row];
                P::store(plane_rows([rows.len(), width], place).map(|row| &planes[row]), old, new);
            }
        }
        Ok(())
    }

    /// Illumination and enhanced image of a batch (the paper's section 3.4: one pass of the
    /// estimator, without the calibrator). With [`Exposure::Auto`] each image has its own strength.
    ///
    /// A NaN or an infinity makes the result undefined in the 7×7 pixels around it, and nowhere
    /// else. Values outside `[0, 1]` are computed with as they are.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`, on this enhancer's device
    ///
    /// # Panics
    /// If the image has not three channels; with [`Exposure::Auto`], if the device fails.
    pub fn forward(&self, image: Tensor<4>) -> Enhanced {
        self.try_forward(image).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_forward(&self, image: Tensor<4>) -> Result<Enhanced> {
        let [_, channels, ..] = image.dims();
        assert_eq!(channels, 3, "an image has three channels");
        let strength = match self.exposure {
            Exposure::Full => 1.0,
            Exposure::Strength(strength) => strength,
            Exposure::Auto { luminance } if image.shape().num_elements() > 0 => {
                let images = image.split(1, 0).into_iter();
                let images: Vec<_> =
                    images.map(|image| self.auto(image, luminance)).collect::<Result<_>>()?;
                let cat = |part: fn(&Enhanced) -> &Tensor<4>| {
                    Tensor::cat(images.iter().map(|image| part(image).clone()).collect(), 0)
                };
                return Ok(Enhanced {
                    illumination: cat(|image| &image.illumination),
                    reflectance: cat(|image| &image.reflectance),
                });
            }
            Exposure::Auto { .. } => 1.0,
        };
        Ok(self.with_strength(image, strength))
    }

    /// One image, with the strength that suits it.
    fn auto(&self, image: Tensor<4>, luminance: f32) -> Result<Enhanced> {
        let full = self.with_strength(image.clone(), 1.0);
        let [_, _, height, width] = image.dims();
        let step = sample_step([height, width]);
        let sample = sample_tensors(&image, &full.illumination, 0..height, step)?;
        let strength = strength(&sample, luminance);
        if strength == 1.0 {
            return Ok(full);
        }
        let illumination = weaken(full.illumination, strength);
        Ok(Enhanced { reflectance: reflectance(image, illumination.clone()), illumination })
    }

    fn with_strength(&self, image: Tensor<4>, strength: f32) -> Enhanced {
        let fast = self.folded.as_ref();
        match fast.and_then(|folded| enhance_planes(&image, folded, strength)) {
            Some([illumination, reflectance]) => Enhanced { illumination, reflectance },
            None => self.forward_plain(image, strength),
        }
    }

    /// As [`forward`](Self::forward) with a strength, in Burn's tensor functions: what the kernels
    /// are held against.
    #[doc(hidden)]
    pub fn forward_plain(&self, image: Tensor<4>, strength: f32) -> Enhanced {
        let illumination = weaken(self.estimator.forward(image.clone()), strength);
        Enhanced { reflectance: reflectance(image, illumination.clone()), illumination }
    }
}

/// `1 − strength · (1 − illumination)`.
fn weaken(illumination: Tensor<4>, strength: f32) -> Tensor<4> {
    match strength {
        1.0 => illumination,
        strength => illumination * strength + (1.0 - strength),
    }
}

/// How many pixels a strength is found from, at most.
const SAMPLE: usize = 4096;

/// How many pixels a tile has, at most, but for the rows around it: 48 MiB for three planes.
const TILE_PIXELS: usize = if cfg!(test) { 300 } else { 4 << 20 };

/// The distance of the pixels, in both directions, of which a sample consists.
fn sample_step([height, width]: [usize; 2]) -> usize {
    ((height * width).div_ceil(SAMPLE) as f64).sqrt().ceil() as usize
}

/// Every `step`-th pixel of some rows of one image, `[1, 3, height, width]`, with their illuminations.
fn sample_tensors(
    image: &Tensor<4>,
    illumination: &Tensor<4>,
    rows: Range<usize>,
    step: usize,
) -> Result<Vec<Lit>> {
    let step = step as isize;
    let read = |tensor: &Tensor<4>| {
        let rows = Slice::new(rows.start as isize, Some(rows.end as isize), step);
        host(tensor.clone().slice(s![.., .., rows, Slice::new(0, None, step)]))
    };
    let [image, illumination] = [read(image)?, read(illumination)?];
    let count = image.len() / 3;
    let pixel = |values: &[f32], at: usize| [0, 1, 2].map(|channel| values[channel * count + at]);
    Ok((0..count).map(|at| [pixel(&image, at), pixel(&illumination, at)]).collect())
}

/// The values of a tensor.
fn host(tensor: Tensor<4>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as().map_err(Error::execution)
}

/// Where row `y` is in three planes of `[height, width]`.
fn plane_rows([height, width]: [usize; 2], y: usize) -> [Range<usize>; 3] {
    [0, 1, 2].map(|c| (c * height + y) * width..(c * height + y + 1) * width)
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
    fn tiles_fit_together_without_a_seam() {
        let noise = |x: u32, y: u32| ((x * 7 + y * 13) * (x + 3 * y) % 60) as u8;
        // The last rows, in a low tile of their own, are brighter than the others.
        let dark = image::RgbImage::from_fn(37, 65, |x, y| {
            let light = if y < 64 { 0 } else { 150 };
            image::Rgb([noise(x, y), noise(y, x), noise(x + y, 5)].map(|level| level + light))
        });
        let dark = DynamicImage::from(dark);
        let whole = enhancer();
        // Without its kernel the CPU is a device like any other.
        let tiled = Enhancer { folded: None, ..whole.clone() };
        assert_eq!(Enhancer::tiles([65, 37]).last(), Some(64..65));
        for exposure in [Exposure::Full, Exposure::Strength(0.5), Exposure::AUTO] {
            let [whole, tiled] = [&whole, &tiled].map(|enhancer| {
                let enhancer = enhancer.clone().with_exposure(exposure).unwrap();
                enhancer.enhance(&dark).unwrap().into_rgb8()
            });
            let apart = whole.iter().zip(tiled.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart <= Some(1), "{exposure:?}: {apart:?} levels apart");
        }
    }

    #[test]
    fn an_empty_picture_stays_empty() {
        let empty = DynamicImage::ImageRgb8(image::RgbImage::new(0, 4));
        assert_eq!(enhancer().enhance(&empty).unwrap(), empty);
    }

    #[test]
    fn other_pixels_are_refused_by_name() {
        let error = enhancer().enhance(&DynamicImage::new_rgb32f(2, 2)).unwrap_err();
        assert!(error.to_string().starts_with("Rgb32F pixels are not supported"), "{error}");
    }

    #[test]
    fn frames_that_do_not_fit_are_refused() {
        let bytes = [0u8; 36];
        type Rgb = image::Rgb<u8>;
        assert!(Frame::<Rgb>::new(&bytes, 4, 3, 12).is_ok());
        assert!(Frame::<Rgb>::new(&bytes, 4, 3, 13).is_err());
        assert!(Frame::<Rgb>::new(&bytes, 4, 3, 11).is_err());
        assert!(Frame::<Rgb>::new(&bytes, usize::MAX, 3, 12).is_err());
        assert!(Frame::<Rgb>::new(&bytes, 4, usize::MAX, 12).is_err());
        let mut target = [0u8; 27];
        let target = FrameMut::<Rgb>::new(&mut target, 3, 3, 9).unwrap();
        let source = Frame::new(&bytes, 4, 3, 12).unwrap();
        let error = enhancer().enhance_into(source, target).unwrap_err().to_string();
        assert_eq!(error, "setting `target`: is 3×3, the source 4×3");
    }
}
