//! Backend tensors ↔ numbers in main memory.

use super::cpu::conv3x3::Images;
#[cfg(feature = "ndarray")]
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::TensorData;

/// A CPU backend, whose numbers can be read where they are.
pub(super) trait InMemory: Backend {
    /// What keeps the numbers.
    type Values;
    fn values(tensor: FloatTensor<Self>) -> Self::Values;
    fn slice(values: &Self::Values) -> &[f32];
}

#[cfg(feature = "flex")]
impl InMemory for burn::backend::Flex {
    type Values = FloatTensor<Self>;

    fn values(tensor: FloatTensor<Self>) -> Self::Values {
        tensor.to_contiguous()
    }

    fn slice(values: &Self::Values) -> &[f32] {
        values.as_slice().expect("kernels are called with float32 tensors")
    }
}

#[cfg(feature = "ndarray")]
impl InMemory for burn::backend::NdArray {
    type Values = TensorData;

    /// Copies, unless nobody else holds the tensor: the backend does not let us at its memory.
    fn values(tensor: FloatTensor<Self>) -> Self::Values {
        let data = burn::tensor::read_sync(<Self as FloatTensorOps<Self>>::float_into_data(tensor));
        data.expect("it is in main memory")
    }

    fn slice(values: &Self::Values) -> &[f32] {
        values.as_slice().expect("kernels are called with float32 tensors")
    }
}

/// A float32 tensor of a CPU backend.
pub(super) struct Host<B: InMemory, const D: usize> {
    pub(super) shape: [usize; D],
    values: B::Values,
}

impl<B: InMemory, const D: usize> Host<B, D> {
    pub(super) fn new(tensor: FloatTensor<B>) -> Self {
        Self { shape: tensor.shape().dims(), values: B::values(tensor) }
    }

    pub(super) fn values(&self) -> &[f32] {
        B::slice(&self.values)
    }

    /// A tensor of numbers, which are not copied.
    pub(super) fn tensor(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<B> {
        B::float_from_data(TensorData::new(values, shape), &Default::default())
    }
}

impl<B: InMemory> Host<B, 4> {
    pub(super) fn images(&self) -> Images<'_> {
        Images { values: self.values(), shape: self.shape }
    }
}
