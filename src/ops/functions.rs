//! The operations on Burn's high-level tensors: by the backend's kernel where there is one, otherwise
//! by the [plain](super::plain) implementation.

use super::network::ConvNetwork;
use super::pixel::EnhancePixel;
use super::{
    EnhanceOps, FoldedEstimator, Lit, Operation, Piece, PixelOps, Rendering, Samples, Weighting,
    backends, plain,
};
use crate::error::Result;
use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor};
use std::sync::Arc;

#[cfg(all(feature = "train", feature = "cube"))]
use super::LayerOps;
#[cfg(all(feature = "train", any(feature = "flex", feature = "ndarray")))]
use super::NetworkOps;
#[cfg(feature = "train")]
use super::SmoothnessOps;

/// Whether a device's backend has a kernel for an operation.
pub(crate) fn has_kernel(operation: Operation, device: &Device) -> bool {
    backends::operations(device).contains(&operation)
}

/// Turns the kernels off, and on again, in the whole program: for benches.
#[doc(hidden)]
pub fn use_kernels(wanted: bool) {
    backends::use_kernels(wanted);
}

/// Whether the kernels for inference of a device's backend, if it has any, can take an estimator.
pub(crate) fn takes(estimator: &FoldedEstimator, device: &Device) -> bool {
    backends::takes(device, estimator)
}

/// Whether a tensor's backend has a kernel for an operation, and that can take the tensor.
fn fits<const D: usize>(operation: Operation, tensor: &Tensor<D>) -> bool {
    let (empty, device) = (tensor.shape().num_elements() == 0, tensor.device());
    tensor.dtype() == DType::F32
        && !empty
        && has_kernel(operation, &device)
        && backends::takes_shape(&device, &tensor.dims())
}

/// The illumination that images were divided by, and the result, all `[batch, 3, height, width]`, in
/// one pass; `None` where there is no kernel for the image.
pub(crate) fn enhance_planes(
    image: &Tensor<4>,
    estimator: &Arc<FoldedEstimator>,
    rendering: Rendering,
) -> Option<[Tensor<4>; 2]> {
    // The kernel has no gradients.
    if !fits(Operation::EnhancePlanes, image) || image.device().is_autodiff() {
        return None;
    }
    let image = image.clone().into_dispatch();
    let (illumination, reflectance) = Dispatch::enhance_planes(image, estimator.clone(), rendering);
    Some([illumination, reflectance].map(Tensor::from_dispatch))
}

/// Enhances an image of `[height, width]` in host memory, on the device of the tensor `routing`, which
/// [has a kernel](has_kernel) for [`Operation::EnhancePixels`].
///
/// # Errors
/// [`Error::Execution`](crate::Error::Execution) where the device fails.
///
/// # Panics
/// If there are too few samples for the size.
pub(crate) fn enhance_pixels<P: EnhancePixel>(
    routing: Tensor<1>,
    estimator: &FoldedEstimator,
    size: [usize; 2],
    rendering: Rendering,
    source: Samples<&[P::Subpixel]>,
    target: Samples<&mut [P::Subpixel]>,
) -> Result<()> {
    check::<P>(size, source.samples.len(), source.stride);
    check::<P>(size, target.samples.len(), target.stride);
    let routing = routing.into_dispatch();
    Dispatch::enhance_pixels::<P>(routing, estimator, size, rendering, source, target)
}

/// The pixels at the points of some pieces of an image of `[height, width]` in host memory, with their
/// illuminations. The device is that of the tensor `routing`, which [has a kernel](has_kernel) for
/// [`Operation::SamplePixels`].
///
/// # Errors
/// [`Error::Execution`](crate::Error::Execution) where the device fails.
///
/// # Panics
/// If there are too few samples for the size.
pub(crate) fn sample_pixels<P: EnhancePixel>(
    routing: Tensor<1>,
    estimator: &FoldedEstimator,
    size: [usize; 2],
    source: Samples<&[P::Subpixel]>,
    pieces: &[Piece],
) -> Result<Vec<Lit>> {
    check::<P>(size, source.samples.len(), source.stride);
    Dispatch::sample_pixels::<P>(routing.into_dispatch(), estimator, size, source, pieces)
}

/// Panics unless rows of pixels fit into so many samples.
fn check<P: EnhancePixel>([height, width]: [usize; 2], samples: usize, stride: usize) {
    let row = width * usize::from(P::CHANNEL_COUNT);
    let used = match height {
        0 => 0,
        1 => row,
        _ => stride * (height - 1) + row,
    };
    assert!(used <= samples, "{samples} samples are too few for {width}×{height} pixels");
}

/// The smoothness loss, `[1]`, of stage input and illumination, both `[batch, 3, height, width]` with
/// sizes of at least 3.
pub(crate) fn smoothness(
    input: Tensor<4>,
    illumination: Tensor<4>,
    weighting: Weighting,
) -> Tensor<1> {
    #[cfg(feature = "train")]
    if [&input, &illumination].iter().all(|image| fits(Operation::Smoothness, image)) {
        let (input, illumination) = (input.into_dispatch(), illumination.into_dispatch());
        return Tensor::from_dispatch(Dispatch::smoothness(input, illumination, weighting));
    }
    plain::smoothness(input, illumination, weighting)
}

/// The result of a network, which is described with its parameters, and for each of its normalizations the batch's means, then its biased variances;
/// `None` where there is no kernel for it.
///
/// # Shapes
/// - `image`: `[batch, inputs, height, width]`
/// - output: `[batch, outputs, height, width]`, and `[statistics]`
///
/// # Panics
/// If the layers do not fit each other, the image, or the parameters.
#[allow(unused_variables, reason = "without a backend that has it")]
pub(crate) fn conv_network(
    image: &Tensor<4>,
    describe: impl FnOnce() -> (ConvNetwork, Vec<Tensor<1>>),
) -> Option<(Tensor<4>, Tensor<1>)> {
    #[cfg(all(feature = "train", any(feature = "flex", feature = "ndarray")))]
    if fits(Operation::ConvNetwork, image) {
        let (network, parameters) = describe();
        if parameters.iter().any(|parameter| parameter.dtype() != DType::F32) {
            return None;
        }
        let parameters = Tensor::cat(parameters, 0);
        let [count] = parameters.dims();
        assert!(network.is_consistent(count), "the layers of a network do not fit together");
        let inputs = network.layers[0].inputs;
        assert_eq!(
            image.dims()[1],
            inputs,
            "convolution: the image has another number of channels"
        );
        if !fits(Operation::ConvNetwork, &parameters) {
            return None;
        }
        let (image, parameters) = (image.clone().into_dispatch(), parameters.into_dispatch());
        let (result, statistics) = Dispatch::conv_network(image, parameters, Arc::new(network));
        return Some((Tensor::from_dispatch(result), Tensor::from_dispatch(statistics)));
    }
    None
}

/// A 3×3 convolution with zero padding 1.
///
/// # Shapes
/// - `image`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, 3, 3]`, `bias`: `[outputs]`
/// - output: `[batch, outputs, height, width]`
///
/// # Panics
/// If the numbers of channels differ, or the kernels are not 3×3.
pub(crate) fn conv3x3(image: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [outputs, inputs, ..] = weight.dims();
    assert_eq!(image.dims()[1], inputs, "convolution: the image has another number of channels");
    assert_eq!(weight.dims(), [outputs, inputs, 3, 3], "convolution: the kernels are not 3×3");
    assert_eq!(bias.dims(), [outputs], "convolution: another number of biases than of kernels");
    let parameters = || vec![weight.clone().flatten(0, 3), bias.clone()];
    let describe = || (ConvNetwork::conv(inputs, outputs), parameters());
    if let Some((result, _)) = conv_network(&image, describe) {
        return result;
    }
    #[cfg(all(feature = "train", feature = "cube"))]
    if [&image, &weight].iter().all(|tensor| fits(Operation::Conv3x3, tensor))
        && fits(Operation::Conv3x3, &bias)
        && backends::takes_shape(&image.device(), &with_channels(&image, outputs))
    {
        let [image, weight] = [image, weight].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::conv3x3(image, weight, bias.into_dispatch()));
    }
    plain::conv3x3(image, weight, bias)
}

/// The shape of images with another number of channels.
#[cfg(all(feature = "train", feature = "cube"))]
fn with_channels(image: &Tensor<4>, channels: usize) -> [usize; 4] {
    let [batch, _, height, width] = image.dims();
    [batch, channels, height, width]
}

/// Batch normalization with the batch's own statistics, then a ReLU, plus a residual if there is one;
/// and the batch's mean and biased variance.
///
/// # Shapes
/// - `image`, `residual`, output: `[batch, channels, height, width]`
/// - `weight`, `bias`, mean, variance: `[channels]`
///
/// # Panics
/// If the numbers of channels differ, or the shapes of image and residual.
pub(crate) fn norm_relu(
    image: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let [_, channels, ..] = image.dims();
    assert_eq!(weight.dims(), [channels], "batch norm: the image has another number of channels");
    assert_eq!(bias.dims(), [channels], "batch norm: the image has another number of channels");
    if let Some(residual) = &residual {
        assert_eq!(residual.dims(), image.dims(), "batch norm: the residual has another shape");
    }
    #[cfg(all(feature = "train", feature = "cube"))]
    if [Some(&image), residual.as_ref()].iter().flatten().all(|t| fits(Operation::NormRelu, t))
        && [&weight, &bias].iter().all(|vector| fits(Operation::NormRelu, vector))
    {
        let (image, epsilon) = (image.into_dispatch(), epsilon as f32);
        let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
        let (result, mean, variance) = match residual.map(Tensor::into_dispatch) {
            Some(residual) => Dispatch::norm_relu_residual(image, weight, bias, residual, epsilon),
            None => Dispatch::norm_relu(image, weight, bias, epsilon),
        };
        return (Tensor::from_dispatch(result), [mean, variance].map(Tensor::from_dispatch));
    }
    plain::norm_relu(image, weight, bias, residual, epsilon)
}
