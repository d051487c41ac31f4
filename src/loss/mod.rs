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
