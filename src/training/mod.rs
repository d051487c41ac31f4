//! Training, section 4.1 of the paper.

mod step;

pub use step::{ClippedGradients, Optimiser, OptimiserConfig, Stepped, cascade_loss};
