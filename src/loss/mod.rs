//! The unsupervised training losses: that of SCI, section 3.3 of its paper, which is also that of the
//! estimator of SCI++, and that of the calibrator of SCI++.

mod calibrator;
mod fidelity;
mod sci;
mod smoothness;
mod ycbcr;

pub use calibrator::{CalibratorLoss, CalibratorLossConfig};
pub use fidelity::fidelity;
pub use sci::{LossTerms, SciLoss, SciLossConfig};
pub use smoothness::{SmoothnessLoss, SmoothnessLossConfig};
pub use ycbcr::{YcbcrLayout, to_ycbcr};

use crate::error::{Error, Result};
use burn::tensor::Tensor;

/// Refuses a weight that is negative or not finite.
fn check_weight(setting: &'static str, weight: f64) -> Result<()> {
    if weight >= 0.0 && weight.is_finite() {
        return Ok(());
    }
    Err(Error::setting(setting, format!("is {weight}, must be 0 or more and finite")))
}

/// The mean of all values. Row by row first: backends add up large tensors in an order that depends on the
/// threads.
fn mean(values: Tensor<4>) -> Tensor<1> {
    values.mean_dim(3).mean()
}
