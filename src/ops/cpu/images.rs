//! Batches of images on the host.

use super::rows::LEFT;

/// A batch of images.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    pub(crate) values: &'a [f32],
    /// `[batch, channels, height, width]`
    pub(crate) shape: [usize; 4],
}

impl Images<'_> {
    /// Copies row `y` of image `n` to a padded row.
    pub(super) fn copy_row(&self, n: usize, y: usize, row: &mut [f32], pitch: usize) {
        let [_, channels, height, width] = self.shape;
        for channel in 0..channels {
            let from = ((n * channels + channel) * height + y) * width;
            row[channel * pitch + LEFT..][..width]
                .copy_from_slice(&self.values[from..from + width]);
        }
    }
}
