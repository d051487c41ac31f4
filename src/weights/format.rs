//! The three file formats, as lists of named tensors.

use super::names;
use crate::error::{Cause, Error, Result};
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

/// What a file holds.
pub(super) struct Stored {
    /// All tensors that a model may have, under this crate's names. Each keeps the name that it has
    /// in the file. The data may still be unread.
    pub(super) tensors: BTreeMap<String, burn_pack::Tensor>,
    /// How often estimator and calibrator apply their block, if the file says so.
    pub(super) blocks: [Option<usize>; 2],
}

pub(super) fn read(path: &Path) -> Result<Stored> {
    let format = Format::of(path)?;
    let unreadable = |error: std::io::Error| Error::read(path, error);
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::read(path, "not a file"));
    }
    let malformed = |cause: Cause| Error::malformed(path, format.name(), cause);
    if metadata.len() > MAX_FILE_SIZE {
        return Err(malformed(
            format!("{} bytes are too many for an SCI model", metadata.len()).into(),
        ));
    }
    let tensors = match format {
        // This reader opens the file itself.
        Format::Pytorch => read_pytorch(path),
        Format::Safetensors => read_safetensors(&std::fs::read(path).map_err(unreadable)?),
        Format::Burnpack => read_burnpack(std::fs::read(path).map_err(unreadable)?),
    };
    Ok(sort(tensors.map_err(malformed)?))
}

/// The tensors of a safetensors file that is a part of this crate.
#[cfg(feature = "presets")]
pub(super) fn embedded(bytes: &[u8]) -> Stored {
    sort(read_safetensors(bytes).expect("an embedded file is sound"))
}

fn sort((tensors, blocks): (Vec<burn_pack::Tensor>, [Option<usize>; 2])) -> Stored {
    let listed = names::block_counts(tensors.iter().map(|tensor| tensor.name.as_str()));
    let ours = |tensor: burn_pack::Tensor| Some((names::to_ours(&tensor.name)?, tensor));
    Stored {
        tensors: tensors.into_iter().filter_map(ours).collect(),
        blocks: [0, 1].map(|network| listed[network].or(blocks[network])),
    }
}

/// The tensors, and the block counts where they are not in the tensors' names.
type Tensors = std::result::Result<(Vec<burn_pack::Tensor>, [Option<usize>; 2]), Cause>;

/// Under which names a burnpack file's metadata has the block counts.
const BLOCKS: [&str; 2] = ["sci.estimator.blocks", "sci.calibrator.blocks"];

fn read_pytorch(path: &Path) -> Tensors {
    let reader = PytorchReader::new(path).map_err(Cause::from)?;
    Ok((reader.into_tensors().into_values().map(bridge::from_pytorch).collect(), [None; 2]))
}

fn read_burnpack(bytes: Vec<u8>) -> Tensors {
    let reader = burn_pack::Reader::from_bytes(Bytes::from_bytes_vec(bytes));
    let reader = reader.map_err(Cause::from)?;
    let blocks = BLOCKS.map(|key| reader.metadata().get(key)?.parse().ok());
    Ok((reader.into_tensors().map_err(Cause::from)?, blocks))
}

fn read_safetensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).map_err(Cause::from)?;
    let tensors = file.iter().filter_map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 => DType::I64,
            Dtype::I32 => DType::I32,
            Dtype::I16 => DType::I16,
            Dtype::I8 => DType::I8,
            Dtype::U64 => DType::U64,
            Dtype::U32 => DType::U32,
            Dtype::U16 => DType::U16,
            Dtype::U8 => DType::U8,
            // Types that no model of this crate has, nor a tensor of Burn's.
            _ => return None,
        };
        let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
        Some(bridge::from_data(data, name.to_owned(), None))
    });
    Ok((tensors.collect(), [None; 2]))
}

pub(super) fn write_burnpack<M: Module>(module: &M, blocks: [usize; 2], path: &Path) -> Result<()> {
    let mut store = BurnpackStore::from_bytes(None);
    for (key, count) in BLOCKS.into_iter().zip(blocks) {
        store = store.metadata(key, count.to_string());
    }
    store.collect_from(module).map_err(Error::execution)?;
    file::write(path, &store.get_bytes().map_err(Error::execution)?)
}

pub(super) fn write_safetensors(tensors: Vec<(String, TensorData)>, path: &Path) -> Result<()> {
    let failed = |error: safetensors::SafeTensorError| Error::write(path, error);
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
