use super::calibrator::{SelfCalibrator, SelfCalibratorConfig};
use crate::error::Result;
use crate::model::layers::Initializer;
use crate::model::limits::{MAX_STAGES, check_count};
use crate::model::{IlluminationEstimator, IlluminationEstimatorConfig, Method, reflectance};
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`SciCascade`]. The defaults are the published model.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SciCascadeConfig {
    /// How often the estimator is applied in training. 1 to 64.
    #[config(default = 3)]
    pub stages: usize,
    /// The illumination estimator, shared by all stages, which must be one of [`Method::Sci`].
    #[config(default = "IlluminationEstimatorConfig::new()")]
    pub estimator: IlluminationEstimatorConfig,
    /// The self-calibrator, shared by all stages.
    #[config(default = "SelfCalibratorConfig::new()")]
    pub calibrator: SelfCalibratorConfig,
}

impl SciCascadeConfig {
    /// A cascade with the published random initialization, drawn with seed 0: the same weights
    /// every time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where a setting is out of its range.
    pub fn init(&self, device: &Device) -> Result<SciCascade> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host,
    /// the estimator's first, and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<SciCascade> {
        self.check()?;
        let mut initializer = Initializer::new(seed, device);
        Ok(SciCascade {
            estimator: self.estimator.init_with(&mut initializer),
            calibrator: self.calibrator.init_with(&mut initializer),
            stages: self.stages,
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_count("stages", self.stages, MAX_STAGES)?;
        let estimator = self.estimator.check_of(Method::Sci);
        estimator.map_err(|error| error.in_section("estimator"))?;
        self.calibrator.check().map_err(|error| error.in_section("calibrator"))
    }
}

/// The whole model of the training: estimator and calibrator, applied in a cascade of stages with
/// shared weights (figure 2 and equation 4 of the first paper).
///
/// To enhance photographs only the [estimator](SciCascade::estimator) is needed.
#[doc(alias = "Network")]
#[derive(Module, Debug)]
pub struct SciCascade {
    /// Estimates the illumination in every stage.
    pub estimator: IlluminationEstimator,
    /// Gives each next stage its input.
    pub calibrator: SelfCalibrator,
    /// Number of stages.
    pub stages: usize,
}

/// The result of one stage of a [`SciCascade`]. All tensors are `[batch, 3, height, width]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stage {
    /// The stage's input `z`: the dark image, from the second stage on with a calibration added.
    pub input: Tensor<4>,
    /// The illumination `H(z)`, in `[1e-4, 1]`.
    pub illumination: Tensor<4>,
    /// The enhanced image, the dark one divided by the illumination, in `[0, 1]`.
    pub reflectance: Tensor<4>,
    /// The absolute value of the calibration of this reflectance, `|K(reflectance)|`.
    #[doc(alias = "attention")]
    pub calibration: Tensor<4>,
}

/// The part of a [`Stage`] on which the training loss depends. Both tensors are `[batch, 3, height, width]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Estimate {
    /// The stage's input `z`.
    pub input: Tensor<4>,
    /// The illumination `H(z)`, in `[1e-4, 1]`.
    pub illumination: Tensor<4>,
}

impl SciCascade {
    /// The configuration that gives a cascade of this shape.
    pub fn config(&self) -> SciCascadeConfig {
        SciCascadeConfig {
            stages: self.stages,
            estimator: self.estimator.config(),
            calibrator: self.calibrator.config(),
        }
    }

    /// All that the stages compute, in order: one [`Stage`] for each.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    ///
    /// # Panics
    /// If the image does not have three channels.
    pub fn forward(&self, image: Tensor<4>) -> Vec<Stage> {
        let mut input = image.clone();
        let mut stages = Vec::with_capacity(self.stages);
        for _ in 0..self.stages {
            let illumination = self.estimator.forward(input.clone());
            let reflectance = reflectance(image.clone(), illumination.clone());
            let calibration = self.calibrator.forward(reflectance.clone());
            let next = image.clone() + calibration.clone();
            let calibration = calibration.abs();
            stages.push(Stage { input, illumination, reflectance, calibration });
            input = next;
        }
        stages
    }

    /// What the training loss needs of each stage. Unlike [`forward`](Self::forward), it does not
    /// compute the last stage's calibration, on which no loss depends.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    ///
    /// # Panics
    /// If the image does not have three channels.
    pub fn estimates(&self, image: Tensor<4>) -> Vec<Estimate> {
        let (estimator, calibrator) = (self.estimator.network(), self.calibrator.network());
        let mut estimates = Vec::with_capacity(self.stages);
        let mut input = image.clone();
        for stage in 1..=self.stages {
            let illumination = estimator.forward(input.clone());
            estimates.push(Estimate { input: input.clone(), illumination: illumination.clone() });
            if stage < self.stages {
                let reflectance = reflectance(image.clone(), illumination);
                input = image.clone() + calibrator.forward(reflectance);
            }
        }
        estimates
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn zero_stages_are_refused() {
        let refused = SciCascadeConfig::new().with_stages(0).init(&Device::flex()).unwrap_err();
        assert_eq!(refused.to_string(), "setting `stages`: is 0, must be from 1 to 64");
    }

    #[test]
    fn the_configuration_can_be_read_back_from_the_model() {
        let config = SciCascadeConfig::new().with_stages(2);
        assert_eq!(config.init(&Device::flex()).unwrap().config(), config);
    }
}
