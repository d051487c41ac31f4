//! The inner loop of every 3×3 convolution: a few output channels times a few vectors of pixels as
//! accumulators, one pass over the input channels and taps. Each load of pixels serves all of the
//! output channels, each weight all of the vectors.

use super::rows::LEFT;
use super::simd::load;
use pulp::Simd;

/// The weights of a convolution, `G` output channels side by side. Where the output channels are no
/// multiple of `G`, the rest are zeros.
#[derive(Clone, Debug)]
pub(crate) struct Kernel<const G: usize> {
    /// For each group of output channels, each input channel and each tap, the `G` weights.
    taps: Vec<[f32; G]>,
    /// For each group.
    bias: Vec<[f32; G]>,
    inputs: usize,
}

impl<const G: usize> Kernel<G> {
    /// From a function that gives the weight of an output channel, an input channel and a tap.
    pub(crate) fn new(
        outputs: usize,
        inputs: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let lanes = |group: usize, value: &dyn Fn(usize) -> f32| -> [f32; G] {
            std::array::from_fn(|lane| match group * G + lane {
                output if output < outputs => value(output),
                _ => 0.0,
            })
        };
        let groups = outputs.div_ceil(G);
        let taps = (0..groups * inputs * 9).map(|index| {
            let (group, input, tap) = (index / 9 / inputs, index / 9 % inputs, index % 9);
            lanes(group, &|output| weight(output, input, tap))
        });
        let taps = taps.collect();
        Self { taps, bias: (0..groups).map(|group| lanes(group, &bias)).collect(), inputs }
    }

    pub(crate) fn groups(&self) -> usize {
        self.bias.len()
    }

    /// One group's output for `V` vectors of pixels from column `x` on. `rows` are the input's rows
    /// above, at and below; their channels are `pitch` apart.
    #[inline(always)]
    pub(crate) fn tile<S: Simd, const V: usize>(
        &self,
        simd: S,
        group: usize,
        rows: [&[f32]; 3],
        pitch: usize,
        x: usize,
    ) -> [[S::f32s; V]; G] {
        let mut sums = [[simd.splat_f32s(0.0); V]; G];
        for (sums, bias) in sums.iter_mut().zip(self.bias[group]) {
            *sums = [simd.splat_f32s(bias); V];
        }
        let size = self.inputs * 9;
        let (taps, _) = self.taps[group * size..(group + 1) * size].as_chunks::<9>();
        for (input, taps) in taps.iter().enumerate() {
            for (row, taps) in rows.iter().zip(taps.as_chunks::<3>().0) {
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
        }
        sums
    }
}
