//! The noise filter of [`plain::denoise`](crate::ops::plain::denoise), row by row: each row that is put in
//! lets two more be computed, the models of the row two above it and the result four above it.
//!
//! Every sum is taken anew over its five rows and columns, in the same order, so that a result does not
//! depend on where a walk began.

use super::rows::{LEFT, Ring};
use super::simd::{V, load, store};
use crate::metrics::LUMINANCE;
use crate::ops::Rendering;
use pulp::Simd;
use std::ops::Range;

/// Half a window.
const RADIUS: usize = Rendering::FILTER_REACH / 2;

/// The rows that the filter works on.
#[derive(Debug, Default)]
pub(super) struct Denoiser {
    /// Luminance, the differences of red and blue from it, and the variance that counts as noise.
    planes: Ring,
    /// Slope and shift of each of the three planes: the result is `slope · plane + shift`.
    models: Ring,
    /// Sums over five rows.
    sums: Ring,
    /// One over the number of columns of each window that are in the image.
    shares: Ring,
    result: Ring,
}

impl Denoiser {
    /// Makes room for rows of some columns of an image of `width` columns.
    pub(super) fn reset(&mut self, pitch: usize, columns: &Range<usize>, width: usize) {
        let window = 2 * RADIUS + 1;
        self.planes.reset(window, 4, pitch);
        self.models.reset(window, 6, pitch);
        self.sums.reset(1, 6, pitch);
        self.result.reset(1, 3, pitch);
        self.shares.reset(1, 1, pitch);
        let shares = &mut self.shares.row_mut(0)[LEFT..];
        for (x, share) in columns.clone().zip(shares) {
            *share = window_share(x, width);
        }
    }

    /// Takes row `y` of the dark and of the bright image.
    #[inline(always)]
    pub(super) fn put<S: Simd>(
        &mut self,
        simd: S,
        y: usize,
        [dark, bright]: [&[f32]; 2],
        noise: f32,
        pitch: usize,
        width: usize,
    ) {
        let seen = Rendering::DEVIATIONS * noise;
        let [one, least, factor] = [1.0, seen, seen * seen].map(|value| simd.splat_f32s(value));
        let weights = LUMINANCE.map(|weight| simd.splat_f32s(weight));
        let luminance = |[red, green, blue]: [S::f32s; 3]| {
            let green = simd.mul_f32s(green, weights[1]);
            let sum = simd.mul_add_e_f32s(red, weights[0], green);
            simd.mul_add_e_f32s(blue, weights[2], sum)
        };
        let target = self.planes.row_mut(y);
        for x in (0..width).step_by(V * S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            let [dark, bright] =
                [dark, bright].map(|row| [0, 1, 2].map(|channel| load::<S, V>(row, at(channel))));
            let mut planes = [bright[0]; 4];
            for v in 0..V {
                let before = luminance(dark.map(|channel| channel[v]));
                let luma = luminance(bright.map(|channel| channel[v]));
                let gain = simd.div_f32s(luma, simd.max_f32s(before, least));
                let gain = simd.max_f32s(gain, one);
                let added = simd.sub_f32s(simd.mul_f32s(gain, gain), one);
                planes[0][v] = luma;
                planes[1][v] = simd.sub_f32s(bright[0][v], luma);
                planes[2][v] = simd.sub_f32s(bright[2][v], luma);
                planes[3][v] = simd.mul_f32s(added, factor);
            }
            for (channel, plane) in planes.into_iter().enumerate() {
                store::<S, V>(target, at(channel), plane);
            }
        }
        end_rows(target, pitch, width);
    }

    /// Computes the models of row `y`, when the rows up to two below it are there.
    #[inline(always)]
    pub(super) fn model<S: Simd>(
        &mut self,
        simd: S,
        y: usize,
        height: usize,
        pitch: usize,
        width: usize,
    ) {
        let rows = window(&self.planes, y, height);
        let sums = self.sums.row_mut(0);
        for channel in 0..3 {
            for x in (0..width).step_by(V * S::F32_LANES) {
                let at = channel * pitch + LEFT + x;
                let values = down::<S>(rows, at);
                let mut squares = values;
                for value in squares.as_flattened_mut() {
                    *value = simd.mul_f32s(*value, *value);
                }
                store::<S, V>(sums, at, total(simd, values));
                store::<S, V>(sums, at + 3 * pitch, total(simd, squares));
            }
        }
        end_rows(sums, pitch, width);
        let (sums, shares) = (self.sums.row(0), self.shares.row(0));
        let rows_share = simd.splat_f32s(window_share(y, height));
        let zero = simd.splat_f32s(0.0);
        let least = simd.splat_f32s(Rendering::LEAST_VARIANCE);
        let target = self.models.row_mut(y);
        for channel in 0..3 {
            let factor = if channel == 0 { 1.0 } else { Rendering::COLOR_FACTOR };
            let factor = simd.splat_f32s(factor);
            for x in (0..width).step_by(V * S::F32_LANES) {
                let at = channel * pitch + LEFT + x;
                let share = load::<S, V>(shares, LEFT + x);
                let mean = across::<S>(simd, sums, at);
                let square = across::<S>(simd, sums, at + 3 * pitch);
                let noise = load::<S, V>(rows[RADIUS], 3 * pitch + LEFT + x);
                let (mut slope, mut shift) = (mean, square);
                for v in 0..V {
                    let share = simd.mul_f32s(share[v], rows_share);
                    let mean = simd.mul_f32s(mean[v], share);
                    let square = simd.mul_f32s(square[v], share);
                    let variance = simd.sub_f32s(square, simd.mul_f32s(mean, mean));
                    let variance = simd.max_f32s(variance, zero);
                    let noise = simd.mul_add_e_f32s(noise[v], factor, least);
                    slope[v] = simd.div_f32s(variance, simd.add_f32s(variance, noise));
                    shift[v] = simd.sub_f32s(mean, simd.mul_f32s(slope[v], mean));
                }
                store::<S, V>(target, at, slope);
                store::<S, V>(target, at + 3 * pitch, shift);
            }
        }
        end_rows(target, pitch, width);
    }

    /// The filtered row `y`, when the models up to two below it are there.
    #[inline(always)]
    pub(super) fn row<S: Simd>(
        &mut self,
        simd: S,
        y: usize,
        height: usize,
        pitch: usize,
        width: usize,
    ) -> &[f32] {
        let rows = window(&self.models, y, height);
        let sums = self.sums.row_mut(0);
        for channel in 0..6 {
            for x in (0..width).step_by(V * S::F32_LANES) {
                let at = channel * pitch + LEFT + x;
                let values = down::<S>(rows, at);
                store::<S, V>(sums, at, total(simd, values));
            }
        }
        end_rows(sums, pitch, width);
        let (sums, shares) = (self.sums.row(0), self.shares.row(0));
        let planes = self.planes.row(y);
        let target = self.result.row_mut(0);
        let rows_share = simd.splat_f32s(window_share(y, height));
        let [zero, one] = [0.0, 1.0].map(|value| simd.splat_f32s(value));
        let [red, green, blue] = LUMINANCE;
        let weights = [-red / green, -blue / green].map(|weight| simd.splat_f32s(weight));
        for x in (0..width).step_by(V * S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            let share = load::<S, V>(shares, LEFT + x);
            let mut filtered = [0, 1, 2].map(|channel| load::<S, V>(planes, at(channel)));
            for (channel, plane) in filtered.iter_mut().enumerate() {
                let slope = across::<S>(simd, sums, at(channel));
                let shift = across::<S>(simd, sums, at(channel + 3));
                for v in 0..V {
                    let share = simd.mul_f32s(share[v], rows_share);
                    let sum = simd.mul_add_e_f32s(slope[v], plane[v], shift[v]);
                    plane[v] = simd.mul_f32s(sum, share);
                }
            }
            let [luma, reds, blues] = filtered;
            let mut bright = filtered;
            for v in 0..V {
                let greens = simd.mul_f32s(blues[v], weights[1]);
                let greens = simd.mul_add_e_f32s(reds[v], weights[0], greens);
                for (channel, difference) in [reds[v], greens, blues[v]].into_iter().enumerate() {
                    let value = simd.add_f32s(luma[v], difference);
                    bright[channel][v] = simd.min_f32s(simd.max_f32s(value, zero), one);
                }
            }
            for (channel, values) in bright.into_iter().enumerate() {
                store::<S, V>(target, at(channel), values);
            }
        }
        self.result.row(0)
    }
}

/// One over the number of rows (or columns) of the window around `at` that are in an image of so many.
fn window_share(at: usize, length: usize) -> f32 {
    let rows = (at + RADIUS + 1).min(length) - at.saturating_sub(RADIUS);
    (rows as f32).recip()
}

/// The rows of the window around row `y`; zeros outside the image.
#[inline(always)]
fn window(ring: &Ring, y: usize, height: usize) -> [&[f32]; 5] {
    [-2, -1, 0, 1, 2].map(|offset| ring.neighbor(y, offset, height))
}

#[inline(always)]
fn total<S: Simd>(simd: S, [a, b, c, d, e]: [[S::f32s; V]; 5]) -> [S::f32s; V] {
    let mut sum = c;
    for v in 0..V {
        let outer = simd.add_f32s(simd.add_f32s(a[v], e[v]), simd.add_f32s(b[v], d[v]));
        sum[v] = simd.add_f32s(outer, c[v]);
    }
    sum
}

/// The values of five rows.
#[inline(always)]
fn down<S: Simd>(rows: [&[f32]; 5], at: usize) -> [[S::f32s; V]; 5] {
    let mut values = [load::<S, V>(rows[0], at); 5];
    for (value, row) in values.iter_mut().zip(rows) {
        *value = load::<S, V>(row, at);
    }
    values
}

/// Sums over five columns.
#[inline(always)]
fn across<S: Simd>(simd: S, row: &[f32], at: usize) -> [S::f32s; V] {
    let mut columns = [load::<S, V>(row, at); 5];
    for (offset, column) in columns.iter_mut().enumerate() {
        *column = load::<S, V>(row, at - RADIUS + offset);
    }
    total(simd, columns)
}

/// Zeros after the rows of all channels, where the last vectors have gone over the edge.
#[inline(always)]
fn end_rows(row: &mut [f32], pitch: usize, width: usize) {
    for channel in row.chunks_exact_mut(pitch) {
        channel[LEFT + width..][..RADIUS].fill(0.0);
    }
}
