//! Photographs for training: read beside the computation, cropped, flipped and darkened by seeded
//! chance.

mod darken;
mod loader;
mod photos;

pub use darken::Darken;
pub(crate) use loader::{Held, PhotoLoader};
pub use photos::SamplingConfig;
pub(crate) use photos::{OnRefused, PhotoSet};

use crate::error::Error;
use burn::data::dataset::DatasetError;
use burn::tensor::Tensor;
use std::error::Error as _;
use std::path::PathBuf;

/// What one step is made on.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, 3, height, width]`, RGB in `[0, 1]`.
    pub image: Tensor<4>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether to keep the result for a preview.
    pub(crate) pictured: bool,
}

/// Where a batch comes from, for messages that name it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The pass over all photographs, from 1.
    pub epoch: usize,
    /// The step of that epoch, from 1.
    pub step: usize,
    /// The photographs.
    pub photos: Vec<PathBuf>,
}

impl Batch {
    /// A batch of images from anywhere, `[batch, 3, height, width]`, RGB in `[0, 1]`.
    pub fn new(image: Tensor<4>) -> Self {
        Self { image, origin: Origin::default(), pictured: false }
    }
}

/// What a loader of this module says, as the error that it was.
pub(crate) fn loading_error(error: &DatasetError) -> Error {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(Error::Read { path, source }) => Error::read(path, source.to_string()),
        _ => Error::execution(error.to_string()),
    }
}
