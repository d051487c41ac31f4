//! What every GPU grants (WebGPU's defaults). Burn asks for what the device at hand has, so nobody but
//! ourselves notices a kernel that asks for more.
//!
//! Two limits are exceeded: kernels of training have up to ten buffers, WebGPU's default is eight; and there, and for
//! tensors that a large network enhances, a buffer may have [`MOST_BYTES`]. Vulkan, Metal, Direct3D 12 and CUDA have more.

use burn_cubecl::cubecl::prelude::CubeDim;

/// The most units of a workgroup.
pub(super) const UNITS: usize = 256;

/// The most floats in a workgroup's memory: 16 KiB.
pub(super) const SHARED_FLOATS: usize = 4096;

/// The most workgroups in each direction.
pub(super) const MOST_WORKGROUPS: usize = 65_535;

/// The most rows or columns of an image that is enhanced at a time: workgroups do four or more of each.
pub(in crate::ops) const LONGEST_SIDE: usize = 4 * MOST_WORKGROUPS;

/// The most bytes of a buffer of images. Pictures that need more are enhanced in tiles.
pub(super) const BUFFER_BYTES: usize = 128 << 20;

/// The most bytes of a buffer for training, and of features of tensors, which every GPU of a desktop grants.
pub(super) const MOST_BYTES: usize = (1 << 31) - (1 << 20);

/// A workgroup of so many units in a row, with so many floats (or other words) in its memory.
///
/// # Panics
/// If a GPU may not grant it.
pub(super) fn workgroup(units: usize, shared_floats: usize) -> CubeDim {
    assert!((1..=UNITS).contains(&units), "a workgroup of {units} units");
    assert!(shared_floats <= SHARED_FLOATS, "{shared_floats} floats in a workgroup's memory");
    CubeDim::new_1d(units as u32)
}
