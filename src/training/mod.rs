//! Training, section 4.1 of the paper.

mod step;

pub use step::{Optimiser, OptimiserConfig, Stepped, cascade_loss};
