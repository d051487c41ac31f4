use super::data::{Batch, PhotoLoader, PhotoSet, SamplingConfig, loading_error};
use super::events::{Monitor, TrainingEvent};
use super::halt::Halt;
use super::metrics::StepValues;
use super::optimizer::OptimizerConfig;
use super::step::Training;
use crate::contain::contain_operations;
use crate::error::{Error, Result};
use crate::loss::SciLossConfig;
use crate::model::IlluminationEstimator;
use burn::config::Config;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::Learner;
use std::path::Path;
use std::sync::Arc;

/// Configuration of [`fine_tune`]. The defaults are the published ones of SCI; for an estimator of SCI++ the
/// gradient is limited too.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct FineTuningConfig {
    /// Number of optimizer steps. At least 1, below 2³².
    #[config(default = 100)]
    pub steps: usize,
    /// The loss.
    #[config(default = "SciLossConfig::new()")]
    pub loss: SciLossConfig,
    /// The optimizer.
    #[config(default = "OptimizerConfig::new().with_learning_rate(5e-4)")]
    pub optimizer: OptimizerConfig,
    /// What is used of each photograph.
    #[config(default = "SamplingConfig::new()")]
    pub sampling: SamplingConfig,
    /// Determines the order of the photographs and the places of the crops.
    #[config(default = 0)]
    pub seed: u64,
}

/// The result of fine-tuning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FineTuned {
    /// The estimator after the last step that was made.
    pub estimator: IlluminationEstimator,
    /// The number of steps made.
    pub steps: usize,
    /// Whether the [`Monitor`] stopped the fine-tuning before its end.
    pub interrupted: bool,
}

/// Adapts a trained estimator to a photograph, or to a folder of them, with the loss of one stage and
/// without the calibrator (section 3.4 of the first paper; the authors' `finetune.py`).
///
/// A single photograph is decoded once and kept in memory; several are decoded each time they are
/// used. A dashboard or previews of the monitor have no effect here.
///
/// # Errors
///
/// [`Error::Setting`]; [`Error::Read`] where there is no usable photograph; [`Error::NotFinite`] where
/// it diverges; [`Error::Execution`] where the device fails.
pub fn fine_tune(
    estimator: IlluminationEstimator,
    photos: impl AsRef<Path>,
    config: &FineTuningConfig,
    device: &Device,
    monitor: &Monitor,
) -> Result<FineTuned> {
    if config.steps == 0 || config.steps >= 1 << 32 {
        let reason = format!("is {}, must be at least 1 and below 2^32", config.steps);
        return Err(Error::setting("steps", reason));
    }
    config.optimizer.check().map_err(|error| error.in_section("optimizer"))?;
    let loss = config.loss.init().map_err(|error| error.in_section("loss"))?;
    let sampling = config.sampling.init(config.seed);
    let sampling = sampling.map_err(|error| error.in_section("sampling"))?;
    let halt = Halt::default();
    let events = monitor.events(&halt);
    let photos = PhotoSet::open(photos.as_ref(), None, sampling, events.on_refused())?;
    let device = device.clone().without_autodiff().autodiff();
    let loader = PhotoLoader::new(Arc::new(photos), 1, 1, &device);

    let estimator = estimator.valid().train().fork(&device);
    let mut learner = config.optimizer.learner(estimator, loss)?;
    let (photos, history) = (config.steps, Vec::new());
    events.send(TrainingEvent::Started { epoch: 1, epochs: 1, photos, history });
    let mut steps = 0;
    while steps < config.steps && !halt.requested() {
        for batch in loader.iter().take(config.steps - steps) {
            if halt.requested() {
                break;
            }
            let batch = batch.map_err(|error| loading_error(&error))?;
            let StepValues { loss, .. } = contain_operations(|| step(&mut learner, batch))?;
            steps += 1;
            events.send(TrainingEvent::Step { photos: steps, loss });
        }
    }
    let estimator = learner.model().network.valid();
    Ok(FineTuned { estimator, steps, interrupted: steps < config.steps })
}

/// Makes one step. The weights stay as they are where the loss is not finite.
fn step(
    learner: &mut Learner<Training<IlluminationEstimator>>,
    batch: Batch,
) -> Result<StepValues> {
    let output = learner.train_step(batch);
    let measured = output.item.wait()?;
    measured.value.check(&measured.origin)?;
    learner.lr_step();
    learner.optimizer_step(output.grads);
    Ok(measured.value)
}
