//! The folder of a run, and the table of its epochs.

use super::config::TrainingConfig;
use super::metrics::Pictures;
use super::preview;
use super::watch::{Halt, Listener, TrainingEvent};
use crate::error::{Cause, Error, Result, brief};
use crate::file;
use crate::photo::save_photo;
use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::ModuleRecord;
use burn::train::EarlyStoppingStrategy;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{Aggregate, EpochSummary, EventStoreClient, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One row of a run's `metrics.csv`. The first five are means over the epoch's steps, the others
/// over the validation photographs, each reduced to at most 640 pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochMetrics {
    /// The epoch, from 1.
    pub epoch: usize,
    /// What is minimized, summed over the stages.
    pub loss: f64,
    /// The fidelity, without its weight, summed over the stages.
    pub fidelity: f64,
    /// The smoothness, summed over the stages.
    pub smoothness: f64,
    /// The norm of the gradient over all parameters, before it is clipped.
    pub gradient_norm: f64,
    /// The mean luminance of the enhanced photographs, in `[0, 1]`.
    pub luminance: f64,
    /// The share of their pixels whose brightest channel is at or above 0.98, in `[0, 1]`.
    pub clipped: f64,
    /// How far their colors have shifted; see [`PhotoMetrics`](crate::train::PhotoMetrics).
    pub color_cast: f64,
}

pub(super) const LOSS: &str = "Loss";
pub(super) const FIDELITY: &str = "Fidelity";
pub(super) const SMOOTHNESS: &str = "Smoothness";
pub(super) const GRADIENT_NORM: &str = "Gradient norm";
pub(super) const LUMINANCE: &str = "Luminance";
pub(super) const CLIPPED: &str = "Clipped";
pub(super) const COLOR_CAST: &str = "Color cast";

impl EpochMetrics {
    fn named(&mut self, name: &str) -> Option<&mut f64> {
        Some(match name {
            LOSS => &mut self.loss,
            FIDELITY => &mut self.fidelity,
            SMOOTHNESS => &mut self.smoothness,
            GRADIENT_NORM => &mut self.gradient_norm,
            LUMINANCE => &mut self.luminance,
            CLIPPED => &mut self.clipped,
            COLOR_CAST => &mut self.color_cast,
            _ => return None,
        })
    }
}

/// Where a training puts its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A new folder, or an empty one.
    New(PathBuf),
    /// The folder of a run that was broken off, or that shall go on for longer.
    Resume(PathBuf),
}

impl Run {
    pub(super) fn path(&self) -> &Path {
        let (Self::New(path) | Self::Resume(path)) = self;
        path
    }

    /// Refuses a folder that is not this training's.
    pub(super) fn check(&self, config: &TrainingConfig) -> Result<()> {
        let path = self.path();
        match self {
            Self::New(_) => match std::fs::read_dir(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(unwritable(path, error)),
                Ok(mut entries) => match entries.next() {
                    None => Ok(()),
                    Some(_) if path.join("config.json").exists() => {
                        Err(Error::RunExists { path: path.to_owned() })
                    }
                    // A run that was killed before it had done anything.
                    Some(_) if path.join("lock").exists() => Ok(()),
                    Some(_) => Err(unwritable(path, "it is not empty")),
                },
            },
            Self::Resume(_) => {
                let theirs = TrainingConfig::read(path.join("config.json"))?;
                match config.difference(&theirs) {
                    None => match checkpoints(path).last() {
                        Some(&done) if config.epochs < done => Err(Error::Setting {
                            setting: "epochs",
                            reason: format!("is {}, but {done} are done", config.epochs),
                        }),
                        _ => Ok(()),
                    },
                    Some((setting, ours, theirs)) => {
                        Err(Error::OtherRun { path: path.to_owned(), setting, ours, theirs })
                    }
                }
            }
        }
    }

    /// Makes the folder, writes the configuration into it, and keeps other processes out of it.
    pub(super) fn begin(&self, config: &TrainingConfig, photos: &str) -> Result<RunFolder> {
        let path = self.path().to_owned();
        let failed = |error: std::io::Error| unwritable(&path, error);
        std::fs::create_dir_all(&path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(unwritable(&path, "another process is working on it"));
        }
        let list = path.join("photographs.txt");
        match std::fs::read_to_string(&list) {
            Ok(begun_with) if begun_with != photos => {
                let reason = "the photographs are not those that the run was begun with";
                return Err(Error::read(&config.data, reason));
            }
            Ok(_) => {}
            Err(_) => file::write(&list, photos.as_bytes())?,
        }
        config.write(path.join("config.json"))?;
        for folder in [path.join("previews"), path.join("checkpoint")] {
            std::fs::create_dir_all(&folder).map_err(failed)?;
            // What a run that was killed was writing.
            for entry in std::fs::read_dir(&folder).map_err(failed)?.flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                    std::fs::remove_file(entry.path()).ok();
                }
            }
        }
        Ok(RunFolder { path, _lock: Arc::new(lock) })
    }
}

fn unwritable(path: &Path, cause: impl Into<Cause>) -> Error {
    Error::write(path, cause)
}

fn damaged_checkpoint(path: PathBuf, error: impl std::fmt::Display) -> Error {
    Error::malformed(path, "checkpoint", error.to_string())
}

/// The folder of a run that has begun.
#[derive(Clone)]
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
    /// Held until the training is over.
    _lock: Arc<File>,
}

/// What a checkpoint consists of.
const PARTS: [&str; 3] = ["model", "optim", "scheduler"];

/// A part of a checkpoint in a run's folder, under the name that Burn gives it.
fn part(run: &Path, part: &str, epoch: usize) -> PathBuf {
    run.join("checkpoint").join(format!("{part}-{epoch}.bpk"))
}

/// The epochs whose checkpoints are there, all parts of them, in order.
fn checkpoints(run: &Path) -> Vec<usize> {
    let entries = std::fs::read_dir(run.join("checkpoint")).into_iter().flatten();
    let epoch = |name: &str| name.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok();
    let mut epochs: Vec<usize> = entries
        .filter_map(|entry| epoch(entry.ok()?.file_name().to_str()?))
        .filter(|&epoch| PARTS.iter().all(|name| part(run, name, epoch).is_file()))
        .collect();
    epochs.sort();
    epochs
}

impl RunFolder {
    pub(super) fn model(&self, epoch: usize) -> PathBuf {
        part(&self.path, "model", epoch)
    }

    pub(super) fn checkpoints(&self) -> Vec<usize> {
        checkpoints(&self.path)
    }

    /// The model of a checkpoint.
    pub(super) fn model_record(&self, epoch: usize) -> Result<ModuleRecord> {
        let path = self.model(epoch);
        ModuleRecord::load(&path).map_err(|error| damaged_checkpoint(path, error))
    }

    /// The last checkpoint that can be read, if there is any.
    pub(super) fn last_checkpoint(&self) -> Result<Option<usize>> {
        let mut damaged = Ok(None);
        for epoch in self.checkpoints().into_iter().rev() {
            match self.check_checkpoint(epoch) {
                Ok(()) => return Ok(Some(epoch)),
                Err(error) => damaged = damaged.and(Err(error)),
            }
        }
        damaged
    }

    fn check_checkpoint(&self, epoch: usize) -> Result<()> {
        self.model_record(epoch)?;
        let path = part(&self.path, "optim", epoch);
        OptimizerRecord::load(&path).map_err(|error| damaged_checkpoint(path, error))?;
        let path = part(&self.path, "scheduler", epoch);
        LrSchedulerRecord::load(&path).map_err(|error| damaged_checkpoint(path, error))?;
        Ok(())
    }

    fn table(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// The rows of the table up to an epoch.
    pub(super) fn history(&self, last: usize) -> Result<History> {
        let path = self.table();
        if last == 0 {
            return Ok(History::default());
        }
        let damaged = |reason: String| Error::malformed(&path, "table of metrics", reason);
        let rows = csv::Reader::from_path(&path).map_err(|error| damaged(error.to_string()))?;
        let mut rows = rows
            .into_deserialize()
            .collect::<std::result::Result<Vec<EpochMetrics>, _>>()
            .map_err(|error| damaged(brief(error)))?;
        rows.truncate(last);
        match rows.iter().map(|row| row.epoch).eq(1..=last) {
            true => Ok(History(rows)),
            false => Err(damaged(format!("does not have the epochs 1 to {last}"))),
        }
    }

    fn write_table(&self, rows: &[EpochMetrics]) -> Result<()> {
        let mut table = csv::Writer::from_writer(Vec::new());
        for row in rows {
            table.serialize(row).expect("numbers become text");
        }
        file::write(&self.table(), &table.into_inner().expect("text is kept in memory"))
    }
}

/// The epochs of a run so far.
#[derive(Clone, Default)]
pub(super) struct History(pub(super) Vec<EpochMetrics>);

impl History {
    /// The epoch whose luminance comes closest to the target; without one, the last.
    pub(super) fn best(&self, target: Option<f64>) -> Option<EpochMetrics> {
        let Some(target) = target else { return self.0.last().copied() };
        let distance = |row: &&EpochMetrics| (row.luminance - target).abs();
        self.0.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).copied()
    }

    /// Whether the last epoch is as bright as was asked for.
    pub(super) fn reached(&self, target: Option<f64>) -> bool {
        let last = self.0.last();
        target.is_some_and(|target| last.is_some_and(|row| row.luminance >= target))
    }
}

pub(super) type SharedHistory = Arc<Mutex<History>>;

pub(super) fn locked(history: &SharedHistory) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the table and the previews, and is where Burn's engine finds the metrics again.
pub(super) struct Recorder {
    run: RunFolder,
    history: SharedHistory,
    target: Option<f64>,
    pictures: Pictures,
    listener: Listener,
    halt: Halt,
    names: HashMap<MetricId, String>,
    /// The row of the epoch that is going on.
    row: EpochMetrics,
}

impl Recorder {
    pub(super) fn new(
        run: &RunFolder,
        history: &SharedHistory,
        target: Option<f64>,
        pictures: &Pictures,
        listener: &Listener,
        halt: &Halt,
    ) -> Self {
        Self {
            run: run.clone(),
            history: history.clone(),
            target,
            pictures: pictures.clone(),
            listener: listener.clone(),
            halt: halt.clone(),
            names: HashMap::new(),
            row: EpochMetrics::default(),
        }
    }

    fn end_epoch(&mut self, epoch: usize) -> Result<()> {
        let row = EpochMetrics { epoch, ..std::mem::take(&mut self.row) };
        let rows = {
            let mut history = locked(&self.history);
            history.0.push(row);
            history.0.clone()
        };
        self.run.write_table(&rows)?;
        let preview = preview::draw(&self.pictures.take(), &rows, self.target);
        let name = format!("previews/epoch-{epoch:03}.png");
        save_photo(&image::DynamicImage::from(preview).into(), self.run.path.join(name))?;
        (self.listener)(TrainingEvent::Epoch(row));
        Ok(())
    }
}

impl MetricLogger for Recorder {
    fn log(&mut self, update: MetricsUpdate, _: usize, _: &Split) {
        for metric in update.entries_numeric {
            let name = self.names.get(&metric.entry.metric_id).map_or("", String::as_str);
            let value = NumericEntry::deserialize(&metric.entry.serialized_entry.serialized);
            if let (Some(column), Ok(NumericEntry::Final(value))) = (self.row.named(name), value) {
                *column = value;
            }
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        _: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let row = locked(&self.history).0.get(epoch.wrapping_sub(1)).copied();
        let value = row.and_then(|mut row| row.named(name).copied());
        Ok(value.map(NumericEntry::Final).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name.to_string());
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split == Split::Valid
            && !self.halt.interrupter.should_stop()
            && let Err(error) = self.end_epoch(summary.epoch_number)
        {
            self.halt.with(error);
        }
    }
}

/// Waits until the [`Recorder`], which runs beside the training, has come to an epoch.
fn recorded(store: &EventStoreClient, epoch: usize) {
    store.find_metric(LUMINANCE, epoch, Aggregate::Mean, &Split::Valid);
}

/// Keeps the last two checkpoints and the best one.
pub(super) struct KeepBest {
    run: RunFolder,
    history: SharedHistory,
    target: Option<f64>,
}

impl KeepBest {
    pub(super) fn new(run: &RunFolder, history: &SharedHistory, target: Option<f64>) -> Self {
        Self { run: run.clone(), history: history.clone(), target }
    }
}

impl CheckpointingStrategy for KeepBest {
    fn checkpointing(
        &mut self,
        epoch: usize,
        store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        recorded(store, epoch);
        let history = locked(&self.history).clone();
        // Should this checkpoint not be completed, the one before is the last, and the best one
        // until then must be there too.
        let before = History(history.0[..history.0.len().saturating_sub(1)].to_vec());
        let best = [history.best(self.target), before.best(self.target)];
        let kept =
            |old: usize| old + 1 >= epoch || best.iter().flatten().any(|best| best.epoch == old);
        let old = self.run.checkpoints().into_iter().filter(|&old| !kept(old));
        old.map(CheckpointingAction::Delete).chain([CheckpointingAction::Save]).collect()
    }
}

/// Ends the training when the validation photographs come out bright enough.
#[derive(Clone)]
pub(super) struct BrightEnough {
    pub(super) history: SharedHistory,
    pub(super) target: f64,
}

impl EarlyStoppingStrategy for BrightEnough {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        recorded(store, epoch);
        locked(&self.history).reached(Some(self.target))
    }
}
