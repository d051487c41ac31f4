use super::metrics::StepValues;
use super::step::OptimizerConfig;
use super::watch::{TrainingEvent, Watch};
use crate::error::{Error, Result};
use crate::loss::SciLossConfig;
use crate::model::IlluminationEstimator;
use crate::train::data::{PhotoLoader, PhotoSet, SamplingConfig, loading_error};
use burn::config::Config;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::Learner;
use std::path::Path;
use std::sync::Arc;

/// Settings of [`fine_tune`]. The defaults are the published ones.
#[derive(Config, Debug, PartialEq)]
pub struct FineTuningConfig {
    /// Number of optimizer steps. At least 1.
    #[config(default = 100)]
    pub steps: usize,
    /// The loss.
    #[config(default = "SciLossConfig::new()")]
    pub loss: SciLossConfig,
    /// The optimizer.
    #[config(default = "OptimizerConfig::new().with_learning_rate(5e-4)")]
    pub optimizer: OptimizerConfig,
    /// What is taken of each photograph.
    #[config(default = "SamplingConfig::new()")]
    pub sampling: SamplingConfig,
    /// Decides the order of the photographs and the places of the crops.
    #[config(default = 0)]
    pub seed: u64,
}

/// Adapts a trained estimator to a photograph, or to a folder of them, with the loss of one stage and
/// without the calibrator (section 3.4 of the paper; the authors' `finetune.py`).
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
    watch: &Watch,
) -> Result<IlluminationEstimator> {
    if config.steps == 0 {
        let reason = "is 0, must be at least 1".to_owned();
        return Err(Error::Setting { setting: "steps", reason });
    }
    let (listener, sampling) = (watch.listener(), config.sampling.init(config.seed)?);
    let photos = PhotoSet::open(photos.as_ref(), None, sampling, watch.on_refused())?;
    let device = device.clone().without_autodiff().autodiff();
    let loader = PhotoLoader::new(Arc::new(photos), 1, 1, &device);

    let estimator = estimator.valid().train().fork(&device);
    let mut learner = config.optimizer.learner(estimator, config.loss.init()?)?;
    listener(TrainingEvent::Started { epoch: 1, epochs: 1, photos: config.steps });
    let mut steps = 0;
    while steps < config.steps {
        for batch in loader.iter().take(config.steps - steps) {
            let batch = batch.map_err(|error| loading_error(&error))?;
            let StepValues { loss, .. } = step(&mut learner, batch)?;
            steps += 1;
            listener(TrainingEvent::Step { photos: steps, loss });
        }
    }
    Ok(learner.model().network.valid())
}

/// One step, with the loss looked at before the weights are touched.
fn step(
    learner: &mut Learner<super::Training<IlluminationEstimator>>,
    batch: crate::train::data::Batch,
) -> Result<StepValues> {
    let output = learner.train_step(batch);
    let measured = output.item.wait()?;
    measured.value.check(&measured.origin)?;
    learner.lr_step();
    learner.optimizer_step(output.grads);
    Ok(measured.value)
}
