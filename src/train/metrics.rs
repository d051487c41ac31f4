//! What is measured while training.

use super::data::Origin;
use crate::error::{Error, Result};
use crate::metrics::{CLIPPING_THRESHOLD, LUMINANCE, color_shift};
use crate::photo::tensor_to_photo;
use burn::tensor::{ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::Adaptor;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// What a training step measures. Sums over the stages that its loss is about, means over the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StepValues {
    /// What is minimized.
    pub loss: f64,
    /// The fidelity, without its weight.
    pub fidelity: f64,
    /// The smoothness.
    pub smoothness: f64,
    /// The norm of the gradient over all parameters, before it is clipped.
    pub gradient_norm: f64,
    /// Whether it was a step of SCI++ that trains calibrator and increment, not the estimator.
    pub trains_calibrator: bool,
}

impl StepValues {
    /// A number that belongs to every step but those of SCI++ that train the calibrator.
    pub(super) fn of_estimator(&self, value: f64) -> Option<f64> {
        (!self.trains_calibrator).then_some(value)
    }

    /// Refuses values that are not finite, with an error that names the photographs.
    pub(super) fn check(&self, origin: &Origin) -> Result<()> {
        let what = match (self.loss.is_finite(), self.gradient_norm.is_finite()) {
            (true, true) => return Ok(()),
            (false, _) => "loss",
            (true, false) => "gradient",
        };
        let Origin { epoch, step, photos, .. } = origin;
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

/// Measurements of an enhanced photograph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhotoMetrics {
    /// The mean luminance `0.2126 R + 0.7152 G + 0.0722 B` of the enhanced photograph, in `[0, 1]`.
    pub luminance: f64,
    /// The share of its pixels whose brightest channel is at or above 0.98, in `[0, 1]`.
    pub clipped: f64,
    /// How far the colors have shifted: the largest relative change, over the three channels, of the
    /// ratio between a channel's mean and the mean of all three. 0 for no shift.
    pub color_cast: f64,
}

impl PhotoMetrics {
    /// Compares two images, `[1, 3, height, width]`; the result is `[8]`, for [`Measurable::with_values`].
    pub(super) fn measure(dark: &Tensor<4>, bright: &Tensor<4>) -> Tensor<1> {
        let means = |image: &Tensor<4>| image.clone().mean_dim(3).mean_dim(2).reshape([3]);
        let weights = Tensor::<1>::from_floats(LUMINANCE, &bright.device());
        let luminance = (means(bright) * weights).sum();
        let clipped = bright.clone().max_dim(1).greater_equal_scalar(CLIPPING_THRESHOLD).float();
        let clipped = clipped.mean_dim(3).mean();
        Tensor::cat(vec![luminance, clipped, means(dark), means(bright)], 0)
    }
}

/// What is measured in an epoch: one row of a run's `metrics.csv`. What is about the training is a mean over
/// the steps of the epoch, in SCI++ over those that train the estimator, and `None` where there was no such
/// step. The others are means over the validation photographs, which are scaled down to at most 640 pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EpochMetrics {
    /// The epoch, from 1.
    pub epoch: usize,
    /// What is minimized, in SCI summed over the stages.
    pub loss: Option<f64>,
    /// The fidelity, without its weight, summed like the loss.
    pub fidelity: Option<f64>,
    /// The smoothness, summed like the loss.
    pub smoothness: Option<f64>,
    /// The norm of the gradient over all parameters, before it is clipped.
    pub gradient_norm: Option<f64>,
    /// The mean luminance of the enhanced photographs, in `[0, 1]`.
    pub luminance: f64,
    /// The share of their pixels whose brightest channel is at or above 0.98, in `[0, 1]`.
    pub clipped: f64,
    /// How far their colors have shifted, as a relative change; see [`PhotoMetrics`].
    pub color_cast: f64,
    /// The loss of SCI++'s calibrator, over the steps that train it.
    #[serde(default)]
    pub calibrator_loss: Option<f64>,
}

/// The names of the metrics, which Burn's engine knows them by.
pub(super) mod column {
    pub(in crate::train) const LOSS: &str = "Loss";
    pub(in crate::train) const FIDELITY: &str = "Fidelity";
    pub(in crate::train) const SMOOTHNESS: &str = "Smoothness";
    pub(in crate::train) const GRADIENT_NORM: &str = "Gradient norm";
    pub(in crate::train) const LUMINANCE: &str = "Luminance";
    pub(in crate::train) const CLIPPED: &str = "Clipped";
    pub(in crate::train) const COLOR_CAST: &str = "Color cast";
    pub(in crate::train) const CALIBRATOR_LOSS: &str = "Calibrator loss";
}

impl EpochMetrics {
    /// Notes the mean of a metric.
    pub(super) fn set(&mut self, name: &str, value: f64) {
        match name {
            column::LOSS => self.loss = Some(value),
            column::FIDELITY => self.fidelity = Some(value),
            column::SMOOTHNESS => self.smoothness = Some(value),
            column::GRADIENT_NORM => self.gradient_norm = Some(value),
            column::LUMINANCE => self.luminance = value,
            column::CLIPPED => self.clipped = value,
            column::COLOR_CAST => self.color_cast = value,
            column::CALIBRATOR_LOSS => self.calibrator_loss = Some(value),
            _ => {}
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<f64> {
        match name {
            column::LOSS => self.loss,
            column::FIDELITY => self.fidelity,
            column::SMOOTHNESS => self.smoothness,
            column::GRADIENT_NORM => self.gradient_norm,
            column::LUMINANCE => Some(self.luminance),
            column::CLIPPED => Some(self.clipped),
            column::COLOR_CAST => Some(self.color_cast),
            column::CALIBRATOR_LOSS => self.calibrator_loss,
            _ => None,
        }
    }
}

/// A value that is computed on a device as a short tensor.
pub trait Measurable: Copy + Send + 'static {
    /// The value with the elements of the tensor.
    fn with_values(self, values: &[f64]) -> Self;
}

impl Measurable for StepValues {
    fn with_values(self, values: &[f64]) -> Self {
        let [loss, fidelity, smoothness, gradient_norm] = values.try_into().expect("four values");
        Self { loss, fidelity, smoothness, gradient_norm, ..self }
    }
}

impl Measurable for PhotoMetrics {
    fn with_values(self, values: &[f64]) -> Self {
        let eight = "eight values";
        let (&[luminance, clipped], means) = values.split_first_chunk().expect(eight);
        let (&dark, bright) = means.split_first_chunk().expect(eight);
        let color_cast = color_shift(bright.try_into().expect(eight), dark);
        Self { luminance, clipped, color_cast }
    }
}

/// A value that the device may still be computing. Burn's engine waits for it on another thread.
#[derive(Clone, Debug)]
pub struct Pending<T> {
    /// The value, without what the device computes.
    known: T,
    values: Tensor<1>,
    origin: Origin,
    /// The dark and the enhanced photograph, for a preview.
    pictures: Option<[Tensor<4>; 2]>,
    measured: Option<Measurement<T>>,
}

/// A value that is computed.
#[derive(Clone, Debug)]
pub struct Measurement<T> {
    /// The value.
    pub value: T,
    /// The photographs that it was measured on.
    pub origin: Origin,
    pub(super) preview: Option<Arc<Preview>>,
}

/// A validation photograph before and after enhancement, at most 640 pixels wide and high.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preview {
    /// The file of the photograph.
    pub path: PathBuf,
    /// The dark photograph.
    pub dark: RgbImage,
    /// The enhanced photograph.
    pub bright: RgbImage,
}

impl<T: Measurable> Pending<T> {
    pub(super) fn new(known: T, values: Tensor<1>, origin: Origin) -> Self {
        Self { known, values, origin, pictures: None, measured: None }
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
        let preview = match self.pictures {
            Some([dark, bright]) => Some(Arc::new(Preview {
                path: self.origin.photos.first().cloned().unwrap_or_default(),
                dark: tensor_to_photo(dark)?,
                bright: tensor_to_photo(bright)?,
            })),
            None => None,
        };
        Ok(Measurement { value: self.known.with_values(&values), origin: self.origin, preview })
    }
}

impl<T: Measurable> ItemLazy for Pending<T> {
    fn sync(self) -> Result<Self, ExecutionError> {
        let (known, values, origin) = (self.known, self.values.clone(), self.origin.clone());
        let measured =
            self.wait().map_err(|error| ExecutionError::with_context(error.to_string()))?;
        Ok(Self { known, values, origin, pictures: None, measured: Some(measured) })
    }
}

impl<T: Measurable> Adaptor<Measurement<T>> for Pending<T> {
    fn adapt(&self) -> Measurement<T> {
        self.measured.clone().expect("the engine waits for a value before it is measured")
    }
}
