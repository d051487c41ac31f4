//! Training, section 4.1 of the paper, on Burn's engine.

mod config;
mod data;
mod finetune;
mod metrics;
mod preview;
mod run;
mod step;
mod train;
mod watch;

pub use config::TrainingConfig;
pub use data::{Batch, Darken, Origin, SamplingConfig};
pub use finetune::{FineTuningConfig, fine_tune};
pub use metrics::{Measurable, Measurement, Pending, PhotoMetrics, StepValues};
pub use run::{EpochMetrics, Run};
pub use step::{OptimizerConfig, Trainable, Training};
pub use train::{Trained, train};
pub use watch::{Listener, TrainingEvent, Watch};
