//! A network of 3×3 convolutions for training, forward and backward. Between two layers there is nothing in memory
//! but the results of the convolutions: the statistics of a result are taken while it is in the cache, and it is
//! normalized, rectified and added to where the next convolution reads it.

mod activations;
mod backward;
mod forward;
mod maps;
mod moments;
mod output;
mod scratch;
mod winograd;

use super::images::Images;
use crate::ops::network::{ConvLayer, ConvNetwork, Momentum};
use activations::{Activations, Earlier, Norm, Rectified};
use backward::{Added, InputGradient, Sums, Undo};
use maps::Maps;
use scratch::Scratch;
use winograd::PairKernel;

/// Channels that are computed together, if their number allows, and otherwise.
const G: usize = 4;
const ODD_G: usize = 3;

/// What a network's forward pass gives.
pub(crate) struct Forward {
    /// `[batch, outputs, height, width]`
    pub(crate) result: Vec<f32>,
    /// For each normalization the batch's means, then its biased variances.
    pub(crate) statistics: Vec<f32>,
    pub(crate) saved: Saved,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Of each layer.
    layers: Vec<SavedLayer>,
}

#[derive(Debug)]
struct SavedLayer {
    /// The convolution's results.
    results: Maps,
    /// For each channel how these are normalized.
    norms: Vec<Norm>,
    /// The layer's activations, where it takes more than one other layer to compute them.
    activations: Option<Maps>,
}

impl SavedLayer {
    fn rectified(&self) -> Rectified<'_> {
        Rectified { results: &self.results, norms: &self.norms }
    }
}

/// What a layer is applied to.
fn source<'a>(
    network: &ConvNetwork,
    layer: usize,
    image: Images<'a>,
    saved: &'a [SavedLayer],
) -> Activations<'a> {
    let Some(before) = layer.checked_sub(1) else { return Activations::Image(image) };
    let (rectified, kept) = (saved[before].rectified(), saved[before].activations.as_ref());
    match (kept, network.layers[before].residual) {
        (Some(kept), _) => Activations::Kept(kept),
        (None, None) => Activations::Rectified(rectified),
        (None, Some(earlier)) => {
            let saved = &saved[earlier];
            let earlier = match &saved.activations {
                Some(kept) => Earlier::Kept(kept),
                None => Earlier::Rectified(saved.rectified()),
            };
            Activations::Residual(rectified, earlier)
        }
    }
}

/// Whether a layer's activations are kept: those of a residual block that more than the last layer needs.
fn keeps(network: &ConvNetwork, layer: usize) -> bool {
    let needed_again = layer + 2 < network.layers.len() || network.added_by(layer).is_some();
    network.layers[layer].residual.is_some() && needed_again
}

/// Applies a network to images, which are not empty. `parameters` are all that its layers need.
pub(crate) fn forward(network: &ConvNetwork, image: Images, parameters: &[f32]) -> Forward {
    let size = image.size();
    let mut saved: Vec<SavedLayer> = Vec::with_capacity(network.layers.len());
    let mut statistics = Vec::with_capacity(network.statistics());
    let scratch = Scratch::default();
    for (index, layer) in network.layers.iter().enumerate() {
        let before = index.checked_sub(1).filter(|before| keeps(network, *before));
        let mut kept = before.map(|_| Maps::new(size, layer.inputs));
        let mut results = Maps::new(size, layer.outputs);
        let from = source(network, index, image, &saved);
        let moments = match layer.outputs.is_multiple_of(G) {
            true => {
                let kernel = kernel::<G>(layer, parameters);
                forward::convolve(layer, &kernel, from, kept.as_mut(), &mut results, &scratch)
            }
            false => {
                let kernel = kernel::<ODD_G>(layer, parameters);
                forward::convolve(layer, &kernel, from, kept.as_mut(), &mut results, &scratch)
            }
        };
        if let Some(before) = before {
            saved[before].activations = kept;
        }
        let mut norms = vec![Norm::NONE; layer.outputs];
        if let Some([scales, shifts]) = layer.norm() {
            let [mean, variance]: [Vec<f32>; 2] = [
                moments.iter().map(|moments| moments.mean()).collect(),
                moments.iter().map(|moments| moments.variance()).collect(),
            ];
            let (scales, shifts) = (&parameters[scales], &parameters[shifts]);
            for (channel, norm) in norms.iter_mut().enumerate() {
                let rate = (variance[channel] + network.epsilon).sqrt().recip();
                let (mean, scale) = (mean[channel], scales[channel] * rate);
                *norm = Norm { scale, shift: shifts[channel] - mean * scale, mean, rate };
            }
            statistics.extend(mean);
            statistics.extend(variance);
        }
        saved.push(SavedLayer { results, norms, activations: None });
    }
    let last = saved.last().expect("a network has at least one layer");
    let result = output::finish(network.output, image, &last.results);
    Forward { result, statistics, saved: Saved { layers: saved } }
}

/// See [`StatisticsOps::update_running`](crate::ops::StatisticsOps::update_running).
pub(crate) fn update_running(
    running: &[f32],
    statistics: &[f32],
    network: &ConvNetwork,
    Momentum { weight, unbiased }: Momentum,
) -> Vec<f32> {
    let mut running = running.to_vec();
    for module in network.running() {
        for from in module.statistics {
            let batch = statistics[from..].chunks(module.channels);
            for ((place, factor), batch) in
                module.places.into_iter().zip([1.0, unbiased]).zip(batch)
            {
                for (running, batch) in running[place..].iter_mut().zip(batch) {
                    *running = *running * (1.0 - weight) + batch * factor * weight;
                }
            }
        }
    }
    running
}

/// The gradients with respect to the images, if it is wanted, and to the parameters. `gradient` is that with respect
/// to the result.
pub(crate) fn backward(
    network: &ConvNetwork,
    image: Images,
    parameters: &[f32],
    saved: &Saved,
    gradient: Images,
    wants_image: bool,
) -> (Option<Vec<f32>>, Vec<f32>) {
    let (size, saved) = (image.size(), &*saved.layers);
    let mut of_parameters = vec![0.0; parameters.len()];
    let last = &saved[saved.len() - 1];
    let scratch = Scratch::default();
    let (of_result, direct) = output::gradients(network.output, image, &last.results, gradient);
    // With respect to each layer's activations, from when it is known to when it is not needed any more.
    let mut gradients: Vec<Option<Maps>> = network.layers.iter().map(|_| None).collect();
    gradients[saved.len() - 1] = Some(of_result);
    let mut means: Vec<[f32; 2]> = vec![];
    for (index, layer) in network.layers.iter().enumerate().rev() {
        let from = source(network, index, image, saved);
        let own = gradients[index].take().expect("the layers after this one gave it");
        let undo = (index + 1 < saved.len())
            .then(|| Undo { rectified: saved[index].rectified(), means: &means });
        let before = index.checked_sub(1);
        // The gradient of what is added to the activations before this layer is added to theirs.
        let adding = before.and_then(|before| network.added_by(before));
        let held = adding.filter(|adding| *adding != index);
        let mut target = match held {
            Some(held) => gradients[held].take(),
            None => (before.is_some() || wants_image).then(|| Maps::new(size, layer.inputs)),
        };
        let input = target.as_mut().map(|target| {
            let added = match (adding, held) {
                (None, _) => Added::None,
                (Some(_), Some(_)) => Added::Target,
                (Some(_), None) => Added::Maps(&own),
            };
            let normalized = before.filter(|before| network.layers[*before].norm.is_some());
            let normalized = normalized.map(|before| saved[before].rectified());
            (target, added, normalized)
        });
        let [even_in, even_out] = [layer.inputs, layer.outputs].map(|n| n.is_multiple_of(G));
        macro_rules! layer_backward {
            ($inputs:expr, $outputs:expr) => {{
                let input = input.map(|(target, added, normalized)| {
                    let kernel = rotated::<{ $inputs }>(layer, parameters);
                    InputGradient { kernel, target, added, normalized }
                });
                backward::backward::<{ $inputs }, { $outputs }>(
                    layer, from, &own, undo, input, &scratch,
                )
            }};
        }
        let sums = match (even_in, even_out) {
            (true, true) => layer_backward!(G, G),
            (true, false) => layer_backward!(G, ODD_G),
            (false, true) => layer_backward!(ODD_G, G),
            (false, false) => layer_backward!(ODD_G, ODD_G),
        };
        let Sums { conv, norm } = sums;
        let (weights, biases) = conv.split_at(layer.weights().len());
        add(&mut of_parameters[layer.weights()], weights.iter().copied());
        add(&mut of_parameters[layer.biases()], biases.iter().copied());
        match before {
            Some(before) => {
                let layer = &network.layers[before];
                means = vec![[0.0; 2]; layer.outputs];
                if let Some([scales, shifts]) = layer.norm() {
                    let count = size.pixels() as f64;
                    means = norm.iter().map(|sums| sums.map(|sum| (sum / count) as f32)).collect();
                    add(&mut of_parameters[scales], norm.iter().map(|sums| sums[1]));
                    add(&mut of_parameters[shifts], norm.iter().map(|sums| sums[0]));
                }
                gradients[before] = target;
            }
            None => {
                let image = target.map(|target| target.to_planes());
                return (image.map(|image| sum(image, direct)), to_f32(&of_parameters));
            }
        }
        // It is still to be added where this layer's residual came from.
        if layer.residual.is_some_and(|residual| Some(residual) != before) {
            gradients[index] = Some(own);
        }
    }
    unreachable!("the first layer ends the loop")
}

fn add(sums: &mut [f64], values: impl IntoIterator<Item = f64>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

fn sum(mut values: Vec<f32>, others: Option<Vec<f32>>) -> Vec<f32> {
    if let Some(others) = others {
        values.iter_mut().zip(others).for_each(|(value, other)| *value += other);
    }
    values
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// A layer's convolution.
fn kernel<const G: usize>(layer: &ConvLayer, parameters: &[f32]) -> PairKernel<G> {
    let &ConvLayer { inputs, outputs, .. } = layer;
    let (weights, biases) = (&parameters[layer.weights()], &parameters[layer.biases()]);
    let weight = |o: usize, i: usize, tap: usize| weights[(o * inputs + i) * 9 + tap];
    PairKernel::new(outputs, inputs, weight, |o| biases[o])
}

/// The convolution of a gradient with respect to a layer's results that gives the one with respect to its inputs: the
/// weights rotated by 180°.
fn rotated<const G: usize>(layer: &ConvLayer, parameters: &[f32]) -> PairKernel<G> {
    let &ConvLayer { inputs, outputs, .. } = layer;
    let weights = &parameters[layer.weights()];
    let weight = |i: usize, o: usize, tap: usize| weights[(o * inputs + i) * 9 + 8 - tap];
    PairKernel::new(inputs, outputs, weight, |_| 0.0)
}
