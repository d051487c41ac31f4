use super::alternation::Alternation;
use super::config::TrainingConfig;
use super::data::{Held, PhotoLoader, PhotoSet, SamplingConfig, loading_error};
use super::events::{Events, Monitor, TrainingEvent};
use super::halt::Halt;
use super::meters::{Average, Finite, Previews};
use super::metrics::{EpochMetrics, PhotoMetrics, StepValues, column};
use super::recorder::{EndAfterEpoch, KeepBest, Recorder};
use super::renderer::Renderer;
use super::run_folder::{Run, RunFolder, SharedHistory, locked};
use super::step::{Trainable, Training};
use crate::contain::contain_operations;
use crate::error::{Error, Result};
use crate::loss::SciLoss;
use crate::model::{
    Cascade, CascadeConfig, Method, SciCascade, SciCascadeConfig, SciPlusPlusCascade,
    SciPlusPlusCascadeConfig,
};
use crate::ops::functions::has_collectives;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::{ExecutionStrategy, Learner, SupervisedTraining, TrainingError};
use image::Rgb32FImage;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of validation photographs, and the longest side to which they are scaled, in pixels.
const VALIDATION_PHOTOS: usize = 16;
const VALIDATION_SIDE: u32 = 640;

/// The result of a training.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trained {
    /// The trained model, as in the run's `model.safetensors` and `model.bpk`.
    ///
    /// If the training was interrupted, this is the model of the last epoch that was completed, from
    /// which a resumed run continues; before the first one, the initial model.
    pub cascade: Cascade,
    /// What was measured in the epoch that the model is from. `None` if no epoch was completed, or if
    /// the metrics of that epoch were lost.
    pub metrics: Option<EpochMetrics>,
    /// Whether the training was stopped by its [`Monitor`] before its end. Then no model is written to
    /// the run's folder.
    pub interrupted: bool,
}

/// Trains the model of either method, on Burn's [`SupervisedTraining`].
///
/// The run's folder gets the configuration (`config.json`), a table of the epochs (`metrics.csv`),
/// checkpoints, and in the end the model (`model.safetensors`, `model.bpk`) and the part of it that
/// enhances (`estimator.safetensors`). A run that was interrupted, or whose process was killed, at any
/// moment, continues from its last checkpoint when it is [resumed](Run::resume); on one CPU device it
/// ends with the same weights, bit for bit, as an uninterrupted one. The photographs must be the same;
/// more epochs may be asked for, but not fewer.
///
/// `devices` is Burn's: one device; several of which one optimizes with the mean of their
/// gradients; or, on CUDA, distributed data parallel. Several devices always make the same number of steps: each
/// replaces photographs that cannot be read. The batch statistics are each device's own; the running ones, which
/// enhancing uses, go on from the mean over the devices, and with distributed data parallel are those of the first.
/// With distributed data parallel, where Burn makes the devices wait for each other, this function may never return if
/// one of them fails; otherwise that is an error.
///
/// ```no_run
/// use sci_burn::burn::train::ExecutionStrategy;
/// use sci_burn::open_device;
/// use sci_burn::train::{Monitor, Run, SamplingConfig, TrainingConfig, train};
///
/// let sampling = SamplingConfig::new().with_crop(Some([600, 400]));
/// let config = TrainingConfig::new("my/night/photographs".into())
///     .with_sampling(sampling)
///     .with_stop_at_luminance(Some(0.42));
/// let devices = ExecutionStrategy::SingleDevice(open_device("cpu")?);
/// train(&config, &Run::new("run"), devices, &Monitor::silent())?;
/// # Ok::<(), sci_burn::Error>(())
/// ```
///
/// # Errors
///
/// Before anything is written: [`Error::Setting`]; [`Error::Argument`] where there is no checkpoint of
/// the epoch to continue from, or the devices cannot be distributed data parallel, which needs CUDA;
/// [`Error::Read`] where there is no usable photograph;
/// [`Error::RunExists`], [`Error::OtherRun`] or [`Error::Write`] where the folder is not this run's.
/// [`Error::NotFinite`] where the training diverges; [`Error::Write`], [`Error::Malformed`] or
/// [`Error::Execution`] where disk, checkpoint or device fail.
pub fn train(
    config: &TrainingConfig,
    run: &Run,
    devices: ExecutionStrategy,
    monitor: &Monitor,
) -> Result<Trained> {
    config.check()?;
    match &config.model {
        CascadeConfig::Sci(model) => train_model(model, config, run, devices, monitor),
        CascadeConfig::SciPlusPlus(model) => train_model(model, config, run, devices, monitor),
    }
}

/// The configuration of a cascade that can be trained.
pub(super) trait Model {
    type Network: Trainable + Into<Cascade>;

    fn init_with_seed(&self, seed: u64, device: &Device) -> Result<Self::Network>;

    fn loss(&self, config: &TrainingConfig) -> Result<<Self::Network as Trainable>::Loss>;
}

impl Model for SciCascadeConfig {
    type Network = SciCascade;

    fn init_with_seed(&self, seed: u64, device: &Device) -> Result<SciCascade> {
        self.init_with_seed(seed, device)
    }

    fn loss(&self, config: &TrainingConfig) -> Result<SciLoss> {
        config.loss.init()
    }
}

impl Model for SciPlusPlusCascadeConfig {
    type Network = SciPlusPlusCascade;

    fn init_with_seed(&self, seed: u64, device: &Device) -> Result<SciPlusPlusCascade> {
        self.init_with_seed(seed, device)
    }

    fn loss(&self, config: &TrainingConfig) -> Result<Alternation> {
        config.alternation.init(config.loss.init()?)
    }
}

pub(super) fn train_model<M: Model>(
    model: &M,
    config: &TrainingConfig,
    run: &Run,
    devices: ExecutionStrategy,
    monitor: &Monitor,
) -> Result<Trained> {
    run.check(config)?;
    let synchronized = matches!(devices, ExecutionStrategy::DistributedDataParallel { .. });
    if synchronized && !has_collectives(devices.main_device()) {
        // The others would wait for a worker that cannot do it.
        let reason = "cannot be distributed data parallel: of Burn's backends only CUDA can add up \
                      gradients among devices. Strategy `MultiDevice` makes the same steps";
        return Err(Error::argument("devices", reason));
    }
    let halt = Halt::default().after_epoch(synchronized);
    let events = monitor.events(&halt);
    let data = Data::open(config, run.path(), &events)?;
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
    let cascade = model.init_with_seed(config.seed, &device)?;
    let initial = cascade.clone();
    // Where one device optimizes for several, Burn hands it the sum of their gradients.
    let summed = if matches!(devices, ExecutionStrategy::MultiDevice(..)) { replicas } else { 1 };
    let loss = model.loss(config)?;
    let learner = config.optimizer.learner_for(cascade, loss.clone(), summed)?;

    let folder = run.begin(config, &data.training.names())?;
    let checkpoint = folder.last_checkpoint()?;
    let completed = checkpoint.unwrap_or(0);
    let history = folder.history(completed);
    let missing = history.missing(completed);
    if missing > 0 {
        events.send(TrainingEvent::MetricsLost { path: folder.table(), epochs: missing });
    }
    let history: SharedHistory = Arc::new(history.into());
    let session = Session {
        model,
        config,
        loss,
        folder,
        checkpoint,
        replicas,
        monitor,
        events,
        halt,
        history,
    };
    let host = device.clone().without_autodiff();
    // Burn's engine would panic at a checkpoint that holds another model.
    checkpoint.map(|epoch| session.model_of(epoch, &host)).transpose()?;
    if !session.is_over(completed) && !session.halt.requested() {
        session.run(learner, data, devices)?;
    }
    session.result(initial, &host)
}

/// The photographs of a training.
struct Data {
    training: Arc<PhotoSet>,
    validation: Vec<(PathBuf, Rgb32FImage)>,
}

impl Data {
    /// Opens the photographs, except those in the run's own folder.
    fn open(config: &TrainingConfig, run: &Path, events: &Events) -> Result<Self> {
        let on_refused = events.on_refused();
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
struct Session<'a, M: Model> {
    model: &'a M,
    config: &'a TrainingConfig,
    loss: <M::Network as Trainable>::Loss,
    folder: RunFolder,
    checkpoint: Option<usize>,
    replicas: usize,
    monitor: &'a Monitor,
    events: Events,
    halt: Halt,
    history: SharedHistory,
}

impl<M: Model> Session<'_, M> {
    /// Whether nothing is left to do after an epoch.
    fn is_over(&self, epoch: usize) -> bool {
        let target = self.config.stop_at_luminance;
        epoch >= self.config.epochs || locked(&self.history).reached(epoch, target)
    }

    /// Runs Burn's engine until the training is over or asked to end.
    fn run(
        &self,
        learner: Learner<Training<M::Network>>,
        data: Data,
        devices: ExecutionStrategy,
    ) -> Result<()> {
        let (folder, target) = (&self.folder, self.config.stop_at_luminance);
        let (halt, events, previews) = (&self.halt, &self.events, Previews::default());
        let first_epoch = self.checkpoint.unwrap_or(0) + 1;
        let device = devices.main_device().clone();
        let photos = data.training.len() - data.training.len() % self.replicas;
        let training =
            PhotoLoader::new(data.training, self.config.batch_size, first_epoch, &device);
        let training = if self.replicas > 1 { training.with_replacements() } else { training };
        let loss = self.loss.clone();
        let training = training.with_steps(move |iteration| M::Network::makes(iteration, &loss));
        // All devices make the same number of steps; each epoch leaves out other photographs.
        let training = training.slice(0, photos);
        let validation = Arc::new(Held::new(data.validation, self.monitor.previews(), &device));

        let history = locked(&self.history).0.values().copied().collect();
        let epochs = self.config.epochs;
        events.send(TrainingEvent::Started { epoch: first_epoch, epochs, photos, history });
        if halt.requested() {
            return Ok(());
        }
        let renderer = Renderer::new(self.monitor, events, halt, self.checkpoint);
        let mut engine = SupervisedTraining::new(&folder.path, training, validation)
            .num_epochs(epochs)
            .with_training_strategy(devices.into())
            .with_interrupter(halt.interrupter.clone())
            .with_application_logger(None)
            .with_metric_logger(Recorder::new(folder, &self.history, &previews, events, halt))
            .with_default_checkpointers()
            .with_checkpointing_strategy(KeepBest::new(folder, &self.history, target, halt))
            .renderer(Box::new(renderer))
            .early_stopping(EndAfterEpoch {
                history: self.history.clone(),
                target,
                halt: halt.clone(),
            })
            .metric_train_numeric(Average::new(column::LOSS, |s: &StepValues| {
                s.of_estimator(s.loss)
            }))
            .metric_train_numeric(Average::new(column::FIDELITY, |s: &StepValues| {
                s.of_estimator(s.fidelity)
            }))
            .metric_train_numeric(Average::new(column::SMOOTHNESS, |s: &StepValues| {
                s.of_estimator(s.smoothness)
            }))
            .metric_train_numeric(Average::new(column::GRADIENT_NORM, |s: &StepValues| {
                s.of_estimator(s.gradient_norm)
            }))
            .metric_train(Finite { halt: halt.clone() })
            .metric_valid_numeric(Average::new(column::LUMINANCE, |photo: &PhotoMetrics| {
                Some(photo.luminance)
            }))
            .metric_valid_numeric(Average::new(column::CLIPPED, |photo: &PhotoMetrics| {
                Some(photo.clipped)
            }))
            .metric_valid_numeric(Average::new(column::COLOR_CAST, |photo: &PhotoMetrics| {
                Some(photo.color_cast)
            }))
            .metric_valid(previews);
        if self.config.model.method() == Method::SciPlusPlus {
            engine = engine
                .metric_train_numeric(Average::new(column::CALIBRATOR_LOSS, |s: &StepValues| {
                    s.trains_calibrator.then_some(s.loss)
                }));
        }
        if let Some(checkpoint) = self.checkpoint {
            engine = engine.checkpoint(checkpoint);
        }
        // On a single device Burn lets a panic pass.
        let result = contain_operations(|| Ok(engine.launch(learner).error));
        self.folder.wait_for_others();
        if let Some(error) = halt.take_error() {
            return Err(self.with_checkpoint(error));
        }
        match result?.or_else(|| halt.engine_error()) {
            Some(error) => Err(self.error(error)),
            None => Ok(()),
        }
    }

    /// Chooses the resulting model, and writes it if the training is over.
    fn result(self, initial: M::Network, device: &Device) -> Result<Trained> {
        let Some(last) = self.folder.last_checkpoint()? else {
            let cascade = initial.valid().fork(device).into();
            return Ok(Trained { cascade, metrics: None, interrupted: true });
        };
        let interrupted = !self.is_over(last);
        let epoch = match interrupted {
            true => last,
            false => {
                let mut sound = self.folder.checkpoints();
                sound.retain(|&epoch| self.folder.is_sound(epoch));
                let best = locked(&self.history).best(&sound, self.config.stop_at_luminance);
                best.unwrap_or(last)
            }
        };
        let cascade = self.model_of(epoch, device)?;
        if !interrupted {
            for name in ["model.safetensors", "model.bpk"] {
                cascade.save(self.folder.path.join(name))?;
            }
            cascade.estimator().save(self.folder.path.join("estimator.safetensors"))?;
        }
        let metrics = locked(&self.history).0.get(&epoch).copied();
        Ok(Trained { cascade, metrics, interrupted })
    }

    /// The model of a checkpoint.
    fn model_of(&self, epoch: usize, device: &Device) -> Result<Cascade> {
        let network = self.model.init_with_seed(self.config.seed, device)?;
        let learner = self.config.optimizer.learner(network, self.loss.clone())?;
        let record = self.folder.model_record(epoch)?;
        let unfit = |error| Error::malformed(self.folder.model(epoch), "checkpoint", error);
        Ok(learner.model().try_load_record(record).map_err(unfit)?.network.valid().into())
    }

    /// Adds the checkpoint that a training which diverged can go back to. A checkpoint from which the
    /// first step fails is not good.
    fn with_checkpoint(&self, error: Error) -> Error {
        match error {
            Error::NotFinite { what, epoch, step, photos, .. } => {
                let good = |&checkpoint: &usize| {
                    checkpoint + usize::from(step == 1) < epoch && self.folder.is_sound(checkpoint)
                };
                let last = self.folder.checkpoints().into_iter().rfind(good);
                let checkpoint = last.map(|epoch| self.folder.model(epoch));
                Error::NotFinite { what, epoch, step, photos, checkpoint }
            }
            error => error,
        }
    }

    /// Converts an error of Burn's engine.
    fn error(&self, error: Arc<TrainingError>) -> Error {
        match &*error {
            TrainingError::Dataset(error) => loading_error(error),
            TrainingError::Checkpoint(_) => Error::write(self.folder.checkpoints_folder(), error),
            _ => Error::execution(error),
        }
    }
}
