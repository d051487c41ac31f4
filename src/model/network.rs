//! The form that all networks here have, applied as a whole where the device's backend can do that, and otherwise
//! layer by layer.

use super::layers::{BatchNorm, Conv3x3};
use crate::ops::functions::{conv_network, has_network_kernel, pack};
use crate::ops::network::{ConvLayer, ConvNetwork, Output};
use crate::ops::packed::padded;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

/// A first layer, residual blocks of one or more layers each, and a last convolution. Layers may share their modules.
pub(super) struct Network<'a> {
    input: Layer<'a>,
    blocks: Vec<Vec<Layer<'a>>>,
    output_conv: &'a Conv3x3,
    output: Output,
    /// The network as the kernels see it, and its parameters in one vector.
    whole: OnceCell<(Arc<ConvNetwork>, Tensor<1>)>,
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

impl<'a> Network<'a> {
    pub(super) fn new(
        input: Layer<'a>,
        blocks: Vec<Vec<Layer<'a>>>,
        output_conv: &'a Conv3x3,
        output: Output,
    ) -> Self {
        Self { input, blocks, output_conv, output, whole: OnceCell::new() }
    }
}

impl Network<'_> {
    /// Applies the network. Who applies it several times asks for it once, so that its parameters are gathered once.
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
        let trained = image.device().is_autodiff() && self.norms().all(BatchNorm::is_training);
        if !trained || !has_network_kernel(image) {
            return None;
        }
        let (network, parameters) = self.whole.get_or_init(|| self.flatten());
        let (output, statistics) = conv_network(image, network, parameters)?;
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

    fn flatten(&self) -> (Arc<ConvNetwork>, Tensor<1>) {
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
        let network = ConvNetwork { layers, epsilon, output: self.output };
        (Arc::new(network), pack(parameters.tensors))
    }
}

/// The parameters of modules, each once.
#[derive(Default)]
struct Parameters {
    /// A module's weights and biases are one tensor here.
    tensors: Vec<Tensor<1>>,
    /// Where the next module's begin, once they are packed.
    end: usize,
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
            let (place, tensors) = (self.end, tensors());
            self.end += tensors.iter().map(|tensor| padded(tensor.dims()[0])).sum::<usize>();
            self.tensors.extend(tensors);
            place
        })
    }
}
