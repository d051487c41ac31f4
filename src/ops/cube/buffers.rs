//! Buffers on the device.
#![cfg_attr(not(feature = "train"), allow(dead_code, reason = "some of it is for training"))]

use super::limits::MOST_WORKGROUPS;
use burn::backend::{DType, Shape};
use burn_cubecl::cubecl::prelude::{BufferArg, CubeCount};
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use std::ops::Range;

/// A contiguous tensor of float32 on the device of another one, not initialized.
pub(super) fn empty<const D: usize>(tensor: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let (client, device) = (tensor.client.clone(), tensor.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::new(shape), DType::F32)
}

/// A contiguous tensor of float32 like another one, not initialized.
pub(super) fn like(tensor: &CubeTensor) -> CubeTensor {
    let shape = tensor.meta.shape().clone();
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, tensor.dtype)
}

/// A buffer as the words that a kernel sees it as.
///
/// # Safety
/// As [`BufferArg::from_raw_parts`]: the kernel stays inside.
pub(super) unsafe fn words(handle: &Handle) -> BufferArg {
    let words = handle.size_in_used() as usize / size_of::<u32>();
    // SAFETY: by the caller; the length is the buffer's own.
    unsafe { BufferArg::from_raw_parts(handle.clone(), words) }
}

/// A view of some floats of a buffer; the first is a multiple of [`ALIGNMENT`](crate::ops::packed::ALIGNMENT).
pub(super) fn part(handle: &Handle, floats: &Range<usize>) -> Handle {
    let bytes = |floats: usize| (floats * size_of::<f32>()) as u64;
    let after = handle.size_in_used() - bytes(floats.end);
    handle.clone().offset_start(bytes(floats.start)).offset_end(after)
}

/// At least so many workgroups, counted by `CUBE_POS`.
pub(super) fn linear(count: usize) -> CubeCount {
    let rows = count.div_ceil(MOST_WORKGROUPS);
    CubeCount::Static(count.div_ceil(rows) as u32, rows as u32, 1)
}
