//! What a training tells those who watch it, and how it is ended.

use super::run::EpochMetrics;
use crate::error::Error;
use crate::train::data::OnRefused;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn::train::{Interrupter, metric::MetricId};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that happens in a training.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainingEvent {
    /// A photograph cannot be used and is left out. The error says why.
    LeftOut(Error),
    /// The training begins, or goes on.
    Started {
        /// Its first epoch, from 1.
        epoch: usize,
        /// Its last epoch, unless it ends earlier.
        epochs: usize,
        /// Photographs an epoch.
        photos: usize,
    },
    /// A step was made.
    Step {
        /// How many of the epoch's photographs were gone through.
        photos: usize,
        /// The loss of the step.
        loss: f64,
    },
    /// An epoch is over and its results were judged.
    Epoch(EpochMetrics),
}

/// Is told what happens, on threads of the training's.
pub type Listener = Arc<dyn Fn(TrainingEvent) + Send + Sync>;

/// How to follow a training.
#[derive(Clone)]
#[non_exhaustive]
pub enum Watch {
    /// Not at all.
    Silent,
    /// By being told.
    Events(Listener),
    /// On Burn's dashboard, which takes the terminal over; the training can be ended there.
    #[cfg(feature = "tui")]
    Dashboard,
}

impl Watch {
    /// Follows a training by a function.
    pub fn events(listener: impl Fn(TrainingEvent) + Send + Sync + 'static) -> Self {
        Self::Events(Arc::new(listener))
    }

    pub(super) fn listener(&self) -> Listener {
        match self {
            Self::Events(listener) => listener.clone(),
            _ => Arc::new(|_| ()),
        }
    }

    /// Told of photographs that are left out.
    pub(super) fn on_refused(&self) -> OnRefused {
        let listener = self.listener();
        Arc::new(move |error| listener(TrainingEvent::LeftOut(error)))
    }

    pub(super) fn renderer(
        &self,
        #[cfg_attr(not(feature = "tui"), expect(unused))] halt: &Halt,
        #[cfg_attr(not(feature = "tui"), expect(unused))] checkpoint: Option<usize>,
    ) -> Box<dyn MetricsRenderer> {
        match self {
            #[cfg(feature = "tui")]
            Self::Dashboard => {
                Box::new(burn::train::renderer::tui::TuiMetricsRendererWrapper::new(
                    halt.interrupter.clone(),
                    checkpoint,
                ))
            }
            _ => Box::new(Renderer {
                listener: self.listener(),
                loss: None,
                last: 0.0,
                training: false,
            }),
        }
    }
}

/// Ends a training, with the reason.
#[derive(Clone, Default)]
pub(super) struct Halt {
    pub(super) interrupter: Interrupter,
    error: Arc<Mutex<Option<Error>>>,
}

impl Halt {
    /// Ends the training with an error. What follows from the first one is not kept.
    pub(super) fn with(&self, error: Error) {
        self.error().get_or_insert(error);
        self.interrupter.stop(Some("an error"));
    }

    pub(super) fn take(&self) -> Option<Error> {
        self.error().take()
    }

    fn error(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what Burn's engine tells.
struct Renderer {
    listener: Listener,
    /// Which metric is the loss.
    loss: Option<MetricId>,
    last: f64,
    training: bool,
}

impl MetricsRendererTraining for Renderer {
    fn update_train(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, Some(value)) = state
            && self.loss.as_ref() == Some(&entry.metric_id)
        {
            self.last = value.current();
        }
    }

    fn update_valid(&mut self, _: MetricState) {}
}

impl TrainingProgressLogger for Renderer {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, split: &str, _: usize) {
        self.training = split == "train";
    }

    fn update_split(&mut self, photos: usize) {
        if self.training {
            (self.listener)(TrainingEvent::Step { photos, loss: self.last });
        }
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if *definition.name == super::run::LOSS {
            self.loss = Some(definition.metric_id);
        }
    }
}

// There is no evaluation.
impl MetricsRendererEvaluation for Renderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl EvaluationProgressLogger for Renderer {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}
