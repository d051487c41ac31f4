//! The operations on Burn's high-level tensors.

use super::SciOps;
use super::cpu::Network;
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Tensor};
use std::sync::Arc;

/// Whether the kernels for main memory run on a device.
pub(crate) fn on_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[allow(unreachable_patterns, reason = "where these are the only backends")]
        _ => false,
    }
}

/// Whether there is a kernel for a tensor.
pub(crate) fn has_kernel(tensor: &Tensor<4>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(&tensor.device())
}

/// Illumination and reflectance of images, both `[batch, 3, height, width]`. The image
/// [has a kernel](has_kernel).
pub(crate) fn enhance(image: Tensor<4>, network: Arc<Network>) -> [Tensor<4>; 2] {
    let (illumination, reflectance) = Dispatch::enhance(image.into_dispatch(), network);
    [illumination, reflectance].map(Tensor::from_dispatch)
}
