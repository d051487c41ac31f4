//! The operations on an autodiff backend: forward on the backend below, backward by its gradients.

use crate::ops::network::ConvNetwork;
use crate::ops::packed::padded;
use crate::ops::{
    MOST_PACKED, NetworkGradientOps, NetworkOps, PackOps, SmoothnessGradientOps, SmoothnessOps,
    Weighting,
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend, Shape, TensorMetadata};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};
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

impl<B: PackOps, C: CheckpointStrategy> PackOps for Autodiff<B, C> {
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
        let tensors = [t0, t1, t2, t3, t4, t5, t6, t7];
        let nodes = tensors.each_ref().map(|tensor| tensor.node());
        let tensors = tensors.map(Self::inner);
        let shapes = tensors.iter().take(count).map(TensorMetadata::shape).collect();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = tensors;
        let packed = B::pack(t0, t1, t2, t3, t4, t5, t6, t7, count);
        match PackBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(shapes, packed),
            OpsKind::UnTracked(prepared) => prepared.finish(packed),
        }
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

#[derive(Debug)]
struct NetworkBackward;

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

#[derive(Debug)]
struct PackBackward;

impl<B: Backend> Backward<B, MOST_PACKED> for PackBackward {
    /// Of the tensors that are packed, which are not always all.
    type State = Vec<Shape>;

    fn backward(
        self,
        ops: Ops<Self::State, MOST_PACKED>,
        gradients: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let mut place = 0;
        for (node, shape) in ops.parents.into_iter().zip(ops.state) {
            let count = shape.num_elements();
            if let Some(node) = node {
                let values = (place as isize..(place + count) as isize).into();
                let own = B::float_slice(gradient.clone(), &[values]);
                gradients.register::<B>(node.id, B::float_reshape(own, shape));
            }
            place += padded(count);
        }
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
