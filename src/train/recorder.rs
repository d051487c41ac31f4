//! What happens at the end of each epoch: its metrics are recorded, old checkpoints are deleted, and the
//! training may end.

use super::events::{Events, TrainingEvent};
use super::halt::Halt;
use super::meters::Previews;
use super::metrics::{EpochMetrics, column};
use super::run_folder::{RunFolder, SharedHistory, locked};
use crate::error::Result;
use burn::train::EarlyStoppingStrategy;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{Aggregate, EpochSummary, EventStoreClient, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use std::collections::HashMap;

/// Writes the table and reports epochs, and is where Burn's engine looks up metrics.
pub(super) struct Recorder {
    run: RunFolder,
    history: SharedHistory,
    previews: Previews,
    events: Events,
    halt: Halt,
    names: HashMap<MetricId, String>,
    /// The row of the current epoch.
    row: EpochMetrics,
}

impl Recorder {
    pub(super) fn new(
        run: &RunFolder,
        history: &SharedHistory,
        previews: &Previews,
        events: &Events,
        halt: &Halt,
    ) -> Self {
        Self {
            run: run.clone(),
            history: history.clone(),
            previews: previews.clone(),
            events: events.clone(),
            halt: halt.clone(),
            names: HashMap::new(),
            row: EpochMetrics::default(),
        }
    }

    fn end_epoch(&mut self, epoch: usize) -> Result<()> {
        let metrics = EpochMetrics { epoch, ..std::mem::take(&mut self.row) };
        let history = {
            let mut history = locked(&self.history);
            history.0.insert(epoch, metrics);
            history.clone()
        };
        self.run.write_table(&history)?;
        self.events.send(TrainingEvent::Epoch { metrics, previews: self.previews.take() });
        Ok(())
    }
}

impl MetricLogger for Recorder {
    fn log(&mut self, update: MetricsUpdate, _: usize, _: &Split) {
        for metric in update.entries_numeric {
            let name = self.names.get(&metric.entry.metric_id).map_or("", String::as_str);
            let value = NumericEntry::deserialize(&metric.entry.serialized_entry.serialized);
            if let Ok(NumericEntry::Final(value)) = value {
                self.row.set(name, value);
            }
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        _: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let row = locked(&self.history).0.get(&epoch).copied();
        let value = row.and_then(|row| row.get(name));
        Ok(value.map(NumericEntry::Final).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name.to_string());
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split == Split::Valid
            && !self.halt.interrupter.should_stop()
            && !self.halt.failed()
            && let Err(error) = self.end_epoch(summary.epoch_number)
        {
            self.halt.fail(error);
        }
    }
}

/// Waits until the [`Recorder`], which runs on another thread, has processed an epoch.
fn recorded(store: &EventStoreClient, epoch: usize) {
    store.find_metric(column::LUMINANCE, epoch, Aggregate::Mean, &Split::Valid);
}

/// Keeps the last two checkpoints and the best one.
pub(super) struct KeepBest {
    run: RunFolder,
    history: SharedHistory,
    target: Option<f64>,
    halt: Halt,
}

impl KeepBest {
    pub(super) fn new(
        run: &RunFolder,
        history: &SharedHistory,
        target: Option<f64>,
        halt: &Halt,
    ) -> Self {
        Self { run: run.clone(), history: history.clone(), target, halt: halt.clone() }
    }
}

impl CheckpointingStrategy for KeepBest {
    fn checkpointing(
        &mut self,
        epoch: usize,
        store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        recorded(store, epoch);
        // An epoch without its row in the table is trained again.
        if self.halt.failed() {
            return Vec::new();
        }
        let history = locked(&self.history).clone();
        let checkpoints = self.run.checkpoints();
        // If writing this checkpoint fails, the previous one becomes the last, and the best one so
        // far must still be there.
        let best = history.best(&checkpoints, self.target);
        let kept = |old: usize| old + 1 >= epoch || best == Some(old);
        let old = checkpoints.into_iter().filter(|&old| !kept(old));
        old.map(CheckpointingAction::Delete).chain([CheckpointingAction::Save]).collect()
    }
}

/// Ends the training after an epoch, when the validation photographs come out bright enough or the
/// training was asked to end.
#[derive(Clone)]
pub(super) struct EndAfterEpoch {
    pub(super) history: SharedHistory,
    pub(super) target: Option<f64>,
    pub(super) halt: Halt,
}

impl EarlyStoppingStrategy for EndAfterEpoch {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        recorded(store, epoch);
        self.halt.requested() || locked(&self.history).reached(epoch, self.target)
    }
}
