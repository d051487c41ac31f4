//! Burn's progress reports, passed on as events and to its dashboard.

use super::events::{Events, Monitor, TrainingEvent};
use super::halt::Halt;
use super::metrics::column;
use burn::train::LearnerSummary;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

/// Sends an event for every step.
pub(super) struct Renderer {
    events: Events,
    halt: Halt,
    dashboard: Option<Box<dyn MetricsRenderer>>,
    /// The metrics of which one is the loss of a step: SCI++ has two.
    losses: Vec<MetricId>,
    last: f64,
    training: bool,
}

impl Renderer {
    pub(super) fn new(
        #[cfg_attr(not(feature = "tui"), expect(unused))] monitor: &Monitor,
        events: &Events,
        halt: &Halt,
        #[cfg_attr(not(feature = "tui"), expect(unused))] checkpoint: Option<usize>,
    ) -> Self {
        #[cfg(not(feature = "tui"))]
        let dashboard = None;
        #[cfg(feature = "tui")]
        let dashboard = monitor.has_dashboard().then(|| {
            use burn::train::renderer::tui::TuiMetricsRendererWrapper;
            let interrupter = halt.interrupter.clone();
            Box::new(TuiMetricsRendererWrapper::new(interrupter, checkpoint))
                as Box<dyn MetricsRenderer>
        });
        Self {
            events: events.clone(),
            halt: halt.clone(),
            dashboard,
            losses: Vec::new(),
            last: 0.0,
            training: false,
        }
    }
}

impl MetricsRendererTraining for Renderer {
    fn update_train(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, Some(value)) = &state
            && self.losses.contains(&entry.metric_id)
        {
            self.last = value.current();
        }
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.update_train(state);
        }
    }

    fn update_valid(&mut self, state: MetricState) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.update_valid(state);
        }
    }

    fn on_train_end(
        &mut self,
        summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let Some(dashboard) = &mut self.dashboard else { return Ok(()) };
        self.halt.remember_engine_error();
        dashboard.on_train_end(summary)
    }
}

impl TrainingProgressLogger for Renderer {
    fn start(&mut self, epochs: usize, first: usize, items: Option<usize>, label: Option<&str>) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.start(epochs, first, items, label);
        }
    }

    fn update_epoch(&mut self, epoch: usize) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.update_epoch(epoch);
        }
    }

    fn start_split(&mut self, split: &str, items: usize) {
        self.training = split == "train";
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.start_split(split, items);
        }
    }

    fn update_split(&mut self, photos: usize) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.update_split(photos);
        }
        if self.training {
            self.events.send(TrainingEvent::Step { photos, loss: self.last });
        }
    }

    fn end_split(&mut self) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.end_split();
        }
    }

    fn end(&mut self) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.end();
        }
    }

    fn log_event_training(&mut self, event: String) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.log_event_training(event);
        }
    }
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.manual_close();
        }
    }

    fn register_metric(&mut self, definition: MetricDefinition) {
        if [column::LOSS, column::CALIBRATOR_LOSS].contains(&definition.name.as_str()) {
            self.losses.push(definition.metric_id.clone());
        }
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.register_metric(definition);
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
