//! The unsupervised training loss, section 3.3 of the paper.

mod fidelity;
mod sci;
mod smoothness;
mod ycbcr;

pub use fidelity::fidelity;
pub use sci::{LossTerms, SciLoss, SciLossConfig};
pub use smoothness::{SmoothnessLoss, SmoothnessLossConfig};
pub use ycbcr::{YcbcrLayout, to_ycbcr};
