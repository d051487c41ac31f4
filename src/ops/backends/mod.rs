//! The operations on each of Burn's backends, a file for each that has kernels.

#[cfg(feature = "train")]
mod autodiff;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;

use super::Operation;
use burn::tensor::Device;

/// What a device's backend has kernels for, with or without autodiff.
pub(super) fn operations(device: &Device) -> &'static [Operation] {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => cpu::OPERATIONS,
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => cpu::OPERATIONS,
        #[allow(unreachable_patterns, reason = "where these are the only backends")]
        _ => &[],
    }
}
