//! What a layer's convolution is applied to: the image, or what normalization, ReLU and residual make of the
//! results of earlier convolutions. It is computed where it is needed, row by row.

use super::super::images::Images;
use super::super::rows::LEFT;
use super::maps::{Maps, Size};

/// How a channel is normalized: `scale · y + shift`, where the batch has mean 0 and variance 1 in
/// `(y − mean) · rate`. Without a normalization scale and rate are 1, and the others 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub(super) scale: f32,
    pub(super) shift: f32,
    pub(super) mean: f32,
    pub(super) rate: f32,
}

impl Norm {
    pub(super) const NONE: Self = Self { scale: 1.0, shift: 0.0, mean: 0.0, rate: 1.0 };

    /// The normalized value. Rounded twice, here and nowhere else, so that all agree on which side of 0 it is.
    #[inline(always)]
    pub(super) fn apply(self, value: f32) -> f32 {
        value * self.scale + self.shift
    }
}

/// The rectified results of a layer's convolution, `relu(norm(y))`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectified<'a> {
    pub(super) results: &'a Maps,
    /// For each channel.
    pub(super) norms: &'a [Norm],
}

/// The activations of a layer.
#[derive(Clone, Copy)]
pub(super) enum Activations<'a> {
    Image(Images<'a>),
    Kept(&'a Maps),
    Rectified(Rectified<'a>),
    /// Rectified, plus the activations of an earlier layer.
    Residual(Rectified<'a>, Earlier<'a>),
}

/// The activations of an earlier layer.
#[derive(Clone, Copy)]
pub(super) enum Earlier<'a> {
    Kept(&'a Maps),
    Rectified(Rectified<'a>),
}

impl Activations<'_> {
    /// Writes row `y` of all channels to a padded row, whose channels are `pitch` apart. Beyond the image's width
    /// it is zero.
    #[inline(always)]
    pub(super) fn load(&self, size: Size, [image, y]: [usize; 2], row: &mut [f32], pitch: usize) {
        let stride = size.stride();
        match self {
            Self::Image(images) => images.copy_row(image, y, row, pitch),
            Self::Kept(maps) => channels(row, pitch, maps.row(image, y), size, |_, to, from| {
                to.copy_from_slice(from);
            }),
            Self::Rectified(rectified) => rectified.load(size, [image, y], row, pitch),
            Self::Residual(rectified, earlier) => {
                rectified.load(size, [image, y], row, pitch);
                match earlier {
                    Earlier::Kept(maps) => {
                        channels(row, pitch, maps.row(image, y), size, |_, to, from| {
                            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                        });
                    }
                    Earlier::Rectified(Rectified { results, norms }) => {
                        channels(row, pitch, results.row(image, y), size, |channel, to, from| {
                            let norm = norms[channel];
                            for (to, from) in to.iter_mut().zip(from) {
                                *to += relu(norm.apply(*from));
                            }
                        });
                    }
                }
            }
        }
        debug_assert!(pitch >= LEFT + stride);
    }
}

impl Rectified<'_> {
    #[inline(always)]
    fn load(&self, size: Size, [image, y]: [usize; 2], row: &mut [f32], pitch: usize) {
        channels(row, pitch, self.results.row(image, y), size, |channel, to, from| {
            let norm = self.norms[channel];
            for (to, from) in to.iter_mut().zip(from) {
                *to = relu(norm.apply(*from));
            }
        });
    }
}

/// Calls `write` with each channel's number, its part of a padded row and of a row of maps, and then clears what is
/// beyond the width.
#[inline(always)]
pub(super) fn channels(
    row: &mut [f32],
    pitch: usize,
    maps: &[f32],
    size: Size,
    write: impl Fn(usize, &mut [f32], &[f32]),
) {
    let stride = size.stride();
    for (channel, from) in maps.chunks_exact(stride).enumerate() {
        let to = &mut row[channel * pitch + LEFT..][..stride];
        write(channel, to, from);
        to[size.width..].fill(0.0);
    }
}

/// Keeps a NaN, which `max` would make a 0: training must notice it.
#[inline(always)]
fn relu(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}
