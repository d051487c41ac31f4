//! The form that all networks here have, applied as a whole where the device's backend can do that, and otherwise
//! layer by layer.

use super::layers::{BatchNorm, Conv3x3};
use crate::ops::functions::conv_network;
use crate::ops::network::{ConvLayer, ConvNetwork, Output};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use std::collections::HashMap;

/// A first layer, residual blocks of one or more layers each, and a last convolution. Layers may share their modules.
pub(super) struct Network<'a> {
    pub(super) input: Layer<'a>,
    pub(super) blocks: Vec<Vec<Layer<'a>>>,
    pub(super) output_conv: &'a Conv3x3,
    pub(super) output: Output,
}

/// A convolution, its normalization, if it has one, and a ReLU.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) conv: &'a Conv3x3,
    pub(super) norm: Option<&'a BatchNorm>,
}

impl<'a> Layer<'a> {
    /// Without normalization.
    pub(super) fn plain(conv: &'a Conv3x3) -> Self {
        Self { conv, norm: None }
    }

    pub(super) fn normalized(conv: &'a Conv3x3, norm: &'a BatchNorm) -> Self {
        Self { conv, norm: Some(norm) }
    }

    fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        let output = self.conv.forward(input);
        match (self.norm, residual) {
            (Some(norm), residual) => norm.forward_relu(output, residual),
            (None, Some(residual)) => residual + relu(output),
            (None, None) => relu(output),
        }
    }
}

impl Network<'_> {
    /// Applies the network.
    ///
    /// # Shapes
    /// - `image`: `[batch, channels in, height, width]`
    /// - output: `[batch, channels out, height, width]`
    ///
    /// # Panics
    /// If the numbers of channels do not fit.
    pub(super) fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        match self.forward_whole(&image) {
            Some(output) => output,
            None => self.forward_layers(image),
        }
    }

    /// As a whole, where it is trained and the device's backend has a kernel for that.
    fn forward_whole(&self, image: &Tensor<4>) -> Option<Tensor<4>> {
        if !image.device().is_autodiff() || !self.norms().all(BatchNorm::is_training) {
            return None;
        }
        let (output, statistics) = conv_network(image, || self.flatten())?;
        let [batch, _, height, width] = image.dims();
        let mut place = 0;
        for norm in self.norms() {
            let [channels] = norm.weight.dims();
            let [mean, variance] = [place, place + channels]
                .map(|from| statistics.clone().slice(from..from + channels));
            norm.update([mean, variance], batch * height * width);
            place += 2 * channels;
        }
        Some(output)
    }

    fn forward_layers(&self, image: Tensor<4>) -> Tensor<4> {
        let mut features = self.input.forward(image.clone(), None);
        for block in &self.blocks {
            let Some((last, first)) = block.split_last() else { continue };
            let residual = Some(features.clone());
            let inner = first.iter().fold(features, |inner, layer| layer.forward(inner, None));
            features = last.forward(inner, residual);
        }
        self.output.of(image, self.output_conv.forward(features))
    }

    /// All layers but the last convolution, in the order in which they are applied.
    fn hidden(&self) -> impl Iterator<Item = &Layer<'_>> {
        std::iter::once(&self.input).chain(self.blocks.iter().flatten())
    }

    /// The normalization of each layer that has one.
    fn norms(&self) -> impl Iterator<Item = &BatchNorm> {
        self.hidden().filter_map(|layer| layer.norm)
    }

    /// The network as the kernels see it, and its parameters, which are to become one vector.
    fn flatten(&self) -> (ConvNetwork, Vec<Tensor<1>>) {
        let mut parameters = Parameters::default();
        let mut layers: Vec<ConvLayer> =
            self.hidden().map(|layer| parameters.layer(layer.conv, layer.norm)).collect();
        let mut before = 0;
        for block in &self.blocks {
            if !block.is_empty() {
                layers[before + block.len()].residual = Some(before);
            }
            before += block.len();
        }
        layers.push(parameters.layer(self.output_conv, None));
        let epsilon = BatchNorm::EPSILON as f32;
        (ConvNetwork { layers, epsilon, output: self.output }, parameters.tensors)
    }
}

/// The parameters of modules, each once.
#[derive(Default)]
struct Parameters {
    tensors: Vec<Tensor<1>>,
    /// The number of parameters.
    count: usize,
    /// Where those of each module begin.
    places: HashMap<*const (), usize>,
}

impl Parameters {
    /// A layer without a residual.
    fn layer(&mut self, conv: &Conv3x3, norm: Option<&BatchNorm>) -> ConvLayer {
        let [outputs, inputs, ..] = conv.weight.dims();
        let weight = || [conv.weight.val().flatten(0, 3), conv.bias.val()];
        let norm = norm.map(|norm| {
            self.place(std::ptr::from_ref(norm).cast(), || [norm.weight.val(), norm.bias.val()])
        });
        let conv = self.place(std::ptr::from_ref(conv).cast(), weight);
        ConvLayer { inputs, outputs, conv, norm, residual: None }
    }

    /// Where the parameters of a module begin.
    fn place(&mut self, module: *const (), tensors: impl FnOnce() -> [Tensor<1>; 2]) -> usize {
        *self.places.entry(module).or_insert_with(|| {
            let (place, tensors) = (self.count, tensors());
            self.count += tensors.iter().map(|tensor| tensor.dims()[0]).sum::<usize>();
            self.tensors.extend(tensors);
            place
        })
    }
}
