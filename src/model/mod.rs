//! The networks of both papers, their cascades, and their configurations.
//!
//! Both have the [`IlluminationEstimator`], which is all that enhancing needs, and a [`Method`] says in
//! which form. Around it, for training, each has a cascade of its own:
//!
//! | | SCI (CVPR 2022) | SCI++ (TPAMI 2025) |
//! |---|---|---|
//! | estimator's blocks | one set of weights, applied several times; batch normalization | weights of their own; no normalization |
//! | cascade | [`SciCascade`]: every stage estimates anew, from an input that the calibrator has changed | [`SciPlusPlusCascade`]: the first stage estimates, the later ones add to its illumination |
//! | calibrator | [`SelfCalibrator`], batch normalization, `r − sigmoid(…)` | [`SciPlusPlusCalibrator`], no normalization, `r + …` |
//! | a third network | | [`IlluminationIncrement`], what a stage adds |
//! | trained | all together, with the sum of the stages' losses | in turn: the estimator with the loss of the first stage, the others with that of the later ones |
//! | initial weights | N(0, 0.02) | PyTorch's default for convolutions |

mod cascade;
mod estimator;
mod layers;
mod limits;
mod method;
mod network;
mod plus_plus;
mod retinex;
mod sci;
#[cfg(feature = "train")]
mod whole;

pub use cascade::{Cascade, CascadeConfig};
pub use estimator::{IlluminationEstimator, IlluminationEstimatorConfig};
pub use layers::{BatchNorm, Conv3x3};
pub use method::Method;
pub use plus_plus::{
    IlluminationIncrement, IlluminationIncrementConfig, SciPlusPlusCalibrator,
    SciPlusPlusCalibratorConfig, SciPlusPlusCascade, SciPlusPlusCascadeConfig, SciPlusPlusStage,
};
pub use retinex::reflectance;
pub use sci::{
    Estimate, SciCascade, SciCascadeConfig, SelfCalibrator, SelfCalibratorConfig, Stage,
};
