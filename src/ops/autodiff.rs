//! The operations on an autodiff backend: forward on the backend below, backward by its gradients.

use super::cpu::Weighting;
use super::{FoldedEstimator, SciGradients, SciOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use std::sync::Arc;

impl<B: SciOps + SciGradients, C: CheckpointStrategy> SciOps for Autodiff<B, C> {
    fn enhance(
        _: FloatTensor<Self>,
        _: Arc<FoldedEstimator>,
        _: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the one-pass kernel is for inference, which has no autodiff device")
    }

    fn smoothness(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Smoothness;

        impl<B: SciGradients> Backward<B, 2> for Smoothness {
            /// The gradients of the loss, which the forward pass has computed already.
            type State = [FloatTensor<B>; 2];

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = gradients.consume::<B>(&ops.node);
                let factor = B::float_reshape(gradient, [1, 1, 1, 1].into());
                for (parent, own) in ops.parents.into_iter().zip(ops.state) {
                    if let Some(parent) = parent {
                        gradients.register::<B>(parent.id, B::float_mul(own, factor.clone()));
                    }
                }
            }
        }

        let nodes = [input.node(), illumination.node()];
        let (input, illumination) = (Self::inner(input), Self::inner(illumination));
        match Smoothness.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let [loss, input, illumination] =
                    B::smoothness_gradients(input, illumination, weighting);
                prepared.finish([input, illumination], loss)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::smoothness(input, illumination, weighting))
            }
        }
    }

    fn conv3x3(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Conv3x3;

        impl<B: SciGradients> Backward<B, 3> for Conv3x3 {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = gradients.consume::<B>(&ops.node);
                let [image_node, weight_node, bias_node] = ops.parents;
                let (image, weight) = ops.state;
                if weight_node.is_some() || bias_node.is_some() {
                    let [weight, bias] = B::conv3x3_backward_weight(image, gradient.clone());
                    for (node, own) in [(weight_node, weight), (bias_node, bias)] {
                        if let Some(node) = node {
                            gradients.register::<B>(node.id, own);
                        }
                    }
                }
                if let Some(node) = image_node {
                    let image = B::conv3x3_backward_image(weight, gradient);
                    gradients.register::<B>(node.id, image);
                }
            }
        }

        let nodes = [image.node(), weight.node(), bias.node()];
        let (image, weight) = (Self::inner(image), Self::inner(weight));
        let result = B::conv3x3(image.clone(), weight.clone(), Self::inner(bias));
        match Conv3x3.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((image, weight), result),
            OpsKind::UnTracked(prepared) => prepared.finish(result),
        }
    }

    fn norm_relu(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        add: bool,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct NormRelu;

        #[derive(Clone, Debug)]
        struct State<B: Backend> {
            image: FloatTensor<B>,
            weight: FloatTensor<B>,
            bias: FloatTensor<B>,
            statistics: [FloatTensor<B>; 2],
            add: bool,
            epsilon: f32,
        }

        impl<B: SciGradients> Backward<B, 4> for NormRelu {
            type State = State<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 4>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let gradient = gradients.consume::<B>(&ops.node);
                let [image_node, weight_node, bias_node, residual_node] = ops.parents;
                let State { image, weight, bias, statistics, add, epsilon } = ops.state;
                if let Some(node) = residual_node.filter(|_| add) {
                    gradients.register::<B>(node.id, gradient.clone());
                }
                let [image, weight, bias] =
                    B::norm_relu_backward(image, weight, bias, statistics, epsilon, gradient);
                let own = [(image_node, image), (weight_node, weight), (bias_node, bias)];
                for (node, own) in own {
                    if let Some(node) = node {
                        gradients.register::<B>(node.id, own);
                    }
                }
            }
        }

        let nodes = [image.node(), weight.node(), bias.node(), residual.node()];
        let [image, weight, bias, residual] = [image, weight, bias, residual].map(Self::inner);
        let (result, mean, variance) =
            B::norm_relu(image.clone(), weight.clone(), bias.clone(), residual, add, epsilon);
        let statistics = [mean.clone(), variance.clone()];
        let result = match NormRelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = State { image, weight, bias, statistics, add, epsilon };
                prepared.finish(state, result)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(result),
        };
        (result, Self::from_inner(mean), Self::from_inner(variance))
    }
}
