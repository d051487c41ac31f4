//! The operations on Burn's high-level tensors, and where there is no kernel, in its functions.

use super::cpu::Weighting;
use super::{FoldedEstimator, SciOps};
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor};
use std::sync::Arc;

/// Whether the kernels for main memory run on a device, be it an autodiff device or not.
pub(crate) fn on_cpu(device: &Device) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[allow(unreachable_patterns, reason = "where these are the only backends")]
        _ => false,
    }
}

/// Whether there are kernels for a tensor. On an autodiff device they come with training.
pub(crate) fn has_kernel<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device();
    let differentiable = cfg!(feature = "train") || !device.is_autodiff();
    let empty = tensor.shape().num_elements() == 0;
    tensor.dtype() == DType::F32 && differentiable && !empty && on_cpu(&device)
}

/// Illumination and reflectance of images, both `[batch, 3, height, width]`. The image
/// [has a kernel](has_kernel) and is not on an autodiff device.
pub(crate) fn enhance(
    image: Tensor<4>,
    estimator: Arc<FoldedEstimator>,
    strength: f32,
) -> [Tensor<4>; 2] {
    let (illumination, reflectance) = Dispatch::enhance(image.into_dispatch(), estimator, strength);
    [illumination, reflectance].map(Tensor::from_dispatch)
}

/// The smoothness loss of stage input and illumination, both `[batch, 3, height, width]`. They
/// [have a kernel](has_kernel).
pub(crate) fn smoothness(
    input: Tensor<4>,
    illumination: Tensor<4>,
    weighting: Weighting,
) -> Tensor<1> {
    let (input, illumination) = (input.into_dispatch(), illumination.into_dispatch());
    Tensor::from_dispatch(Dispatch::smoothness(input, illumination, weighting))
}

/// A 3×3 convolution with zero padding 1.
///
/// # Panics
/// If the numbers of channels do not fit.
pub(crate) fn conv3x3(image: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [outputs, inputs, ..] = weight.dims();
    assert_eq!(image.dims()[1], inputs, "convolution: the image has another number of channels");
    assert_eq!(weight.dims(), [outputs, inputs, 3, 3], "convolution: the kernels are not 3×3");
    assert_eq!(bias.dims(), [outputs], "convolution: another number of biases than of kernels");
    if !(has_kernel(&image) && has_kernel(&weight) && has_kernel(&bias)) {
        return conv3x3_plain(image, weight, bias);
    }
    let [image, weight] = [image, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::conv3x3(image, weight, bias.into_dispatch()))
}

pub(super) fn conv3x3_plain(image: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    conv2d(image, weight, Some(bias), ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

/// A ReLU behind a batch normalization with the batch's own statistics, plus a residual; and the
/// batch's mean and biased variance.
///
/// # Panics
/// If the numbers of channels do not fit, or the residual's shape.
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
    let fast = has_kernel(&image) && has_kernel(&weight) && has_kernel(&bias);
    if !fast || residual.as_ref().is_some_and(|residual| !has_kernel(residual)) {
        return norm_relu_plain(image, weight, bias, residual, epsilon);
    }
    let add = residual.is_some();
    // Something has to stand there; it is neither read nor differentiated.
    let residual = residual.unwrap_or_else(|| image.clone().detach());
    let [image, residual] = [image, residual].map(Tensor::into_dispatch);
    let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
    let (result, mean, variance) =
        Dispatch::norm_relu(image, weight, bias, residual, add, epsilon as f32);
    (Tensor::from_dispatch(result), [mean, variance].map(Tensor::from_dispatch))
}

pub(super) fn norm_relu_plain(
    image: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let normalized = batch_norm_train(image, weight, bias, epsilon);
    let result = relu(normalized.output);
    let result = match residual {
        Some(residual) => residual + result,
        None => result,
    };
    (result, [normalized.mean, normalized.variance])
}
