//! The operations on an autodiff backend: forward on the backend below, backward by its gradients.

#[cfg(any(feature = "flex", feature = "ndarray"))]
use crate::ops::network::ConvNetwork;
#[cfg(feature = "cube")]
use crate::ops::{LayerGradientOps, LayerOps};
#[cfg(any(feature = "flex", feature = "ndarray"))]
use crate::ops::{NetworkGradientOps, NetworkOps};
use crate::ops::{SmoothnessGradientOps, SmoothnessOps, Weighting};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};
#[cfg(any(feature = "flex", feature = "ndarray"))]
use std::sync::Arc;

impl<B: SmoothnessOps + SmoothnessGradientOps, C: CheckpointStrategy> SmoothnessOps
    for Autodiff<B, C>
{
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
}

#[cfg(any(feature = "flex", feature = "ndarray"))]
impl<B: NetworkOps + NetworkGradientOps, C: CheckpointStrategy> NetworkOps for Autodiff<B, C> {
    fn conv_network(
        image: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        network: Arc<ConvNetwork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [image.node(), parameters.node()];
        let [image, parameters] = [image, parameters].map(Self::inner);
        let (result, statistics) =
            match NetworkBackward.prepare::<C>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => {
                    let (result, statistics, saved) =
                        B::conv_network_saving(image, parameters, network);
                    (prepared.finish(saved, result), statistics)
                }
                OpsKind::UnTracked(prepared) => {
                    let (result, statistics) = B::conv_network(image, parameters, network);
                    (prepared.finish(result), statistics)
                }
            };
        (result, Self::from_inner(statistics))
    }
}

#[cfg(feature = "cube")]
impl<B: LayerOps + LayerGradientOps, C: CheckpointStrategy> LayerOps for Autodiff<B, C> {
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

impl<B: SmoothnessGradientOps> Backward<B, 2> for SmoothnessBackward {
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

#[cfg(any(feature = "flex", feature = "ndarray"))]
#[derive(Debug)]
struct NetworkBackward;

#[cfg(any(feature = "flex", feature = "ndarray"))]
impl<B: NetworkGradientOps> Backward<B, 2> for NetworkBackward {
    type State = B::Saved;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [image_node, parameters_node] = ops.parents.map(|node| node.map(|node| node.id));
        let (image, parameters) =
            B::conv_network_backward(ops.state, gradient, image_node.is_some());
        register::<B, 1>([parameters_node], [parameters], gradients);
        if let Some(image) = image {
            register::<B, 1>([image_node], [image], gradients);
        }
    }
}

#[cfg(feature = "cube")]
#[derive(Debug)]
struct Conv3x3Backward;

#[cfg(feature = "cube")]
impl<B: LayerGradientOps> Backward<B, 3> for Conv3x3Backward {
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

#[cfg(feature = "cube")]
#[derive(Clone, Debug)]
struct NormReluState<B: Backend> {
    image: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    /// The batch's mean and variance.
    statistics: [FloatTensor<B>; 2],
    epsilon: f32,
}

#[cfg(feature = "cube")]
impl<B: LayerGradientOps> NormReluState<B> {
    /// The gradients with respect to image, weight and bias.
    fn gradients(self, gradient: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let Self { image, weight, bias, statistics: [mean, variance], epsilon } = self;
        B::norm_relu_backward(image, weight, bias, mean, variance, gradient, epsilon).into()
    }
}

#[cfg(feature = "cube")]
#[derive(Debug)]
struct NormReluBackward;

#[cfg(feature = "cube")]
impl<B: LayerGradientOps> Backward<B, 3> for NormReluBackward {
    type State = NormReluState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        register::<B, 3>(nodes, ops.state.gradients(gradient), gradients);
    }
}

#[cfg(feature = "cube")]
#[derive(Debug)]
struct NormReluResidualBackward;

#[cfg(feature = "cube")]
impl<B: LayerGradientOps> Backward<B, 4> for NormReluResidualBackward {
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
