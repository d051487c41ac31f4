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
mod names;
mod pickle;
#[cfg(feature = "presets")]
mod presets;
mod zip;

#[cfg(feature = "presets")]
pub use presets::Preset;

use crate::error::{Error, Result, brief};
use crate::model::{
    IlluminationEstimator, IlluminationEstimatorConfig, SciCascade, SciCascadeConfig,
};
use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::{Device, TensorData};
use format::Format;
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
    /// [`Error::Read`], [`Error::UnknownExtension`] or [`Error::Malformed`] where the file cannot
    /// be read; [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::BadTensor`] or
    /// [`Error::BlockCount`] where it does not fit; [`Error::Setting`] where the configuration
    /// itself is out of range.
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

/// Replaces every tensor of a newly initialized module, the prefix of which in a cascade is `root`.
/// Its estimator and calibrator, if it has them, apply their block `blocks` times.
fn load<M: Module>(
    mut module: M,
    root: &str,
    blocks: [Option<usize>; 2],
    mut stored: format::Stored,
    path: &Path,
) -> Result<M> {
    let counts = blocks.into_iter().zip(stored.blocks);
    for (network, counts) in ["estimator", "calibrator"].into_iter().zip(counts) {
        if let (Some(expected), Some(found)) = counts
            && expected != found
        {
            return Err(Error::BlockCount { path: path.to_owned(), network, expected, found });
        }
    }
    let mut tensors = Vec::new();
    for expected in module.collect(None, None, false) {
        let name = format!("{root}{}", expected.name);
        let tensor = stored.tensors.remove(&name).ok_or_else(|| Error::MissingTensor {
            path: path.to_owned(),
            tensor: names::to_pytorch(&name),
        })?;
        let bad = |reason: String| Error::BadTensor {
            path: path.to_owned(),
            tensor: tensor.name.clone(),
            reason,
        };
        if !tensor.dtype.is_float() {
            return Err(bad(format!("is {:?}, expected a float type", tensor.dtype)));
        }
        if tensor.shape != expected.shape {
            return Err(Error::TensorShape {
                path: path.to_owned(),
                tensor: tensor.name,
                expected: expected.shape.to_vec(),
                found: tensor.shape.to_vec(),
            });
        }
        let data = bridge::to_data(&tensor)
            .map_err(|error| bad(format!("cannot be read: {}", brief(error))))?;
        let values = data
            .try_cast_as::<f32>()
            .and_then(|data| data.try_into_vec::<f32>())
            .map_err(|error| bad(format!("cannot be read: {}", brief(error))))?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(bad(format!("holds a value of {value}")));
        }
        if name.ends_with("running_var") && values.iter().any(|value| *value < 0.0) {
            return Err(bad("holds a negative variance".to_owned()));
        }
        let data = TensorData::new(values, expected.shape.clone());
        tensors.push(bridge::from_data(data, expected.name, None));
    }
    let applied = module.apply(tensors, None, None, false);
    assert!(
        applied.errors.is_empty() && applied.missing.is_empty(),
        "every tensor of the module was found and checked above: {applied}"
    );
    Ok(module)
}

/// Writes a module, the prefix of which in a cascade is `root`. PyTorch lists the shared blocks of
/// estimator and calibrator `blocks` times.
fn save<M: Module>(module: &M, root: &str, blocks: [usize; 2], path: &Path) -> Result<()> {
    // Running statistics are written to the module late; `valid` waits for them.
    let module = module.valid();
    match Format::of(path)? {
        Format::Burnpack => format::write_burnpack(&module, blocks, path),
        Format::Safetensors => {
            let mut tensors = Vec::new();
            for tensor in module.collect(None, None, false) {
                let name = format!("{root}{}", tensor.name);
                let data = bridge::into_data(tensor).map_err(Error::execution)?;
                for alias in names::to_pytorch_with_aliases(&name, blocks) {
                    tensors.push((alias, data.clone()));
                }
            }
            format::write_safetensors(tensors, path)
        }
        Format::Pytorch => Err(Error::UnknownExtension {
            path: path.to_owned(),
            expected: ".safetensors, .bpk (PyTorch's own format is only read)",
        }),
    }
}
