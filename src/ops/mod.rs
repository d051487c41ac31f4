//! Operations that Burn's own tensor functions do too slowly, as traits over Burn's [`Backend`].
//!
//! Model, loss and enhancer call the functions in [`functions`]. Each takes the backend's kernel where
//! there is one, and otherwise the implementation in [`plain`], which is written in Burn's tensor
//! functions. A backend gets kernels by a file in [`backends`], which implements the traits below; its
//! [`Operation`]s are listed in that folder.

#![cfg_attr(
    feature = "ndarray",
    allow(deprecated, reason = "deprecated by Burn 0.22, still supported here")
)]

mod backends;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;
#[cfg(feature = "cube")]
#[allow(unsafe_code, reason = "kernels for GPUs are launched without checks of their bounds")]
mod cube;
pub(crate) mod functions;
pub(crate) mod network;
pub(crate) mod packed;
pub(crate) mod pixel;
pub(crate) mod plain;
#[cfg(all(test, feature = "flex", feature = "train"))]
mod tests;
pub(crate) mod tiles;

use crate::error::Result;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "train")]
use network::{ConvNetwork, Momentum};
use pixel::EnhancePixel;
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// An operation that a backend may have a kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// [`EnhanceOps::enhance_planes`]
    EnhancePlanes,
    /// [`PixelOps::enhance_pixels`]
    EnhancePixels,
    /// [`PixelOps::sample_pixels`]
    SamplePixels,
    /// [`LossOps::loss`] and its gradients
    #[cfg(feature = "train")]
    Loss,
    /// [`ReflectanceOps::reflectance`] and its gradients
    #[cfg(feature = "train")]
    Reflectance,
    /// [`PackOps::pack`] and its gradients
    #[cfg(feature = "train")]
    Pack,
    /// [`NetworkOps::conv_network`] and its gradients, and [`StatisticsOps::update_running`]
    #[cfg(feature = "train")]
    ConvNetwork,
}

/// An illumination estimator's weights for inference, with the batch normalization of the residual
/// blocks, where there is one, folded into their convolutions.
#[derive(Debug)]
pub(crate) struct FoldedEstimator {
    /// The convolutions in the order in which they are applied: from the image to the features, one for
    /// each residual block, and from the features to the illumination.
    pub(crate) layers: Vec<Weights>,
    /// Whether they are used for a few images only, so that no program for a GPU is made of them.
    #[cfg_attr(not(feature = "cube"), expect(dead_code, reason = "only GPUs have programs"))]
    changing: bool,
    /// The same weights as a backend's kernels want them.
    arranged: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The weights of a 3×3 convolution, `[outputs, inputs, 3, 3]`, and its biases, `[outputs]`.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

#[cfg(feature = "cube")]
impl Weights {
    fn is_finite(&self) -> bool {
        self.parameters().all(f32::is_finite)
    }

    /// The weights and the biases.
    fn parameters(&self) -> impl Iterator<Item = f32> {
        self.weight.iter().chain(&self.bias).copied()
    }
}

impl FoldedEstimator {
    /// # Panics
    /// If the numbers of weights do not fit an image of three channels and each other.
    pub(crate) fn new(layers: Vec<Weights>) -> Self {
        let estimator = Self { layers, changing: false, arranged: OnceLock::new() };
        // Kernels rely on it.
        assert!(
            estimator.is_consistent(),
            "the weights of an estimator with {} layers do not fit together",
            estimator.layers.len(),
        );
        estimator
    }

    /// The same weights, used for a few images only.
    #[cfg(feature = "train")]
    pub(crate) fn into_changing(self) -> Self {
        Self { changing: true, ..self }
    }

    fn is_consistent(&self) -> bool {
        let [first, .., last] = &*self.layers else { return false };
        // A layer takes what the one before it gives.
        let inputs = [3].into_iter().chain(self.layers.iter().map(|layer| layer.bias.len()));
        let fit = inputs
            .zip(&self.layers)
            .all(|(inputs, layer)| layer.weight.len() == layer.bias.len() * inputs * 9);
        let blocks = &self.layers[..self.layers.len() - 1];
        let residual = blocks.iter().all(|layer| layer.bias.len() == first.bias.len());
        fit && residual && last.bias.len() == 3
    }

    /// The weights as a backend's kernels want them, which are arranged at the first call.
    ///
    /// # Panics
    /// If they have been arranged as another type: an estimator belongs to one kind of backend.
    #[cfg_attr(
        not(any(feature = "flex", feature = "ndarray", feature = "cube")),
        expect(dead_code, reason = "no backend with a kernel is compiled in")
    )]
    fn arranged<T: Any + Send + Sync>(&self, arrange: impl FnOnce(&Self) -> T) -> &T {
        let arranged = self.arranged.get_or_init(|| Box::new(arrange(self)));
        arranged.downcast_ref().expect("an estimator is used on one kind of backend")
    }
}

/// The samples of an image in host memory, row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<S> {
    pub(crate) samples: S,
    /// The distance between the first samples of two consecutive rows. For a single row it may be
    /// anything.
    pub(crate) stride: usize,
}

/// A rectangle of an image, of which some points are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// Row and column of each wanted point, in ascending order.
    pub(crate) points: Vec<[usize; 2]>,
}

/// A pixel of a dark image, and its illumination. Both are red, green and blue.
pub(crate) type Lit = [[f32; 3]; 2];

/// How a picture is made from an image and its illumination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rendering {
    /// In place of the illumination `i` the image is divided by `1 − strength · (1 − i)`. In `[0, 1]`.
    pub(crate) strength: f32,
    /// The exponent of the curve that follows the division: `1 / γ`, in `(0, 1]`.
    pub(crate) exponent: f32,
    /// Whether the colors stay: the three channels of a pixel share one illumination, the greatest of
    /// theirs, and the curve takes the greatest channel, which the others follow as if there were more of
    /// the same light. See [`scale`](Self::scale).
    pub(crate) kept: bool,
    /// The standard deviation of the image's noise in luminance that is filtered out of the result; 0 for
    /// no filter. See [`plain::denoise`].
    pub(crate) noise: f32,
}

impl Rendering {
    /// The published result.
    pub(crate) const FULL: Self = Self { strength: 1.0, exponent: 1.0, kept: false, noise: 0.0 };

    /// Added to a value before it is raised to a power, so that the curve's slope is bounded: black
    /// stays black, and what noise is in it stays dark.
    pub(crate) const TOE: f32 = 0.02;

    /// sRGB's encoding of light (IEC 61966-2-1): above its dark end, `((v + 0.055) / 1.055)^2.4` is the
    /// light of a value `v`.
    pub(crate) const SRGB_SHIFT: f32 = 0.055;

    /// How many pixels the noise filter sees to each side: it averages twice over windows of 5×5.
    pub(crate) const FILTER_REACH: usize = 4;

    /// The filter takes fluctuations for noise that are less than so many standard deviations, in
    /// luminance.
    pub(crate) const DEVIATIONS: f32 = 2.0;

    /// What noise was amplified by is the quotient of the means of bright and dark window; a dark mean counts
    /// as at least so many standard deviations of the noise.
    pub(crate) const LEAST_SIGNAL: f32 = 0.5;

    /// In each of the two color differences noise is 1.5 times as strong as in luminance where the
    /// channels' noises are independent, and twice as unwelcome: `(1.5 · 2)²`, twice for the sum of both.
    pub(crate) const COLOR_FACTOR: f32 = 18.0;

    /// The least variance that the filter divides by, far less than that of one of 255 levels.
    pub(crate) const LEAST_VARIANCE: f32 = 1e-6;

    /// Whether the noise filter follows.
    pub(crate) fn has_filter(self) -> bool {
        self.noise > 0.0
    }

    /// Whether a curve follows the division.
    pub(crate) fn has_curve(self) -> bool {
        self.exponent != 1.0
    }

    /// The curve's factor for a value of `r` is `(r + TOE) / (1 + TOE)` to this power.
    pub(crate) fn power(self) -> f32 {
        self.exponent - 1.0
    }

    /// What the curve multiplies a value in `[0, 1]` by.
    fn factor(self, value: f32) -> f32 {
        if !self.has_curve() {
            return 1.0;
        }
        ((value + Self::TOE) / (1.0 + Self::TOE)).powf(self.power())
    }

    /// One pixel of the picture.
    pub(crate) fn pixel(self, [pixel, illumination]: Lit) -> [f32; 3] {
        if self.kept {
            let most = greatest(pixel);
            let scale = Self::scale(most, self.exposed(most, greatest(illumination)));
            let shift = Self::SRGB_SHIFT * (scale - 1.0);
            return pixel.map(|value| (scale * value + shift).clamp(0.0, 1.0));
        }
        [0, 1, 2].map(|c| {
            let bright = (pixel[c] / self.weakened(illumination[c])).clamp(0.0, 1.0);
            bright * self.factor(bright)
        })
    }

    /// `1 − strength · (1 − illumination)`, which the image is divided by.
    fn weakened(self, illumination: f32) -> f32 {
        1.0 - self.strength + self.strength * illumination
    }

    /// Where the colors are kept: what becomes of the greatest channel of a pixel.
    pub(crate) fn exposed(self, most: f32, illumination: f32) -> f32 {
        let divided = (most / self.weakened(illumination)).clamp(0.0, 1.0);
        divided * self.factor(divided)
    }

    /// Where the colors are kept: the factor `k` by which all channels `v` of a pixel follow the greatest one,
    /// `v + 0.055 → k · (v + 0.055)`.
    ///
    /// More light multiplies the light of all channels by the same number, and sRGB's light is a power of
    /// `v + 0.055`, except for values below 0.04, where it is linear: there colors become paler, and so does
    /// their noise.
    pub(crate) fn scale(most: f32, bright: f32) -> f32 {
        (bright + Self::SRGB_SHIFT) / (most.max(0.0) + Self::SRGB_SHIFT)
    }
}

/// The greatest channel of a pixel.
pub(crate) fn greatest([red, green, blue]: [f32; 3]) -> f32 {
    red.max(green).max(blue)
}

/// How the loss weighs a pair of pixels by their colors, and its two terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weighting {
    /// Converts three inputs to three values of YCbCr. One row for each input, one column for each
    /// result.
    pub(crate) matrix: [[f32; 3]; 3],
    /// Added to each result. It matters where the inputs are neighbors in memory: there, two values
    /// that are compared may be different components.
    pub(crate) offset: [f32; 3],
    /// Whether the three inputs are the channels of a pixel, or else neighbors in memory.
    pub(crate) per_pixel: bool,
    /// The standard deviation of the Gaussian of the color difference. Positive.
    pub(crate) sigma: f64,
    /// The weight of the fidelity; that of the smoothness is 1.
    pub(crate) fidelity: f32,
}

/// Inference on tensors, which are float32. Not differentiable.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube")
)]
pub(crate) trait EnhanceOps: Backend {
    /// The illumination that images were divided by, and the result, all
    /// `[batch, 3, height, width]`.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(meta = |image, _, _| (image.clone(), image.clone()))]
    fn enhance_planes(
        image: FloatTensor<Self>,
        estimator: Arc<FoldedEstimator>,
        rendering: Rendering,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Inference on pixels in host memory. The first argument is a tensor of any value, by which the
/// backend and the device are chosen.
///
/// The pixels are borrowed, so that Burn's macro cannot defer these operations: for `Fusion` they are
/// implemented by hand, on the tensor that `resolve_tensor_float` gives.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube")
)]
pub(crate) trait PixelOps: Backend {
    /// Enhances an image of `[height, width]`. Source and target are large enough for the size.
    #[allow(unused_variables, reason = "without a backend that has it")]
    fn enhance_pixels<P: EnhancePixel>(
        routing: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        rendering: Rendering,
        source: Samples<&[P::Subpixel]>,
        target: Samples<&mut [P::Subpixel]>,
    ) -> Result<()>;

    /// The pixels at the points of some pieces of an image of `[height, width]`, with their
    /// illuminations, in the order of the points. The source is large enough for the size.
    #[allow(unused_variables, reason = "without a backend that has it")]
    fn sample_pixels<P: EnhancePixel>(
        routing: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        source: Samples<&[P::Subpixel]>,
        pieces: &[Piece],
    ) -> Result<Vec<Lit>>;
}

/// As long as one of these is held, large buffers of kernels for training are used again.
#[cfg(feature = "train")]
#[derive(Clone, Debug)]
pub(crate) struct KernelMemory {
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    _cpu: cpu::memory::Memory,
}

#[cfg(feature = "train")]
impl KernelMemory {
    pub(crate) fn hold() -> Self {
        Self {
            #[cfg(any(feature = "flex", feature = "ndarray"))]
            _cpu: cpu::memory::Memory::hold(),
        }
    }
}

/// What `Fusion` knows of a vector that is still to be computed: its length, and the type of another tensor.
#[cfg(all(feature = "train", feature = "cube"))]
fn vector_like(
    tensor: &burn::backend::fusion::custom::TensorSpec,
    count: usize,
) -> burn::backend::fusion::custom::TensorSpec {
    let shape = burn::tensor::Shape::new([count]);
    burn::backend::fusion::custom::TensorSpec::new(shape, tensor.dtype)
}

/// The loss of an illumination. Tensors are float32.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait LossOps: Backend {
    /// The loss of stage input and illumination, both `[batch, 3, height, width]` with sizes of at least 3, `[1]`; and
    /// its terms, fidelity and smoothness, `[2]`, which are not differentiable.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(meta = |input, _, _| (vector_like(input, 1), vector_like(input, 2)))]
    fn loss(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The gradients of [`LossOps`], which a backend needs for `Autodiff` on top of it.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube")
)]
pub(crate) trait LossGradientOps: Backend {
    /// The loss, its terms, and its gradients with respect to input and illumination.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(meta = |input, illumination, _| {
        (vector_like(input, 1), vector_like(input, 2), input.clone(), illumination.clone())
    })]
    fn loss_gradients(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Two tensors of one shape, multiplied by a number, `[1]`.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(meta = |first, second, _| (first.clone(), second.clone()))]
    fn scale_both(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        factor: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Retinex. Tensors are float32 and of one shape.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait ReflectanceOps: Backend {
    /// `clamp(image / illumination, 0, 1)`.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(dtype = image, shape = image)]
    fn reflectance(image: FloatTensor<Self>, illumination: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The gradients of [`ReflectanceOps`], which a backend needs for `Autodiff` on top of it.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube")
)]
pub(crate) trait ReflectanceGradientOps: Backend {
    /// The gradients with respect to image and illumination.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(meta = |image, illumination, _| (image.clone(), illumination.clone()))]
    fn reflectance_gradients(
        image: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Several tensors in one. Tensors are float32.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait PackOps: Backend {
    /// All values of the first `count` tensors in one vector. Each tensor takes as many as
    /// [`padded`](packed::padded) says.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[allow(clippy::too_many_arguments, reason = "Burn's macro takes no vectors of tensors")]
    #[fusion(meta = |t0, t1, t2, t3, t4, t5, t6, t7, count| {
        let tensors = [t0, t1, t2, t3, t4, t5, t6, t7].into_iter().take(*count);
        vector_like(t0, tensors.map(|tensor| packed::padded(tensor.shape.num_elements())).sum())
    })]
    fn pack(
        t0: FloatTensor<Self>,
        t1: FloatTensor<Self>,
        t2: FloatTensor<Self>,
        t3: FloatTensor<Self>,
        t4: FloatTensor<Self>,
        t5: FloatTensor<Self>,
        t6: FloatTensor<Self>,
        t7: FloatTensor<Self>,
        count: usize,
    ) -> FloatTensor<Self>;
}

/// The opposite of [`PackOps`]. Not differentiable.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube")
)]
#[allow(clippy::type_complexity, reason = "Burn's macro takes no arrays of tensors")]
pub(crate) trait UnpackOps: Backend {
    /// [`MOST_PACKED`](packed::MOST_PACKED) tensors out of a vector, with these first values and numbers of values.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(meta = |packed, places| {
        let [a, b, c, d, e, f, g, h] =
            places.each_ref().map(|place| vector_like(packed, place.len()));
        (a, b, c, d, e, f, g, h)
    })]
    fn unpack(
        packed: FloatTensor<Self>,
        places: Places,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}

/// Where each tensor is in a vector.
#[cfg(feature = "train")]
type Places = [Range<usize>; packed::MOST_PACKED];

/// The running statistics of networks. Tensors are float32. Not differentiable.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube")
)]
pub(crate) trait StatisticsOps: Backend {
    /// Moves the running statistics, as [`ConvNetwork::running`] has them, toward those that
    /// [`NetworkOps::conv_network`] gave, layer by layer.
    #[allow(unused_variables, reason = "without a backend that has it")]
    #[fusion(dtype = running, shape = running)]
    fn update_running(
        running: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
        momentum: Momentum,
    ) -> FloatTensor<Self>;
}

/// Whole networks. Tensors are float32. `Fusion` is implemented by hand, as its gradients are.
#[cfg(feature = "train")]
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait NetworkOps: Backend {
    /// The result, `[batch, outputs, height, width]`, of a network that is applied to images
    /// `[batch, inputs, height, width]`, none of them empty; and for each of its normalizations the batch's means,
    /// then its biased variances, all in one vector, which is not differentiable. The parameters of all layers are
    /// one vector, too.
    #[allow(unused_variables, reason = "without a backend that has it")]
    fn conv_network(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The gradients of [`NetworkOps`], which a backend needs for `Autodiff` on top of it.
#[cfg(feature = "train")]
pub(crate) trait NetworkGradientOps: Backend {
    /// What the backward pass needs of the forward pass.
    type Saved: Clone + std::fmt::Debug + Send + 'static;

    /// [`NetworkOps::conv_network`], with what the backward pass needs.
    fn conv_network_saving(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, Self::Saved);

    /// The gradients with respect to the images and to the parameters, given the one with respect to the result. What
    /// is not wanted may be given all the same.
    fn conv_network_backward(
        saved: Self::Saved,
        gradient: FloatTensor<Self>,
        wants: Wanted,
    ) -> [Option<FloatTensor<Self>>; 2];
}

/// Whether gradients with respect to images and to parameters are wanted. One of them is.
#[cfg(feature = "train")]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "cube"), allow(dead_code, reason = "CPUs give what is not wanted, too"))]
pub(crate) struct Wanted {
    pub(crate) image: bool,
    pub(crate) parameters: bool,
}

/// [`NetworkGradientOps`] on GPUs, where tensors are all that an operation gives.
#[cfg(all(feature = "train", feature = "cube"))]
#[backend_extension(Cube, Fusion)]
pub(crate) trait NetworkKernelOps: Backend {
    /// A network's result, its statistics, at least one, and what the backward pass needs besides.
    #[fusion(meta = |image, _, network| {
        let dims @ [batch, _, height, width] = image.shape.dims();
        let result = burn::tensor::Shape::new([batch, network.outputs(), height, width]);
        (
            burn::backend::fusion::custom::TensorSpec::new(result, image.dtype),
            vector_like(image, network.statistics().max(1)),
            vector_like(image, cube::network::saved_floats(network, dims)),
        )
    })]
    fn network_forward(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient with respect to the parameters, given the one with respect to the result.
    #[fusion(dtype = parameters, shape = parameters)]
    fn network_backward_to_parameters(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        saved: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> FloatTensor<Self>;

    /// The gradient with respect to the images.
    #[fusion(dtype = image, shape = image)]
    fn network_backward_to_image(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        saved: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> FloatTensor<Self>;

    /// The gradients with respect to the images and to the parameters.
    #[fusion(meta = |image, parameters, _, _, _, _| (image.clone(), parameters.clone()))]
    fn network_backward(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        saved: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}
