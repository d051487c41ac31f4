use super::{
    IlluminationEstimator, Method, SciCascade, SciCascadeConfig, SciPlusPlusCascade,
    SciPlusPlusCascadeConfig,
};
use crate::error::Result;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Configuration of the cascade of either method, which a training is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method")]
#[non_exhaustive]
pub enum CascadeConfig {
    /// The cascade of SCI.
    #[serde(rename = "sci")]
    Sci(SciCascadeConfig),
    /// The cascade of SCI++.
    #[serde(rename = "sci++")]
    SciPlusPlus(SciPlusPlusCascadeConfig),
}

impl CascadeConfig {
    /// The published model of a method.
    pub fn new(method: Method) -> Self {
        match method {
            Method::Sci => Self::Sci(SciCascadeConfig::new()),
            Method::SciPlusPlus => Self::SciPlusPlus(SciPlusPlusCascadeConfig::new()),
        }
    }

    /// The method.
    pub fn method(&self) -> Method {
        match self {
            Self::Sci(_) => Method::Sci,
            Self::SciPlusPlus(_) => Method::SciPlusPlus,
        }
    }

    /// The same cascade with another number of stages, from 1 to 64.
    pub fn with_stages(self, stages: usize) -> Self {
        match self {
            Self::Sci(config) => Self::Sci(config.with_stages(stages)),
            Self::SciPlusPlus(config) => Self::SciPlusPlus(config.with_stages(stages)),
        }
    }

    /// A cascade with the published random initialization, drawn with seed 0: the same weights
    /// every time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where a setting is out of its range.
    pub fn init(&self, device: &Device) -> Result<Cascade> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host
    /// and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<Cascade> {
        Ok(match self {
            Self::Sci(config) => config.init_with_seed(seed, device)?.into(),
            Self::SciPlusPlus(config) => config.init_with_seed(seed, device)?.into(),
        })
    }

    #[cfg(feature = "train")]
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Sci(config) => config.check(),
            Self::SciPlusPlus(config) => config.check(),
        }
    }
}

impl From<SciCascadeConfig> for CascadeConfig {
    fn from(config: SciCascadeConfig) -> Self {
        Self::Sci(config)
    }
}

impl From<SciPlusPlusCascadeConfig> for CascadeConfig {
    fn from(config: SciPlusPlusCascadeConfig) -> Self {
        Self::SciPlusPlus(config)
    }
}

/// The cascade of either method.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a training has one")]
pub enum Cascade {
    /// The cascade of SCI.
    Sci(SciCascade),
    /// The cascade of SCI++.
    SciPlusPlus(SciPlusPlusCascade),
}

impl Cascade {
    /// The part that enhances photographs.
    pub fn estimator(&self) -> &IlluminationEstimator {
        match self {
            Self::Sci(cascade) => &cascade.estimator,
            Self::SciPlusPlus(cascade) => &cascade.estimator,
        }
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.estimator().method()
    }

    /// The configuration that gives a cascade of this shape.
    pub fn config(&self) -> CascadeConfig {
        match self {
            Self::Sci(cascade) => cascade.config().into(),
            Self::SciPlusPlus(cascade) => cascade.config().into(),
        }
    }
}

impl From<SciCascade> for Cascade {
    fn from(cascade: SciCascade) -> Self {
        Self::Sci(cascade)
    }
}

impl From<SciPlusPlusCascade> for Cascade {
    fn from(cascade: SciPlusPlusCascade) -> Self {
        Self::SciPlusPlus(cascade)
    }
}
