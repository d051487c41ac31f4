//! The operations on an autodiff backend: forward on the backend below, backward by its gradients.

use crate::ops::{GradientOps, TrainingOps, Weighting};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};

impl<B: TrainingOps + GradientOps, C: CheckpointStrategy> TrainingOps for Autodiff<B, C> {
    fn smoothness(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), illumination.node()];
        let (input, illumination) = (Self::inner(input), Self::inner(illumination));
        match SmoothnessBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (loss, input, illumination) =
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
        let nodes = [image.node(), weight.node(), bias.node()];
        let (image, weight) = (Self::inner(image), Self::inner(weight));
        let result = B::conv3x3(image.clone(), weight.clone(), Self::inner(bias));
        match Conv3x3Backward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((image, weight), result),
            OpsKind::UnTracked(prepared) => prepared.finish(result),
        }
    }

    fn norm_relu(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [image.node(), weight.node(), bias.node()];
        let [image, weight, bias] = [image, weight, bias].map(Self::inner);
        let (result, mean, variance) =
            B::norm_relu(image.clone(), weight.clone(), bias.clone(), epsilon);
        let statistics = [mean.clone(), variance.clone()];
        let result = match NormReluBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = NormReluState { image, weight, bias, statistics, epsilon };
                prepared.finish(state, result)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(result),
        };
        (result, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn norm_relu_residual(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [image.node(), weight.node(), bias.node(), residual.node()];
        let [image, weight, bias, residual] = [image, weight, bias, residual].map(Self::inner);
        let (result, mean, variance) =
            B::norm_relu_residual(image.clone(), weight.clone(), bias.clone(), residual, epsilon);
        let statistics = [mean.clone(), variance.clone()];
        let result = match NormReluResidualBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = NormReluState { image, weight, bias, statistics, epsilon };
                prepared.finish(state, result)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(result),
        };
        (result, Self::from_inner(mean), Self::from_inner(variance))
    }
}

#[derive(Debug)]
struct SmoothnessBackward;

impl<B: GradientOps> Backward<B, 2> for SmoothnessBackward {
    /// The gradients of the loss, which the forward pass has computed already.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let factor = B::float_reshape(gradient, [1, 1, 1, 1].into());
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        for (node, own) in nodes.into_iter().zip(ops.state) {
            if let Some(node) = node {
                gradients.register::<B>(node, B::float_mul(own, factor.clone()));
            }
        }
    }
}

#[derive(Debug)]
struct Conv3x3Backward;

impl<B: GradientOps> Backward<B, 3> for Conv3x3Backward {
    /// Images and weights.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [image_node, weight_node, bias_node] = ops.parents.map(|node| node.map(|node| node.id));
        let (image, weight) = ops.state;
        if weight_node.is_some() || bias_node.is_some() {
            let (weight, bias) = B::conv3x3_backward_weight(image, gradient.clone());
            register::<B, 2>([weight_node, bias_node], [weight, bias], gradients);
        }
        if let Some(node) = image_node {
            gradients.register::<B>(node, B::conv3x3_backward_image(weight, gradient));
        }
    }
}

#[derive(Clone, Debug)]
struct NormReluState<B: Backend> {
    image: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    /// The batch's mean and variance.
    statistics: [FloatTensor<B>; 2],
    epsilon: f32,
}

impl<B: GradientOps> NormReluState<B> {
    /// The gradients with respect to image, weight and bias.
    fn gradients(self, gradient: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let Self { image, weight, bias, statistics: [mean, variance], epsilon } = self;
        B::norm_relu_backward(image, weight, bias, mean, variance, gradient, epsilon).into()
    }
}

#[derive(Debug)]
struct NormReluBackward;

impl<B: GradientOps> Backward<B, 3> for NormReluBackward {
    type State = NormReluState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        register::<B, 3>(nodes, ops.state.gradients(gradient), gradients);
    }
}

#[derive(Debug)]
struct NormReluResidualBackward;

impl<B: GradientOps> Backward<B, 4> for NormReluResidualBackward {
    type State = NormReluState<B>;

    fn backward(self, ops: Ops<Self::State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [image, weight, bias, residual] = ops.parents.map(|node| node.map(|node| node.id));
        register::<B, 1>([residual], [gradient.clone()], gradients);
        register::<B, 3>([image, weight, bias], ops.state.gradients(gradient), gradients);
    }
}

/// Adds gradients to the nodes that want them.
fn register<B: Backend, const N: usize>(
    nodes: [Option<NodeId>; N],
    own: [FloatTensor<B>; N],
    gradients: &mut Gradients,
) {
    for (node, own) in nodes.into_iter().zip(own) {
        if let Some(node) = node {
            gradients.register::<B>(node, own);
        }
    }
}
