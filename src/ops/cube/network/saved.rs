//! Where in memory a network's forward pass leaves what its backward pass needs.

use super::super::limits::{MOST_BYTES, MOST_WORKGROUPS};
use super::images::Images;
use super::weights::{WeightGradient, floats};
use crate::ops::network::{ConvNetwork, Output};
use crate::ops::packed::padded;
use std::ops::Range;

/// A network's results and activations, one after the other.
pub(super) struct Saved {
    pub(super) layers: Vec<SavedLayer>,
    /// The floats of all, at least one.
    pub(super) floats: usize,
}

/// Places, in floats.
pub(super) struct SavedLayer {
    /// The convolution's result, `[batch, outputs, height, width]`; `None` if it is the network's own.
    pub(super) result: Option<Range<usize>>,
    /// The activations, of the same shape; `None` for the last layer.
    pub(super) activations: Option<Range<usize>>,
}

impl Saved {
    /// For so many pixels.
    pub(super) fn of(network: &ConvNetwork, pixels: usize) -> Self {
        let mut floats = 0;
        let mut place = |count: usize| {
            let place = floats..floats + count;
            floats = padded(place.end);
            place
        };
        let last = network.layers.len() - 1;
        let layers = network.layers.iter().enumerate().map(|(index, layer)| {
            let count = layer.outputs * pixels;
            let is_result = index == last && network.output == Output::Conv;
            SavedLayer {
                result: (!is_result).then(|| place(count)),
                activations: (index < last).then(|| place(count)),
            }
        });
        let layers = layers.collect();
        Self { layers, floats: floats.max(1) }
    }
}

/// The floats of what [`forward`](super::forward()) saves for images `[batch, inputs, height, width]`.
pub(crate) fn saved_floats(network: &ConvNetwork, [batch, _, height, width]: [usize; 4]) -> usize {
    Saved::of(network, batch * height * width).floats
}

/// Whether what training a network on images `[batch, inputs, height, width]` needs fits into buffers, whose places are
/// numbers of 32 bits, and can be counted in workgroups.
pub(crate) fn fits(network: &ConvNetwork, [batch, _, height, width]: [usize; 4]) -> bool {
    let images = Images { batch, height, width };
    let saved = Saved::of(network, images.pixels()).floats;
    let sums = network.layers.iter().map(|layer| WeightGradient::of(layer).sums()).sum();
    let parts = floats(sums, images.regions());
    let channels = network.layers.iter().map(|layer| layer.inputs.max(layer.outputs)).max();
    let images_floats = channels.unwrap_or(0) * images.pixels();
    let buffers = saved.max(parts).max(images_floats) <= MOST_BYTES / size_of::<f32>();
    buffers && images.regions() / batch <= MOST_WORKGROUPS
}
