//! Burn's metrics: how values of single steps become those of an epoch.

use super::halt::Halt;
use super::metrics::{Measurable, Measurement, PhotoMetrics, Preview, StepValues};
use burn::tensor::TensorReadError;
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::{Arc, Mutex, PoisonError};

/// The mean of one number over an epoch, in which every photograph has the same weight. It is not
/// available where no step has that number.
pub(super) struct Average<T> {
    name: MetricName,
    of: fn(&T) -> Option<f64>,
    /// Of the last step, if it has that number.
    last: Option<f64>,
    sum: f64,
    count: usize,
}

impl<T> Average<T> {
    pub(super) fn new(name: &str, of: fn(&T) -> Option<f64>) -> Self {
        Self { name: Arc::new(name.to_owned()), of, last: None, sum: 0.0, count: 0 }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

// Deriving this would require `T: Clone`.
impl<T> Clone for Average<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), ..*self }
    }
}

impl<T: Measurable> Metric for Average<T> {
    type Input = Measurement<T>;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        item: &Measurement<T>,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.last = (self.of)(&item.value);
        let Some(value) = self.last else { return Ok(SerializedEntry::not_available(None)) };
        let photos = item.origin.photos.len().max(1);
        self.sum += value * photos as f64;
        self.count += photos;
        let formatted = format!("epoch {:.4} - batch {value:.4}", self.mean());
        Ok(SerializedEntry::new(formatted, NumericEntry::Value(value).serialize()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        if self.count == 0 {
            return Ok(SerializedEntry::not_available(None));
        }
        let formatted = format!("epoch {:.4}", self.mean());
        Ok(SerializedEntry::new(formatted, self.final_value().serialize()))
    }

    fn clear(&mut self) {
        (self.last, self.sum, self.count) = (None, 0.0, 0);
    }
}

impl<T: Measurable> Numeric for Average<T> {
    fn value(&self) -> Option<NumericEntry> {
        self.last.map(NumericEntry::Value)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        (self.count > 0).then(|| NumericEntry::Value(self.mean()))
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.mean())
    }
}

/// Ends the training at the first loss that is not finite. The dashboard shows the photograph.
#[derive(Clone)]
pub(super) struct Finite {
    pub(super) halt: Halt,
}

impl Metric for Finite {
    type Input = Measurement<StepValues>;

    fn name(&self) -> MetricName {
        Arc::new("Photograph".to_owned())
    }

    fn update(
        &mut self,
        item: &Measurement<StepValues>,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        if let Err(error) = item.value.check(&item.origin) {
            self.halt.fail(error);
        }
        let photos = &item.origin.photos;
        let name = photos.first().and_then(|photo| photo.file_name()).unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        Ok(SerializedEntry::new(name.clone(), name))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::not_available(None))
    }

    fn clear(&mut self) {}
}

/// Collects the previews of an epoch.
#[derive(Clone, Default)]
pub(super) struct Previews(Arc<Mutex<Vec<Arc<Preview>>>>);

impl Previews {
    pub(super) fn take(&self) -> Vec<Arc<Preview>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Metric for Previews {
    type Input = Measurement<PhotoMetrics>;

    fn name(&self) -> MetricName {
        Arc::new("Preview".to_owned())
    }

    fn update(
        &mut self,
        item: &Measurement<PhotoMetrics>,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(item.preview.clone());
        Ok(SerializedEntry::not_available(None))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::not_available(None))
    }

    fn clear(&mut self) {}
}
