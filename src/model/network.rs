//! The form that all networks here have, applied as a whole where the device's backend can do that, and otherwise
//! layer by layer.

use super::layers::{BatchNorm, Conv3x3};
#[cfg(feature = "train")]
use crate::ops::network::ConvNetwork;
use crate::ops::network::Output;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// A first layer, residual blocks of one or more layers each, and a last convolution. Layers may share their modules.
pub(super) struct Network<'a> {
    pub(super) input: Layer<'a>,
    pub(super) blocks: Vec<Vec<Layer<'a>>>,
    pub(super) output_conv: &'a Conv3x3,
    pub(super) output: Output,
    #[cfg(feature = "train")]
    pub(super) whole: std::cell::OnceCell<Whole>,
}

/// The network as the kernels see it, and its parameters in one vector.
#[cfg(feature = "train")]
pub(super) struct Whole {
    pub(super) network: std::sync::Arc<ConvNetwork>,
    pub(super) parameters: Tensor<1>,
    /// The running statistics of its normalizations in one vector, once they are.
    pub(super) running: std::cell::RefCell<Option<Tensor<1>>>,
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
        Self {
            input,
            blocks,
            output_conv,
            output,
            #[cfg(feature = "train")]
            whole: Default::default(),
        }
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
        #[cfg(feature = "train")]
        if let Some(output) = self.forward_whole(&image) {
            return output;
        }
        self.forward_layers(image)
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
}
