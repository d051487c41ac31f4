use super::{LossTerms, SciLoss, check_weight, mean};
use crate::error::Result;
use burn::config::Config;
use burn::tensor::Tensor;

/// Configuration of a [`CalibratorLoss`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct CalibratorLossConfig {
    /// The weight of the criterion; that of the distance is 1. Finite, not negative.
    #[config(default = 0.1)]
    pub criterion_weight: f64,
}

impl CalibratorLossConfig {
    /// The loss with these settings, with the estimator's loss as its criterion.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where a setting is out of its range.
    pub fn init(&self, criterion: SciLoss) -> Result<CalibratorLoss> {
        check_weight("criterion_weight", self.criterion_weight)?;
        Ok(CalibratorLoss { criterion, criterion_weight: self.criterion_weight })
    }
}

/// What SCI++ trains calibrator and increment with: the mean absolute distance of a later stage's
/// illumination from the estimate, plus `criterion weight ·` the [`SciLoss`] of that illumination. The loss of a
/// cascade is the sum over all stages but the first.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibratorLoss {
    criterion: SciLoss,
    criterion_weight: f64,
}

impl CalibratorLoss {
    /// The loss of one stage. Fidelity and smoothness are those of the criterion.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, the dark image
    /// - `estimate`, `illumination`: `[batch, 3, height, width]`, of the first stage and of this one
    ///
    /// # Panics
    /// If the shapes differ, there are not three channels, or height or width is below
    /// [`SmoothnessLoss::MIN_SIZE`](super::SmoothnessLoss::MIN_SIZE).
    pub fn terms(
        &self,
        image: Tensor<4>,
        estimate: Tensor<4>,
        illumination: Tensor<4>,
    ) -> LossTerms {
        assert_eq!(estimate.dims(), illumination.dims(), "calibrator's loss: the shapes differ");
        let distance = mean((estimate - illumination.clone()).abs());
        let LossTerms { total, terms } = self.criterion.terms(image, illumination);
        LossTerms { total: distance + total * self.criterion_weight, terms }
    }
}
