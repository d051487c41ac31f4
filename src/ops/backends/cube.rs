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

/// Whether the kernels can take images of this shape with an estimator that they take.
pub(super) fn takes_images(estimator: &FoldedEstimator, shape: [usize; 4]) -> bool {
    prepared(estimator).takes(shape)
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
    use crate::ops::cube::{network, training};
    use crate::ops::network::{ConvNetwork, Momentum};
    use crate::ops::packed::MOST_PACKED;
    use crate::ops::{
        LossGradientOps, LossOps, NetworkGradientOps, NetworkKernelOps, NetworkOps, PackOps,
        ReflectanceGradientOps, ReflectanceOps, StatisticsOps, UnpackOps, Wanted, Weighting,
    };
    use burn::backend::Backend;
    use burn::backend::fusion::{Fusion, FusionBackend};
    use burn::backend::tensor::FloatTensor;
    use burn_cubecl::CubeBackend;
    use std::ops::Range;
    use std::sync::Arc;

    impl LossOps for CubeBackend {
        fn loss(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let ([loss, terms], _) = training::loss(input, illumination, weighting, false);
            (loss, terms)
        }
    }

    impl LossGradientOps for CubeBackend {
        fn loss_gradients(
            input: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            weighting: Weighting,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let ([loss, terms], gradients) = training::loss(input, illumination, weighting, true);
            let [input, illumination] = gradients.expect("they were asked for");
            (loss, terms, input, illumination)
        }

        fn scale_both(
            first: FloatTensor<Self>,
            second: FloatTensor<Self>,
            factor: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            training::scale_both([first, second], factor).into()
        }
    }

    impl ReflectanceOps for CubeBackend {
        fn reflectance(
            image: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            training::reflectance(image, illumination)
        }
    }

    impl ReflectanceGradientOps for CubeBackend {
        fn reflectance_gradients(
            image: FloatTensor<Self>,
            illumination: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            training::reflectance_gradients(image, illumination, gradient).into()
        }
    }

    impl UnpackOps for CubeBackend {
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
            training::unpack(packed, places).into()
        }
    }

    impl PackOps for CubeBackend {
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
            training::pack([t0, t1, t2, t3, t4, t5, t6, t7], count)
        }
    }

    impl StatisticsOps for CubeBackend {
        fn update_running(
            running: FloatTensor<Self>,
            statistics: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
            momentum: Momentum,
        ) -> FloatTensor<Self> {
            network::update_running(running, statistics, &network, momentum)
        }
    }

    impl NetworkKernelOps for CubeBackend {
        fn network_forward(
            image: FloatTensor<Self>,
            parameters: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            network::forward(&network, image, parameters).into()
        }

        fn network_backward_to_parameters(
            image: FloatTensor<Self>,
            parameters: FloatTensor<Self>,
            statistics: FloatTensor<Self>,
            saved: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
        ) -> FloatTensor<Self> {
            let saved = [statistics, saved];
            let wants = Wanted { image: false, parameters: true };
            let [_, own] = network::backward(&network, image, parameters, saved, gradient, wants);
            own.expect("it was asked for")
        }

        fn network_backward_to_image(
            image: FloatTensor<Self>,
            parameters: FloatTensor<Self>,
            statistics: FloatTensor<Self>,
            saved: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
        ) -> FloatTensor<Self> {
            let saved = [statistics, saved];
            let wants = Wanted { image: true, parameters: false };
            let [own, _] = network::backward(&network, image, parameters, saved, gradient, wants);
            own.expect("it was asked for")
        }

        fn network_backward(
            image: FloatTensor<Self>,
            parameters: FloatTensor<Self>,
            statistics: FloatTensor<Self>,
            saved: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            network: Arc<ConvNetwork>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let saved = [statistics, saved];
            let wants = Wanted { image: true, parameters: true };
            let own = network::backward(&network, image, parameters, saved, gradient, wants);
            own.map(|own| own.expect("it was asked for")).into()
        }
    }

    /// What a network's backward pass needs of its forward pass.
    #[derive(Clone, Debug)]
    pub(crate) struct SavedNetwork<B: Backend> {
        image: FloatTensor<B>,
        parameters: FloatTensor<B>,
        statistics: FloatTensor<B>,
        /// See [`NetworkKernelOps::network_forward`].
        saved: FloatTensor<B>,
        network: Arc<ConvNetwork>,
    }

    macro_rules! network_ops {
        ($backend:ty $(, $parameter:ident: $bound:path)?) => {
            impl$(<$parameter: $bound + NetworkKernelOps>)? NetworkOps for $backend {
                fn conv_network(
                    image: FloatTensor<Self>,
                    parameters: FloatTensor<Self>,
                    network: Arc<ConvNetwork>,
                ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                    let (result, statistics, _) =
                        Self::network_forward(image, parameters, network);
                    (result, statistics)
                }
            }

            impl$(<$parameter: $bound + NetworkKernelOps>)? NetworkGradientOps for $backend {
                type Saved = SavedNetwork<Self>;

                fn conv_network_saving(
                    image: FloatTensor<Self>,
                    parameters: FloatTensor<Self>,
                    network: Arc<ConvNetwork>,
                ) -> (FloatTensor<Self>, FloatTensor<Self>, Self::Saved) {
                    let (result, statistics, saved) =
                        Self::network_forward(image.clone(), parameters.clone(), network.clone());
                    let kept = statistics.clone();
                    let saved =
                        SavedNetwork { image, parameters, statistics: kept, saved, network };
                    (result, statistics, saved)
                }

                fn conv_network_backward(
                    saved: Self::Saved,
                    gradient: FloatTensor<Self>,
                    wants: Wanted,
                ) -> [Option<FloatTensor<Self>>; 2] {
                    let SavedNetwork { image, parameters, statistics, saved, network } = saved;
                    match wants {
                        Wanted { image: false, .. } => {
                            let own = Self::network_backward_to_parameters(
                                image, parameters, statistics, saved, gradient, network,
                            );
                            [None, Some(own)]
                        }
                        Wanted { parameters: false, .. } => {
                            let own = Self::network_backward_to_image(
                                image, parameters, statistics, saved, gradient, network,
                            );
                            [Some(own), None]
                        }
                        Wanted { image: true, parameters: true } => {
                            let own = Self::network_backward(
                                image, parameters, statistics, saved, gradient, network,
                            );
                            <[_; 2]>::from(own).map(Some)
                        }
                    }
                }
            }
        };
    }

    // As good as the same for both, but nothing that both are, and the CPU backends are not.
    network_ops!(CubeBackend);
    network_ops!(Fusion<B>, B: FusionBackend);
}
