//! The folder of a run: its configuration, its checkpoints and the table of its epochs.

use super::config::TrainingConfig;
use super::metrics::EpochMetrics;
use crate::error::{Cause, Error, Result};
use crate::file;
use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::{ModuleRecord, burn_pack};
use burn::tensor::{Bytes, DType, TensorData};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where a training keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// A folder that does not exist, is empty, or holds a run that has not completed an epoch.
    New(PathBuf),
    /// The folder of a run that was interrupted, or that is to be continued for more epochs.
    #[non_exhaustive]
    Resume {
        /// The folder.
        path: PathBuf,
        /// The epoch whose checkpoint to continue from. By default the last one that is sound.
        epoch: Option<usize>,
    },
}

impl Run {
    /// A new run.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::New(path.into())
    }

    /// Continues a run from its last checkpoint that can be read and whose values are all finite.
    pub fn resume(path: impl Into<PathBuf>) -> Self {
        Self::Resume { path: path.into(), epoch: None }
    }

    /// Continues a run from the checkpoint of a certain epoch; later checkpoints and metrics are
    /// deleted. A new run stays as it is.
    pub fn from_epoch(self, epoch: usize) -> Self {
        match self {
            Self::New(path) => Self::New(path),
            Self::Resume { path, .. } => Self::Resume { path, epoch: Some(epoch) },
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        let (Self::New(path) | Self::Resume { path, .. }) = self;
        path
    }

    /// Refuses a folder that is not this training's.
    pub(super) fn check(&self, config: &TrainingConfig) -> Result<()> {
        let path = self.path();
        let Self::Resume { epoch, .. } = self else {
            let mut entries = match std::fs::read_dir(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                entries => entries.map_err(|error| unwritable(path, error))?,
            };
            return match entries.all(|entry| entry.is_ok_and(is_remnant)) {
                true => Ok(()),
                false if path.join(CONFIG).exists() => {
                    Err(Error::RunExists { path: path.to_owned() })
                }
                false => Err(unwritable(path, "it is not empty")),
            };
        };
        let theirs = TrainingConfig::read(path.join(CONFIG))?;
        if let Some((setting, ours, theirs)) = config.difference(&theirs) {
            return Err(Error::OtherRun { path: path.to_owned(), setting, ours, theirs });
        }
        let checkpoints = checkpoints(path);
        if let Some(epoch) = *epoch {
            if !checkpoints.contains(&epoch) {
                let reason = format!(
                    "there is no checkpoint of epoch {epoch} in {}, only of {checkpoints:?}",
                    path.display()
                );
                return Err(Error::argument("epoch", reason));
            }
            check_checkpoint(path, epoch)?;
        }
        match epoch.as_ref().or(checkpoints.last()) {
            Some(&done) if config.epochs < done => {
                let reason = format!("is {}, but {done} are done", config.epochs);
                Err(Error::setting("epochs", reason))
            }
            _ => Ok(()),
        }
    }

    /// Makes the folder, writes the configuration into it, and keeps other processes out of it.
    pub(super) fn begin(&self, config: &TrainingConfig, photos: &str) -> Result<RunFolder> {
        let path = self.path().to_owned();
        let failed = |error: std::io::Error| unwritable(&path, error);
        std::fs::create_dir_all(&path).map_err(failed)?;
        let lock = lock(&path)?;
        // Another process may have completed an epoch before this one held the lock.
        self.check(config)?;
        remove_temporary_files(&path).map_err(failed)?;
        let list = path.join(PHOTOGRAPHS);
        let others = || match crate::file::read(&list, photos.len() as u64) {
            Ok(begun_with) => begun_with != photos.as_bytes(),
            Err(_) => list.exists(),
        };
        if matches!(self, Self::Resume { .. }) && others() {
            let reason = "the photographs are not those that the run was begun with";
            return Err(Error::read(&config.data, reason));
        }
        if matches!(self, Self::New(_)) {
            // A run that is killed now must not be resumed with the photographs of the one before it.
            match std::fs::remove_file(&list) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(error));
                }
                _ => {}
            }
        }
        config.write(path.join(CONFIG))?;
        if !list.exists() {
            file::write(&list, photos.as_bytes())?;
        }
        let checkpoint = path.join(CHECKPOINT);
        std::fs::create_dir_all(&checkpoint).map_err(failed)?;
        remove_temporary_files(&checkpoint).map_err(failed)?;
        if let Self::Resume { epoch: Some(epoch), .. } = self {
            for later in checkpoints(&path).into_iter().filter(|later| later > epoch) {
                for name in PARTS {
                    std::fs::remove_file(part(&path, name, later)).map_err(failed)?;
                }
            }
        }
        Ok(RunFolder { path, lock: Arc::new(lock) })
    }
}

/// Names in the folder of a run.
const LOCK: &str = "sci-burn.lock";
const CONFIG: &str = "config.json";
const PHOTOGRAPHS: &str = "photographs.txt";
const CHECKPOINT: &str = "checkpoint";
const TABLE: &str = "metrics.csv";

/// The most bytes of the table that are read: those of some million epochs.
const MAX_TABLE_SIZE: u64 = 1 << 30;

/// The most bytes of a part of a checkpoint: several times as many as the optimizer of the largest model has.
const MAX_CHECKPOINT_SIZE: u64 = 64 << 20;

/// What the lock file contains, so that no other file is taken for it.
const LOCK_CONTENT: &str = "Locked while sci-burn trains in this folder.\n";

/// Whether a run that has not completed an epoch may have left this behind.
fn is_remnant(entry: std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let Some(name) = name.to_str() else { return false };
    match name {
        LOCK => crate::file::read(&entry.path(), LOCK_CONTENT.len() as u64)
            .is_ok_and(|content| LOCK_CONTENT.as_bytes().starts_with(&content)),
        // Without the lock file these are not known to be a run's.
        CONFIG | PHOTOGRAPHS => entry.path().with_file_name(LOCK).is_file(),
        CHECKPOINT => std::fs::read_dir(entry.path()).is_ok_and(|mut entries| {
            entries.all(|entry| entry.is_ok_and(|entry| is_temporary(&entry.path())))
        }),
        _ => is_temporary(&entry.path()),
    }
}

/// Whether a path is named like a file that a run was writing when it was killed: one of this
/// library's, or a part of a checkpoint, which Burn writes as `model-3.bpk.77-0.tmp`.
fn is_temporary(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    file::is_temporary(name)
        || name.to_str().is_some_and(|name| {
            name.ends_with(".tmp")
                && name.contains(".bpk.")
                && PARTS.iter().any(|part| name.starts_with(part))
        })
}

/// Removes what a run was writing when it was killed. The lock must be held.
fn remove_temporary_files(folder: &Path) -> std::io::Result<()> {
    file::remove_dead(folder);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = path.file_name().is_some_and(file::is_temporary);
        if !is_ours && is_temporary(&path) {
            std::fs::remove_file(path).ok();
        }
    }
    Ok(())
}

/// Opens and locks the lock file of a folder.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let failed = |cause: Cause| Error::write(&path, cause);
    let foreign = || failed("it is not the lock file of a run".into());
    // A pipe would be waited for, and a link followed out of the folder.
    if std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(foreign());
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| failed(error.into()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(unwritable(folder, "another process is working on it"));
    }
    let mut content = String::new();
    let read = Read::by_ref(&mut file).take(1024).read_to_string(&mut content);
    read.map_err(|error| failed(error.into()))?;
    // A process that was killed may have written only a part of it.
    match LOCK_CONTENT.strip_prefix(content.as_str()) {
        Some(rest) => file.write_all(rest.as_bytes()).map_err(|error| failed(error.into()))?,
        None => return Err(foreign()),
    }
    Ok(file)
}

fn unwritable(path: &Path, cause: impl Into<Cause>) -> Error {
    Error::write(path, cause)
}

fn damaged_checkpoint(path: &Path, cause: impl Into<Cause>) -> Error {
    Error::malformed(path, "checkpoint", cause)
}

/// The files of a checkpoint.
const PARTS: [&str; 3] = ["model", "optim", "scheduler"];

/// A part of a checkpoint in a run's folder, under the name that Burn gives it.
fn part(run: &Path, part: &str, epoch: usize) -> PathBuf {
    run.join(CHECKPOINT).join(format!("{part}-{epoch}.bpk"))
}

/// The epochs whose checkpoints are there with all their parts, in order.
fn checkpoints(run: &Path) -> Vec<usize> {
    let entries = std::fs::read_dir(run.join(CHECKPOINT)).into_iter().flatten();
    let epoch = |name: &str| name.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok();
    let mut epochs: Vec<usize> = entries
        .filter_map(|entry| epoch(entry.ok()?.file_name().to_str()?))
        .filter(|&epoch| PARTS.iter().all(|name| part(run, name, epoch).is_file()))
        .collect();
    epochs.sort();
    epochs
}

/// Refuses a checkpoint that cannot be read or holds values that are not finite.
fn check_checkpoint(run: &Path, epoch: usize) -> Result<()> {
    for name in PARTS {
        let path = part(run, name, epoch);
        let damaged = |cause: Cause| damaged_checkpoint(&path, cause);
        let bytes = crate::file::read(&path, MAX_CHECKPOINT_SIZE)?;
        let bytes = || Bytes::from_bytes_vec(bytes.clone());
        match name {
            "model" => ModuleRecord::from_bytes(bytes()).map(drop),
            "optim" => OptimizerRecord::from_bytes(bytes()).map(drop),
            _ => LrSchedulerRecord::from_bytes(bytes()).map(drop),
        }
        .map_err(|error| damaged(error.into()))?;
        let reader = burn_pack::Reader::from_bytes(bytes());
        let tensors = reader.and_then(burn_pack::Reader::into_tensors);
        let is_optimizer = name == "optim";
        for tensor in tensors.map_err(|error| damaged(error.into()))? {
            let parts = tensor.into_parts().map_err(|error| damaged(error.into()))?;
            let (name, dtype, shape, _, bytes) = parts;
            if is_optimizer && shape.len() != 1 {
                let reason =
                    "is of an earlier version, where each parameter had a state of its own";
                return Err(damaged(reason.into()));
            }
            let floats = matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16);
            let data = TensorData::from_bytes(bytes, shape, dtype);
            if floats && data.iter::<f64>().any(|value| !value.is_finite()) {
                return Err(damaged(format!("`{name}` has a value that is not finite").into()));
            }
        }
    }
    Ok(())
}

/// The folder of a run that has begun.
#[derive(Clone)]
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
    /// Held until the training is over.
    lock: Arc<File>,
}

impl RunFolder {
    /// How long threads that end are waited for.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Waits until nobody else works in the folder: after a failure the engine's threads may still be ending, and the
    /// run could not be resumed at once.
    pub(super) fn wait_for_others(&self) {
        let start = Instant::now();
        while Arc::strong_count(&self.lock) > 1 && start.elapsed() < Self::PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn model(&self, epoch: usize) -> PathBuf {
        part(&self.path, "model", epoch)
    }

    pub(super) fn table(&self) -> PathBuf {
        self.path.join(TABLE)
    }

    pub(super) fn checkpoints_folder(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    pub(super) fn checkpoints(&self) -> Vec<usize> {
        checkpoints(&self.path)
    }

    /// Whether a checkpoint can be read and all its values are finite.
    pub(super) fn is_sound(&self, epoch: usize) -> bool {
        check_checkpoint(&self.path, epoch).is_ok()
    }

    /// The model of a checkpoint.
    pub(super) fn model_record(&self, epoch: usize) -> Result<ModuleRecord> {
        let path = self.model(epoch);
        ModuleRecord::load(&path).map_err(|error| damaged_checkpoint(&path, error))
    }

    /// The last checkpoint that is sound, if there is any.
    pub(super) fn last_checkpoint(&self) -> Result<Option<usize>> {
        let mut damaged = Ok(None);
        for epoch in self.checkpoints().into_iter().rev() {
            match check_checkpoint(&self.path, epoch) {
                Ok(()) => return Ok(Some(epoch)),
                Err(error) => damaged = damaged.and(Err(error)),
            }
        }
        damaged
    }

    /// The rows of the table up to an epoch. Rows that are damaged or missing are left out.
    pub(super) fn history(&self, last: usize) -> History {
        let Ok((table, _)) = crate::file::open(&self.table()) else { return History::default() };
        let table = table.take(MAX_TABLE_SIZE);
        let table = csv::ReaderBuilder::new().flexible(true).from_reader(table);
        let rows = table.into_deserialize::<EpochMetrics>().map_while(|row| match row {
            Err(error) if error.is_io_error() => None,
            row => Some(row),
        });
        let known = rows.flatten().filter(|row| (1..=last).contains(&row.epoch));
        History(known.map(|row| (row.epoch, row)).collect())
    }

    pub(super) fn write_table(&self, history: &History) -> Result<()> {
        let mut table = csv::Writer::from_writer(Vec::new());
        for row in history.0.values() {
            table.serialize(row).expect("numbers become text");
        }
        file::write(&self.table(), &table.into_inner().expect("text is kept in memory"))
    }
}

/// The metrics of a run's epochs, by epoch.
#[derive(Clone, Default)]
pub(super) struct History(pub(super) BTreeMap<usize, EpochMetrics>);

impl History {
    /// Of some epochs, the one whose luminance comes closest to the target; without a target, the
    /// last.
    pub(super) fn best(&self, epochs: &[usize], target: Option<f64>) -> Option<usize> {
        let Some(target) = target else { return epochs.last().copied() };
        let known = epochs.iter().filter_map(|epoch| self.0.get(epoch));
        let distance = |row: &&EpochMetrics| (row.luminance - target).abs();
        let best = known.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        best.map(|row| row.epoch).or(epochs.last().copied())
    }

    /// Whether an epoch is as bright as was asked for.
    pub(super) fn reached(&self, epoch: usize, target: Option<f64>) -> bool {
        let row = self.0.get(&epoch);
        target.is_some_and(|target| row.is_some_and(|row| row.luminance >= target))
    }

    /// The number of epochs up to `last` that are not in the table.
    pub(super) fn missing(&self, last: usize) -> usize {
        last - self.0.range(1..=last).count()
    }
}

pub(super) type SharedHistory = Arc<Mutex<History>>;

pub(super) fn locked(history: &SharedHistory) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
