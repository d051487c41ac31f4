//! What a training reports, and how it is stopped.

use super::data::OnRefused;
use super::halt::Halt;
use super::metrics::{EpochMetrics, Preview};
use crate::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// Something that happens in a training.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainingEvent {
    /// A photograph cannot be used and is left out. The error names it and says why.
    LeftOut(Error),
    /// A resumed run has lost the metrics of some epochs. The training goes on without them.
    #[non_exhaustive]
    MetricsLost {
        /// The run's `metrics.csv`.
        path: PathBuf,
        /// The number of epochs whose metrics are missing.
        epochs: usize,
    },
    /// The training begins, or continues.
    #[non_exhaustive]
    Started {
        /// The first epoch, from 1.
        epoch: usize,
        /// The last epoch, unless the training ends earlier.
        epochs: usize,
        /// The number of photographs in each epoch.
        photos: usize,
        /// The metrics of the epochs that are complete already, in order.
        history: Vec<EpochMetrics>,
    },
    /// A step is complete.
    #[non_exhaustive]
    Step {
        /// How many of the epoch's photographs have been processed. In fine-tuning, the steps made.
        photos: usize,
        /// The loss of the step.
        loss: f64,
    },
    /// An epoch and its validation are complete.
    #[non_exhaustive]
    Epoch {
        /// What was measured.
        metrics: EpochMetrics,
        /// Validation photographs before and after enhancement, as many as
        /// [`Monitor::with_previews`] asks for.
        previews: Vec<Arc<Preview>>,
    },
}

type Callback = Arc<dyn Fn(TrainingEvent) -> ControlFlow<()> + Send + Sync>;

/// How to follow and stop a training.
///
/// ```
/// use sci_burn::train::{Monitor, TrainingEvent};
/// use std::ops::ControlFlow;
///
/// let monitor = Monitor::new(|event| match event {
///     TrainingEvent::Epoch { metrics, .. } if metrics.luminance > 0.5 => ControlFlow::Break(()),
///     _ => ControlFlow::Continue(()),
/// });
/// # let _ = monitor;
/// ```
#[derive(Clone)]
pub struct Monitor {
    callback: Callback,
    previews: usize,
    #[cfg(feature = "tui")]
    dashboard: bool,
}

impl Monitor {
    /// A monitor that calls a function for every event, on threads of the training.
    ///
    /// The training ends when the function returns [`ControlFlow::Break`]: after the current step, or
    /// in answer to [`TrainingEvent::Epoch`] once the checkpoint of that epoch is written. With
    /// distributed data parallel it always ends after the current epoch. The function is not called
    /// again.
    pub fn new(
        callback: impl Fn(TrainingEvent) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            callback: Arc::new(callback),
            previews: 0,
            #[cfg(feature = "tui")]
            dashboard: false,
        }
    }

    /// A monitor that does nothing.
    pub fn silent() -> Self {
        Self::new(|_| ControlFlow::Continue(()))
    }

    /// Adds previews of up to `count` validation photographs to [`TrainingEvent::Epoch`]. There are at
    /// most 16 validation photographs. By default there are no previews.
    pub fn with_previews(self, count: usize) -> Self {
        Self { previews: count, ..self }
    }

    /// Shows Burn's dashboard in the terminal. The training can be stopped there. The function of the
    /// monitor must not print while it is shown.
    #[cfg(feature = "tui")]
    pub fn with_dashboard(self) -> Self {
        Self { dashboard: true, ..self }
    }

    pub(super) fn previews(&self) -> usize {
        self.previews
    }

    #[cfg(feature = "tui")]
    pub(super) fn has_dashboard(&self) -> bool {
        self.dashboard
    }

    /// Reports to this monitor; its answers go to `halt`.
    pub(super) fn events(&self, halt: &Halt) -> Events {
        Events { callback: self.callback.clone(), halt: halt.clone() }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Monitor").field("previews", &self.previews).finish_non_exhaustive()
    }
}

/// Reports events until the training is asked to end.
#[derive(Clone)]
pub(super) struct Events {
    callback: Callback,
    halt: Halt,
}

impl Events {
    pub(super) fn send(&self, event: TrainingEvent) {
        if self.halt.requested() {
            return;
        }
        let end_of_epoch = matches!(event, TrainingEvent::Epoch { .. });
        if (self.callback)(event).is_break() {
            match end_of_epoch {
                true => self.halt.request(),
                false => self.halt.request_now(),
            }
        }
    }

    /// Reports photographs that are left out.
    pub(super) fn on_refused(&self) -> OnRefused {
        let events = self.clone();
        Arc::new(move |error| events.send(TrainingEvent::LeftOut(error)))
    }
}
