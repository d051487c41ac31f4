//! Reading and writing the weights of modules.
//!
//! | extension | what | read | written |
//! |---|---|---|---|
//! | `.pt`, `.pth` | a PyTorch state dict, such as the authors' checkpoints | yes | no |
//! | `.safetensors` | the same tensors under the same names | yes | yes |
//! | `.bpk` | Burn's own format, under this crate's field names; checkpoints of a training run | yes | yes |
//!
//! A file is read once and checked before any weight of a module is replaced. Files come from
//! anywhere: whatever is in one, reading it takes little time and less than 64 MiB of memory.

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
    IlluminationEstimator, IlluminationEstimatorConfig, SciCascade, SciCascadeConfig,
};
use burn::tensor::Device;
use module::{load, save};
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
    /// [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::BadTensor`] or [`Error::BlockCount`] where it does not fit;
    /// [`Error::Setting`] where the configuration itself is out of range.
    ///
    /// [`Error::Read`]: crate::Error::Read
    /// [`Error::UnknownExtension`]: crate::Error::UnknownExtension
    /// [`Error::Malformed`]: crate::Error::Malformed
    /// [`Error::MissingTensor`]: crate::Error::MissingTensor
    /// [`Error::TensorShape`]: crate::Error::TensorShape
    /// [`Error::BadTensor`]: crate::Error::BadTensor
    /// [`Error::BlockCount`]: crate::Error::BlockCount
    /// [`Error::Setting`]: crate::Error::Setting
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<SciCascade> {
        let blocks = [Some(self.estimator.blocks), Some(self.calibrator.blocks)];
        let path = path.as_ref();
        load(self.init(device)?, "", blocks, format::read(path)?, path)
    }
}

impl IlluminationEstimatorConfig {
    /// An estimator with the weights of a file that holds an estimator or a whole cascade.
    ///
    /// # Errors
    ///
    /// As [`SciCascadeConfig::load`].
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<IlluminationEstimator> {
        let (path, estimator) = (path.as_ref(), self.init(device)?);
        load(estimator, names::ESTIMATOR, [Some(self.blocks), None], format::read(path)?, path)
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
        let blocks = [self.estimator.blocks, self.calibrator.blocks];
        save(self, "", blocks, path.as_ref())
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
        save(self, names::ESTIMATOR, [self.blocks, 0], path.as_ref())
    }
}
