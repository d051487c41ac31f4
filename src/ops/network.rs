//! Networks of 3×3 convolutions, as the kernels for training see them.

use super::packed::padded;
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use std::ops::Range;

/// A network that is applied as a whole. Its convolutions have stride 1 and zero padding 1.
///
/// The activations of a layer are `relu(norm(conv(activations before)))`, plus the activations of an
/// earlier layer where a residual block ends. The last layer is a convolution alone; [`Output`] says
/// what is made of its result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConvNetwork {
    /// At least one.
    pub(crate) layers: Vec<ConvLayer>,
    /// Added to a variance before its square root is taken.
    pub(crate) epsilon: f32,
    pub(crate) output: Output,
}

/// A layer. Its parameters are in one vector with those of all others, [packed](super::functions::pack); layers may
/// share them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConvLayer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Where the convolution's parameters begin.
    pub(crate) conv: usize,
    /// Where those of the batch normalization begin, if there is one.
    pub(crate) norm: Option<usize>,
    /// The layer whose activations are added, if a residual block ends here.
    pub(crate) residual: Option<usize>,
}

#[allow(dead_code, reason = "without a backend that has a kernel")]
impl ConvLayer {
    /// The convolution's weights, `[outputs, inputs, 3, 3]`, among the parameters.
    pub(crate) fn weights(&self) -> Range<usize> {
        self.conv..self.conv + self.outputs * self.inputs * 9
    }

    /// The convolution's biases, `[outputs]`.
    pub(crate) fn biases(&self) -> Range<usize> {
        let start = self.conv + padded(self.weights().len());
        start..start + self.outputs
    }

    /// Scales and shifts of the batch normalization, if there is one, both `[outputs]`.
    pub(crate) fn norm(&self) -> Option<[Range<usize>; 2]> {
        let shifts = |norm: usize| norm + padded(self.outputs);
        self.norm.map(|norm| [norm, shifts(norm)].map(|start| start..start + self.outputs))
    }
}

/// The running statistics of a batch normalization.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Running {
    pub(crate) channels: usize,
    /// Where the means and the variances are.
    pub(crate) places: [usize; 2],
    /// Where the batch's statistics are, for each layer that is so normalized: means, then biased variances.
    pub(crate) statistics: Vec<usize>,
}

/// How running statistics follow those of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Momentum {
    /// The weight of a batch.
    pub(crate) weight: f32,
    /// The factor that makes a variance unbiased.
    pub(crate) unbiased: f32,
}

/// What a network makes of its last convolution's result `y` and of the image `x` that it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Output {
    /// `y`
    Conv,
    /// `x + y`
    Sum,
    /// `x − sigmoid(y)`
    MinusSigmoid,
    /// `clamp(x + sigmoid(y), least, 1)`
    ClampedSigmoid { least: f32 },
}

impl Output {
    /// The output for whole tensors.
    ///
    /// # Shapes
    /// - `image`, `result`, output: `[batch, channels, height, width]`
    pub(crate) fn of(self, image: Tensor<4>, result: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv => result,
            Self::Sum => image + result,
            Self::MinusSigmoid => image - sigmoid(result),
            Self::ClampedSigmoid { least } => (image + sigmoid(result)).clamp(least, 1.0),
        }
    }
}

#[allow(dead_code, reason = "without a backend that has a kernel")]
impl ConvNetwork {
    /// A convolution alone.
    pub(crate) fn conv(inputs: usize, outputs: usize) -> Self {
        let layer = ConvLayer { inputs, outputs, conv: 0, norm: None, residual: None };
        Self { layers: vec![layer], epsilon: 0.0, output: Output::Conv }
    }

    /// The channels of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.last().outputs
    }

    pub(crate) fn last(&self) -> &ConvLayer {
        self.layers.last().expect("a network has at least one layer")
    }

    /// The layer that adds the activations of this one, if one does.
    pub(crate) fn added_by(&self, layer: usize) -> Option<usize> {
        self.layers.iter().position(|later| later.residual == Some(layer))
    }

    /// The number of statistics that it gives: for each normalization the batch's means, then its biased
    /// variances.
    pub(crate) fn statistics(&self) -> usize {
        self.statistics_before(self.layers.len())
    }

    /// Those of the layers before one: where its own begin, if it has any.
    pub(crate) fn statistics_before(&self, layer: usize) -> usize {
        let normalized = self.layers[..layer].iter().filter(|layer| layer.norm.is_some());
        normalized.map(|layer| 2 * layer.outputs).sum()
    }

    /// The normalizations' running statistics, in a [packed](super::functions::pack) vector: for each module that
    /// normalizes, in the order of first use, means and variances.
    pub(crate) fn running(&self) -> Vec<Running> {
        let mut modules: Vec<(usize, Running)> = vec![];
        let mut end = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            let Some(norm) = layer.norm else { continue };
            let channels = layer.outputs;
            let known = modules.iter().position(|(place, _)| *place == norm);
            let module = known.unwrap_or_else(|| {
                let places = [end, end + padded(channels)];
                end += 2 * padded(channels);
                modules.push((norm, Running { channels, places, statistics: vec![] }));
                modules.len() - 1
            });
            modules[module].1.statistics.push(self.statistics_before(index));
        }
        modules.into_iter().map(|(_, running)| running).collect()
    }

    /// Whether the layers fit each other, so many parameters, and the kernels: every layer's activations are
    /// added by one other at most, and the last is a convolution alone.
    pub(crate) fn is_consistent(&self, parameters: usize) -> bool {
        let Some((last, hidden)) = self.layers.split_last() else { return false };
        let chained = self.layers.windows(2).all(|pair| pair[0].outputs == pair[1].inputs);
        let inside = self.layers.iter().all(|layer| {
            let norm = layer.norm().map_or(0, |[_, shifts]| shifts.end);
            layer.biases().end.max(norm) <= parameters
        });
        let residual = hidden.iter().enumerate().all(|(index, layer)| match layer.residual {
            Some(from) => from < index && hidden[from].outputs == layer.outputs,
            None => true,
        });
        let once = (0..hidden.len()).all(|from| {
            self.layers.iter().filter(|layer| layer.residual == Some(from)).count() <= 1
        });
        let of_image = self.output != Output::Conv;
        let output = !of_image || last.outputs == self.layers[0].inputs;
        chained && inside && residual && once && output && last.norm.or(last.residual).is_none()
    }
}
