//! Kernels for GPUs in CubeCL: one source for CUDA, ROCm, Metal, Vulkan and WebGPU.
//!
//! What a kernel is made for (weights, sizes, formats) are constants of its program, which is compiled at its
//! first launch. A launch never fails; what went wrong is known when a result is read.

mod buffers;
mod denoise;
mod enhance;
mod estimate;
mod format;
mod inference;
mod layers;
mod limits;
#[cfg(feature = "train")]
mod loss;
#[cfg(feature = "train")]
pub(super) mod network;
#[cfg(feature = "train")]
mod pack;
#[cfg(feature = "train")]
mod pixelwise;
#[cfg(feature = "train")]
mod sum;
mod tile;
#[cfg(feature = "train")]
pub(super) mod training;

pub(super) use inference::{Prepared, enhance_pixels, enhance_planes, sample_pixels};
pub(super) use limits::LONGEST_SIDE;
