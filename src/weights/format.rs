//! The three file formats, as lists of named tensors.

use super::names;
use crate::error::{Error, Result};
use crate::file;
use burn::module::Module;
use burn::store::pytorch::PytorchReader;
use burn::store::{BurnpackStore, ModuleStore, bridge, burn_pack};
use burn::tensor::{Bytes, DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// No SCI model comes near this many bytes; a larger file is refused before it is read.
const MAX_FILE_SIZE: u64 = 64 << 20;

pub(super) enum Format {
    Pytorch,
    Safetensors,
    Burnpack,
}

impl Format {
    /// The format that a path's extension names.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("pt" | "pth") => Ok(Self::Pytorch),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("bpk") => Ok(Self::Burnpack),
            _ => Err(Error::UnknownExtension {
                path: path.to_owned(),
                expected: ".pt, .pth, .safetensors, .bpk",
            }),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pytorch => "PyTorch",
            Self::Safetensors => "safetensors",
            Self::Burnpack => "burnpack",
        }
    }
}

/// All tensors of a file that a model may have, under this crate's names. Each tensor keeps the
/// name that it has in the file. The data may still be unread.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, burn_pack::Tensor>> {
    let format = Format::of(path)?;
    let unreadable =
        |error: std::io::Error| Error::Read { path: path.to_owned(), reason: error.to_string() };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::Read { path: path.to_owned(), reason: "not a file".to_owned() });
    }
    let malformed =
        |reason: String| Error::Malformed { path: path.to_owned(), format: format.name(), reason };
    if metadata.len() > MAX_FILE_SIZE {
        return Err(malformed(format!("{} bytes are too many for an SCI model", metadata.len())));
    }
    let tensors = match format {
        // This reader opens the file itself.
        Format::Pytorch => read_pytorch(path),
        Format::Safetensors => read_safetensors(&std::fs::read(path).map_err(unreadable)?),
        Format::Burnpack => read_burnpack(std::fs::read(path).map_err(unreadable)?),
    };
    let tensors = tensors.map_err(malformed)?;
    let ours = |tensor: burn_pack::Tensor| Some((names::to_ours(&tensor.name)?, tensor));
    Ok(tensors.into_iter().filter_map(ours).collect())
}

type Tensors = std::result::Result<Vec<burn_pack::Tensor>, String>;

fn read_pytorch(path: &Path) -> Tensors {
    let reader = PytorchReader::new(path).map_err(Error::first_line)?;
    Ok(reader.into_tensors().into_values().map(bridge::from_pytorch).collect())
}

fn read_burnpack(bytes: Vec<u8>) -> Tensors {
    let mut store = BurnpackStore::from_bytes(Some(Bytes::from_bytes_vec(bytes)));
    Ok(store.get_all_tensors().map_err(Error::first_line)?.values().cloned().collect())
}

fn read_safetensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).map_err(Error::first_line)?;
    let tensors = file.iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            // Of no use to a model; refused where a model asks for it.
            _ => DType::U8,
        };
        let (bytes, shape) = match dtype {
            DType::U8 => (view.data().to_vec(), vec![view.data().len()]),
            _ => (view.data().to_vec(), view.shape().to_vec()),
        };
        let data = TensorData::from_bytes_vec(bytes, shape, dtype);
        bridge::from_data(data, name.to_owned(), None)
    });
    Ok(tensors.collect())
}

pub(super) fn write_burnpack<M: Module>(module: &M, path: &Path) -> Result<()> {
    let mut store = BurnpackStore::from_bytes(None);
    let failed = |error: burn_pack::Error| Error::Execution { reason: Error::first_line(error) };
    store.collect_from(module).map_err(failed)?;
    file::write(path, &store.get_bytes().map_err(failed)?)
}

pub(super) fn write_safetensors(tensors: Vec<(String, TensorData)>, path: &Path) -> Result<()> {
    let failed = |error: safetensors::SafeTensorError| Error::Write {
        path: path.to_owned(),
        reason: Error::first_line(error),
    };
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, data)| (name, data.try_cast_as::<f32>().expect("floats become floats")))
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
            Ok((name, view.map_err(failed)?))
        })
        .collect::<Result<_>>()?;
    // What PyTorch's tools expect to be told.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    file::write(path, &safetensors::serialize(views, Some(metadata)).map_err(failed)?)
}
