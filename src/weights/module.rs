//! Named tensors ↔ the fields of a module.

use super::format::{self, Format};
use super::names::{self, NETWORKS, PerNetwork};
use crate::error::{Error, Result, brief};
use crate::model::Method;
use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::TensorData;
use std::path::Path;

/// A module whose weights are kept in files.
pub(super) trait Weights: Module {
    fn kind(&self) -> Kind;
}

/// What a module is.
pub(super) struct Kind {
    pub(super) method: Method,
    /// Its prefix in a cascade.
    pub(super) root: &'static str,
    /// How many blocks the networks that it has apply.
    pub(super) blocks: PerNetwork<usize>,
}

/// Replaces every tensor of a newly initialized module.
pub(super) fn load<M: Weights>(
    mut module: M,
    mut stored: format::Stored,
    path: &Path,
) -> Result<M> {
    let Kind { method, root, blocks } = module.kind();
    if let Some(found) = stored.method.filter(|found| *found != method) {
        let [expected, found] = [method, found].map(Method::title);
        return Err(Error::OtherMethod { path: path.to_owned(), expected, found });
    }
    let counts = blocks.into_iter().zip(stored.blocks);
    for (network, counts) in NETWORKS.into_iter().zip(counts) {
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
            tensor: names::to_pytorch(method, &name),
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

/// Writes a module. PyTorch lists the shared blocks of SCI as often as they are applied.
pub(super) fn save<M: Weights>(module: &M, path: &Path) -> Result<()> {
    let Kind { method, root, blocks } = module.kind();
    // Running statistics are written to the module late; `valid` waits for them.
    let module = module.valid();
    match Format::of(path)? {
        Format::Burnpack => format::write_burnpack(&module, blocks, path),
        Format::Safetensors => {
            let mut tensors = Vec::new();
            for tensor in module.collect(None, None, false) {
                let name = format!("{root}{}", tensor.name);
                let data = bridge::into_data(tensor).map_err(Error::execution)?;
                for alias in names::to_pytorch_with_aliases(method, &name, blocks) {
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
