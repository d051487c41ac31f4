//! What a loader delivers: a batch, or why there is none.

use crate::error::Error;
use burn::data::dataset::DatasetError;
use burn::tensor::Tensor;
use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The input of one training step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// `[batch, 3, height, width]`, RGB in `[0, 1]`.
    pub image: Tensor<4>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether to return the pictures for a preview.
    pub(crate) pictured: bool,
}

/// Where a batch comes from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Origin {
    /// The pass over all photographs, from 1.
    pub epoch: usize,
    /// The step of that epoch, from 1.
    pub step: usize,
    /// The step of the whole training, from 1. Photographs that cannot be read count, so that it is the
    /// same for all devices. 0 where it is unknown, which SCI++ takes for a step of the estimator.
    pub iteration: usize,
    /// The photographs.
    pub photos: Vec<PathBuf>,
}

impl Batch {
    /// A batch of images that are already in memory.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    pub fn new(image: Tensor<4>) -> Self {
        Self { image, origin: Origin::default(), pictured: false }
    }

    /// The same batch as the input of a certain step of the whole training, counted from 1. SCI++ trains
    /// by it either the estimator or the calibrator.
    pub fn with_iteration(self, iteration: usize) -> Self {
        Self { origin: Origin { iteration, ..self.origin }, ..self }
    }
}

/// Wraps an [`Error`] on its way through Burn's engine, which shares its errors and so cannot give
/// them back.
#[derive(Debug)]
pub(super) struct LoadingError {
    message: String,
    error: Mutex<Option<Error>>,
}

impl LoadingError {
    pub(super) fn wrap(error: Error) -> DatasetError {
        DatasetError::new(Self { message: error.to_string(), error: Mutex::new(Some(error)) })
    }
}

impl fmt::Display for LoadingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for LoadingError {}

/// The error that a loader returned, with its cause.
pub(crate) fn loading_error(error: &DatasetError) -> Error {
    let loading = error.source().and_then(|source| source.downcast_ref::<LoadingError>());
    loading
        .and_then(|loading| loading.error.lock().unwrap_or_else(PoisonError::into_inner).take())
        .unwrap_or_else(|| Error::execution(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_passes_through_the_engine_with_its_cause() {
        let cause = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = loading_error(&LoadingError::wrap(Error::read("night.png", cause)));
        assert_eq!(error.io_kind(), Some(std::io::ErrorKind::PermissionDenied), "{error}");
    }
}
