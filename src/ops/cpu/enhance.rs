//! Inference in one pass over the image.
//!
//! The image is walked in bands, one to a thread; in a band every row of every layer is computed
//! once, and only the few rows that the next layer needs are kept. Nothing but the input and the
//! output leaves the cache. A band computes its neighbors' edge rows again, so that no band waits
//! for another, and what comes out does not depend on where the bands are.

use super::conv::Kernel;
use super::denoise::Denoiser;
use super::rows::{LEFT, Ring, pitch};
use super::simd::{Lanes, V, arch, load, store};
use crate::ops::{Rendering, Weights};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Output channels that are computed together.
const G: usize = 3;
/// Columns that are computed together, which bounds the working memory of a thread.
const STRIP: usize = 2048;

/// An estimator's weights, ready for the kernel: the batch normalization is folded into the blocks'
/// convolutions. The channels are filled up to a multiple of three with zeros.
#[derive(Debug)]
pub(crate) struct PackedEstimator {
    input: Kernel<G>,
    blocks: Vec<Kernel<G>>,
    output: Kernel<G>,
    scratch: Mutex<Vec<Scratch>>,
}

impl PackedEstimator {
    /// # Panics
    /// If there are not at least two layers.
    pub(crate) fn new(layers: &[Weights]) -> Self {
        let [input, blocks @ .., output] = layers else {
            panic!("an estimator has a first and a last layer");
        };
        let channels = input.bias.len();
        // Features that do not exist are zero: their weights are, in and out.
        let filled = channels.next_multiple_of(G);
        let kernel = |weights: &Weights, inputs: usize, filled_inputs: usize, sign: f32| {
            Kernel::new(
                weights.bias.len(),
                filled_inputs,
                |o, i, tap| {
                    if i < inputs { sign * weights.weight[(o * inputs + i) * 9 + tap] } else { 0.0 }
                },
                |o| sign * weights.bias[o],
            )
        };
        Self {
            input: kernel(input, 3, 3, 1.0),
            blocks: blocks.iter().map(|block| kernel(block, channels, filled, 1.0)).collect(),
            // What the sigmoid needs is `exp(−conv)`.
            output: kernel(output, channels, filled, -1.0),
            scratch: Mutex::default(),
        }
    }

    /// Working memory that is not in use. It has no state that a panic could break.
    fn idle(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many pixels the network sees to each side: one for every convolution.
    pub(super) fn reach(&self) -> usize {
        self.blocks.len() + 2
    }
}

/// The part of an image that one thread enhances.
pub(crate) trait Band: Send {
    /// Whether the illumination is asked for, beside the reflectance.
    const ILLUMINATION: bool;
    /// Whether the values are levels, between black and white, and the results are rounded to levels.
    const LEVELS: bool;

    /// Writes the red, green and blue of some columns of the image's row `y`, in `[0, 1]`, to the
    /// beginnings of three planes.
    fn load(&mut self, y: usize, columns: Range<usize>, planes: [&mut [f32]; 3]);

    /// Takes the results for some columns of the image's row `y`.
    fn store(
        &mut self,
        y: usize,
        columns: Range<usize>,
        illumination: [&[f32]; 3],
        reflectance: [&[f32]; 3],
    );
}

/// The rows of a band: enough bands that the threads finish together, each high enough that the
/// edge rows, which two bands compute, do not count.
pub(crate) fn band_rows(height: usize) -> usize {
    match rayon::current_num_threads() {
        1 => height.max(1),
        threads => height.div_ceil(4 * threads).max(32),
    }
}

/// Enhances bands of an image of `[height, width]`, each given with its rows and columns.
pub(crate) fn enhance_bands<B: Band>(
    network: &PackedEstimator,
    size: [usize; 2],
    rendering: Rendering,
    bands: impl ParallelIterator<Item = (Range<usize>, Range<usize>, B)>,
) {
    bands.for_each(|(rows, columns, band)| {
        let mut scratch = network.idle().pop().unwrap_or_default();
        let walk = Walk { network, size, rendering, rows, columns, band, scratch: &mut scratch };
        arch().dispatch(walk);
        network.idle().push(scratch);
    });
}

/// The rows that one thread works on.
#[derive(Debug, Default)]
struct Scratch {
    image: Ring,
    /// The output of every layer but the last.
    features: Vec<Ring>,
    /// The last layer's results: illumination, reflectance.
    results: [Ring; 2],
    denoiser: Denoiser,
}

struct Walk<'a, B> {
    network: &'a PackedEstimator,
    size: [usize; 2],
    rendering: Rendering,
    rows: Range<usize>,
    columns: Range<usize>,
    band: B,
    scratch: &'a mut Scratch,
}

impl<B: Band> WithSimd for Walk<'_, B> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Range { start, end } = self.columns;
        for left in (start..end).step_by(STRIP) {
            self.strip(simd, left..(left + STRIP).min(end));
        }
    }
}

impl<B: Band> Walk<'_, B> {
    /// Walks down the band within some columns. Step by step a row of the image is loaded, and each
    /// layer computes one row, one above that of the layer before it.
    #[inline(always)]
    fn strip<S: Simd>(&mut self, simd: S, columns: Range<usize>) {
        let Self { network, size: [height, width], rendering, rows, band, scratch, .. } = self;
        let (network, height, layers) = (*network, *height, network.reach());
        // The noise filter's result is so many rows above the last layer's.
        let filter = if rendering.has_filter() { Rendering::FILTER_REACH } else { 0 };
        let reach = layers + filter;
        // With the columns that network and filter see beside the strip.
        let outer = columns.start.saturating_sub(reach)..(columns.end + reach).min(*width);
        let inner = columns.start - outer.start..columns.end - outer.start;
        let pitch = pitch(outer.len(), V * S::F32_LANES);
        scratch.reset(network, pitch, filter);
        if filter > 0 {
            scratch.denoiser.reset(pitch, &outer, *width);
        }

        // The rows that are needed up to so many above and below the band.
        let around =
            |margin: usize| rows.start.saturating_sub(margin)..(rows.end + margin).min(height);
        let first = rows.start.saturating_sub(reach);
        for step in first..rows.end + reach {
            if around(reach).contains(&step) {
                let planes = thirds(scratch.image.row_mut(step), pitch);
                let [r, g, b] = planes.map(|plane| &mut plane[LEFT..LEFT + outer.len()]);
                band.load(step, outer.clone(), [r, g, b]);
            }
            for layer in 1..=layers {
                let needed = around(reach - layer);
                let Some(y) = step.checked_sub(layer).filter(|y| needed.contains(y)) else {
                    continue;
                };
                let (before, after) = scratch.features.split_at_mut(layer - 1);
                let source = before.last().unwrap_or(&scratch.image).around(y, height);
                if let [target, ..] = after {
                    let target = target.row_mut(y);
                    let (kernel, old) = match layer {
                        1 => (&network.input, None),
                        _ => (&network.blocks[layer - 2], Some(source[1])),
                    };
                    feature_row(simd, kernel, source, old, target, pitch, outer.len());
                } else {
                    let image = scratch.image.row(y);
                    let [illumination, reflectance] = &mut scratch.results;
                    let targets = [illumination.row_mut(y), reflectance.row_mut(y)];
                    let kernel = (&network.output, *rendering);
                    let width = outer.len();
                    // Direct calls: through a pointer nothing would be inlined, and vector
                    // instructions would become calls.
                    match (rendering.kept, rendering.has_curve()) {
                        (false, false) => result_row::<S, B, false, false>(
                            simd, kernel, source, image, targets, pitch, width,
                        ),
                        (false, true) => result_row::<S, B, false, true>(
                            simd, kernel, source, image, targets, pitch, width,
                        ),
                        (true, false) => result_row::<S, B, true, false>(
                            simd, kernel, source, image, targets, pitch, width,
                        ),
                        (true, true) => result_row::<S, B, true, true>(
                            simd, kernel, source, image, targets, pitch, width,
                        ),
                    }
                    let (illumination, reflectance) = (illumination.row(y), reflectance.row(y));
                    if filter == 0 {
                        let parts = |row| parts(row, pitch, &inner);
                        band.store(y, columns.clone(), parts(illumination), parts(reflectance));
                    } else {
                        let images = [image, reflectance];
                        scratch.denoiser.put(simd, y, images, pitch, outer.len());
                    }
                }
            }
            let above = |rows: usize| step.checked_sub(layers + rows);
            if filter > 0
                && let Some(y) = above(filter / 2).filter(|y| around(filter / 2).contains(y))
            {
                scratch.denoiser.model(simd, y, height, rendering.noise, pitch, outer.len());
            }
            if filter > 0
                && let Some(y) = above(filter).filter(|y| rows.contains(y))
            {
                let result = scratch.denoiser.row(simd, y, height, pitch, outer.len());
                let parts = |row| parts(row, pitch, &inner);
                let illumination = scratch.results[0].row(y);
                band.store(y, columns.clone(), parts(illumination), parts(result));
            }
        }
    }
}

impl Scratch {
    fn reset(&mut self, network: &PackedEstimator, pitch: usize, filter: usize) {
        let layers = network.reach();
        let channels = network.input.groups() * G;
        // The last layer divides the row that was loaded `layers` steps ago.
        self.image.reset(layers + 1, 3, pitch);
        self.features.resize_with(layers - 1, Ring::default);
        for features in &mut self.features {
            features.reset(3, channels, pitch);
        }
        for results in &mut self.results {
            results.reset(filter + 1, 3, pitch);
        }
    }
}

/// Some columns of the three planes of a row.
#[inline(always)]
fn parts<'a>(row: &'a [f32], pitch: usize, columns: &Range<usize>) -> [&'a [f32]; 3] {
    [0, 1, 2].map(|c| &row[c * pitch + LEFT..][columns.clone()])
}

/// The three planes of a row.
#[inline(always)]
fn thirds(row: &mut [f32], pitch: usize) -> [&mut [f32]; 3] {
    let (red, rest) = row.split_at_mut(pitch);
    let (green, blue) = rest.split_at_mut(pitch);
    [red, green, blue]
}

/// `max(conv, 0)`, plus the old features in a residual block.
#[inline(always)]
fn feature_row<S: Simd>(
    simd: S,
    kernel: &Kernel<G>,
    source: [&[f32]; 3],
    old: Option<&[f32]>,
    target: &mut [f32],
    pitch: usize,
    width: usize,
) {
    let zero = simd.splat_f32s(0.0);
    for group in 0..kernel.groups() {
        for x in (0..width).step_by(V * S::F32_LANES) {
            let sums = kernel.tile::<S, V>(simd, group, source, pitch, x);
            for (lane, mut features) in sums.into_iter().enumerate() {
                let at = (group * G + lane) * pitch + LEFT + x;
                for value in &mut features {
                    *value = simd.max_f32s(*value, zero);
                }
                if let Some(old) = old {
                    let old = load::<S, V>(old, at);
                    for (value, old) in features.iter_mut().zip(old) {
                        *value = simd.add_f32s(*value, old);
                    }
                }
                store::<S, V>(target, at, features);
            }
        }
        for lane in 0..G {
            // The next layer's zero padding, where the last tile has gone over the edge.
            target[(group * G + lane) * pitch + LEFT + width] = 0.0;
        }
    }
}

/// The last layer: the illumination that each pixel is divided by, and the result, as in
/// [`Rendering::pixel`] with the illumination `clamp(sigmoid(conv) + x, 1e-4, 1)` of a pixel `x`.
#[inline(always)]
fn result_row<S: Simd, B: Band, const KEPT: bool, const CURVE: bool>(
    simd: S,
    (kernel, rendering): (&Kernel<G>, Rendering),
    source: [&[f32]; 3],
    image: &[f32],
    [illumination, reflectance]: [&mut [f32]; 2],
    pitch: usize,
    width: usize,
) {
    let division = Division::new(rendering.strength);
    for x in (0..width).step_by(V * S::F32_LANES) {
        let sums = kernel.tile::<S, V>(simd, 0, source, pitch, x);
        let at = |channel: usize| channel * pitch + LEFT + x;
        let mut pixel = [Lanes::splat(simd, 0.0); 3];
        let mut decay = pixel;
        for c in 0..3 {
            pixel[c] = Lanes::load(simd, image, at(c));
            // The weights are those of −conv. Bounded, so that products of two are finite.
            decay[c] = Lanes::new(simd, sums[c]).clamp(-40.0, 40.0).exp_within();
        }
        if KEPT {
            // Until the second loop, the first plane of the result holds the gain.
            division.shared_gain(decay, pixel).store(reflectance, at(0));
            continue;
        }
        for c in 0..3 {
            let mut result = if B::ILLUMINATION {
                let light = division.illumination(decay[c], pixel[c]);
                light.store(illumination, at(c));
                (pixel[c] / light).clamp(0.0, 1.0)
            } else {
                division.divided(decay[c], pixel[c])
            };
            if CURVE {
                result = result.clamp(0.0, 1.0);
                result = result * curve_factor(rendering, result);
            }
            result.store(reflectance, at(c));
        }
    }
    if !KEPT {
        return;
    }
    // A second loop, because the operations of one pixel wait for each other, and a processor overlaps only
    // short runs of them.
    for x in (0..width).step_by(V * S::F32_LANES) {
        let at = |channel: usize| channel * pitch + LEFT + x;
        let gain = Lanes::<S, V>::load(simd, reflectance, at(0));
        let mut pixel = [gain; 3];
        for (c, value) in pixel.iter_mut().enumerate() {
            *value = Lanes::load(simd, image, at(c));
        }
        let result = kept::<S, CURVE>(rendering, pixel, gain);
        let light = gain.recip();
        for (c, value) in result.into_iter().enumerate() {
            let value = if B::LEVELS { value } else { value.clamp(0.0, 1.0) };
            value.store(reflectance, at(c));
            if B::ILLUMINATION {
                light.store(illumination, at(c));
            }
        }
    }
}

/// The least illumination.
const DARKEST: f32 = 1e-4;

/// The division of a pixel's channels by their illuminations, with a strength.
#[derive(Clone, Copy, Debug)]
struct Division {
    strength: f32,
    /// `1 − strength`
    rest: f32,
    /// The greatest quotient, in multiples of the pixel.
    most: f32,
}

impl Division {
    fn new(strength: f32) -> Self {
        let rest = 1.0 - strength;
        Self { strength, rest, most: (rest + strength * DARKEST).recip() }
    }

    /// `1 − s · (1 − i)` of the illumination `i = clamp(sigmoid(conv) + x, 1e-4, 1)`, from
    /// `decay = exp(−conv)`.
    #[inline(always)]
    fn illumination<S: Simd>(self, decay: Lanes<S, V>, x: Lanes<S, V>) -> Lanes<S, V> {
        let sigmoid = (decay + 1.0).recip();
        let illumination = (sigmoid + x).clamp(DARKEST, 1.0);
        illumination.mul_add(self.strength, self.rest)
    }

    /// What the three channels of a pixel are multiplied by where they share the greatest of their
    /// illuminations, with one division in place of four: an illumination `1 / (1 + e) + x` is
    /// `n / d` with `d = 1 + e` and `n = 1 + x·d`, and one over `1 − s + s · n / d` is
    /// `d / ((1 − s) · d + s · n)`.
    #[inline(always)]
    fn shared_gain<S: Simd>(self, decay: [Lanes<S, V>; 3], pixel: [Lanes<S, V>; 3]) -> Lanes<S, V> {
        let (mut n, mut d) = (decay[0], decay[0]);
        for c in 0..3 {
            let down = decay[c] + 1.0;
            let up = pixel[c].mul_add(down, 1.0);
            if c == 0 {
                (n, d) = (up, down);
            } else {
                let [more, less] = [up * d, n * down];
                n = more.if_greater(less, up, n);
                d = more.if_greater(less, down, d);
            }
        }
        let n = n.max(d * DARKEST);
        (d / d.mul_add(self.rest, n * self.strength)).max(1.0)
    }

    /// The quotient with one division in place of two: with `e = exp(−conv)` and `u = x·(1 + e)`,
    /// `x / (1 − s + s · (1 / (1 + e) + x)) = u / ((1 − s) · (1 + e) + s · (u + 1))`. An illumination of
    /// at most 1 means a result of at least `x`, and its least value one of at most so many times `x`.
    #[inline(always)]
    fn divided<S: Simd>(self, decay: Lanes<S, V>, x: Lanes<S, V>) -> Lanes<S, V> {
        let u = x.mul_add(decay, x);
        let whole = (decay + 1.0).mul_add(self.rest, (u + 1.0) * self.strength);
        (u / whole).max(x).min(x * self.most)
    }
}

/// What the curve multiplies a value in `[0, 1]` by.
#[inline(always)]
fn curve_factor<S: Simd>(rendering: Rendering, value: Lanes<S, V>) -> Lanes<S, V> {
    let scale = (1.0 + Rendering::TOE).recip();
    let base = value.mul_add(scale, Rendering::TOE * scale);
    (base.ln() * rendering.power()).exp_within()
}

/// A pixel with its color kept, from what it is multiplied by before the curve: [`Rendering::exposed`] and
/// [`Rendering::scale`].
#[inline(always)]
fn kept<S: Simd, const CURVE: bool>(
    rendering: Rendering,
    pixel: [Lanes<S, V>; 3],
    gain: Lanes<S, V>,
) -> [Lanes<S, V>; 3] {
    let most = pixel[0].max(pixel[1]).max(pixel[2]);
    let mut bright = (most * gain).clamp(0.0, 1.0);
    if CURVE {
        bright = bright * curve_factor(rendering, bright);
    }
    let scale = (bright + Rendering::SRGB_SHIFT) / (most.max(0.0) + Rendering::SRGB_SHIFT);
    let shift = scale.mul_add(Rendering::SRGB_SHIFT, -Rendering::SRGB_SHIFT);
    let mut result = pixel;
    for c in 0..3 {
        result[c] = scale.mul_add(pixel[c], shift);
    }
    result
}
