//! What is measured while training, as Burn's engine wants it.

use super::watch::Halt;
use crate::error::{Error, Result};
use crate::metrics::{CLIPPED, LUMINANCE, color_shift};
use crate::photo::tensor_to_photo;
use crate::train::data::Origin;
use burn::tensor::{ExecutionError, Tensor, TensorReadError};
use burn::train::ItemLazy;
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// What a training step measures. Sums over the stages, means over the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepValues {
    /// What is minimized.
    pub loss: f64,
    /// The fidelity, without its weight.
    pub fidelity: f64,
    /// The smoothness.
    pub smoothness: f64,
    /// The norm of the gradient over all parameters, before it is clipped.
    pub gradient_norm: f64,
}

impl StepValues {
    /// Refuses what is no number, in the name of the photographs.
    pub(super) fn check(&self, origin: &Origin) -> Result<()> {
        let what = match (self.loss.is_finite(), self.gradient_norm.is_finite()) {
            (true, true) => return Ok(()),
            (false, _) => "loss",
            (true, false) => "gradient",
        };
        let Origin { epoch, step, photos } = origin;
        let photos: Vec<_> = photos.iter().map(|photo| photo.display().to_string()).collect();
        Err(Error::NotFinite {
            what,
            epoch: *epoch,
            step: *step,
            photos: photos.join(", "),
            checkpoint: None,
        })
    }
}

/// How a photograph comes out, enhanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhotoMetrics {
    /// The mean luminance `0.2126 R + 0.7152 G + 0.0722 B` of the enhanced photograph, in `[0, 1]`.
    pub luminance: f64,
    /// The share of its pixels whose brightest channel is at or above 0.98, in `[0, 1]`.
    pub clipped: f64,
    /// How far the colors have shifted: each channel's mean over the mean of all three, against
    /// the same of the dark photograph; the largest relative change of the three. 0 is none.
    pub color_cast: f64,
}

impl PhotoMetrics {
    /// Compares two images, `[1, 3, height, width]`; the result is `[8]`, for [`Measurable::from_values`].
    pub(super) fn measure(dark: &Tensor<4>, bright: &Tensor<4>) -> Tensor<1> {
        let means = |image: &Tensor<4>| image.clone().mean_dim(3).mean_dim(2).reshape([3]);
        let weights = Tensor::<1>::from_floats(LUMINANCE, &bright.device());
        let luminance = (means(bright) * weights).sum();
        let clipped = bright.clone().max_dim(1).greater_equal_scalar(CLIPPED).float();
        let clipped = clipped.mean_dim(3).mean();
        Tensor::cat(vec![luminance, clipped, means(dark), means(bright)], 0)
    }
}

/// Something made of the few numbers that a device delivers.
pub trait Measurable: Copy + Send + 'static {
    /// The value, from as many numbers as its own code put into a tensor.
    #[doc(hidden)]
    fn from_values(values: &[f64]) -> Self;
}

impl Measurable for StepValues {
    fn from_values(values: &[f64]) -> Self {
        let [loss, fidelity, smoothness, gradient_norm] = values.try_into().expect("four values");
        Self { loss, fidelity, smoothness, gradient_norm }
    }
}

impl Measurable for PhotoMetrics {
    fn from_values(values: &[f64]) -> Self {
        let eight = "eight values";
        let (&[luminance, clipped], means) = values.split_first_chunk().expect(eight);
        let (&dark, bright) = means.split_first_chunk().expect(eight);
        let color_cast = color_shift(bright.try_into().expect(eight), dark);
        Self { luminance, clipped, color_cast }
    }
}

/// A value that the device may still be computing. Burn's engine waits for it beside the training.
#[derive(Clone, Debug)]
pub struct Pending<T> {
    values: Tensor<1>,
    origin: Origin,
    pictures: Option<[Tensor<4>; 2]>,
    measured: Option<Measurement<T>>,
}

/// A value that is there.
#[derive(Clone, Debug)]
pub struct Measurement<T> {
    /// The value.
    pub value: T,
    /// The photographs that it was measured on.
    pub origin: Origin,
    /// The dark photograph and the bright one, where a preview wants them.
    pub(super) pictures: Option<Arc<[RgbImage; 2]>>,
}

impl<T: Measurable> Pending<T> {
    pub(super) fn new(values: Tensor<1>, origin: Origin) -> Self {
        Self { values, origin, pictures: None, measured: None }
    }

    pub(super) fn with_pictures(self, pictures: Option<[Tensor<4>; 2]>) -> Self {
        Self { pictures, ..self }
    }

    /// Waits for the value.
    ///
    /// # Errors
    ///
    /// [`Error::Execution`] where the device cannot deliver it.
    pub fn wait(self) -> Result<Measurement<T>> {
        if let Some(measured) = self.measured {
            return Ok(measured);
        }
        let values: Vec<f64> = self.values.try_into_vec_as().map_err(Error::execution)?;
        let pictures = match self.pictures {
            Some([dark, bright]) => Some([tensor_to_photo(dark)?, tensor_to_photo(bright)?].into()),
            None => None,
        };
        Ok(Measurement { value: T::from_values(&values), origin: self.origin, pictures })
    }
}

impl<T: Measurable> ItemLazy for Pending<T> {
    fn sync(self) -> Result<Self, ExecutionError> {
        let (values, origin) = (self.values.clone(), self.origin.clone());
        let measured =
            self.wait().map_err(|error| ExecutionError::with_context(error.to_string()))?;
        Ok(Self { values, origin, pictures: None, measured: Some(measured) })
    }
}

impl<T: Measurable> Adaptor<Measurement<T>> for Pending<T> {
    fn adapt(&self) -> Measurement<T> {
        self.measured.clone().expect("the engine waits for a value before it is measured")
    }
}

/// The mean of one number over an epoch, each photograph counting the same.
pub(super) struct Average<T> {
    name: MetricName,
    of: fn(&T) -> f64,
    last: f64,
    sum: f64,
    count: usize,
}

impl<T> Average<T> {
    pub(super) fn new(name: &str, of: fn(&T) -> f64) -> Self {
        Self { name: Arc::new(name.to_owned()), of, last: 0.0, sum: 0.0, count: 0 }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

// Derived, it would ask the same of `T`.
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
        let photos = item.origin.photos.len().max(1);
        self.last = (self.of)(&item.value);
        self.sum += self.last * photos as f64;
        self.count += photos;
        let formatted = format!("epoch {:.4} - batch {:.4}", self.mean(), self.last);
        Ok(SerializedEntry::new(formatted, NumericEntry::Value(self.last).serialize()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let formatted = format!("epoch {:.4}", self.mean());
        Ok(SerializedEntry::new(formatted, self.final_value().serialize()))
    }

    fn clear(&mut self) {
        (self.last, self.sum, self.count) = (0.0, 0.0, 0);
    }
}

impl<T: Measurable> Numeric for Average<T> {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.last))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.mean()))
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.mean())
    }
}

/// Ends the training at the first loss that is no number. The entry that it shows is the photograph.
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
            self.halt.with(error);
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

/// Collects the pictures of an epoch for its preview.
#[derive(Clone, Default)]
pub(super) struct Pictures(Arc<Mutex<Vec<Arc<[RgbImage; 2]>>>>);

impl Pictures {
    pub(super) fn take(&self) -> Vec<Arc<[RgbImage; 2]>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Metric for Pictures {
    type Input = Measurement<PhotoMetrics>;

    fn name(&self) -> MetricName {
        Arc::new("Preview".to_owned())
    }

    fn update(
        &mut self,
        item: &Measurement<PhotoMetrics>,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(item.pictures.clone());
        Ok(SerializedEntry::not_available(None))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::not_available(None))
    }

    fn clear(&mut self) {}
}
