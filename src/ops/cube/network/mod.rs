//! A network of 3×3 convolutions for training: a launch for each layer forward, and two for each backward. What follows
//! a convolution is done where the next one loads its result, so that no pass over memory is made for it alone.

mod backward;
mod convolution;
mod forward;
mod images;
mod moments;
mod norm;
mod output;
mod running;
mod saved;
mod weights;

use super::buffers::{empty, like, linear, part, words};
use super::limits::workgroup;
use crate::ops::Wanted;
use crate::ops::network::{ConvNetwork, Momentum, Output};
use crate::ops::packed::padded;
use backward::{Added, Backward, Between};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use convolution::{Convolution, MOMENTS};
use forward::{Forward, Source};
use images::Images;
use moments::PASSED;
use norm::NormPlaceLaunch;
use output::Form;
use saved::Saved;
use weights::{Parts, Plan, WeightGradient};

pub(crate) use saved::{fits, saved_floats};

/// Where a layer's normalization has its numbers, if it has one.
fn norm_place(network: &ConvNetwork, layer: Option<usize>) -> NormPlaceLaunch {
    let norm = layer.and_then(|layer| Some((layer, network.layers[layer].norm()?)));
    let (layer, [scales, shifts]) = norm.unwrap_or_default();
    NormPlaceLaunch::new(scales.start, shifts.start, network.statistics_before(layer))
}

/// What a network gives: the result, its statistics, and what the backward pass needs. See
/// [`NetworkKernelOps`](crate::ops::NetworkKernelOps).
pub(crate) fn forward(
    network: &ConvNetwork,
    image: CubeTensor,
    parameters: CubeTensor,
) -> [CubeTensor; 3] {
    let [image, parameters] = [image, parameters].map(into_contiguous);
    let (client, images) = (image.client.clone(), Images::of(&image));
    let Images { batch, height, width } = images;
    let tiles = images.tiles();
    let result = empty(&image, [batch, network.outputs(), height, width]);
    let statistics = empty(&image, [network.statistics().max(1)]);
    let places = Saved::of(network, images.pixels());
    let saved = empty(&image, [places.floats]);
    let floats = |count: usize| client.empty(count * size_of::<f32>());
    // A kernel needs something in the place of what it does not touch.
    let nothing = || floats(1);
    let mut moments_before = parameters.handle.clone();
    for (index, layer) in network.layers.iter().enumerate() {
        let before = index.checked_sub(1);
        let is_last = index + 1 == network.layers.len();
        let residual = before.and_then(|before| network.layers[before].residual);
        let kernel = Forward {
            conv: Convolution { inputs: layer.inputs, outputs: layer.outputs, transposed: false },
            source: match before {
                None => Source::Image,
                Some(before) => Source::Results {
                    normalized: network.layers[before].norm.is_some(),
                    residual: residual.is_some(),
                },
            },
            measured: layer.norm.is_some(),
            output: is_last.then(|| Form::of(network.output)).flatten(),
        };
        let of_saved = |place: &Option<_>| place.as_ref().map(|place| part(&saved.handle, place));
        let source = before
            .map_or(Some(image.handle.clone()), |before| of_saved(&places.layers[before].result));
        let residual = residual.and_then(|earlier| of_saved(&places.layers[earlier].activations));
        let activations = before.and_then(|before| of_saved(&places.layers[before].activations));
        let own_result = of_saved(&places.layers[index].result);
        let moments = match kernel.measured {
            true => floats(layer.outputs * tiles * MOMENTS),
            false => nothing(),
        };
        let output = if kernel.output.is_some() { result.handle.clone() } else { nothing() };
        // SAFETY: the kernel keeps to the channels and pixels of images and results, to the parameters of a network
        // whose layers fit together, and there are moments for each tile.
        unsafe {
            forward::apply_layer::launch_unchecked(
                &client,
                images.workgroups(kernel.conv),
                workgroup(kernel.conv.units(), kernel.conv.floats()),
                words(&source.expect("hidden results are saved")),
                words(&residual.unwrap_or_else(|| parameters.handle.clone())),
                words(&moments_before),
                words(&parameters.handle),
                words(&image.handle),
                words(&activations.unwrap_or_else(nothing)),
                words(&own_result.unwrap_or_else(|| result.handle.clone())),
                words(&moments),
                words(&statistics.handle),
                words(&output),
                images.launch(),
                layer.weights().start,
                layer.biases().start,
                norm_place(network, before),
                tiles,
                network.epsilon,
                output::least(network.output),
                kernel,
            );
        }
        moments_before = moments;
    }
    [result, statistics, saved]
}

/// The gradients with respect to the image and to the parameters that are wanted. The first arguments are those of
/// [`forward`] and what it gave; `gradient` is that with respect to the result.
pub(crate) fn backward(
    network: &ConvNetwork,
    image: CubeTensor,
    parameters: CubeTensor,
    [statistics, saved]: [CubeTensor; 2],
    gradient: CubeTensor,
    wants: Wanted,
) -> [Option<CubeTensor>; 2] {
    let [image, parameters, gradient] = [image, parameters, gradient].map(into_contiguous);
    let (client, images) = (image.client.clone(), Images::of(&image));
    let tiles = images.tiles();
    let places = Saved::of(network, images.pixels());
    let floats = |count: usize| client.empty(count * size_of::<f32>());
    let nothing = || floats(1);
    let of_saved = |place: &Option<_>| place.as_ref().map(|place| part(&saved.handle, place));
    let sums = Sums::new(network, &image, &parameters, wants);
    let image_gradient = wants.image.then(|| empty(&image, image.meta.shape().dims::<4>()));
    let last = network.layers.len() - 1;
    let of_result = match Form::of(network.output) {
        None => gradient.handle.clone(),
        Some(form) => {
            let of_result = floats(network.outputs() * images.pixels());
            let result = of_saved(&places.layers[last].result).expect("it is saved");
            let of_image = image_gradient.as_ref().map(|image| image.handle.clone());
            let elements = network.outputs() * images.pixels();
            // SAFETY: image and result have as many values, and a unit without one does nothing.
            unsafe {
                output::gradients::launch_unchecked(
                    &client,
                    linear(elements.div_ceil(output::WORKERS)),
                    workgroup(output::WORKERS, 0),
                    words(&image.handle),
                    words(&result),
                    words(&gradient.handle),
                    words(&of_result),
                    words(&of_image.unwrap_or_else(nothing)),
                    output::least(network.output),
                    form,
                    wants.image,
                );
            }
            of_result
        }
    };
    // With respect to each layer's activations, from when it is known to when it is not needed any more; for the last
    // layer with respect to its convolution's result.
    let mut gradients: Vec<Option<Handle>> = vec![None; network.layers.len()];
    gradients[last] = Some(of_result);
    for (index, layer) in network.layers.iter().enumerate().rev() {
        let own = gradients[index].take().expect("the layers after this one gave it");
        let before = index.checked_sub(1);
        let undone = match layer.norm {
            _ if index == last => Between::Nothing,
            Some(_) => Between::NormRelu,
            None => Between::Relu,
        };
        // The gradient of what is added to the activations before this layer is added to theirs.
        let adding = before.and_then(|before| network.added_by(before));
        let (target, added) = match (adding, before) {
            (Some(adding), _) if adding == index => (None, Added::Gradient),
            (Some(adding), _) => (gradients[adding].take(), Added::Target),
            (None, Some(_)) => (None, Added::None),
            (None, None) => {
                let target = image_gradient.as_ref().map(|image| image.handle.clone());
                // What does not come through the network is there already.
                let there = target.is_some() && network.output != Output::Conv;
                (target, if there { Added::Target } else { Added::None })
            }
        };
        let wanted = before.is_some() || wants.image;
        let mut of_own_result = own.clone();
        if wanted || undone != Between::Nothing {
            let normalized_before = before.filter(|before| network.layers[*before].norm.is_some());
            let conv =
                Convolution { inputs: layer.outputs, outputs: layer.inputs, transposed: true };
            let normalized = normalized_before.is_some();
            let kernel = Backward { conv, wanted, undone, added, normalized_before: normalized };
            let room = if wanted { layer.inputs * images.pixels() } else { 1 };
            let target = target.unwrap_or_else(|| floats(room));
            if undone != Between::Nothing {
                of_own_result = floats(layer.outputs * images.pixels());
            }
            let written =
                if undone == Between::Nothing { nothing() } else { of_own_result.clone() };
            let result = of_saved(&places.layers[index].result);
            let result_before =
                normalized_before.and_then(|before| of_saved(&places.layers[before].result));
            let something = || parameters.handle.clone();
            // SAFETY: the kernel keeps to the channels and pixels of images and results, to the parameters of a
            // network whose layers fit together, and there are sums for each tile.
            unsafe {
                backward::input_gradient::launch_unchecked(
                    &client,
                    images.workgroups(conv),
                    workgroup(conv.units(), conv.floats()),
                    words(&own),
                    words(&result.unwrap_or_else(something)),
                    words(&sums.passed(index).unwrap_or_else(something)),
                    words(&parameters.handle),
                    words(&statistics.handle),
                    words(&result_before.unwrap_or_else(something)),
                    words(&written),
                    words(&target),
                    words(&normalized_before.and_then(|b| sums.passed(b)).unwrap_or_else(nothing)),
                    images.launch(),
                    layer.weights().start,
                    norm_place(network, Some(index)),
                    norm_place(network, before),
                    tiles,
                    network.epsilon,
                    kernel,
                );
            }
            if let Some(before) = before {
                gradients[before] = Some(target);
            }
        }
        if wants.parameters {
            let source = before.map_or(Some(image.handle.clone()), |before| {
                of_saved(&places.layers[before].activations)
            });
            sums.convolution(index, &source.expect("activations are saved"), &of_own_result);
        }
        // It is still to be added where this layer's residual came from.
        if layer.residual.is_some_and(|residual| Some(residual) != before) {
            gradients[index] = Some(own);
        }
    }
    [image_gradient, wants.parameters.then(|| sums.finish())]
}

/// The parts of the sums that are the gradients with respect to the parameters.
struct Sums<'a> {
    network: &'a ConvNetwork,
    parameters: &'a CubeTensor,
    images: Images,
    /// Of the convolutions' parameters, one layer's after the other's.
    partial: Handle,
    /// Of what passed the normalizations' ReLUs, one channel's after the other's.
    passed: Handle,
    /// For each layer the sums, and the channels that are normalized, of those before it.
    before: Vec<[usize; 2]>,
}

impl<'a> Sums<'a> {
    fn new(
        network: &'a ConvNetwork,
        image: &CubeTensor,
        parameters: &'a CubeTensor,
        wants: Wanted,
    ) -> Self {
        let images = Images::of(image);
        let mut before = vec![];
        let (mut sums, mut channels) = (0, 0);
        for layer in &network.layers {
            before.push([sums, channels]);
            sums += WeightGradient::of(layer).sums();
            channels += if layer.norm.is_some() { layer.outputs } else { 0 };
        }
        let partial = if wants.parameters { weights::floats(sums, images.regions()) } else { 1 };
        let passed = channels * padded(images.tiles()) * PASSED;
        let [partial, passed] =
            [partial, passed.max(1)].map(|floats| image.client.empty(floats * size_of::<f32>()));
        Self { network, parameters, images, partial, passed, before }
    }

    /// Those of a layer's normalization, if it has one.
    fn passed(&self, layer: usize) -> Option<Handle> {
        let (before, layer) = (self.before[layer][1], &self.network.layers[layer]);
        let channel = padded(self.images.tiles()) * PASSED;
        let place = before * channel..(before + layer.outputs) * channel;
        layer.norm.map(|_| part(&self.passed, &place))
    }

    /// The parts of a layer's convolution, applied to `source`, given the gradient with respect to its result.
    fn convolution(&self, layer: usize, source: &Handle, gradient: &Handle) {
        let kernel = WeightGradient::of(&self.network.layers[layer]);
        let [across, down] = self.images.divided(weights::REGION);
        let count = [kernel.blocks(), across * down, self.images.batch].map(|count| count as u32);
        // SAFETY: the kernel keeps to the channels and pixels of source and gradient, and there are as many parts as
        // its workgroups write.
        unsafe {
            weights::weight_gradient_parts::launch_unchecked(
                &self.parameters.client,
                CubeCount::Static(count[0], count[1], count[2]),
                workgroup(weights::WALKERS, weights::WALKER_FLOATS),
                words(source),
                words(gradient),
                words(&self.partial),
                self.images.launch(),
                weights::floats(self.before[layer][0], self.images.regions()),
                kernel,
            );
        }
    }

    /// The sums: the gradient with respect to the parameters.
    fn finish(self) -> CubeTensor {
        let layers = self.network.layers.iter().zip(&self.before);
        let plan = layers.flat_map(|(layer, &[sums, channels])| {
            let kernel = WeightGradient::of(layer);
            let weights = (layer.weights(), Parts::Weights { kernel, before: sums });
            let biases = (layer.biases(), Parts::Biases { kernel, before: sums });
            // The scales' gradients are the sums of the products, the shifts' those of what passed.
            let norm = layer.norm().into_iter().flat_map(move |[scales, shifts]| {
                let parts = move |number| Parts::Passed { number, before: channels };
                [(scales, parts(1)), (shifts, parts(0))]
            });
            [weights, biases].into_iter().chain(norm)
        });
        let plan = Plan(plan.collect());
        let [count] = self.parameters.meta.shape().dims();
        let gradient = empty(self.parameters, [count]);
        // SAFETY: the kernel keeps to the gradient's length, and to the parts that were written.
        unsafe {
            weights::parameter_gradients::launch_unchecked(
                &self.parameters.client,
                linear(count.div_ceil(weights::ADDERS)),
                workgroup(weights::ADDERS, 0),
                words(&self.partial),
                words(&self.passed),
                words(&gradient.handle),
                self.images.regions(),
                self.images.tiles(),
                plan,
            );
        }
        gradient
    }
}

/// See [`StatisticsOps::update_running`](crate::ops::StatisticsOps::update_running).
pub(crate) fn update_running(
    running: CubeTensor,
    statistics: CubeTensor,
    network: &ConvNetwork,
    Momentum { weight, unbiased }: Momentum,
) -> CubeTensor {
    let [running, statistics] = [running, statistics].map(into_contiguous);
    let result = like(&running);
    let [count] = running.meta.shape().dims();
    // SAFETY: the kernel keeps to the running statistics' length and to the places of the batch's.
    unsafe {
        running::update::launch_unchecked(
            &running.client,
            linear(count.div_ceil(running::WORKERS)),
            workgroup(running::WORKERS, 0),
            words(&running.handle),
            words(&statistics.handle),
            words(&result.handle),
            weight,
            unbiased,
            network.running(),
        );
    }
    result
}
