//! Buffers on the device.

use burn_cubecl::cubecl::prelude::BufferArg;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

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
