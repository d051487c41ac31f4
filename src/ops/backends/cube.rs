//! The operations on Burn's GPU backends, which share one type.

use crate::error::Result;
use crate::ops::cube::{self, Prepared};
use crate::ops::pixel::EnhancePixel;
use crate::ops::{EnhanceOps, FoldedEstimator, Lit, Piece, PixelOps, Rendering, Samples};
use burn::backend::fusion::{Fusion, FusionBackend};
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use std::sync::Arc;

fn prepared(estimator: &FoldedEstimator) -> &Prepared {
    let prepared = estimator.arranged(Prepared::new).as_ref();
    prepared.expect("kernels are called with estimators that they take")
}

/// Whether the kernels can take an estimator.
pub(super) fn takes(estimator: &FoldedEstimator) -> bool {
    estimator.arranged(Prepared::new).is_some()
}

impl EnhanceOps for CubeBackend {
    fn enhance_planes(
        image: FloatTensor<Self>,
        estimator: Arc<FoldedEstimator>,
        rendering: Rendering,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        cube::enhance_planes(prepared(&estimator), rendering, image).into()
    }
}

impl PixelOps for CubeBackend {
    fn enhance_pixels<P: EnhancePixel>(
        routing: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        rendering: Rendering,
        source: Samples<&[P::Subpixel]>,
        target: Samples<&mut [P::Subpixel]>,
    ) -> Result<()> {
        let prepared = prepared(estimator);
        cube::enhance_pixels::<P>(&routing.client, prepared, size, rendering, source, target)
    }

    fn sample_pixels<P: EnhancePixel>(
        routing: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        source: Samples<&[P::Subpixel]>,
        pieces: &[Piece],
    ) -> Result<Vec<Lit>> {
        cube::sample_pixels::<P>(&routing.client, prepared(estimator), size, source, pieces)
    }
}

/// What borrows host memory cannot be deferred: the routing tensor is brought out of the queue, and the backend
/// below does the work at once.
impl<B: FusionBackend + PixelOps> PixelOps for Fusion<B> {
    fn enhance_pixels<P: EnhancePixel>(
        routing: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        rendering: Rendering,
        source: Samples<&[P::Subpixel]>,
        target: Samples<&mut [P::Subpixel]>,
    ) -> Result<()> {
        let routing = routing.client.clone().resolve_tensor_float::<B>(routing);
        B::enhance_pixels::<P>(routing, estimator, size, rendering, source, target)
    }

    fn sample_pixels<P: EnhancePixel>(
        routing: FloatTensor<Self>,
        estimator: &FoldedEstimator,
        size: [usize; 2],
        source: Samples<&[P::Subpixel]>,
        pieces: &[Piece],
    ) -> Result<Vec<Lit>> {
        let routing = routing.client.clone().resolve_tensor_float::<B>(routing);
        B::sample_pixels::<P>(routing, estimator, size, source, pieces)
    }
}

#[cfg(feature = "train")]
mod training {
    use crate::ops::cube::training::{self, convolution};
    use crate::ops::{LayerGradientOps, LayerOps, SmoothnessGradientOps, SmoothnessOps, Weighting};
    use burn::backend::TensorMetadata;
    use burn::backend::tensor::FloatTensor;
    use burn_cubecl::CubeBackend;

    /// Outputs and inputs of a convolution's weights.
    fn channels(weight: &FloatTensor<CubeBackend>) -> [usize; 2] {
        let [outputs, inputs, ..] = weight.shape().dims::<4>();
        [outputs, inputs]
    }

    impl SmoothnessOps for CubeBackend {
        fn smoothness(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> FloatTensor<Self> {
            training::smoothness(input, illumination, weighting, false).0
        }
    }

    impl LayerOps for CubeBackend {
        fn conv3x3(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let [outputs, inputs] = channels(&weight);
            training::conv3x3(image, weight, Some(bias), convolution(inputs, outputs, false))
        }

        fn norm_relu(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            training::norm_relu(image, weight, bias, None, epsilon).into()
        }

        fn norm_relu_residual(
            image: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            residual: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            training::norm_relu(image, weight, bias, Some(residual), epsilon).into()
        }
    }

    impl SmoothnessGradientOps for CubeBackend {
        fn smoothness_gradients(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let (loss, gradients) = training::smoothness(input, illumination, weighting, true);
            let [input, illumination] = gradients.expect("they were asked for");
            (loss, input, illumination)
        }
    }

    impl LayerGradientOps for CubeBackend {
        fn conv3x3_backward_image(
            weight: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let [outputs, inputs] = channels(&weight);
            training::conv3x3(gradient, weight, None, convolution(outputs, inputs, true))
        }

        fn conv3x3_backward_weight(
            image: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            training::conv3x3_backward_weight(image, gradient).into()
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
            let statistics = [mean, variance];
            training::norm_relu_backward(image, [weight, bias], statistics, gradient, epsilon)
                .into()
        }
    }
}
