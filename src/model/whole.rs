//! Networks as the kernels for training see them: one operation, whose parameters are one vector.

use super::layers::{BatchNorm, Conv3x3};
use super::network::{Layer, Network, Whole};
use crate::device::with_autodiff_of;
use crate::ops::functions::{conv_network, has_network_kernel, pack, unpack, update_running};
use crate::ops::network::{ConvLayer, ConvNetwork};
use crate::ops::packed::padded;
use burn::tensor::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

impl Network<'_> {
    /// As a whole, where it is trained and the device's backend has a kernel for that.
    pub(super) fn forward_whole(&self, image: &Tensor<4>) -> Option<Tensor<4>> {
        let trained = image.device().is_autodiff() && self.norms().all(BatchNorm::is_training);
        if !trained || !has_network_kernel(image) {
            return None;
        }
        let whole = self.whole.get_or_init(|| self.flatten());
        let (output, statistics) = conv_network(image, &whole.network, &whole.parameters)?;
        self.update_running(whole, statistics.without_autodiff(), image);
        Some(output)
    }

    /// Moves the running statistics toward those of a batch of images.
    fn update_running(&self, whole: &Whole, statistics: Tensor<1>, image: &Tensor<4>) {
        let mut modules: Vec<&BatchNorm> = vec![];
        for norm in self.norms() {
            if !modules.iter().any(|known| std::ptr::eq(*known, norm)) {
                modules.push(norm);
            }
        }
        if modules.is_empty() {
            return;
        }
        let states: Vec<_> =
            modules.iter().flat_map(|norm| [&norm.running_mean, &norm.running_var]).collect();
        let device = statistics.device();
        let old: Vec<Tensor<1>> = states.iter().map(|state| state.value_sync()).collect();
        let counts: Vec<usize> = old.iter().map(|old| old.dims()[0]).collect();
        let running = whole.running.take().unwrap_or_else(|| {
            let old = old.iter().map(|old| old.clone().without_autodiff().to_device(&device));
            pack(old.collect())
        });
        let [batch, _, height, width] = image.dims();
        let momentum = BatchNorm::momentum(batch * height * width);
        let new = update_running(running, statistics, &whole.network, momentum);
        whole.running.replace(Some(new.clone()));
        for ((state, old), new) in states.into_iter().zip(old).zip(unpack(new, &counts)) {
            state.update(with_autodiff_of(new, &old));
        }
    }

    /// All layers but the last convolution, in the order in which they are applied.
    fn hidden(&self) -> impl Iterator<Item = &Layer<'_>> {
        std::iter::once(&self.input).chain(self.blocks.iter().flatten())
    }

    /// The normalization of each layer that has one.
    fn norms(&self) -> impl Iterator<Item = &BatchNorm> {
        self.hidden().filter_map(|layer| layer.norm)
    }

    fn flatten(&self) -> Whole {
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
        let parameters = pack(parameters.tensors);
        Whole { network: Arc::new(network), parameters, running: None.into() }
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
