//! The operations on each of Burn's backends, a file for each that has kernels.
#![allow(unreachable_patterns, reason = "where one kind of backend is compiled in")]

#[cfg(feature = "train")]
mod autodiff;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;
#[cfg(feature = "cube")]
mod cube;

#[cfg(feature = "train")]
use super::network::ConvNetwork;
use super::{FoldedEstimator, Operation};
use burn::tensor::Device;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the CPU backends have kernels for.
#[cfg(any(feature = "flex", feature = "ndarray"))]
const CPU: &[Operation] = &[
    Operation::EnhancePlanes,
    Operation::EnhancePixels,
    Operation::SamplePixels,
    #[cfg(feature = "train")]
    Operation::Loss,
    #[cfg(feature = "train")]
    Operation::Reflectance,
    #[cfg(feature = "train")]
    Operation::Pack,
    #[cfg(feature = "train")]
    Operation::ConvNetwork,
];

/// What the GPU backends have kernels for.
#[cfg(feature = "cube")]
const GPU: &[Operation] = &[
    Operation::EnhancePlanes,
    Operation::EnhancePixels,
    Operation::SamplePixels,
    #[cfg(feature = "train")]
    Operation::Loss,
    #[cfg(feature = "train")]
    Operation::Reflectance,
    #[cfg(feature = "train")]
    Operation::Pack,
    #[cfg(feature = "train")]
    Operation::ConvNetwork,
];

/// See [`use_kernels`].
static KERNELS: AtomicBool = AtomicBool::new(true);

/// Turns the kernels off, and on again, in the whole program: benches measure them against the plain
/// implementation.
pub(super) fn use_kernels(wanted: bool) {
    KERNELS.store(wanted, Ordering::Relaxed);
}

/// What a device's backend has kernels for, with or without autodiff.
pub(super) fn operations(device: &Device) -> &'static [Operation] {
    if !KERNELS.load(Ordering::Relaxed) {
        return &[];
    }
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => CPU,
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => CPU,
        #[cfg(feature = "cube")]
        burn::backend::DispatchDevice::Cube(_) => GPU,
        _ => &[],
    }
}

/// Whether devices of this kind can add up tensors among themselves: of Burn's backends only CUDA.
#[cfg(feature = "train")]
pub(super) fn has_collectives(device: &Device) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "cuda")]
        burn::backend::DispatchDevice::Cube(burn_cubecl::CubeDevice::Cuda(_)) => true,
        _ => false,
    }
}

/// Whether the kernels of a device's backend can take a tensor of this shape: on GPUs places are numbers of 32 bits,
/// and images of a batch, and tiles along each side, are counted in workgroups.
#[allow(unused_variables, reason = "without a backend that has limits")]
pub(super) fn takes_shape(device: &Device, shape: &[usize]) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "cube")]
        burn::backend::DispatchDevice::Cube(_) => {
            let counted = match *shape {
                [batch, _, height, width] => {
                    batch <= 16_384 && height.max(width) <= super::cube::LONGEST_SIDE
                }
                _ => true,
            };
            counted && shape.iter().product::<usize>() <= i32::MAX as usize
        }
        _ => true,
    }
}

/// Whether the kernels of a device's backend can take an estimator. What they cannot is computed by Burn's operations.
#[allow(unused_variables, reason = "without a backend that has limits")]
pub(super) fn takes(device: &Device, estimator: &FoldedEstimator) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "cube")]
        burn::backend::DispatchDevice::Cube(_) => cube::takes(estimator),
        _ => true,
    }
}

/// Whether the kernels of a device's backend can take images `[batch, 3, height, width]` with an estimator that they
/// take.
#[allow(unused_variables, reason = "without a backend that has limits")]
pub(super) fn takes_images(
    device: &Device,
    estimator: &FoldedEstimator,
    shape: [usize; 4],
) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "cube")]
        burn::backend::DispatchDevice::Cube(_) => cube::takes_images(estimator, shape),
        _ => true,
    }
}

/// Whether the kernels of a device's backend can take a network and images `[batch, inputs, height, width]`. What they
/// cannot is computed layer by layer.
#[cfg(feature = "train")]
#[allow(unused_variables, reason = "without a backend that has limits")]
pub(super) fn takes_network(device: &Device, network: &ConvNetwork, shape: [usize; 4]) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "cube")]
        burn::backend::DispatchDevice::Cube(_) => super::cube::network::fits(network, shape),
        _ => true,
    }
}
