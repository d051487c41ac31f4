//! Reading and writing the weights of modules.
//!
//! | extension | what | read | written |
//! |---|---|---|---|
//! | `.pt`, `.pth` | a PyTorch state dict, such as the authors' checkpoints | yes | no |
//! | `.safetensors` | the same tensors under the same names | yes | yes |
//! | `.bpk` | Burn's own format, under this crate's field names; checkpoints of a training run | yes | yes |
//!
//! The files of both methods are told apart by their tensors' names.
//!
//! A file is read once and checked before any weight of a module is replaced. Files come from
//! anywhere: whatever is in one, reading it takes little time and less than 64 MiB of memory.

// Safer refused than wrong: Burn, too, takes the bytes of a file as the machine's own.
#[cfg(target_endian = "big")]
compile_error!("weight files are little-endian, and are not converted for big-endian machines");

mod format;
mod module;
mod names;
mod pickle;
#[cfg(feature = "presets")]
mod presets;
mod zip;

#[cfg(feature = "presets")]
pub use presets::Preset;

use crate::error::Result;
use crate::model::{
    Cascade, CascadeConfig, IlluminationEstimator, IlluminationEstimatorConfig, Method, SciCascade,
    SciCascadeConfig, SciPlusPlusCascade, SciPlusPlusCascadeConfig,
};
use burn::tensor::Device;
use module::{Kind, Weights, load, save};
use std::path::Path;

impl SciCascadeConfig {
    /// A cascade with the weights of a file, which must hold estimator and calibrator.
    ///
    /// Tensors that the model does not have are ignored, so the authors' checkpoints load as they
    /// are, though they list the shared blocks twice (`conv.*` and `blocks.N.*`). The model of a
    /// training run's checkpoint (`checkpoint/model-N.bpk`) loads as well.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::UnknownExtension`] or [`Error::Malformed`] where the file cannot be read;
    /// [`Error::OtherMethod`], [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::BadTensor`] or
    /// [`Error::BlockCount`] where it does not fit;
    /// [`Error::Setting`] where the configuration itself is out of range.
    ///
    /// [`Error::Read`]: crate::Error::Read
    /// [`Error::UnknownExtension`]: crate::Error::UnknownExtension
    /// [`Error::Malformed`]: crate::Error::Malformed
    /// [`Error::OtherMethod`]: crate::Error::OtherMethod
    /// [`Error::MissingTensor`]: crate::Error::MissingTensor
    /// [`Error::TensorShape`]: crate::Error::TensorShape
    /// [`Error::BadTensor`]: crate::Error::BadTensor
    /// [`Error::BlockCount`]: crate::Error::BlockCount
    /// [`Error::Setting`]: crate::Error::Setting
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<SciCascade> {
        let path = path.as_ref();
        load(self.init(device)?, format::read(path)?, path)
    }
}

impl SciPlusPlusCascadeConfig {
    /// A cascade with the weights of a file, which must hold estimator, increment and calibrator: one of
    /// the authors' checkpoints, or the model of a training run.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`].
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<SciPlusPlusCascade> {
        let path = path.as_ref();
        load(self.init(device)?, format::read(path)?, path)
    }
}

impl CascadeConfig {
    /// A cascade with the weights of a file of its method.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`].
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<Cascade> {
        Ok(match self {
            Self::Sci(config) => config.load(path, device)?.into(),
            Self::SciPlusPlus(config) => config.load(path, device)?.into(),
        })
    }
}

impl IlluminationEstimatorConfig {
    /// An estimator with the weights of a file that holds an estimator or a whole cascade of the same
    /// method.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`].
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<IlluminationEstimator> {
        let path = path.as_ref();
        self.load_stored(format::read(path)?, path, device)
    }

    /// An estimator with the weights that were read from `path`.
    fn load_stored(
        &self,
        stored: format::Stored,
        path: &Path,
        device: &Device,
    ) -> Result<IlluminationEstimator> {
        load(self.init(device)?, stored, path)
    }
}

impl IlluminationEstimator {
    /// The estimator of a file of either method, with the published configuration: of one that holds an
    /// estimator, or a whole cascade.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`].
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let stored = format::read(path)?;
        let method = stored.method.unwrap_or_default();
        IlluminationEstimatorConfig::new().with_method(method).load_stored(stored, path, device)
    }
}

impl Weights for IlluminationEstimator {
    fn kind(&self) -> Kind {
        let blocks = [Some(self.blocks), None, None];
        Kind { method: self.method(), root: names::ESTIMATOR, blocks }
    }
}

impl Weights for SciCascade {
    fn kind(&self) -> Kind {
        let blocks = [Some(self.estimator.blocks), None, Some(self.calibrator.blocks)];
        Kind { method: Method::Sci, root: "", blocks }
    }
}

impl Weights for SciPlusPlusCascade {
    fn kind(&self) -> Kind {
        let blocks = [
            self.estimator.blocks,
            self.increment.block_convs.len(),
            self.calibrator.block_convs_1.len(),
        ];
        Kind { method: Method::SciPlusPlus, root: "", blocks: blocks.map(Some) }
    }
}

impl SciCascade {
    /// Writes all weights and running statistics to a `.safetensors` or `.bpk` file.
    ///
    /// A safetensors file has the names of the authors' PyTorch code, `blocks.*` included, so that
    /// `Network.load_state_dict` accepts it. Equal weights make equal files. A file that exists is
    /// replaced atomically.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownExtension`]; [`Error::Write`] where the file cannot be written;
    /// [`Error::Execution`] where the weights cannot be read from the device.
    ///
    /// [`Error::UnknownExtension`]: crate::Error::UnknownExtension
    /// [`Error::Write`]: crate::Error::Write
    /// [`Error::Execution`]: crate::Error::Execution
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(self, path.as_ref())
    }
}

impl SciPlusPlusCascade {
    /// Writes all weights, as [`SciCascade::save`]: a safetensors file has the names of the authors'
    /// `Network` of SCI++.
    ///
    /// # Errors
    ///
    /// As [`SciCascade::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(self, path.as_ref())
    }
}

impl Cascade {
    /// Writes all weights, as [`SciCascade::save`] or [`SciPlusPlusCascade::save`].
    ///
    /// # Errors
    ///
    /// As [`SciCascade::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        match self {
            Self::Sci(cascade) => cascade.save(path),
            Self::SciPlusPlus(cascade) => cascade.save(path),
        }
    }
}

impl IlluminationEstimator {
    /// Writes the estimator alone, otherwise as [`SciCascade::save`]: a safetensors file has the
    /// names of the authors' `Finetunemodel`.
    ///
    /// # Errors
    ///
    /// As [`SciCascade::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(self, path.as_ref())
    }
}
