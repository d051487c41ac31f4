//! Feature maps in memory, row by row with all channels of a row together: a band of rows is one piece of
//! memory.

use super::super::images::Images;
use super::super::memory::Buffer;
use rayon::prelude::*;
use std::ops::Range;

/// The size of a batch of images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Size {
    /// Rows of a band. Fixed, so that sums do not depend on the number of threads.
    pub(super) const ROWS: usize = 16;

    /// The floats of one channel's row in [`Maps`]: whole vectors of every instruction set.
    pub(super) fn stride(self) -> usize {
        self.width.next_multiple_of(16)
    }

    /// The number of pixels.
    pub(super) fn pixels(self) -> usize {
        self.batch * self.height * self.width
    }

    /// The bands of all images, in order.
    pub(super) fn bands(self) -> impl Iterator<Item = Band> {
        (0..self.batch).flat_map(move |image| {
            let tops = (0..self.height).step_by(Self::ROWS);
            tops.map(move |top| {
                let bottom = (top + Self::ROWS).min(self.height);
                Band { size: self, image, top, bottom }
            })
        })
    }
}

/// Some rows of one image, which are one thread's work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pub(super) size: Size,
    pub(super) image: usize,
    pub(super) top: usize,
    pub(super) bottom: usize,
}

impl Band {
    /// Every second row, with the rows to load before it and the next one are computed: those from the one above to the
    /// two below, without those that were loaded before or are outside of the image.
    pub(super) fn pairs(self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let height = self.size.height;
        (self.top..self.bottom).step_by(2).map(move |y| {
            let first = if y == self.top { y.saturating_sub(1) } else { y + 1 };
            (y, first.min(height)..(y + 3).min(height))
        })
    }
}

/// Feature maps `[batch, height, channels, stride]`. What is in a row beyond the image's width has no meaning.
#[derive(Debug)]
pub(super) struct Maps {
    values: Buffer,
    size: Size,
    channels: usize,
}

impl Maps {
    /// Maps of any values.
    pub(super) fn new(size: Size, channels: usize) -> Self {
        let values = Buffer::new(size.batch * size.height * channels * size.stride());
        Self { values, size, channels }
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// One row of all channels.
    pub(super) fn row(&self, image: usize, y: usize) -> &[f32] {
        let row = self.channels * self.size.stride();
        &self.values[(image * self.size.height + y) * row..][..row]
    }

    /// The bands of all images, in order.
    pub(super) fn bands_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let row = self.channels * self.size.stride();
        let images = self.values.chunks_exact_mut(self.size.height * row);
        images.flat_map(move |image| image.chunks_mut(Size::ROWS * row))
    }

    /// As images, `[batch, channels, height, width]`.
    pub(super) fn to_planes(&self) -> Vec<f32> {
        let Size { batch, height, width, .. } = self.size;
        let mut planes = vec![0.0; batch * self.channels * height * width];
        if planes.is_empty() {
            return planes;
        }
        planes.par_chunks_exact_mut(width).enumerate().for_each(|(index, row)| {
            let (plane, y) = (index / height, index % height);
            let (image, channel) = (plane / self.channels, plane % self.channels);
            let from = channel * self.size.stride();
            row.copy_from_slice(&self.row(image, y)[from..from + width]);
        });
        planes
    }
}

impl Images<'_> {
    pub(super) fn size(&self) -> Size {
        let [batch, _, height, width] = self.shape;
        Size { batch, height, width }
    }
}
