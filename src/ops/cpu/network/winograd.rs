//! Two rows of a 3×3 convolution at a time, with four multiplications of a vector where there would be six
//! (Winograd's F(2, 3) along the columns: Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016).
//! The same sums and differences of rows serve the gradient with respect to the weights, as F(3, 2).
//!
//! A value that is not a number reaches no other pixels than it would otherwise.

use super::super::rows::{LEFT, Ring};
use super::super::simd::{load, store};
use pulp::Simd;

/// What takes the place of the rows `y − 1` to `y + 2`, called `d` here, when rows `y` and `y + 1` are computed:
/// `d₀ − d₂`, `d₁ + d₂`, `d₂ − d₁` and `d₁ − d₃`.
#[derive(Debug, Default)]
pub(super) struct Transformed {
    rows: Ring,
}

impl Transformed {
    /// Makes room for padded rows of so many channels.
    pub(super) fn arrange(&mut self, channels: usize, pitch: usize) {
        self.rows.arrange(4, channels, pitch);
    }

    /// Transforms the rows around `y` in an image of `height` rows.
    #[inline(always)]
    pub(super) fn set(&mut self, rows: &Ring, y: usize, height: usize, pitch: usize) {
        let around = [-1, 0, 1, 2].map(|offset| rows.neighbor(y, offset, height));
        let channels = around[0].len() / pitch;
        for channel in 0..channels {
            let part = channel * pitch..(channel + 1) * pitch;
            let [d0, d1, d2, d3] = around.map(|row| &row[part.clone()]);
            combine(&mut self.rows.row_mut(0)[part.clone()], d0, d2, |a, b| a - b);
            combine(&mut self.rows.row_mut(1)[part.clone()], d1, d2, |a, b| a + b);
            combine(&mut self.rows.row_mut(2)[part.clone()], d2, d1, |a, b| a - b);
            combine(&mut self.rows.row_mut(3)[part], d1, d3, |a, b| a - b);
        }
    }

    pub(super) fn rows(&self) -> [&[f32]; 4] {
        [0, 1, 2, 3].map(|row| self.rows.row(row))
    }
}

#[inline(always)]
fn combine(target: &mut [f32], a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) {
    for (target, (a, b)) in target.iter_mut().zip(a.iter().zip(b)) {
        *target = of(*a, *b);
    }
}

/// The weights of a convolution, `G` output channels side by side. Where the output channels are no multiple of `G`,
/// the rest are zeros.
#[derive(Clone, Debug)]
pub(super) struct PairKernel<const G: usize> {
    /// For each group of output channels, each transformed row, each input channel and each column of taps.
    taps: Vec<[f32; G]>,
    /// For each group.
    bias: Vec<[f32; G]>,
    inputs: usize,
}

impl<const G: usize> PairKernel<G> {
    /// From a function that gives the weight of an output channel, an input channel and a tap.
    pub(super) fn new(
        outputs: usize,
        inputs: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let groups = outputs.div_ceil(G);
        let mut taps = vec![[0.0; G]; groups * 4 * inputs * 3];
        let mut biases = vec![[0.0; G]; groups];
        for output in 0..outputs {
            let (group, lane) = (output / G, output % G);
            biases[group][lane] = bias(output);
            for (input, column) in (0..inputs).flat_map(|input| [0, 1, 2].map(|c| (input, c))) {
                let [above, at, below] = [0, 3, 6].map(|tap| weight(output, input, tap + column));
                let outer = 0.5 * (above + below);
                for (row, tap) in
                    [above, outer + 0.5 * at, outer - 0.5 * at, below].into_iter().enumerate()
                {
                    taps[((group * 4 + row) * inputs + input) * 3 + column][lane] = tap;
                }
            }
        }
        Self { taps, bias: biases, inputs }
    }

    /// One row of all outputs, or two, whose channels are `stride` apart. The targets have room for whole vectors.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(
        &self,
        simd: S,
        source: &Transformed,
        pitch: usize,
        width: usize,
        targets: &mut [Target],
        stride: usize,
    ) {
        let rows = source.rows();
        let mut x = 0;
        while x < width {
            // Three at a time, and not three and one.
            let vectors = match (width - x).div_ceil(S::F32_LANES) {
                4 => 2,
                left => left.min(3),
            };
            for group in 0..self.bias.len() {
                match vectors {
                    1 => self.part::<S, 1>(simd, group, rows, pitch, x, targets, stride),
                    2 => self.part::<S, 2>(simd, group, rows, pitch, x, targets, stride),
                    _ => self.part::<S, 3>(simd, group, rows, pitch, x, targets, stride),
                }
            }
            x += vectors * S::F32_LANES;
        }
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "where to read and where to write")]
    fn part<S: Simd, const V: usize>(
        &self,
        simd: S,
        group: usize,
        rows: [&[f32]; 4],
        pitch: usize,
        x: usize,
        targets: &mut [Target],
        stride: usize,
    ) {
        for (target, sums) in targets.iter_mut().zip(self.tile::<S, V>(simd, group, rows, pitch, x))
        {
            // There may be fewer outputs than the groups have.
            let channels = target.row.chunks_exact_mut(stride).enumerate().skip(group * G);
            for ((channel, row), mut sums) in channels.zip(sums) {
                let added = match target.addend {
                    Addend::None => None,
                    Addend::Target => Some(load::<S, V>(row, x)),
                    Addend::Row(row) => Some(load::<S, V>(row, channel * stride + x)),
                };
                if let Some(added) = added {
                    for (sum, added) in sums.iter_mut().zip(added) {
                        *sum = simd.add_f32s(*sum, added);
                    }
                }
                store::<S, V>(row, x, sums);
            }
        }
    }

    /// Both rows of one group's output for `V` vectors of pixels from column `x` on.
    #[inline(always)]
    fn tile<S: Simd, const V: usize>(
        &self,
        simd: S,
        group: usize,
        rows: [&[f32]; 4],
        pitch: usize,
        x: usize,
    ) -> [[[S::f32s; V]; G]; 2] {
        let mut results = [[[simd.splat_f32s(0.0); V]; G]; 2];
        for result in &mut results {
            for (result, bias) in result.iter_mut().zip(self.bias[group]) {
                *result = [simd.splat_f32s(bias); V];
            }
        }
        let size = self.inputs * 3;
        for (number, row) in rows.into_iter().enumerate() {
            let taps = &self.taps[(group * 4 + number) * size..][..size];
            let mut sums = [[simd.splat_f32s(0.0); V]; G];
            for (input, taps) in taps.as_chunks::<3>().0.iter().enumerate() {
                let start = input * pitch + LEFT - 1 + x;
                let row = &row[start..start + V * S::F32_LANES + 2];
                for (right, weights) in taps.iter().enumerate() {
                    let pixels = load::<S, V>(row, right);
                    for (sums, weight) in sums.iter_mut().zip(weights) {
                        let weight = simd.splat_f32s(*weight);
                        for (sum, pixels) in sums.iter_mut().zip(pixels) {
                            *sum = simd.mul_add_e_f32s(pixels, weight, *sum);
                        }
                    }
                }
            }
            for (output, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    let [first, second] = [&results[0][output][v], &results[1][output][v]];
                    let (first, second) = match number {
                        0 => (simd.add_f32s(*first, sum), *second),
                        1 => (simd.add_f32s(*first, sum), simd.add_f32s(*second, sum)),
                        2 => (simd.add_f32s(*first, sum), simd.sub_f32s(*second, sum)),
                        _ => (*first, simd.sub_f32s(*second, sum)),
                    };
                    (results[0][output][v], results[1][output][v]) = (first, second);
                }
            }
        }
        results
    }
}

/// Where a row of convolved images goes.
pub(super) struct Target<'a> {
    pub(super) row: &'a mut [f32],
    pub(super) addend: Addend<'a>,
}

/// What is added to a row of convolved images.
#[derive(Clone, Copy)]
pub(super) enum Addend<'a> {
    None,
    /// What is in its place already.
    Target,
    /// A row of the same form.
    Row(&'a [f32]),
}

/// The gradients with respect to weights and biases, as vectors of sums: for each group of outputs, each input and
/// each transformed row one for each output and column of taps, and at the end one for each output's bias.
pub(super) struct WeightSums<'a, const G: usize> {
    sums: &'a mut [f32],
    inputs: usize,
    groups: usize,
    /// Half the sum and half the difference of the gradient's two rows.
    halves: &'a mut Ring,
}

impl<'a, const G: usize> WeightSums<'a, G> {
    /// In memory that may hold anything.
    #[inline(always)]
    pub(super) fn new<S: Simd>(
        sums: &'a mut Vec<f32>,
        halves: &'a mut Ring,
        inputs: usize,
        groups: usize,
        pitch: usize,
    ) -> Self {
        halves.arrange(2, groups * G, pitch);
        sums.clear();
        sums.resize((inputs * 12 + 1) * groups * G * S::F32_LANES, 0.0);
        Self { sums, inputs, groups, halves }
    }

    /// Adds the products of two rows of the gradient with the rows around them.
    #[inline(always)]
    pub(super) fn add<S: Simd>(
        &mut self,
        simd: S,
        [first, second]: [&[f32]; 2],
        around: &Transformed,
        pitch: usize,
        width: usize,
    ) {
        combine(self.halves.row_mut(0), first, second, |a, b| 0.5 * (a + b));
        combine(self.halves.row_mut(1), first, second, |a, b| 0.5 * (a - b));
        let gradients = [first, self.halves.row(0), self.halves.row(1), second];
        let weights = self.inputs * 12 * self.groups * G * S::F32_LANES;
        let (weights, biases) = self.sums.split_at_mut(weights);
        let mut blocks = weights.chunks_exact_mut(G * 3 * S::F32_LANES);
        for group in 0..self.groups {
            for input in 0..self.inputs {
                for (gradient, row) in gradients.into_iter().zip(around.rows()) {
                    let outputs = &gradient[group * G * pitch..(group + 1) * G * pitch];
                    let row = &row[input * pitch..(input + 1) * pitch];
                    let block = blocks.next().expect("a block for each");
                    correlate::<S, G>(simd, outputs, row, block, pitch, width);
                }
            }
        }
        let rows = first.chunks_exact(pitch).zip(second.chunks_exact(pitch));
        for (sum, (first, second)) in biases.chunks_exact_mut(S::F32_LANES).zip(rows) {
            let [mut total] = load::<S, 1>(sum, 0);
            for x in (0..width).step_by(S::F32_LANES) {
                for row in [first, second] {
                    let [value] = load::<S, 1>(row, LEFT + x);
                    total = simd.add_f32s(total, value);
                }
            }
            store::<S, 1>(sum, 0, [total]);
        }
    }

    /// The sum of each vector of sums.
    #[inline(always)]
    pub(super) fn totals<S: Simd>(&self, simd: S) -> Vec<f32> {
        // No closure, which would not be inlined into vector code.
        let mut totals = vec![0.0; self.sums.len() / S::F32_LANES];
        for (total, sum) in totals.iter_mut().zip(S::as_simd_f32s(self.sums).0) {
            *total = simd.reduce_sum_f32s(*sum);
        }
        totals
    }

    /// The gradients with respect to all weights, `[outputs, inputs, 3, 3]`, then those with respect to all biases,
    /// from the [totals](Self::totals) of all pixels.
    pub(super) fn gradients(totals: &[f64], inputs: usize, outputs: usize) -> Vec<f64> {
        let (weights, biases) = totals.split_at(inputs * 12 * outputs.div_ceil(G) * G);
        let mut gradients = vec![0.0; outputs * inputs * 9];
        for (index, taps) in gradients.as_chunks_mut::<9>().0.iter_mut().enumerate() {
            let (output, input) = (index / inputs, index % inputs);
            let block = (output / G * inputs + input) * 4;
            for column in 0..3 {
                let [above, sum, difference, below] =
                    [0, 1, 2, 3].map(|row| weights[((block + row) * G + output % G) * 3 + column]);
                taps[column] = above + (sum + difference);
                taps[3 + column] = sum - difference;
                taps[6 + column] = sum + difference - below;
            }
        }
        gradients.extend(&biases[..outputs]);
        gradients
    }
}

/// Adds to `sums` the products of some gradient channels with an image row moved by −1, 0 and 1.
#[inline(always)]
fn correlate<S: Simd, const G: usize>(
    simd: S,
    outputs: &[f32],
    row: &[f32],
    sums: &mut [f32],
    pitch: usize,
    width: usize,
) {
    let mut totals = [[simd.splat_f32s(0.0); 3]; G];
    for (output, totals) in totals.iter_mut().enumerate() {
        *totals = load::<S, 3>(sums, output * 3 * S::F32_LANES);
    }
    // All of one length, so that it need not be compared in the loop.
    let count = width.div_ceil(S::F32_LANES);
    let vectors = |row, from| &vectors::<S>(row, from, count)[..count];
    let moved: [&[S::f32s]; 3] = std::array::from_fn(|right| vectors(row, LEFT - 1 + right));
    let outputs: [&[S::f32s]; G] =
        std::array::from_fn(|output| vectors(outputs, output * pitch + LEFT));
    for x in 0..count {
        let moved = moved.map(|row| row[x]);
        for (totals, gradient) in totals.iter_mut().zip(outputs) {
            let gradient = gradient[x];
            for (total, moved) in totals.iter_mut().zip(moved) {
                *total = simd.mul_add_e_f32s(gradient, moved, *total);
            }
        }
    }
    for (output, totals) in totals.into_iter().enumerate() {
        store::<S, 3>(sums, output * 3 * S::F32_LANES, totals);
    }
}

/// So many vectors of a row.
#[inline(always)]
fn vectors<S: Simd>(row: &[f32], from: usize, count: usize) -> &[S::f32s] {
    S::as_simd_f32s(&row[from..from + count * S::F32_LANES]).0
}
