use super::{
    IlluminationIncrement, IlluminationIncrementConfig, SciPlusPlusCalibrator,
    SciPlusPlusCalibratorConfig,
};
use crate::error::Result;
use crate::model::layers::Initializer;
use crate::model::limits::{MAX_STAGES, check_count};
use crate::model::network::Network;
use crate::model::{IlluminationEstimator, IlluminationEstimatorConfig, Method, reflectance};
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`SciPlusPlusCascade`]. The defaults are the published model.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SciPlusPlusCascadeConfig {
    /// The number of illuminations: the estimate, and those that follow from it. 1 to 64.
    #[config(default = 3)]
    pub stages: usize,
    /// The illumination estimator, which must be one of [`Method::SciPlusPlus`].
    #[config(default = "IlluminationEstimatorConfig::new().with_method(Method::SciPlusPlus)")]
    pub estimator: IlluminationEstimatorConfig,
    /// What the later stages add, shared by all of them.
    #[config(default = "IlluminationIncrementConfig::new()")]
    pub increment: IlluminationIncrementConfig,
    /// The self-calibrator, shared by all later stages.
    #[config(default = "SciPlusPlusCalibratorConfig::new()")]
    pub calibrator: SciPlusPlusCalibratorConfig,
}

impl SciPlusPlusCascadeConfig {
    /// A cascade with the published random initialization, drawn with seed 0: the same weights
    /// every time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where a setting is out of its range.
    pub fn init(&self, device: &Device) -> Result<SciPlusPlusCascade> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host,
    /// the estimator's first, and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<SciPlusPlusCascade> {
        self.check()?;
        let mut initializer = Initializer::new(seed, device);
        Ok(SciPlusPlusCascade {
            estimator: self.estimator.init_with(&mut initializer),
            increment: self.increment.init_with(&mut initializer),
            calibrator: self.calibrator.init_with(&mut initializer),
            stages: self.stages,
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_count("stages", self.stages, MAX_STAGES)?;
        let estimator = self.estimator.check_of(Method::SciPlusPlus);
        estimator.map_err(|error| error.in_section("estimator"))?;
        self.increment.check().map_err(|error| error.in_section("increment"))?;
        self.calibrator.check().map_err(|error| error.in_section("calibrator"))
    }
}

/// The whole model of SCI++: the estimator is applied once, and every later stage adds to its
/// illumination (the additivity of the second paper).
///
/// To enhance photographs only the [estimator](SciPlusPlusCascade::estimator) is needed.
#[doc(alias = "Network")]
#[derive(Module, Debug)]
pub struct SciPlusPlusCascade {
    /// Estimates the illumination.
    pub estimator: IlluminationEstimator,
    /// What a later stage adds to the illumination, beside the calibration itself.
    pub increment: IlluminationIncrement,
    /// Gives each later stage its calibration.
    pub calibrator: SciPlusPlusCalibrator,
    /// Number of stages.
    pub stages: usize,
}

/// The result of one stage of a [`SciPlusPlusCascade`]. All tensors are `[batch, 3, height, width]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SciPlusPlusStage {
    /// The illumination: in the first stage the estimate, in `[1e-4, 1]`; later of any size and sign.
    pub illumination: Tensor<4>,
    /// The enhanced image, the dark one divided by the illumination, in `[0, 1]`; NaN where both are 0.
    pub reflectance: Tensor<4>,
    /// The absolute value of the calibration that led to this stage, `|K(reflectance)|` of the stage
    /// before it. The first stage has none.
    #[doc(alias = "attention")]
    pub calibration: Option<Tensor<4>>,
}

impl SciPlusPlusCascade {
    /// The configuration that gives a cascade of this shape.
    pub fn config(&self) -> SciPlusPlusCascadeConfig {
        SciPlusPlusCascadeConfig {
            stages: self.stages,
            estimator: self.estimator.config(),
            increment: self.increment.config(),
            calibrator: self.calibrator.config(),
        }
    }

    /// All that the stages compute, in order: one [`SciPlusPlusStage`] for each.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    ///
    /// # Panics
    /// If the image does not have three channels.
    pub fn forward(&self, image: Tensor<4>) -> Vec<SciPlusPlusStage> {
        let (calibrator, increment) = (self.calibrator.network(), self.increment.network());
        let illumination = self.estimator.forward(image.clone());
        let mut stage = SciPlusPlusStage {
            reflectance: reflectance(image.clone(), illumination.clone()),
            illumination,
            calibration: None,
        };
        let mut stages = vec![stage.clone()];
        for _ in 1..self.stages {
            let calibration = calibrator.forward(stage.reflectance);
            let illumination = next(&increment, stage.illumination, calibration.clone());
            stage = SciPlusPlusStage {
                reflectance: reflectance(image.clone(), illumination.clone()),
                illumination,
                calibration: Some(calibration.abs()),
            };
            stages.push(stage.clone());
        }
        stages
    }

    /// The illuminations of the second stage and all later ones, given that of the first.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    /// - `estimate`: `[batch, 3, height, width]`, in `[1e-4, 1]`
    /// - each output: `[batch, 3, height, width]`
    ///
    /// # Panics
    /// If the two shapes differ, or there are not three channels.
    pub fn refine(&self, image: Tensor<4>, estimate: Tensor<4>) -> Vec<Tensor<4>> {
        let (calibrator, increment) = (self.calibrator.network(), self.increment.network());
        let mut illumination = estimate;
        let mut illuminations = Vec::with_capacity(self.stages - 1);
        for _ in 1..self.stages {
            let calibration = calibrator.forward(reflectance(image.clone(), illumination.clone()));
            illumination = next(&increment, illumination, calibration);
            illuminations.push(illumination.clone());
        }
        illuminations
    }
}

/// The illumination of the stage after that of another one.
fn next(increment: &Network, illumination: Tensor<4>, calibration: Tensor<4>) -> Tensor<4> {
    illumination + calibration.clone() + increment.forward(calibration)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let config = SciPlusPlusCascadeConfig::new;
        let refused = |config: SciPlusPlusCascadeConfig| {
            config.init(&Device::flex()).unwrap_err().to_string()
        };
        let message = refused(config().with_stages(0));
        assert_eq!(message, "setting `stages`: is 0, must be from 1 to 64");
        let increment = IlluminationIncrementConfig::new().with_blocks(17);
        let message = refused(config().with_increment(increment));
        assert_eq!(message, "setting `increment.blocks`: is 17, must be from 1 to 16");
        let calibrator = SciPlusPlusCalibratorConfig::new().with_channels(0);
        let message = refused(config().with_calibrator(calibrator));
        assert_eq!(message, "setting `calibrator.channels`: is 0, must be from 1 to 64");
        let message = refused(config().with_estimator(IlluminationEstimatorConfig::new()));
        assert_eq!(message, "setting `estimator.method`: is sci, must be sci++ in this cascade");
    }

    #[test]
    fn the_configuration_can_be_read_back_from_the_model() {
        let config = SciPlusPlusCascadeConfig::new()
            .with_stages(2)
            .with_increment(IlluminationIncrementConfig::new().with_blocks(2).with_channels(5))
            .with_calibrator(SciPlusPlusCalibratorConfig::new().with_blocks(1).with_channels(4));
        assert_eq!(config.init(&Device::flex()).unwrap().config(), config);
    }

    #[test]
    fn one_stage_is_the_estimator_alone() {
        let device = Device::flex();
        let cascade = SciPlusPlusCascadeConfig::new().with_stages(1).init(&device).unwrap();
        let image = Tensor::<4>::full([1, 3, 5, 4], 0.1, &device);
        let stages = cascade.forward(image.clone());
        assert_eq!(stages.len(), 1);
        assert!(stages[0].calibration.is_none());
        let estimate = cascade.estimator.forward(image.clone());
        assert!(stages[0].illumination.clone().equal(estimate.clone()).all().into_scalar::<bool>());
        assert!(cascade.refine(image, estimate).is_empty());
    }
}
