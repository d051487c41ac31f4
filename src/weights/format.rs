//! The three file formats, as lists of named tensors.

use super::names::{self, NETWORKS, PerNetwork};
use super::{pickle, zip};
use crate::error::{Cause, Error, Result, brief};
use crate::file;
use crate::model::Method;
use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge, burn_pack};
use burn::tensor::{Bytes, DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Every model within the limits of the configuration takes fewer bytes: the largest one, of SCI++, 9.5 MB.
/// No more of a file is read.
const MAX_FILE_SIZE: usize = 10 << 20;

/// The most bytes in which a file may describe its tensors. The largest model takes half of that.
const MAX_HEADER_SIZE: u64 = 128 << 10;

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
    /// The method that they belong to, if their names tell.
    pub(super) method: Option<Method>,
    /// How many blocks the networks have, if the file says so.
    pub(super) blocks: PerNetwork<usize>,
}

pub(super) fn read(path: &Path) -> Result<Stored> {
    let format = Format::of(path)?;
    let malformed = |cause: Cause| Error::malformed(path, format.name(), cause);
    let bytes = file::beginning(path, MAX_FILE_SIZE as u64 + 1)?;
    if bytes.len() > MAX_FILE_SIZE {
        let reason = format!("it is larger than {MAX_FILE_SIZE} bytes, too large for an SCI model");
        return Err(malformed(reason.into()));
    }
    let tensors = match format {
        Format::Pytorch => read_pytorch(&bytes),
        Format::Safetensors => read_safetensors(&bytes),
        Format::Burnpack => read_burnpack(bytes),
    };
    Ok(sort(tensors.map_err(malformed)?))
}

/// The tensors of a safetensors file that is a part of this crate.
#[cfg(feature = "presets")]
pub(super) fn embedded(bytes: &[u8]) -> Stored {
    sort(read_safetensors(bytes).expect("an embedded file is sound"))
}

fn sort((mut tensors, blocks): (Vec<burn_pack::Tensor>, PerNetwork<usize>)) -> Stored {
    let stored = || tensors.iter().map(|tensor| tensor.name.as_str());
    let method = names::method(stored());
    let named = method.unwrap_or_default();
    let listed = names::block_counts(named, stored());
    let ours = |tensor: burn_pack::Tensor| Some((names::to_ours(named, &tensor.name)?, tensor));
    // Of two names for one tensor the first in the order of names is taken, whatever the file's order.
    tensors.sort_by(|a, b| b.name.cmp(&a.name));
    Stored {
        tensors: tensors.into_iter().filter_map(ours).collect(),
        method,
        blocks: std::array::from_fn(|network| listed[network].or(blocks[network])),
    }
}

/// The tensors, and the block counts where they are not in the tensors' names.
type Tensors = std::result::Result<(Vec<burn_pack::Tensor>, PerNetwork<usize>), Cause>;

/// Under which name a burnpack file's metadata has the block count of a network.
fn blocks_key(network: &str) -> String {
    format!("sci.{network}.blocks")
}

/// The tensors of the archive that `torch.save` writes since PyTorch 1.6.
fn read_pytorch(bytes: &[u8]) -> Tensors {
    if !bytes.starts_with(b"PK\x03\x04") {
        return Err("it is no archive as `torch.save` has written them since PyTorch 1.6".into());
    }
    let entries = zip::entries(bytes)?;
    let mut roots = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err("it has not exactly one entry `data.pkl`".into());
    };
    if let Some(order) = entries.get(format!("{root}byteorder").as_str())
        && order.trim_ascii() != b"little"
    {
        return Err("its byte order is not little-endian".into());
    }
    let pickle = entries[format!("{root}data.pkl").as_str()];
    check_header(pickle.len() as u64)?;
    let views = pickle::state_dict(pickle)?;
    let method = names::method(views.keys().copied()).unwrap_or_default();
    let mut tensors = Vec::new();
    let mut total = 0;
    for (name, view) in views {
        // What no model has is not read.
        let (Some(dtype), Some(_)) = (view.dtype, names::to_ours(method, name)) else { continue };
        let malformed = |reason: &str| Cause::from(format!("tensor `{}` {reason}", brief(name)));
        let storage = entries.get(format!("{root}data/{}", view.storage).as_str());
        let storage = storage.ok_or_else(|| malformed("has no data"))?;
        let data = gather(storage, dtype.size(), &view);
        let data = data.ok_or_else(|| malformed("is larger than its data"))?;
        // Tensors may share their data, many times over.
        total += data.len();
        if total > MAX_FILE_SIZE {
            return Err("its tensors are too large for an SCI model".into());
        }
        let data = TensorData::from_bytes_vec(data, view.shape, dtype);
        tensors.push(bridge::from_data(data, name.to_owned(), None));
    }
    Ok((tensors, [None; NETWORKS.len()]))
}

/// The bytes of a tensor in row-major order, or `None` if it reaches beyond its storage or has more
/// elements than that.
fn gather(storage: &[u8], size: usize, view: &pickle::View) -> Option<Vec<u8>> {
    let count = view.shape.iter().try_fold(1, |count: usize, dim| count.checked_mul(*dim))?;
    if view.shape.len() != view.stride.len() || count > storage.len() / size {
        return None;
    }
    let mut bytes = Vec::with_capacity(count * size);
    for index in 0..count {
        let (mut rest, mut position) = (index, view.offset);
        for (dim, stride) in view.shape.iter().zip(&view.stride).rev() {
            position = position.checked_add((rest % dim).checked_mul(*stride)?)?;
            rest /= dim;
        }
        let start = position.checked_mul(size)?;
        bytes.extend_from_slice(storage.get(start..start.checked_add(size)?)?);
    }
    Some(bytes)
}

/// Refuses a part of a file that describes tensors where it is longer than it can be for a model.
fn check_header(length: u64) -> std::result::Result<(), Cause> {
    match length {
        ..=MAX_HEADER_SIZE => Ok(()),
        _ => Err(format!("a header of {length} bytes is too long for an SCI model").into()),
    }
}

fn read_burnpack(bytes: Vec<u8>) -> Tensors {
    // The header is a magic number, a version, and the length of what describes the tensors.
    if let Some(length) = bytes.get(6..).and_then(|rest| rest.first_chunk()) {
        check_header(u32::from_le_bytes(*length).into())?;
    }
    let reader = burn_pack::Reader::from_bytes(Bytes::from_bytes_vec(bytes));
    let reader = reader.map_err(Cause::from)?;
    let blocks = NETWORKS.map(|network| reader.metadata().get(&blocks_key(network))?.parse().ok());
    Ok((reader.into_tensors().map_err(Cause::from)?, blocks))
}

fn read_safetensors(bytes: &[u8]) -> Tensors {
    if let Some(length) = bytes.first_chunk() {
        check_header(u64::from_le_bytes(*length))?;
    }
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
    Ok((tensors.collect(), [None; NETWORKS.len()]))
}

pub(super) fn write_burnpack<M: Module>(
    module: &M,
    blocks: PerNetwork<usize>,
    path: &Path,
) -> Result<()> {
    let mut tensors = module.collect(None, None, false);
    // Burn draws these at random for every module: without them equal weights make equal files.
    tensors.iter_mut().for_each(|tensor| tensor.param_id = None);
    let mut writer = burn_pack::Writer::new(tensors);
    for (network, blocks) in NETWORKS.into_iter().zip(blocks) {
        if let Some(blocks) = blocks {
            writer = writer.with_metadata(&blocks_key(network), &blocks.to_string());
        }
    }
    file::write(path, &writer.into_bytes().map_err(Error::execution)?)
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
