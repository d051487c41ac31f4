//! What Burn's own operations do too slowly: one trait over Burn's [`Backend`], with kernels for the
//! CPU backends.
//!
//! The functions in [`functions`] are what the model and the loss call. Each takes the fast way
//! where the device has a kernel, and otherwise the plain one, written in Burn's tensor functions.

pub(crate) mod cpu;
pub(crate) mod functions;
mod tensors;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use cpu::Network;
use std::sync::Arc;

/// Operations with a kernel of their own. Tensors are float32.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray")
)]
pub(crate) trait SciOps: Backend {
    /// Illumination and reflectance of images, both `[batch, 3, height, width]`, in one pass.
    fn enhance(
        image: FloatTensor<Self>,
        network: Arc<Network>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Implements the operations for a backend whose tensors are in main memory.
macro_rules! on_cpu {
    ($backend:ty) => {
        impl SciOps for $backend {
            fn enhance(
                image: FloatTensor<Self>,
                network: Arc<Network>,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let (shape, values) = tensors::to_host::<Self>(image);
                let [illumination, reflectance] = cpu::enhance_planes(&network, shape, &values);
                let tensor = |values| tensors::from_host::<Self, 4>(values, shape);
                (tensor(illumination), tensor(reflectance))
            }
        }
    };
}

#[cfg(feature = "flex")]
on_cpu!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_cpu!(burn::backend::NdArray);
