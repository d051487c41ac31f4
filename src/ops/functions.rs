//! The operations on Burn's high-level tensors: by the backend's kernel where there is one, otherwise
//! by the [plain](super::plain) implementation.

use super::pixel::EnhancePixel;
use super::{
    EnhanceOps, FoldedEstimator, Lit, Operation, Piece, PixelOps, Rendering, Samples, Weighting,
    backends, plain,
};
use crate::error::Result;
use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor};
use std::sync::Arc;

#[cfg(feature = "train")]
use super::network::{ConvNetwork, Momentum};
#[cfg(feature = "train")]
use super::packed::{MOST_PACKED, filled, places};
#[cfg(feature = "train")]
use super::{LossOps, NetworkOps, PackOps, ReflectanceOps, StatisticsOps, UnpackOps};

/// Whether a device's backend has a kernel for an operation.
pub(crate) fn has_kernel(operation: Operation, device: &Device) -> bool {
    backends::operations(device).contains(&operation)
}

/// Whether devices of this kind can add up tensors among themselves.
#[cfg(feature = "train")]
pub(crate) fn has_collectives(device: &Device) -> bool {
    backends::has_collectives(device)
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
    let device = image.device();
    if !fits(Operation::EnhancePlanes, image)
        || device.is_autodiff()
        || !backends::takes_images(&device, estimator, image.dims())
    {
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

/// The loss of stage input and illumination, both `[batch, 3, height, width]` with sizes of at least 3, `[1]`; and its
/// terms, fidelity and smoothness, `[2]`, which are not differentiable.
pub(crate) fn loss(
    input: Tensor<4>,
    illumination: Tensor<4>,
    weighting: Weighting,
) -> (Tensor<1>, Tensor<1>) {
    #[cfg(feature = "train")]
    if [&input, &illumination].iter().all(|image| fits(Operation::Loss, image)) {
        let (input, illumination) = (input.into_dispatch(), illumination.into_dispatch());
        let (loss, terms) = Dispatch::loss(input, illumination, weighting);
        return (Tensor::from_dispatch(loss), Tensor::from_dispatch(terms));
    }
    plain::loss(input, illumination, weighting)
}

/// `clamp(image / illumination, 0, 1)`.
///
/// # Panics
/// If the shapes differ.
pub(crate) fn reflectance(image: Tensor<4>, illumination: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "train")]
    if image.device().is_autodiff()
        && image.dims() == illumination.dims()
        && [&image, &illumination].iter().all(|image| fits(Operation::Reflectance, image))
    {
        let (image, illumination) = (image.into_dispatch(), illumination.into_dispatch());
        return Tensor::from_dispatch(Dispatch::reflectance(image, illumination));
    }
    plain::reflectance(image, illumination)
}

/// The values of some tensors in one vector; each takes as many as
/// [`padded`](super::packed::padded) says.
#[cfg(feature = "train")]
pub(crate) fn pack(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    if tensors.iter().all(|tensor| fits(Operation::Pack, tensor)) {
        let parts = tensors.chunks(MOST_PACKED).map(|tensors| {
            let [t0, t1, t2, t3, t4, t5, t6, t7] = filled(tensors).map(Tensor::into_dispatch);
            let count = tensors.len();
            Tensor::from_dispatch(Dispatch::pack(t0, t1, t2, t3, t4, t5, t6, t7, count))
        });
        let mut parts: Vec<Tensor<1>> = parts.collect();
        return if parts.len() > 1 { pack(parts) } else { parts.remove(0) };
    }
    plain::pack(tensors)
}

/// The tensors, of so many values, that [`pack`] has made a vector of. Without autodiff.
#[cfg(feature = "train")]
pub(crate) fn unpack(vector: Tensor<1>, counts: &[usize]) -> Vec<Tensor<1>> {
    let places: Vec<_> = places(counts.iter().copied()).collect();
    if !fits(Operation::Pack, &vector) {
        return places.into_iter().map(|place| vector.clone().slice(place)).collect();
    }
    let parts = places.chunks(MOST_PACKED).flat_map(|places| {
        let parts = Dispatch::unpack(vector.clone().into_dispatch(), filled(places));
        let (t0, t1, t2, t3, t4, t5, t6, t7) = parts;
        [t0, t1, t2, t3, t4, t5, t6, t7].into_iter().take(places.len())
    });
    parts.map(Tensor::from_dispatch).collect()
}

/// Whether there is a kernel for networks that are applied to such an image.
#[cfg(feature = "train")]
pub(crate) fn has_network_kernel(image: &Tensor<4>) -> bool {
    fits(Operation::ConvNetwork, image)
}

/// The result of a network, and for each of its normalizations the batch's means, then its biased variances;
/// `None` where there is no kernel for it.
///
/// # Shapes
/// - `image`: `[batch, inputs, height, width]`
/// - `parameters`: all that the layers need
/// - output: `[batch, outputs, height, width]`, and `[statistics]`
///
/// # Panics
/// If the layers do not fit each other, the image, or the parameters.
#[cfg(feature = "train")]
pub(crate) fn conv_network(
    image: &Tensor<4>,
    network: &Arc<ConvNetwork>,
    parameters: &Tensor<1>,
) -> Option<(Tensor<4>, Tensor<1>)> {
    if !fits(Operation::ConvNetwork, image) || !fits(Operation::ConvNetwork, parameters) {
        return None;
    }
    let [count] = parameters.dims();
    assert!(network.is_consistent(count), "the layers of a network do not fit together");
    let [_, channels, ..] = image.dims();
    let inputs = network.layers[0].inputs;
    assert_eq!(channels, inputs, "convolution: the image has another number of channels");
    if !backends::takes_network(&image.device(), network, image.dims()) {
        return None;
    }
    let (image, parameters) = (image.clone().into_dispatch(), parameters.clone().into_dispatch());
    let (result, statistics) = Dispatch::conv_network(image, parameters, network.clone());
    Some((Tensor::from_dispatch(result), Tensor::from_dispatch(statistics)))
}

/// Running statistics, as [`ConvNetwork::running`] has them, moved toward those that [`conv_network`] gave for the
/// network. Neither has autodiff.
#[cfg(feature = "train")]
pub(crate) fn update_running(
    running: Tensor<1>,
    statistics: Tensor<1>,
    network: &Arc<ConvNetwork>,
    momentum: Momentum,
) -> Tensor<1> {
    let (running, statistics) = (running.into_dispatch(), statistics.into_dispatch());
    let network = network.clone();
    Tensor::from_dispatch(Dispatch::update_running(running, statistics, network, momentum))
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
    #[cfg(feature = "train")]
    if has_network_kernel(&image) {
        let parameters = pack(vec![weight.clone().flatten(0, 3), bias.clone()]);
        let network = Arc::new(ConvNetwork::conv(inputs, outputs));
        if let Some((result, _)) = conv_network(&image, &network, &parameters) {
            return result;
        }
    }
    plain::conv3x3(image, weight, bias)
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
    plain::norm_relu(image, weight, bias, residual, epsilon)
}
