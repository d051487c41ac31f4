//! Backend tensors ↔ numbers in main memory.

use burn::backend::Backend;
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

/// The shape and the numbers of a float32 tensor. For the CPU backends nothing is copied where the
/// tensor is contiguous and nobody else holds it.
pub(super) fn to_host<B: Backend>(tensor: FloatTensor<B>) -> ([usize; 4], Vec<f32>) {
    let shape = tensor.shape().dims();
    let data = burn::tensor::read_sync(B::float_into_data(tensor)).expect("it is in main memory");
    let values = data.try_into_vec().expect("kernels are called with float32 tensors");
    (shape, values)
}

/// A tensor of numbers in main memory, which are not copied.
pub(super) fn from_host<B: Backend, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(values, shape), &Default::default())
}
