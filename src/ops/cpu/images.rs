//! Batches of images on the host.

use super::rows::LEFT;

/// A batch of images.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    pub(crate) values: &'a [f32],
    /// `[batch, channels, height, width]`
    pub(crate) shape: [usize; 4],
}

impl<'a> Images<'a> {
    /// Row `y` of a channel of image `n`.
    pub(super) fn row(&self, n: usize, channel: usize, y: usize) -> &'a [f32] {
        let [_, channels, height, width] = self.shape;
        &self.values[((n * channels + channel) * height + y) * width..][..width]
    }

    /// Copies row `y` of image `n` to a padded row.
    pub(super) fn copy_row(&self, n: usize, y: usize, row: &mut [f32], pitch: usize) {
        let [_, channels, _, width] = self.shape;
        for channel in 0..channels {
            row[channel * pitch + LEFT..][..width].copy_from_slice(self.row(n, channel, y));
        }
    }
}
