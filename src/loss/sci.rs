use super::{SmoothnessLoss, SmoothnessLossConfig, check_weight};
use crate::error::Result;
use burn::config::Config;
use burn::tensor::Tensor;

/// Configuration of a [`SciLoss`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SciLossConfig {
    /// The weight of the fidelity; that of the smoothness is 1. Finite, not negative.
    #[config(default = 1.5)]
    pub fidelity_weight: f64,
    /// The smoothness loss.
    #[config(default = "SmoothnessLossConfig::new()")]
    pub smoothness: SmoothnessLossConfig,
}

impl SciLossConfig {
    /// The loss with these settings.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where a setting is out of its range.
    pub fn init(&self) -> Result<SciLoss> {
        check_weight("fidelity_weight", self.fidelity_weight)?;
        Ok(SciLoss { fidelity_weight: self.fidelity_weight, smoothness: self.smoothness.init()? })
    }
}

/// The training loss of one stage, `fidelity weight · L_f + L_s` (equation 5 of the first
/// paper). The loss of a cascade of SCI is the sum over its stages; that of fine-tuning, and of the estimator
/// of SCI++, is the one of a single stage.
///
/// The gradient flows into both arguments: through the stage input the calibrator learns.
#[doc(alias = "LossFunction")]
#[derive(Clone, Debug, PartialEq)]
pub struct SciLoss {
    fidelity_weight: f64,
    smoothness: SmoothnessLoss,
}

/// A loss and its two terms.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LossTerms {
    /// The loss to minimize, `[1]`: the fidelity times its weight, plus the smoothness.
    pub total: Tensor<1>,
    /// Its terms without their weights, `[2]`: how far the illumination is from the stage input (`L_f`), and how much it
    /// changes where the stage input does not (`L_s`). Not differentiable.
    pub terms: Tensor<1>,
}

impl SciLoss {
    /// The loss of one stage.
    ///
    /// # Shapes
    /// - `input`, `illumination`: `[batch, 3, height, width]`
    /// - output: `[1]`
    ///
    /// # Panics
    /// If the two shapes differ, there are not three channels, or height or width is below
    /// [`SmoothnessLoss::MIN_SIZE`].
    pub fn forward(&self, input: Tensor<4>, illumination: Tensor<4>) -> Tensor<1> {
        self.terms(input, illumination).total
    }

    /// The loss of one stage, and its two terms.
    ///
    /// # Shapes
    /// - `input`, `illumination`: `[batch, 3, height, width]`
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn terms(&self, input: Tensor<4>, illumination: Tensor<4>) -> LossTerms {
        let weight = self.fidelity_weight;
        let (total, terms) = self.smoothness.with_fidelity(input, illumination, weight);
        LossTerms { total, terms }
    }
}
