use super::color::Color;
use super::denoise::Denoise;
use super::exposure::Exposure;
use super::noise::{self, BLOCK};
use super::sample::pieces;
use super::steady::FrameExposure;
use super::tone::Tone;
use super::view::{Frame, FrameMut};
use crate::error::{Error, Result};
use crate::model::IlluminationEstimator;
use crate::ops::functions::{enhance_pixels, enhance_planes, has_kernel, sample_pixels, takes};
use crate::ops::pixel::EnhancePixel;
use crate::ops::tiles::{Tile, tile_pixels, tiles};
use crate::ops::{FoldedEstimator, Lit, Operation, Piece, Rendering, Samples, plain};
#[cfg(feature = "photo")]
use crate::photo::Photo;
#[cfg(feature = "presets")]
use crate::weights::Preset;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, s};
use image::{DynamicImage, ImageBuffer};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Enhances photographs with a trained illumination estimator.
///
/// On a CPU device a picture is enhanced in one pass, from bytes to bytes. An enhancer is immutable
/// and can be shared among threads.
///
/// ```no_run
/// # #[cfg(all(feature = "photo", feature = "presets"))] {
/// let device = sci_burn::open_device("cpu")?;
/// let enhancer = sci_burn::Enhancer::from_preset(sci_burn::Preset::default(), &device);
/// let dark = sci_burn::open_photo("dark.png")?;
/// sci_burn::save_photo(&enhancer.enhance_photo(&dark)?, "bright.png")?;
/// # }
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
    color: Color,
    denoise: Denoise,
    /// The most pixels that are computed at a time without that kernel.
    tile_pixels: usize,
}

/// The result of [`Enhancer::forward`].
///
/// # Shapes
/// - both tensors: `[batch, 3, height, width]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Enhanced {
    /// The illumination that the image was divided by, in `[1e-4, 1]`.
    pub illumination: Tensor<4>,
    /// The enhanced image: the dark one divided by the illumination, then the curve of the [`Tone`], if it
    /// has one. In `[0, 1]`.
    pub reflectance: Tensor<4>,
}

impl Enhancer {
    /// An enhancer from a trained estimator, which is moved to `device`.
    ///
    /// # Panics
    ///
    /// If the estimator's weights cannot be read from its device.
    pub fn new(estimator: IlluminationEstimator, device: &Device) -> Self {
        Self::with_folded(estimator, device, IlluminationEstimator::folded)
    }

    /// As [`new`](Self::new), for weights that are used for a few images only, such as those that a training is
    /// validated with after each epoch: no program is compiled for them.
    #[cfg(feature = "train")]
    pub(crate) fn of_changing(estimator: IlluminationEstimator, device: &Device) -> Self {
        Self::with_folded(estimator, device, |estimator| estimator.folded().into_changing())
    }

    fn with_folded(
        estimator: IlluminationEstimator,
        device: &Device,
        folded: impl FnOnce(&IlluminationEstimator) -> FoldedEstimator,
    ) -> Self {
        let device = device.clone().without_autodiff();
        let estimator = estimator.valid().to_device(&device);
        let kernels = [Operation::EnhancePlanes, Operation::EnhancePixels, Operation::SamplePixels];
        let fast = kernels.iter().any(|kernel| has_kernel(*kernel, &device));
        let folded = fast.then(|| Arc::new(folded(&estimator)));
        let folded = folded.filter(|folded| takes(folded, &device));
        let tile_pixels = tile_pixels(estimator.config().channels);
        Self {
            estimator,
            folded,
            device,
            exposure: Exposure::Full,
            color: Color::PerChannel,
            denoise: Denoise::Off,
            tile_pixels,
        }
    }

    /// An enhancer with weights from a file, of SCI or SCI++: those of an estimator with the published
    /// configuration, or of a whole cascade.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`](crate::model::SciCascadeConfig::load).
    pub fn from_file(weights: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let estimator = IlluminationEstimator::from_file(weights, &device)?;
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

    /// The same enhancer with another exposure. The default is [`Exposure::Full`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a number in it is out of its range.
    pub fn with_exposure(self, exposure: Exposure) -> Result<Self> {
        Ok(Self { exposure: exposure.check()?, ..self })
    }

    /// The estimator, on this enhancer's device.
    pub fn estimator(&self) -> &IlluminationEstimator {
        &self.estimator
    }

    /// The exposure: how far this enhancer brightens.
    pub fn exposure(&self) -> Exposure {
        self.exposure
    }

    /// The same enhancer with another treatment of colors. The default is [`Color::PerChannel`].
    pub fn with_color(self, color: Color) -> Self {
        Self { color, ..self }
    }

    /// What becomes of the colors.
    pub fn color(&self) -> Color {
        self.color
    }

    /// The same enhancer with another treatment of noise. The default is [`Denoise::Off`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a number in it is out of its range.
    pub fn with_denoise(self, denoise: Denoise) -> Result<Self> {
        Ok(Self { denoise: denoise.check()?, ..self })
    }

    /// Whether noise is filtered out.
    pub fn denoise(&self) -> Denoise {
        self.denoise
    }

    /// The same enhancer with what suits most photographs: [`Exposure::AUTO`], [`Color::Kept`] and
    /// [`Denoise::Auto`].
    pub fn recommended(self) -> Self {
        Self { exposure: Exposure::AUTO, color: Color::Kept, denoise: Denoise::Auto, ..self }
    }

    /// The device that the computation runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Enhances a photograph. The result has the same size and pixel format; levels are rounded to
    /// nearest.
    ///
    /// An alpha channel is kept as it is. A gray photograph is enhanced as one with three equal
    /// channels, and the result is converted back to gray (ITU-R BT.601 luma).
    ///
    /// # Errors
    ///
    /// - [`Error::PixelFormat`] if the samples are not of 8 or 16 bits. Floating-point pictures mostly
    ///   hold linear light of any range, which the network was not trained on.
    /// - [`Error::Execution`] if the device fails.
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

    /// As [`enhance`](Self::enhance), keeping the EXIF data and the color profile of the dark
    /// photograph.
    ///
    /// The profile is passed on, not applied: the network sees the levels as they are stored, as it
    /// does in training.
    ///
    /// # Errors
    ///
    /// As [`enhance`](Self::enhance).
    #[cfg(feature = "photo")]
    pub fn enhance_photo(&self, photo: &Photo) -> Result<Photo> {
        let Photo { pixels, exif, icc, chroma } = photo;
        let pixels = self.enhance(pixels)?;
        Ok(Photo { pixels, exif: exif.clone(), icc: icc.clone(), chroma: *chroma })
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

    /// Enhances a picture into memory of the caller, such as a frame of a video. On a CPU device, no
    /// memory is allocated for pixels after the first call.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use sci_burn::model::IlluminationEstimatorConfig;
    /// use sci_burn::{Enhancer, Frame, FrameMut, image::Rgb};
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
    /// [`Error::Argument`] if the two differ in size, [`Error::Execution`] if the device fails.
    pub fn enhance_into<P: EnhancePixel>(
        &self,
        source: Frame<'_, P>,
        target: FrameMut<'_, P>,
    ) -> Result<()> {
        let [height, width] = source.size;
        if source.size != target.size {
            let [other_height, other_width] = target.size;
            let reason = format!("is {other_width}×{other_height}, the source {width}×{height}");
            return Err(Error::argument("target", reason));
        }
        if height == 0 || width == 0 {
            return Ok(());
        }
        let noise = match self.denoise.factor() {
            0.0 => 0.0,
            factor => factor * self.noise(source),
        };
        let rendering = Rendering { noise, ..self.tone(source)?.rendering(self.color) };
        let Some((routing, folded)) = self.kernel(Operation::EnhancePixels) else {
            return self.enhance_by_tensors(source, target, rendering);
        };
        let size = source.size;
        let source = Samples { samples: source.samples, stride: source.stride };
        let target = Samples { samples: target.samples, stride: target.stride };
        enhance_pixels::<P>(routing, folded, size, rendering, source, target)
    }

    /// A tensor by which an operation finds the device, and the estimator for it, where the device
    /// has the kernel.
    fn kernel(&self, operation: Operation) -> Option<(Tensor<1>, &FoldedEstimator)> {
        let folded = self.folded.as_ref().filter(|_| has_kernel(operation, &self.device))?;
        Some((self.estimator.output_conv.bias.val(), folded))
    }

    /// How far this enhancer brightens a picture: what [`Exposure::Auto`] finds for it, or what was given.
    /// To find it for 1920×1080 pixels on a CPU device takes about a tenth of the time of enhancing; for
    /// the smallest pictures, about twice as long as enhancing.
    ///
    /// # Errors
    ///
    /// [`Error::Execution`] if the device fails.
    pub fn tone<P: EnhancePixel>(&self, source: Frame<'_, P>) -> Result<Tone> {
        match self.exposure {
            Exposure::Full => Ok(Tone::FULL),
            Exposure::Manual(tone) => Ok(tone),
            Exposure::Auto { luminance } => {
                let sample = self.sample(source, &pieces(source.size))?;
                Ok(Tone::find(&sample, luminance, self.color))
            }
        }
    }

    /// The standard deviation of the noise of a picture's luminance, in `[0, 1]`, estimated from at most 400
    /// blocks of 8×16 pixels; 0 if there is not more than rounding to 255 levels makes.
    pub fn noise<P: EnhancePixel>(&self, source: Frame<'_, P>) -> f32 {
        let channels = usize::from(P::CHANNEL_COUNT);
        let block = |[top, left]: [usize; 2]| {
            let mut planes = [[0.0; BLOCK[0] * BLOCK[1]]; 3];
            for y in 0..BLOCK[0] {
                let start = (top + y) * source.stride + left * channels;
                let pixels = &source.samples[start..][..BLOCK[1] * channels];
                let [red, green, blue] = &mut planes;
                let row = y * BLOCK[1]..(y + 1) * BLOCK[1];
                let rows = [&mut red[row.clone()], &mut green[row.clone()], &mut blue[row]];
                P::load(pixels, rows);
            }
            let pixel = |at: usize| planes.each_ref().map(|plane| plane[at]);
            (0..BLOCK[0] * BLOCK[1]).map(pixel).collect::<Vec<_>>()
        };
        let blocks: Vec<_> = noise::blocks(source.size).into_iter().map(block).collect();
        noise::noise(blocks.iter().map(Vec::as_slice))
    }

    /// What [`Exposure::Auto`] with this luminance finds for a frame of a video, whose exposure a
    /// [`SteadyExposure`](super::SteadyExposure) follows.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the luminance is not in `(0, 1]`, [`Error::Execution`] if the device
    /// fails.
    pub fn frame_exposure<P: EnhancePixel>(
        &self,
        source: Frame<'_, P>,
        luminance: f32,
    ) -> Result<FrameExposure> {
        Exposure::Auto { luminance }.check()?;
        let pieces = pieces(source.size);
        let sample = self.sample(source, &pieces)?;
        let points = pieces.into_iter().flat_map(|piece| piece.points);
        let tone = Tone::find(&sample, luminance, self.color);
        Ok(FrameExposure::new(tone, source.size, points, &sample))
    }

    /// The pixels at the points of some pieces of a picture, and their illuminations.
    fn sample<P: EnhancePixel>(&self, source: Frame<'_, P>, pieces: &[Piece]) -> Result<Vec<Lit>> {
        if let Some((routing, folded)) = self.kernel(Operation::SamplePixels) {
            let samples = Samples { samples: source.samples, stride: source.stride };
            return sample_pixels::<P>(routing, folded, source.size, samples, pieces);
        }
        let points: Vec<_> = pieces.iter().flat_map(|piece| &piece.points).collect();
        if points.is_empty() {
            return Ok(Vec::new());
        }
        let mut sample = vec![Lit::default(); points.len()];
        for tile in self.tiles(source.size) {
            let within = points.iter().enumerate();
            let within = within.filter_map(|(index, point)| Some((index, tile.place(**point)?)));
            let (indices, places): (Vec<_>, Vec<_>) = within.unzip();
            if places.is_empty() {
                continue;
            }
            let image = self.tile(source, &tile);
            let illumination = self.estimator.forward(image.clone());
            for (index, pixel) in indices.into_iter().zip(gather(&image, &illumination, &places)?) {
                sample[index] = pixel;
            }
        }
        Ok(sample)
    }

    fn tiles(&self, size: [usize; 2]) -> impl Iterator<Item = Tile> + use<> {
        tiles(size, self.reach(), self.tile_pixels)
    }

    /// The number of pixels that are seen to each side: one for each convolution, and those of the noise
    /// filter.
    fn reach(&self) -> usize {
        let filter = if self.denoise == Denoise::Off { 0 } else { Rendering::FILTER_REACH };
        self.estimator.blocks.saturating_add(2 + filter)
    }

    /// A tile of a picture with its border, `[1, 3, height, width]`.
    fn tile<P: EnhancePixel>(&self, source: Frame<'_, P>, tile: &Tile) -> Tensor<4> {
        let size @ [height, width] = tile.outer_size();
        let channels = usize::from(P::CHANNEL_COUNT);
        let mut planes = vec![0.0; 3 * height * width];
        for (place, y) in tile.outer_rows.clone().enumerate() {
            let rows = plane_rows(size, place);
            let planes = planes.get_disjoint_mut(rows).expect("rows of three planes");
            let start = y * source.stride + tile.outer_columns.start * channels;
            P::load(&source.samples[start..][..width * channels], planes);
        }
        Tensor::from_data(TensorData::new(planes, [1, 3, height, width]), &self.device)
    }

    fn enhance_by_tensors<P: EnhancePixel>(
        &self,
        source: Frame<'_, P>,
        target: FrameMut<'_, P>,
        rendering: Rendering,
    ) -> Result<()> {
        let channels = usize::from(P::CHANNEL_COUNT);
        for tile in self.tiles(source.size) {
            let image = self.tile(source, &tile);
            let reflectance = self.render(image, rendering).reflectance;
            let [rows, columns] = tile.inner();
            let planes = host(reflectance.slice(s![.., .., rows, columns]))?;
            let size = [tile.rows.len(), tile.columns.len()];
            for (place, y) in tile.rows.clone().enumerate() {
                let part = |stride: usize| {
                    let row = y * stride;
                    row + tile.columns.start * channels..row + tile.columns.end * channels
                };
                let old = &source.samples[part(source.stride)];
                let new = &mut target.samples[part(target.stride)];
                P::store(plane_rows(size, place).map(|row| &planes[row]), old, new);
            }
        }
        Ok(())
    }

    /// Illumination and enhanced image of a batch (section 3.4 of the paper: one pass of the
    /// estimator, without the calibrator). With [`Exposure::Auto`] each image has its own tone.
    ///
    /// A NaN or infinity makes the result undefined as far as the estimator sees, which is
    /// `blocks + 2` pixels to each side (7×7 pixels with the published configuration), and nowhere
    /// else: [`Exposure::Auto`] leaves those pixels out when it finds a tone. The noise filter sees four
    /// pixels more. Finite values outside `[0, 1]` are computed with as they are. An empty batch or image gives an
    /// empty result.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`, on this enhancer's device
    ///
    /// # Panics
    /// If the image does not have three channels; with [`Exposure::Auto`] or [`Denoise`], if the device fails.
    pub fn forward(&self, image: Tensor<4>) -> Enhanced {
        self.try_forward(image).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_forward(&self, image: Tensor<4>) -> Result<Enhanced> {
        let [_, channels, ..] = image.dims();
        assert_eq!(channels, 3, "an image has three channels");
        if image.shape().num_elements() == 0 {
            return Ok(Enhanced { illumination: image.clone(), reflectance: image });
        }
        let rendering = match self.exposure {
            Exposure::Full => Tone::FULL.rendering(self.color),
            Exposure::Manual(tone) => tone.rendering(self.color),
            Exposure::Auto { .. } => return self.one_by_one(image),
        };
        if self.denoise != Denoise::Off {
            return self.one_by_one(image);
        }
        Ok(self.render(image, rendering))
    }

    /// A batch of images, each with the tone that suits it and the noise that it has.
    fn one_by_one(&self, image: Tensor<4>) -> Result<Enhanced> {
        let images = image.split(1, 0).into_iter();
        let images: Vec<_> = images.map(|image| self.one(image)).collect::<Result<_>>()?;
        let cat = |part: fn(&Enhanced) -> &Tensor<4>| {
            Tensor::cat(images.iter().map(|image| part(image).clone()).collect(), 0)
        };
        Ok(Enhanced {
            illumination: cat(|image| &image.illumination),
            reflectance: cat(|image| &image.reflectance),
        })
    }

    fn one(&self, image: Tensor<4>) -> Result<Enhanced> {
        let noise = match self.denoise.factor() {
            0.0 => 0.0,
            factor => factor * tensor_noise(&image)?,
        };
        let rendering = |tone: Tone| Rendering { noise, ..tone.rendering(self.color) };
        let luminance = match self.exposure {
            Exposure::Full => return Ok(self.render(image, rendering(Tone::FULL))),
            Exposure::Manual(tone) => return Ok(self.render(image, rendering(tone))),
            Exposure::Auto { luminance } => luminance,
        };
        let full = self.render(image.clone(), Rendering::FULL);
        let sample = self.sample_tensors(&image, &full.illumination)?;
        let rendering = rendering(Tone::find(&sample, luminance, self.color));
        if rendering == Rendering::FULL {
            return Ok(full);
        }
        let [illumination, reflectance] = self
            .render_fast(&image, rendering)
            .unwrap_or_else(|| plain::render(image, full.illumination, rendering));
        Ok(Enhanced { illumination, reflectance })
    }

    /// The sample of one image, `[1, 3, height, width]`, without the points from which the estimator
    /// sees a value that is not finite: their illuminations are undefined.
    fn sample_tensors(&self, image: &Tensor<4>, illumination: &Tensor<4>) -> Result<Vec<Lit>> {
        let [_, _, height, width] = image.dims();
        let pieces = pieces([height, width]);
        let points = pieces.iter().flat_map(|piece| &piece.points);
        let places: Vec<_> = points.map(|[y, x]| y * width + x).collect();
        let mut sample = gather(image, illumination, &places)?;
        // The sum of an ordinary image is finite, and cheap.
        if !host(image.clone().sum())?.iter().all(|sum| sum.is_finite()) {
            let bad = image.clone().is_finite().bool_not().float();
            let near = |image, dim| plain::window_sum(image, dim, self.reach());
            let bad = near(near(bad, 2), 3);
            let bad = gather(&bad, &bad, &places)?;
            let mut bad = bad.iter().map(|[bad, _]| *bad != [0.0; 3]);
            sample.retain(|_| !bad.next().unwrap_or_default());
        }
        Ok(sample)
    }

    fn render(&self, image: Tensor<4>, rendering: Rendering) -> Enhanced {
        let [illumination, reflectance] = self
            .render_fast(&image, rendering)
            .unwrap_or_else(|| self.render_plain(image, rendering));
        Enhanced { illumination, reflectance }
    }

    /// With the one-pass kernel, where there is one for this device and estimator.
    fn render_fast(&self, image: &Tensor<4>, rendering: Rendering) -> Option<[Tensor<4>; 2]> {
        enhance_planes(image, self.folded.as_ref()?, rendering)
    }

    fn render_plain(&self, image: Tensor<4>, rendering: Rendering) -> [Tensor<4>; 2] {
        plain::render(image.clone(), self.estimator.forward(image), rendering)
    }

    /// As [`forward`](Self::forward) with [`Exposure::Manual`], in Burn's tensor functions: the reference
    /// that tests compare the kernels with.
    #[doc(hidden)]
    pub fn forward_plain(&self, image: Tensor<4>, tone: Tone, noise: f32) -> Enhanced {
        let rendering = Rendering { noise, ..tone.rendering(self.color) };
        let [illumination, reflectance] = self.render_plain(image, rendering);
        Enhanced { illumination, reflectance }
    }
}

/// The pixels at some places of one image, `[1, 3, height, width]`, with their illuminations.
fn gather(image: &Tensor<4>, illumination: &Tensor<4>, places: &[usize]) -> Result<Vec<Lit>> {
    let [_, _, height, width] = image.dims();
    let indices: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let indices = TensorData::new(indices, [places.len()]);
    let indices = Tensor::<1, Int>::from_data(indices, &image.device());
    let read = |tensor: &Tensor<4>| {
        host(tensor.clone().reshape([3, height * width]).select(1, indices.clone()))
    };
    let [image, illumination] = [read(image)?, read(illumination)?];
    let count = places.len();
    let pixel = |values: &[f32], at: usize| [0, 1, 2].map(|channel| values[channel * count + at]);
    Ok((0..count).map(|at| [pixel(&image, at), pixel(&illumination, at)]).collect())
}

/// The noise of one image, `[1, 3, height, width]`.
fn tensor_noise(image: &Tensor<4>) -> Result<f32> {
    let [_, _, height, width] = image.dims();
    let rows = |[top, left]: [usize; 2]| {
        (top..top + BLOCK[0]).flat_map(move |y| (left..left + BLOCK[1]).map(move |x| y * width + x))
    };
    let places: Vec<usize> = noise::blocks([height, width]).into_iter().flat_map(rows).collect();
    if places.is_empty() {
        return Ok(0.0);
    }
    let pixels: Vec<[f32; 3]> =
        gather(image, image, &places)?.into_iter().map(|[pixel, _]| pixel).collect();
    Ok(noise::noise(pixels.chunks_exact(BLOCK[0] * BLOCK[1])))
}

/// The values of a tensor.
fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as().map_err(Error::execution)
}

/// The ranges of row `y` in three planes of `[height, width]`.
fn plane_rows([height, width]: [usize; 2], y: usize) -> [Range<usize>; 3] {
    [0, 1, 2].map(|c| (c * height + y) * width..(c * height + y + 1) * width)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::model::IlluminationEstimatorConfig;
    use proptest::prelude::*;

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
    fn the_noise_filter_of_kernel_and_tensors_is_the_same() {
        let rendering =
            Rendering { noise: 0.01, ..Tone { strength: 1.0, gamma: 1.5 }.rendering(Color::Kept) };
        for [height, width] in [[1, 1], [2, 3], [5, 4], [33, 70], [140, 37], [70, 2100]] {
            let enhancer = enhancer();
            let values: Vec<f32> = dark(width, 3 * height, 7)
                .iter()
                .take((3 * height * width) as usize)
                .map(|value| f32::from(*value) / 600.0)
                .collect();
            let shape = [1, 3, height as usize, width as usize];
            let image = Tensor::from_data(TensorData::new(values, shape), &enhancer.device);
            let fast = enhancer.render(image.clone(), rendering);
            let [illumination, reflectance] = enhancer.render_plain(image.clone(), rendering);
            let apart = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();
            assert!(apart(fast.illumination, illumination) < 1e-5);
            let filtered = fast.reflectance;
            let apart = apart(filtered.clone(), reflectance);
            assert!(apart < 1e-3, "{width}×{height}: {apart}");
            // The filter does something.
            let [_, noisy] = enhancer.render_plain(image, Rendering { noise: 0.0, ..rendering });
            let change = (noisy - filtered).abs().max().into_scalar::<f32>();
            assert!(height * width < 100 || change > 0.01, "{width}×{height}: {change}");
        }
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
        let tiled = Enhancer { folded: None, tile_pixels: 14 * 37, ..whole.clone() };
        assert_eq!(tiled.tiles([65, 37]).last().unwrap().rows, 64..65);
        for exposure in
            [Exposure::Full, Exposure::Manual(Tone { strength: 0.5, gamma: 1.5 }), Exposure::AUTO]
        {
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
    fn a_target_of_another_size_is_refused() {
        let source = Frame::<image::Rgb<u8>>::new(&[0; 36], 4, 3, 12).unwrap();
        let mut target = [0; 27];
        let target = FrameMut::new(&mut target, 3, 3, 9).unwrap();
        let error = enhancer().enhance_into(source, target).unwrap_err().to_string();
        assert_eq!(error, "argument `target`: is 3×3, the source 4×3");
    }

    #[test]
    fn an_empty_tensor_stays_empty() {
        for exposure in
            [Exposure::Full, Exposure::Manual(Tone { strength: 0.5, gamma: 1.5 }), Exposure::AUTO]
        {
            let whole = enhancer().with_exposure(exposure).unwrap();
            let plain = Enhancer { folded: None, ..whole.clone() };
            for shape in [[0, 3, 4, 4], [1, 3, 0, 4], [2, 3, 4, 0], [1, 3, 0, 0]] {
                for enhancer in [&whole, &plain] {
                    let empty = Tensor::zeros(shape, enhancer.device());
                    let enhanced = enhancer.forward(empty);
                    assert_eq!(enhanced.illumination.dims(), shape);
                    assert_eq!(enhanced.reflectance.dims(), shape);
                }
            }
        }
    }

    #[test]
    fn a_luminance_out_of_range_is_refused() {
        let bytes = [0; 36];
        let frame = Frame::<image::Rgb<u8>>::new(&bytes, 4, 3, 12).unwrap();
        for luminance in [0.0, -1.0, 1.1, f32::NAN] {
            let message = enhancer().frame_exposure(frame, luminance).unwrap_err().to_string();
            assert!(message.starts_with("argument `exposure`: is "), "{message}");
        }
    }

    fn dark(width: u32, height: u32, seed: u32) -> image::RgbImage {
        let mut state = seed | 1;
        image::RgbImage::from_fn(width, height, |_, _| {
            image::Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 25) as u8
            }))
        })
    }

    fn check_samples(height: u32, width: u32, seed: u32) {
        let whole = enhancer();
        let tiled = Enhancer { folded: None, tile_pixels: 4000, ..whole.clone() };
        let picture = dark(width, height, seed);
        let size = [height as usize, width as usize];
        let frame = Frame::<image::Rgb<u8>>::new(&picture, size[1], size[0], 3 * size[1]).unwrap();
        let kernel = whole.sample(frame, &pieces(size)).unwrap();
        let tile = Tile {
            rows: 0..size[0],
            columns: 0..size[1],
            outer_rows: 0..size[0],
            outer_columns: 0..size[1],
        };
        let image = whole.tile(frame, &tile);
        let illumination = whole.forward(image.clone()).illumination;
        let tensors = whole.sample_tensors(&image, &illumination).unwrap();
        let tiles = tiled.sample(frame, &pieces(size)).unwrap();
        for other in [tensors, tiles] {
            assert_eq!(kernel.len(), other.len());
            let pairs = kernel.as_flattened().as_flattened().iter();
            let pairs = pairs.zip(other.as_flattened().as_flattened());
            let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{width}×{height}: {apart}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..Default::default() })]

        #[test]
        fn kernel_tensors_and_tiles_have_the_same_sample(
            height in 1..300u32, width in 1..400u32, seed in any::<u32>(),
        ) {
            check_samples(height, width, seed);
        }
    }

    #[test]
    fn kernel_tensors_and_tiles_have_the_same_sample_of_a_thin_picture() {
        for [height, width] in [[3, 20_000], [20_000, 3], [7, 10_000], [1, 5000], [5000, 1]] {
            check_samples(height, width, 1);
        }
    }

    #[test]
    fn white_strips_are_not_brightened() {
        for (width, height) in [(10_000, 7), (7, 10_000), (70_000, 1), (1, 70_000)] {
            let white = image::RgbImage::from_pixel(width, height, image::Rgb([240; 3]));
            let whole = enhancer().with_exposure(Exposure::AUTO).unwrap();
            let tiled = Enhancer { folded: None, ..whole.clone() };
            for enhancer in [whole, tiled] {
                let bright = enhancer.enhance(&white.clone().into()).unwrap().into_rgb8();
                assert!(bright == white, "{width}×{height}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_does_not_change_the_automatic_exposure_elsewhere() {
        let size = [1, 3, 24, 30];
        let values: Vec<f32> =
            dark(30, 72, 5).iter().take(3 * 24 * 30).map(|v| f32::from(*v) / 600.0).collect();
        let whole = enhancer().with_exposure(Exposure::Auto { luminance: 0.15 }).unwrap();
        let plain = Enhancer { folded: None, ..whole.clone() };
        for enhancer in [whole, plain] {
            let tensor = |values: &[f32]| {
                Tensor::from_data(TensorData::new(values.to_vec(), size), &enhancer.device)
            };
            let full = enhancer.clone().with_exposure(Exposure::Full).unwrap();
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut broken = values.clone();
                broken[24 * 30 + 9 * 30 + 12] = bad;
                // The tone is what it is for the pixels that do not see the bad one.
                let good = tensor(&values);
                let light = full.forward(good.clone()).illumination;
                let expected: Vec<Lit> = (0..24 * 30)
                    .filter(|at| (at / 30usize).abs_diff(9) > 3 || (at % 30usize).abs_diff(12) > 3)
                    .flat_map(|at| gather(&good, &light, &[at]).unwrap())
                    .collect();
                let expected = Tone::find(&expected, 0.15, Color::PerChannel);
                assert_ne!(expected, Tone::FULL);
                let expected =
                    enhancer.render(good, expected.rendering(Color::PerChannel)).reflectance;
                let expected: Vec<f32> = expected.try_into_vec_as().unwrap();
                let found = enhancer.forward(tensor(&broken)).reflectance;
                let found: Vec<f32> = found.try_into_vec_as().unwrap();
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let [y, x] = [at / 30 % 24, at % 30];
                    if y.abs_diff(9) > 3 || x.abs_diff(12) > 3 {
                        assert!((found - expected).abs() < 1e-5, "{bad} at {x}, {y}");
                    }
                }
            }
            let nothing = enhancer.forward(tensor(&vec![f32::NAN; 3 * 24 * 30]));
            assert_eq!(nothing.reflectance.dims(), size);
        }
    }
}
