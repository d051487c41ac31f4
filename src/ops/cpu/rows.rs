//! Rows of images as the kernels want them: planar, padded with zeros, the latest few of each layer.

/// Zeros to the left of a row. A whole cache line, so that the first pixel is aligned.
pub(crate) const LEFT: usize = 16;

/// The floats between two channels of a row of `width` pixels that is computed in steps of `step`:
/// room for the zeros on both sides and for what the last step computes too much.
pub(crate) fn pitch(width: usize, step: usize) -> usize {
    (LEFT + width.next_multiple_of(step) + 2).next_multiple_of(16)
}

/// The latest rows of a layer, each `channels` times `pitch` floats. A row's pixel `x` of channel
/// `c` is at `c · pitch + LEFT + x`.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    data: Vec<f32>,
    /// Where the first aligned row begins.
    start: usize,
    slots: usize,
    row: usize,
    zeros: usize,
    pitch: usize,
}

impl Ring {
    /// Makes room for `slots` rows, and one more of zeros for what is above and below the image.
    /// All is zero at first.
    pub(crate) fn reset(&mut self, slots: usize, channels: usize, pitch: usize) {
        self.row = channels * pitch;
        self.slots = slots;
        self.pitch = pitch;
        self.data.clear();
        self.data.resize((slots + 1) * self.row + 16, 0.0);
        self.start = self.data.as_ptr().align_offset(64).min(16);
        self.zeros = self.start + slots * self.row;
    }

    /// As [`reset`](Self::reset), but where the rows have this form already they stay as they are.
    #[cfg(feature = "train")]
    pub(crate) fn arrange(&mut self, slots: usize, channels: usize, pitch: usize) {
        if [self.slots, self.row, self.pitch] != [slots, channels * pitch, pitch] {
            self.reset(slots, channels, pitch);
        }
    }

    fn slot(&self, y: usize) -> std::ops::Range<usize> {
        let at = self.start + y % self.slots * self.row;
        at..at + self.row
    }

    pub(crate) fn row(&self, y: usize) -> &[f32] {
        &self.data[self.slot(y)]
    }

    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let slot = self.slot(y);
        &mut self.data[slot]
    }

    /// The row `offset` below `y` (above, if negative) in an image of `height` rows; zeros outside.
    pub(crate) fn neighbor(&self, y: usize, offset: isize, height: usize) -> &[f32] {
        match y.checked_add_signed(offset) {
            Some(y) if y < height => self.row(y),
            _ => &self.data[self.zeros..self.zeros + self.row],
        }
    }

    /// Rows `y − 1`, `y` and `y + 1`.
    pub(crate) fn around(&self, y: usize, height: usize) -> [&[f32]; 3] {
        [-1, 0, 1].map(|offset| self.neighbor(y, offset, height))
    }
}

/// Splits planes of `height` rows of `width` values into bands of `rows` rows: for every band, its
/// part of each of the `planes` planes of one image. All images' bands come one after the other.
pub(crate) fn bands(
    image: &mut [f32],
    planes: usize,
    [height, width]: [usize; 2],
    rows: usize,
) -> Vec<Vec<&mut [f32]>> {
    let bands = height.div_ceil(rows);
    let images = image.len() / (planes * height * width).max(1);
    let mut split: Vec<Vec<&mut [f32]>> =
        (0..images * bands).map(|_| Vec::with_capacity(planes)).collect();
    for (index, plane) in image.chunks_exact_mut((height * width).max(1)).enumerate() {
        for (band, part) in plane.chunks_mut(rows * width).enumerate() {
            split[index / planes * bands + band].push(part);
        }
    }
    split
}
