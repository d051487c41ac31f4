//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod allocation;
pub mod program;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use sci_burn::Enhancer;
use sci_burn::image::{ImageBuffer, Pixel};
use sci_burn::model::{Conv3x3, IlluminationEstimatorConfig, Method};
#[cfg(feature = "train")]
use sci_burn::train::{Monitor, TrainingEvent};
use std::collections::BTreeMap;
#[cfg(feature = "train")]
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
#[cfg(feature = "train")]
use std::sync::{Arc, Mutex};

/// Every device whose backend is compiled in, with its name. A missing GPU fails the test: those
/// who compile a backend for a test want it tested.
pub fn devices() -> Vec<(&'static str, Device)> {
    let names = sci_burn::device_names().into_iter();
    names
        .map(|name| (name, sci_burn::open_device(name).unwrap_or_else(|e| panic!("{e}"))))
        .collect()
}

/// The CPU backend that tests of anything but backends run on.
pub fn cpu() -> Device {
    sci_burn::open_device(sci_burn::device_names()[0]).unwrap()
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A tensor of a file, on the host.
#[derive(Clone, Debug)]
pub struct Stored {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Stored {
    pub fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape.clone()), device)
    }
}

/// All tensors of a safetensors file, read without the library under test.
pub fn stored(path: &Path) -> BTreeMap<String, Stored> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => floats(view.data(), |bytes| f64::from(f32::from_le_bytes(bytes))),
                Dtype::F64 => floats(view.data(), f64::from_le_bytes),
                other => panic!("{name}: {other:?}"),
            };
            (name.to_owned(), Stored { shape: view.shape().to_vec(), values })
        })
        .collect()
}

fn floats<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|&bytes| read(bytes)).collect()
}

/// The stage count in a parity file's metadata.
pub fn stages(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    metadata.metadata().as_ref().unwrap()["stages"].parse().unwrap()
}

/// A random image on the host's seeded generator: the same on every device.
pub fn image(seed: u64, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// An enhancer with weights that are far from the initial ones, so that every layer matters.
pub fn enhancer(
    method: Method,
    [blocks, channels]: [usize; 2],
    seed: u64,
    device: &Device,
) -> Enhancer {
    let config = IlluminationEstimatorConfig::new().with_method(method);
    let config = config.with_blocks(blocks).with_channels(channels);
    let mut estimator = config.init(device).unwrap();
    let mut random = seed;
    let mut scramble = |conv: &mut Conv3x3| {
        random += 1;
        let shape = conv.weight.dims();
        let weight = image(random, shape, device) * 0.8 - 0.4;
        conv.weight = Param::from_tensor(weight);
        let bias = image(random + 100, [shape[0], 1, 1, 1], device) * 0.4 - 0.2;
        conv.bias = Param::from_tensor(bias.reshape([shape[0]]));
    };
    scramble(&mut estimator.input_conv);
    estimator.block_convs.iter_mut().for_each(&mut scramble);
    scramble(&mut estimator.output_conv);
    Enhancer::new(estimator, device)
}

/// A picture of random samples below `levels`, the same for a seed.
pub fn noise<P: Pixel>(
    width: u32,
    height: u32,
    seed: u32,
    levels: u32,
) -> ImageBuffer<P, Vec<P::Subpixel>>
where
    P::Subpixel: TryFrom<u32, Error: std::fmt::Debug>,
{
    let mut state = seed | 1;
    ImageBuffer::from_fn(width, height, |_, _| {
        let samples: Vec<_> = (0..P::CHANNEL_COUNT)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                P::Subpixel::try_from((state >> 8) % levels).unwrap()
            })
            .collect();
        *P::from_slice(&samples)
    })
}

/// A monitor, and what `pick` takes from the events that it is told.
#[cfg(feature = "train")]
pub fn collect<T: Send + 'static>(
    pick: impl Fn(TrainingEvent) -> Option<T> + Send + Sync + 'static,
) -> (Monitor, Arc<Mutex<Vec<T>>>) {
    let picked = Arc::new(Mutex::new(Vec::new()));
    let told = picked.clone();
    let monitor = Monitor::new(move |event| {
        told.lock().unwrap().extend(pick(event));
        ControlFlow::Continue(())
    });
    (monitor, picked)
}

/// The largest absolute difference between two tensors' values; NaN if any difference is.
pub fn largest_difference(left: Tensor<4>, right: Tensor<4>) -> f32 {
    assert_eq!(left.dims(), right.dims());
    let values = |tensor: Tensor<4>| tensor.try_into_vec_as::<f32>().unwrap();
    let pairs = values(left).into_iter().zip(values(right));
    pairs
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, |largest, next| if next <= largest { largest } else { next })
}
