//! The operations on Burn's CPU backends, Flex and NdArray.

use crate::error::Result;
use crate::ops::cpu;
use crate::ops::pixel::EnhancePixel;
use crate::ops::{EnhanceOps, FoldedEstimator, Lit, Piece, PixelOps, Rendering, Samples};
#[cfg(feature = "ndarray")]
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::TensorData;
use cpu::PackedEstimator;
use std::sync::Arc;

/// A backend whose tensors are in host memory.
trait CpuBackend: Backend {
    /// What owns a tensor's values.
    type Values;
    fn values(tensor: FloatTensor<Self>) -> Self::Values;
    fn slice(values: &Self::Values) -> &[f32];
}

#[cfg(feature = "flex")]
impl CpuBackend for burn::backend::Flex {
    type Values = FloatTensor<Self>;

    fn values(tensor: FloatTensor<Self>) -> Self::Values {
        tensor.to_contiguous()
    }

    fn slice(values: &Self::Values) -> &[f32] {
        values.as_slice().expect("kernels are called with float32 tensors")
    }
}

#[cfg(feature = "ndarray")]
impl CpuBackend for burn::backend::NdArray {
    type Values = TensorData;

    /// Copies, unless nobody else holds the tensor: the backend does not give access to its memory.
    fn values(tensor: FloatTensor<Self>) -> Self::Values {
        let data = burn::tensor::read_sync(<Self as FloatTensorOps<Self>>::float_into_data(tensor));
        data.expect("it is in host memory")
    }

    fn slice(values: &Self::Values) -> &[f32] {
        values.as_slice().expect("kernels are called with float32 tensors")
    }
}

/// A float32 tensor in host memory.
struct Host<B: CpuBackend, const D: usize> {
    shape: [usize; D],
    values: B::Values,
}

impl<B: CpuBackend, const D: usize> Host<B, D> {
    fn new(tensor: FloatTensor<B>) -> Self {
        Self { shape: tensor.shape().dims(), values: B::values(tensor) }
    }

    fn values(&self) -> &[f32] {
        B::slice(&self.values)
    }
}

/// A tensor of values, which are not copied.
fn tensor<B: CpuBackend, const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(values, shape), &Default::default())
}

fn network(estimator: &FoldedEstimator) -> &PackedEstimator {
    estimator.arranged(|estimator| PackedEstimator::new(&estimator.layers))
}

impl<B: CpuBackend> EnhanceOps for B {
    fn enhance_planes(
        image: FloatTensor<Self>,
        estimator: Arc<FoldedEstimator>,
        rendering: Rendering,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let image = Host::<Self, 4>::new(image);
        let [illumination, reflectance] =
            cpu::enhance_planes(network(&estimator), image.shape, rendering, image.values());
        (tensor::<Self, 4>(illumination, image.shape), tensor::<Self, 4>(reflectance, image.shape))
    }
}

impl<B: CpuBackend> PixelOps for B {
    fn enhance_pixels<P: EnhancePixel>(
        _: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        rendering: Rendering,
        source: Samples<&[P::Subpixel]>,
        target: Samples<&mut [P::Subpixel]>,
    ) -> Result<()> {
        cpu::enhance_pixels::<P>(network(estimator), size, rendering, source, target);
        Ok(())
    }

    fn sample_pixels<P: EnhancePixel>(
        _: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        source: Samples<&[P::Subpixel]>,
        pieces: &[Piece],
    ) -> Result<Vec<Lit>> {
        Ok(cpu::sample_pixels::<P>(network(estimator), size, source, pieces))
    }
}

#[cfg(feature = "train")]
mod training {
    use super::{CpuBackend, Host, tensor};
    use crate::ops::cpu::norm::{self, Norm};
    use crate::ops::cpu::smoothness;
    use crate::ops::cpu::{conv3x3, images::Images};
    use crate::ops::{GradientOps, TrainingOps, Weighting};
    use burn::backend::tensor::FloatTensor;

    impl<B: CpuBackend> Host<B, 4> {
        fn images(&self) -> Images<'_> {
            Images { values: self.values(), shape: self.shape }
        }
    }

    impl<B: CpuBackend> TrainingOps for B {
        fn smoothness(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> FloatTensor<Self> {
            let [input, illumination] = [input, illumination].map(Host::<Self, 4>::new);
            let loss = smoothness::loss(input.images(), illumination.images(), weighting);
            tensor::<Self, 1>(vec![loss], [1])
        }

        fn conv3x3(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let [image, weight] = [image, weight].map(Host::<Self, 4>::new);
            let bias = Host::<Self, 1>::new(bias);
            let result = conv3x3::forward(image.images(), weight.values(), bias.values());
            let [batch, _, height, width] = image.shape;
            tensor::<Self, 4>(result, [batch, bias.shape[0], height, width])
        }

        fn norm_relu(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            norm_relu::<Self>(image, weight, bias, None, epsilon)
        }

        fn norm_relu_residual(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            residual: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            norm_relu::<Self>(image, weight, bias, Some(residual), epsilon)
        }
    }

    fn norm_relu<B: CpuBackend>(
        image: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        residual: Option<FloatTensor<B>>,
        epsilon: f32,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let image = Host::<B, 4>::new(image);
        let [weight, bias] = [weight, bias].map(Host::<B, 1>::new);
        let residual = residual.map(Host::<B, 4>::new);
        let [mean, variance] = norm::statistics(image.images());
        let (weight_values, bias) = (weight.values(), bias.values());
        let norm = Norm { weight: weight_values, bias, mean: &mean, variance: &variance, epsilon };
        let residual = residual.as_ref().map(|residual| residual.values());
        let result = norm::norm_relu(image.images(), norm, residual);
        (
            tensor::<B, 4>(result, image.shape),
            tensor::<B, 1>(mean, weight.shape),
            tensor::<B, 1>(variance, weight.shape),
        )
    }

    impl<B: CpuBackend> GradientOps for B {
        fn smoothness_gradients(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let [input, illumination] = [input, illumination].map(Host::<Self, 4>::new);
            let (loss, gradients) =
                smoothness::loss_and_gradients(input.images(), illumination.images(), weighting);
            let [of_input, of_illumination] =
                gradients.map(|values| tensor::<Self, 4>(values, input.shape));
            (tensor::<Self, 1>(vec![loss], [1]), of_input, of_illumination)
        }

        fn conv3x3_backward_image(
            weight: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let [weight, gradient] = [weight, gradient].map(Host::<Self, 4>::new);
            let [_, inputs, ..] = weight.shape;
            let result = conv3x3::backward_images(gradient.images(), weight.values(), inputs);
            let [batch, _, height, width] = gradient.shape;
            tensor::<Self, 4>(result, [batch, inputs, height, width])
        }

        fn conv3x3_backward_weight(
            image: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let [image, gradient] = [image, gradient].map(Host::<Self, 4>::new);
            let [weight, bias] = conv3x3::backward_weights(image.images(), gradient.images());
            let [inputs, outputs] = [image.shape[1], gradient.shape[1]];
            (tensor::<Self, 4>(weight, [outputs, inputs, 3, 3]), tensor::<Self, 1>(bias, [outputs]))
        }

        fn norm_relu_backward(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            mean: FloatTensor<Self>,
            variance: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let [image, gradient] = [image, gradient].map(Host::<Self, 4>::new);
            let [weight, bias, mean, variance] =
                [weight, bias, mean, variance].map(Host::<Self, 1>::new);
            let norm = Norm {
                weight: weight.values(),
                bias: bias.values(),
                mean: mean.values(),
                variance: variance.values(),
                epsilon,
            };
            let result = norm::norm_relu_backward(image.images(), norm, gradient.values());
            (
                tensor::<Self, 4>(result.image, image.shape),
                tensor::<Self, 1>(result.weight, weight.shape),
                tensor::<Self, 1>(result.bias, weight.shape),
            )
        }
    }
}
