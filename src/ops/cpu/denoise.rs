//! The noise filter of [`plain::denoise`](crate::ops::plain::denoise), row by row: each row that is put in
//! lets two more be computed, the models of the row two above it and the result four above it.
//!
//! Every sum is taken anew over its five rows and columns, in the same order, so that a result does not
//! depend on where a walk began.

use super::rows::{LEFT, Ring};
use super::simd::{Lanes, V};
use crate::metrics::LUMINANCE;
use crate::ops::Rendering;
use pulp::Simd;
use std::ops::Range;

/// Half a window.
const RADIUS: usize = Rendering::FILTER_REACH / 2;
/// Two slopes and three shifts.
const MODELS: usize = 5;

/// The rows that the filter works on.
#[derive(Debug, Default)]
pub(super) struct Denoiser {
    /// Luminance, the differences of red and blue from it, and the luminance of the dark image.
    planes: Ring,
    /// What the planes become is `slope · plane + shift`: the slopes of the luminance and of the two
    /// differences, and the shifts of all three.
    models: Ring,
    /// Sums over five rows: of the three planes, of the squares of the luminance and of the two
    /// differences, and of the dark luminance; or of the models.
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
        self.models.reset(window, MODELS, pitch);
        self.sums.reset(1, MODELS + 1, pitch);
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
        pitch: usize,
        width: usize,
    ) {
        let target = self.planes.row_mut(y);
        for x in (0..width).step_by(V * S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            let mut lumas = [Lanes::<S, V>::splat(simd, 0.0); 2];
            for (luma, row) in lumas.iter_mut().zip([dark, bright]) {
                for (channel, weight) in LUMINANCE.into_iter().enumerate() {
                    *luma = Lanes::load(simd, row, at(channel)).mul_add(weight, *luma);
                }
            }
            let [before, luma] = lumas;
            luma.store(target, at(0));
            (Lanes::load(simd, bright, at(0)) - luma).store(target, at(1));
            (Lanes::load(simd, bright, at(2)) - luma).store(target, at(2));
            before.store(target, at(3));
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
        noise: f32,
        pitch: usize,
        width: usize,
    ) {
        let seen = Rendering::DEVIATIONS * noise;
        let rows = window(&self.planes, y, height);
        let sums = self.sums.row_mut(0);
        for x in (0..width).step_by(V * S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            // Each row is loaded once; more sums at a time would not fit into the registers.
            let luma = Lanes::<S, V>::load(simd, rows[0], at(0));
            let (mut sum, mut squares) = (luma, luma * luma);
            for row in &rows[1..] {
                let luma = Lanes::load(simd, row, at(0));
                sum = sum + luma;
                squares = luma.mul_add(luma, squares);
            }
            sum.store(sums, at(0));
            squares.store(sums, at(3));
            let reds = Lanes::<S, V>::load(simd, rows[0], at(1));
            let blues = Lanes::<S, V>::load(simd, rows[0], at(2));
            let (mut red_sum, mut blue_sum) = (reds, blues);
            let mut squares = reds.mul_add(reds, blues * blues);
            for row in &rows[1..] {
                let reds = Lanes::load(simd, row, at(1));
                let blues = Lanes::load(simd, row, at(2));
                red_sum = red_sum + reds;
                blue_sum = blue_sum + blues;
                squares = reds.mul_add(reds, blues.mul_add(blues, squares));
            }
            red_sum.store(sums, at(1));
            blue_sum.store(sums, at(2));
            squares.store(sums, at(4));
            down(simd, rows, at(3)).store(sums, at(5));
        }
        end_rows(sums, pitch, width);
        let (sums, shares) = (self.sums.row(0), self.shares.row(0));
        let rows_share = window_share(y, height);
        let target = self.models.row_mut(y);
        for x in (0..width).step_by(V * S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            let share = Lanes::<S, V>::load(simd, shares, LEFT + x) * rows_share;
            let luma = across(simd, sums, at(0)) * share;
            let dark = across(simd, sums, at(5)) * share;
            let gain = (luma / dark.max(Rendering::LEAST_SIGNAL * noise)).max(1.0);
            let epsilon = (gain * gain - 1.0) * (seen * seen);
            let square = across(simd, sums, at(3)) * share;
            let slope = slope(square - luma * luma, epsilon);
            slope.store(target, at(0));
            (luma - slope * luma).store(target, at(2));
            let reds = across(simd, sums, at(1)) * share;
            let blues = across(simd, sums, at(2)) * share;
            let square = across(simd, sums, at(4)) * share;
            let variance = square - reds.mul_add(reds, blues * blues);
            let slope = self::slope(variance, epsilon * Rendering::COLOR_FACTOR);
            slope.store(target, at(1));
            (reds - slope * reds).store(target, at(3));
            (blues - slope * blues).store(target, at(4));
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
        for channel in 0..MODELS {
            for x in (0..width).step_by(V * S::F32_LANES) {
                let at = channel * pitch + LEFT + x;
                down(simd, rows, at).store(sums, at);
            }
        }
        end_rows(sums, pitch, width);
        let (sums, shares) = (self.sums.row(0), self.shares.row(0));
        let planes = self.planes.row(y);
        let target = self.result.row_mut(0);
        let rows_share = window_share(y, height);
        let [red, green, blue] = LUMINANCE;
        for x in (0..width).step_by(V * S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            let share = Lanes::<S, V>::load(simd, shares, LEFT + x) * rows_share;
            let luma_slope = across(simd, sums, at(0));
            let color_slope = across(simd, sums, at(1));
            let mut filtered = [share; 3];
            for (channel, plane) in filtered.iter_mut().enumerate() {
                let slope = if channel == 0 { luma_slope } else { color_slope };
                let shift = across(simd, sums, at(channel + 2));
                *plane = slope.mul_add(Lanes::load(simd, planes, at(channel)), shift) * share;
            }
            let [luma, reds, blues] = filtered;
            let greens = reds.mul_add(-red / green, blues * (-blue / green));
            for (channel, difference) in [reds, greens, blues].into_iter().enumerate() {
                (luma + difference).clamp(0.0, 1.0).store(target, at(channel));
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

/// What is kept of the distance from the mean where it has this variance, some of which is noise.
#[inline(always)]
fn slope<S: Simd>(variance: Lanes<S, V>, noise: Lanes<S, V>) -> Lanes<S, V> {
    let variance = variance.max(0.0);
    variance / (variance + (noise + Rendering::LEAST_VARIANCE))
}

/// Sums over five rows.
#[inline(always)]
fn down<S: Simd>(simd: S, rows: [&[f32]; 5], at: usize) -> Lanes<S, V> {
    let mut sum = Lanes::load(simd, rows[0], at);
    for row in &rows[1..] {
        sum = sum + Lanes::load(simd, row, at);
    }
    sum
}

/// Sums over five columns.
#[inline(always)]
fn across<S: Simd>(simd: S, row: &[f32], at: usize) -> Lanes<S, V> {
    let column = |offset: usize| at + offset - RADIUS;
    let outer = Lanes::load(simd, row, column(0)) + Lanes::load(simd, row, column(4));
    let inner = Lanes::load(simd, row, column(1)) + Lanes::load(simd, row, column(3));
    outer + inner + Lanes::load(simd, row, at)
}

/// Zeros after the rows of all channels, where the last vectors have gone over the edge.
#[inline(always)]
fn end_rows(row: &mut [f32], pitch: usize, width: usize) {
    for channel in row.chunks_exact_mut(pitch) {
        channel[LEFT + width..][..RADIUS].fill(0.0);
    }
}
