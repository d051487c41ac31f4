use super::config::TrainingConfig;
use super::data::{Held, PhotoLoader, PhotoSet, SamplingConfig, loading_error};
use super::metrics::{Average, Finite, PhotoMetrics, Pictures, StepValues};
use super::run::{
    BrightEnough, CLIPPED, COLOR_CAST, EpochMetrics, FIDELITY, GRADIENT_NORM, KeepBest, LOSS,
    LUMINANCE, Recorder, Run, RunFolder, SMOOTHNESS, SharedHistory, locked,
};
use super::step::Training;
use super::watch::{Halt, TrainingEvent, Watch};
use crate::error::{Error, Result};
use crate::model::SciCascade;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::{ExecutionStrategy, Learner, SupervisedTraining, TrainingError};
use image::Rgb32FImage;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Validation photographs, pixels of their longer sides, and how many of them a preview shows.
const VALIDATION_PHOTOS: usize = 16;
const VALIDATION_SIDE: u32 = 640;
const PREVIEW_PHOTOS: usize = 4;

/// The result of a training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The trained model, as it is in the run's `model.safetensors` and `model.bpk`.
    pub cascade: SciCascade,
    /// What was measured in the epoch that it is from.
    pub metrics: EpochMetrics,
}

/// Trains a model, on Burn's [`SupervisedTraining`].
///
/// The run's folder gets the configuration (`config.json`), a table of the epochs (`metrics.csv`),
/// previews, checkpoints, and in the end the model (`model.safetensors`, `model.bpk`) and the part of it
/// that enhances (`estimator.safetensors`). A run that was broken off, at whatever moment, goes on from
/// its last checkpoint when it is [resumed](Run::Resume); on one CPU device it ends with the same
/// weights, bit for bit, as if nothing had happened.
///
/// `devices` is Burn's: one device; several of which one optimizes with the mean of their
/// gradients; or distributed data parallel.
///
/// Returns `None` where the training was ended from the dashboard. It can be resumed. The photographs
/// must be the same then; more epochs may be asked for, but not fewer.
///
/// ```no_run
/// use sci_burn::burn::train::ExecutionStrategy;
/// use sci_burn::open_device;
/// use sci_burn::train::{Run, SamplingConfig, TrainingConfig, Watch, train};
///
/// let sampling = SamplingConfig::new().with_crop(Some([600, 400]));
/// let config = TrainingConfig::new("my/night/photographs".into())
///     .with_sampling(sampling)
///     .with_stop_at_luminance(Some(0.42));
/// let devices = ExecutionStrategy::SingleDevice(open_device("cpu")?);
/// train(&config, &Run::New("run".into()), devices, &Watch::Silent)?;
/// # Ok::<(), sci_burn::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Setting`]; [`Error::Read`] where there is no usable photograph; [`Error::Write`] or
/// [`Error::OtherRun`] where the folder is not this run's, both before anything is written;
/// [`Error::NotFinite`] where the training diverges; [`Error::Write`], [`Error::Malformed`] or
/// [`Error::Execution`] where disk, checkpoint or device fail.
pub fn train(
    config: &TrainingConfig,
    run: &Run,
    devices: ExecutionStrategy,
    watch: &Watch,
) -> Result<Option<Trained>> {
    config.check()?;
    run.check(config)?;
    let data = Data::open(config, run.path(), watch)?;
    let device = devices.main_device().clone().without_autodiff().autodiff();
    let replicas = match &devices {
        ExecutionStrategy::SingleDevice(_) => 1,
        ExecutionStrategy::MultiDevice(devices, _)
        | ExecutionStrategy::DistributedDataParallel { devices, .. } => devices.len(),
    };
    if data.training.len() < replicas {
        let reason = format!("only {} photographs for {replicas} devices", data.training.len());
        return Err(Error::read(&config.data, reason));
    }
    let cascade = config.model.init_with_seed(config.seed, &device)?;
    // Where one device optimizes for several, Burn hands it the sum of their gradients.
    let summed = if matches!(devices, ExecutionStrategy::MultiDevice(..)) { replicas } else { 1 };
    let learner = config.optimizer.learner_for(cascade, config.loss.init()?, summed)?;

    let folder = run.begin(config, &data.training.names())?;
    let checkpoint = folder.last_checkpoint()?;
    let target = config.stop_at_luminance;
    let history = folder.history(checkpoint.unwrap_or(0))?;
    let over = history.0.len() >= config.epochs || history.reached(target);
    let history: SharedHistory = Arc::new(history.into());
    let session = Session { config, folder, checkpoint, replicas, watch, history };
    if !over && !session.run(learner, data, devices)? {
        return Ok(None);
    }
    let metrics = locked(&session.history).best(target).expect("at least one epoch is over");
    let cascade = session.model_of(metrics.epoch, &device.without_autodiff())?;
    for name in ["model.safetensors", "model.bpk"] {
        cascade.save(session.folder.path.join(name))?;
    }
    cascade.estimator.save(session.folder.path.join("estimator.safetensors"))?;
    Ok(Some(Trained { cascade, metrics }))
}

/// The photographs of a training.
struct Data {
    training: Arc<PhotoSet>,
    validation: Vec<(PathBuf, Rgb32FImage)>,
}

impl Data {
    /// Results of the run are no photographs of its.
    fn open(config: &TrainingConfig, run: &Path, watch: &Watch) -> Result<Self> {
        let on_refused = watch.on_refused();
        let open = |source: &Path, sampling: &SamplingConfig| {
            PhotoSet::open(source, Some(run), sampling.init(config.seed)?, on_refused.clone())
        };
        let training = Arc::new(open(&config.data, &config.sampling)?);
        let whole = SamplingConfig { crop: None, ..config.sampling.clone() };
        let reduced = |set: &PhotoSet| set.reduced(VALIDATION_PHOTOS, VALIDATION_SIDE);
        let validation = match &config.validation {
            Some(folder) => reduced(&open(folder, &whole)?),
            None => reduced(&training),
        };
        Ok(Self { training, validation })
    }
}

/// A training from its start, or its last checkpoint, to its end.
struct Session<'a> {
    config: &'a TrainingConfig,
    folder: RunFolder,
    checkpoint: Option<usize>,
    replicas: usize,
    watch: &'a Watch,
    history: SharedHistory,
}

impl Session<'_> {
    /// Runs Burn's engine, and returns whether it came to the end.
    fn run(
        &self,
        learner: Learner<Training<SciCascade>>,
        data: Data,
        devices: ExecutionStrategy,
    ) -> Result<bool> {
        let (folder, target) = (&self.folder, self.config.stop_at_luminance);
        let (halt, pictures) = (Halt::default(), Pictures::default());
        let listener = self.watch.listener();
        let first_epoch = self.checkpoint.unwrap_or(0) + 1;
        let device = devices.main_device().clone();
        let photos = data.training.len() - data.training.len() % self.replicas;
        let training =
            PhotoLoader::new(data.training, self.config.batch_size, first_epoch, &device);
        // All devices make the same number of steps; each epoch leaves out others.
        let training = training.slice(0, photos);
        let validation = Arc::new(Held::new(data.validation, PREVIEW_PHOTOS, &device));

        let recorder = Recorder::new(folder, &self.history, target, &pictures, &listener, &halt);
        let mut engine = SupervisedTraining::new(&folder.path, training, validation)
            .num_epochs(self.config.epochs)
            .with_training_strategy(devices.into())
            .with_interrupter(halt.interrupter.clone())
            .with_application_logger(None)
            .with_metric_logger(recorder)
            .with_default_checkpointers()
            .with_checkpointing_strategy(KeepBest::new(folder, &self.history, target))
            .renderer(self.watch.renderer(&halt, self.checkpoint))
            .metric_train_numeric(Average::new(LOSS, |step: &StepValues| step.loss))
            .metric_train_numeric(Average::new(FIDELITY, |step: &StepValues| step.fidelity))
            .metric_train_numeric(Average::new(SMOOTHNESS, |step: &StepValues| step.smoothness))
            .metric_train_numeric(Average::new(GRADIENT_NORM, |s: &StepValues| s.gradient_norm))
            .metric_train(Finite { halt: halt.clone() })
            .metric_valid_numeric(Average::new(LUMINANCE, |photo: &PhotoMetrics| photo.luminance))
            .metric_valid_numeric(Average::new(CLIPPED, |photo: &PhotoMetrics| photo.clipped))
            .metric_valid_numeric(Average::new(COLOR_CAST, |photo: &PhotoMetrics| photo.color_cast))
            .metric_valid(pictures);
        if let Some(target) = target {
            engine = engine.early_stopping(BrightEnough { history: self.history.clone(), target });
        }
        if let Some(checkpoint) = self.checkpoint {
            engine = engine.checkpoint(checkpoint);
        }
        listener(TrainingEvent::Started { epoch: first_epoch, epochs: self.config.epochs, photos });
        let result = engine.launch(learner);
        if let Some(error) = halt.take() {
            return Err(self.with_checkpoint(error));
        }
        match result.error {
            Some(error) => Err(self.error(&error)),
            None => Ok(result.interrupted.is_none()),
        }
    }

    /// The model of a checkpoint.
    fn model_of(&self, epoch: usize, device: &Device) -> Result<SciCascade> {
        let network = self.config.model.init(device)?;
        let learner = self.config.optimizer.learner(network, self.config.loss.init()?)?;
        let record = self.folder.model_record(epoch)?;
        Ok(learner.model().load_record(record).network.valid())
    }

    /// Names the checkpoint that a training which diverged can go back to. One whose first step
    /// fails is not good.
    fn with_checkpoint(&self, error: Error) -> Error {
        match error {
            Error::NotFinite { what, epoch, step, photos, .. } => {
                let good = |checkpoint: &usize| checkpoint + usize::from(step == 1) < epoch;
                let last = self.folder.checkpoints().into_iter().rfind(good);
                let checkpoint = last.map(|epoch| self.folder.model(epoch));
                Error::NotFinite { what, epoch, step, photos, checkpoint }
            }
            error => error,
        }
    }

    /// What Burn's engine says, as an error of ours.
    fn error(&self, error: &TrainingError) -> Error {
        match error {
            TrainingError::Dataset(error) => loading_error(error),
            TrainingError::Checkpoint(error) => {
                Error::write(self.folder.path.join("checkpoint"), error.to_string())
            }
            error => Error::execution(error.to_string()),
        }
    }
}
