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
pub(crate) trait CpuBackend: Backend {
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
    use crate::ops::cpu::images::Images;
    use crate::ops::cpu::loss;
    use crate::ops::cpu::network::{self, Forward, Saved};
    use crate::ops::cpu::pixelwise;
    use crate::ops::network::{ConvNetwork, Momentum};
    use crate::ops::packed::{MOST_PACKED, padded};
    use crate::ops::{
        LossGradientOps, LossOps, NetworkGradientOps, NetworkOps, PackOps, ReflectanceGradientOps,
        ReflectanceOps, StatisticsOps, UnpackOps, Wanted, Weighting,
    };
    use burn::backend::tensor::FloatTensor;
    use std::ops::Range;
    use std::sync::Arc;

    impl<B: CpuBackend> PackOps for B {
        fn pack(
            t0: FloatTensor<Self>,
            t1: FloatTensor<Self>,
            t2: FloatTensor<Self>,
            t3: FloatTensor<Self>,
            t4: FloatTensor<Self>,
            t5: FloatTensor<Self>,
            t6: FloatTensor<Self>,
            t7: FloatTensor<Self>,
            count: usize,
        ) -> FloatTensor<Self> {
            let mut packed = vec![];
            for tensor in [t0, t1, t2, t3, t4, t5, t6, t7].into_iter().take(count) {
                let values = B::values(tensor);
                packed.extend_from_slice(B::slice(&values));
                packed.resize(padded(packed.len()), 0.0);
            }
            let shape = [packed.len()];
            super::tensor::<Self, 1>(packed, shape)
        }
    }

    impl<B: CpuBackend> Host<B, 4> {
        fn images(&self) -> Images<'_> {
            Images { values: self.values(), shape: self.shape }
        }
    }

    impl<B: CpuBackend> LossOps for B {
        fn loss(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let [input, illumination] = [input, illumination].map(Host::<Self, 4>::new);
            let loss = loss::loss(input.images(), illumination.images(), weighting);
            (tensor::<Self, 1>(vec![loss.total], [1]), tensor::<Self, 1>(loss.terms.to_vec(), [2]))
        }
    }

    impl<B: CpuBackend> LossGradientOps for B {
        fn loss_gradients(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let [input, illumination] = [input, illumination].map(Host::<Self, 4>::new);
            let (loss, gradients) =
                loss::loss_and_gradients(input.images(), illumination.images(), weighting);
            let [of_input, of_illumination] =
                gradients.map(|values| tensor::<Self, 4>(values, input.shape));
            let terms = tensor::<Self, 1>(loss.terms.to_vec(), [2]);
            (tensor::<Self, 1>(vec![loss.total], [1]), terms, of_input, of_illumination)
        }

        fn scale_both(
            first: FloatTensor<Self>,
            second: FloatTensor<Self>,
            factor: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let [factor] = Host::<Self, 1>::new(factor).values()[..] else {
                panic!("a factor is one number")
            };
            let scale = |tensor| {
                let Host { shape, values } = Host::<Self, 4>::new(tensor);
                self::tensor::<Self, 4>(pixelwise::scaled(B::slice(&values), factor), shape)
            };
            (scale(first), scale(second))
        }
    }

    impl<B: CpuBackend> ReflectanceOps for B {
        fn reflectance(
            image: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let [image, illumination] = [image, illumination].map(Host::<Self, 4>::new);
            let values = pixelwise::reflectance(image.values(), illumination.values());
            tensor::<Self, 4>(values, image.shape)
        }
    }

    impl<B: CpuBackend> ReflectanceGradientOps for B {
        fn reflectance_gradients(
            image: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let [image, illumination, gradient] =
                [image, illumination, gradient].map(Host::<Self, 4>::new);
            let gradients = pixelwise::reflectance_gradients(
                image.values(),
                illumination.values(),
                gradient.values(),
            );
            gradients.map(|values| tensor::<Self, 4>(values, image.shape)).into()
        }
    }

    impl<B: CpuBackend> UnpackOps for B {
        fn unpack(
            packed: FloatTensor<Self>,
            places: [Range<usize>; MOST_PACKED],
        ) -> (
            FloatTensor<Self>,
            FloatTensor<Self>,
            FloatTensor<Self>,
            FloatTensor<Self>,
            FloatTensor<Self>,
            FloatTensor<Self>,
            FloatTensor<Self>,
            FloatTensor<Self>,
        ) {
            let packed = Host::<Self, 1>::new(packed);
            places
                .map(|place| {
                    let shape = [place.len()];
                    tensor::<Self, 1>(packed.values()[place].to_vec(), shape)
                })
                .into()
        }
    }

    impl<B: CpuBackend> StatisticsOps for B {
        fn update_running(
            running: FloatTensor<Self>,
            statistics: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
            momentum: Momentum,
        ) -> FloatTensor<Self> {
            let [running, statistics] = [running, statistics].map(Host::<Self, 1>::new);
            let values =
                network::update_running(running.values(), statistics.values(), &network, momentum);
            tensor::<Self, 1>(values, running.shape)
        }
    }

    impl<B: CpuBackend> NetworkOps for B {
        fn conv_network(
            image: FloatTensor<Self>,
            parameters: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let (result, statistics, _) = Self::conv_network_saving(image, parameters, network);
            (result, statistics)
        }
    }

    /// What a network's backward pass needs of its forward pass.
    #[derive(Clone, Debug)]
    pub(crate) struct SavedNetwork<B: CpuBackend> {
        image: FloatTensor<B>,
        parameters: FloatTensor<B>,
        network: Arc<ConvNetwork>,
        saved: Arc<Saved>,
    }

    impl<B: CpuBackend> NetworkGradientOps for B {
        type Saved = SavedNetwork<Self>;

        fn conv_network_saving(
            image: FloatTensor<Self>,
            parameters: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, Self::Saved) {
            let images = Host::<Self, 4>::new(image.clone());
            let values = Host::<Self, 1>::new(parameters.clone());
            let Forward { result, statistics, saved } =
                network::forward(&network, images.images(), values.values());
            let [batch, _, height, width] = images.shape;
            let result = tensor::<Self, 4>(result, [batch, network.outputs(), height, width]);
            let shape = [statistics.len()];
            let saved = SavedNetwork { image, parameters, network, saved: Arc::new(saved) };
            (result, tensor::<Self, 1>(statistics, shape), saved)
        }

        fn conv_network_backward(
            saved: Self::Saved,
            gradient: FloatTensor<Self>,
            wants: Wanted,
        ) -> [Option<FloatTensor<Self>>; 2] {
            let SavedNetwork { image, parameters, network, saved } = saved;
            let [image, gradient] = [image, gradient].map(Host::<Self, 4>::new);
            let parameters = Host::<Self, 1>::new(parameters);
            let (of_image, of_parameters) = network::backward(
                &network,
                image.images(),
                parameters.values(),
                &saved,
                gradient.images(),
                wants.image,
            );
            [
                of_image.map(|values| tensor::<Self, 4>(values, image.shape)),
                Some(tensor::<Self, 1>(of_parameters, parameters.shape)),
            ]
        }
    }
}
