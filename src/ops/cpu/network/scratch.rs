use super::super::rows::Ring;
use super::winograd::Transformed;
use std::sync::{Mutex, PoisonError};

/// The working memory of the threads, which is kept from band to band and from layer to layer.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    idle: Mutex<Vec<Rows>>,
}

impl Scratch {
    /// Calls a function with working memory that no other thread has.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        // It has no state that a panic could break.
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = idle().pop().unwrap_or_default();
        let result = work(&mut rows);
        idle().push(rows);
        result
    }
}

/// The rows that a thread works on.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) activations: Window,
    pub(super) gradients: Window,
    /// Half the sum and half the difference of two rows of the gradient.
    pub(super) halves: Ring,
    /// Sums for the gradients with respect to weights.
    pub(super) sums: Vec<f32>,
}

/// The latest rows, and what they are transformed to.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) rows: Ring,
    pub(super) transformed: Transformed,
}

impl Window {
    /// Makes room for padded rows of so many channels.
    pub(super) fn arrange(&mut self, channels: usize, pitch: usize) {
        self.rows.arrange(4, channels, pitch);
        self.transformed.arrange(channels, pitch);
    }

    /// Transforms the rows around `y` in an image of `height` rows.
    #[inline(always)]
    pub(super) fn transform(&mut self, y: usize, height: usize, pitch: usize) {
        self.transformed.set(&self.rows, y, height, pitch);
    }
}
