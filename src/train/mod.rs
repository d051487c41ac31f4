//! Training, section 4.1 of the first paper, on Burn's engine; of SCI and of SCI++.

mod alternation;
mod config;
mod data;
mod engine;
mod events;
#[cfg(all(test, feature = "flex"))]
mod failing;
mod fine_tune;
mod halt;
mod meters;
mod metrics;
mod optimizer;
mod recorder;
mod renderer;
mod run_folder;
mod statistics;
mod step;
mod update;

pub use alternation::{Alternation, AlternationConfig};
pub use config::TrainingConfig;
pub use data::{Batch, Darken, Origin, SamplingConfig};
pub use engine::{Trained, train};
pub use events::{Monitor, TrainingEvent};
pub use fine_tune::{FineTuned, FineTuningConfig, fine_tune};
pub use metrics::{EpochMetrics, PhotoMetrics, Preview, StepValues};
pub use optimizer::OptimizerConfig;
pub use run_folder::Run;
#[doc(hidden)]
pub use step::{Trainable, Training};
