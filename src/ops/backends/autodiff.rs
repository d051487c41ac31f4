//! The operations on an autodiff backend: forward on the backend below, backward by its gradients.

use crate::ops::network::ConvNetwork;
use crate::ops::packed::{MOST_PACKED, filled, places};
use crate::ops::{
    LossGradientOps, LossOps, NetworkGradientOps, NetworkOps, PackOps, ReflectanceGradientOps,
    ReflectanceOps, UnpackOps, Wanted, Weighting,
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend, Shape, TensorMetadata};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};
use std::sync::Arc;

impl<B: LossOps + LossGradientOps, C: CheckpointStrategy> LossOps for Autodiff<B, C> {
    fn loss(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [input.node(), illumination.node()];
        let (input, illumination) = (Self::inner(input), Self::inner(illumination));
        let (loss, terms) = match LossBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (loss, terms, input, illumination) =
                    B::loss_gradients(input, illumination, weighting);
                (prepared.finish([input, illumination], loss), terms)
            }
            OpsKind::UnTracked(prepared) => {
                let (loss, terms) = B::loss(input, illumination, weighting);
                (prepared.finish(loss), terms)
            }
        };
        (loss, Self::from_inner(terms))
    }
}

impl<B, C> ReflectanceOps for Autodiff<B, C>
where
    B: ReflectanceOps + ReflectanceGradientOps,
    C: CheckpointStrategy,
{
    fn reflectance(image: FloatTensor<Self>, illumination: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [image.node(), illumination.node()];
        let [image, illumination] = [image, illumination].map(Self::inner);
        let result = B::reflectance(image.clone(), illumination.clone());
        match ReflectanceBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish([image, illumination], result),
            OpsKind::UnTracked(prepared) => prepared.finish(result),
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

impl<B: PackOps + UnpackOps, C: CheckpointStrategy> PackOps for Autodiff<B, C> {
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
        let nodes = std::array::from_fn(|index| match index < count {
            true => tensors[index].node(),
            // A node of its own: it would be a parent twice, which never gets its second gradient.
            false => Self::from_inner(Self::inner(tensors[index].clone())).node(),
        });
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
struct LossBackward;

impl<B: LossGradientOps> Backward<B, 2> for LossBackward {
    /// The gradients of the loss, which the forward pass has computed already.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [input, illumination] = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let (input, illumination) = B::scale_both(input, illumination, gradient);
        register::<B, 2>(nodes, [input, illumination].map(Some), gradients);
    }
}

#[derive(Debug)]
struct ReflectanceBackward;

impl<B: ReflectanceGradientOps> Backward<B, 2> for ReflectanceBackward {
    /// Image and illumination.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [image, illumination] = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let (image, illumination) = B::reflectance_gradients(image, illumination, gradient);
        register::<B, 2>(nodes, [image, illumination].map(Some), gradients);
    }
}

#[derive(Debug)]
struct NetworkBackward;

impl<B: NetworkGradientOps> Backward<B, 2> for NetworkBackward {
    type State = B::Saved;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let wants = Wanted { image: nodes[0].is_some(), parameters: nodes[1].is_some() };
        let own = B::conv_network_backward(ops.state, gradient, wants);
        register::<B, 2>(nodes, own, gradients);
    }
}

#[derive(Debug)]
struct PackBackward;

impl<B: UnpackOps> Backward<B, MOST_PACKED> for PackBackward {
    /// Of the tensors that are packed, which are not always all.
    type State = Vec<Shape>;

    fn backward(
        self,
        ops: Ops<Self::State, MOST_PACKED>,
        gradients: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let places: Vec<_> = places(ops.state.iter().map(Shape::num_elements)).collect();
        let (t0, t1, t2, t3, t4, t5, t6, t7) = B::unpack(gradient, filled(&places));
        let parts = [t0, t1, t2, t3, t4, t5, t6, t7].into_iter();
        for ((node, part), shape) in ops.parents.into_iter().zip(parts).zip(ops.state) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, B::float_reshape(part, shape));
            }
        }
    }
}

/// Adds the gradients that there are to the nodes that want them.
fn register<B: Backend, const N: usize>(
    nodes: [Option<NodeId>; N],
    own: [Option<FloatTensor<B>>; N],
    gradients: &mut Gradients,
) {
    for (node, own) in nodes.into_iter().zip(own) {
        if let (Some(node), Some(own)) = (node, own) {
            gradients.register::<B>(node, own);
        }
    }
}
