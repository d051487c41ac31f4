//! The few vector helpers that the kernels share. `V` vectors are handled together, so that the
//! processor always has independent work.

use pulp::{Arch, Simd};
use std::ops::{Add, Div, Mul, Sub};
use std::sync::OnceLock;

/// Vectors that inference computes together.
pub(crate) const V: usize = 3;

/// The instruction set that the kernels run on: the best that the processor has, or the one that
/// the environment variable `SCI_SIMD` names, for measurements (`plain`, `avx2`).
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| match std::env::var("SCI_SIMD").as_deref() {
        Ok("plain") => Arch::Scalar,
        #[cfg(target_arch = "x86_64")]
        Ok("avx2") => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        _ => Arch::new(),
    })
}

#[inline(always)]
pub(crate) fn load<S: Simd, const V: usize>(row: &[f32], at: usize) -> [S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(&row[at..at + V * S::F32_LANES]);
    std::array::from_fn(|v| vectors[v])
}

#[inline(always)]
pub(crate) fn store<S: Simd, const V: usize>(row: &mut [f32], at: usize, values: [S::f32s; V]) {
    let (vectors, _) = S::as_mut_simd_f32s(&mut row[at..at + V * S::F32_LANES]);
    vectors.copy_from_slice(&values);
}

/// An operation of `pulp` on every vector of two [`Lanes`]. No function, since it would take the operation
/// as a closure, which is not inlined into vector code.
macro_rules! each {
    ($operation:ident, $lanes:expr, $other:expr) => {{
        let mut lanes = $lanes;
        let other = $other.lanes(lanes.simd);
        for v in 0..V {
            lanes.vectors[v] = lanes.simd.$operation(lanes.vectors[v], other.vectors[v]);
        }
        lanes
    }};
}

/// `V` vectors of numbers that are computed with together, operation by operation: the processor works on
/// one while it waits for the result of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes<S: Simd, const V: usize> {
    simd: S,
    vectors: [S::f32s; V],
}

impl<S: Simd, const V: usize> Lanes<S, V> {
    #[inline(always)]
    pub(crate) fn new(simd: S, vectors: [S::f32s; V]) -> Self {
        Self { simd, vectors }
    }

    #[cfg(feature = "train")]
    #[inline(always)]
    pub(crate) fn vectors(self) -> [S::f32s; V] {
        self.vectors
    }

    /// The same number everywhere.
    #[inline(always)]
    pub(crate) fn splat(simd: S, value: f32) -> Self {
        Self { simd, vectors: [simd.splat_f32s(value); V] }
    }

    #[inline(always)]
    pub(crate) fn load(simd: S, row: &[f32], at: usize) -> Self {
        Self { simd, vectors: load::<S, V>(row, at) }
    }

    #[inline(always)]
    pub(crate) fn store(self, row: &mut [f32], at: usize) {
        store::<S, V>(row, at, self.vectors);
    }

    /// `self · factor + term`
    #[inline(always)]
    pub(crate) fn mul_add(mut self, factor: impl Operand<S, V>, term: impl Operand<S, V>) -> Self {
        let (factor, term) = (factor.lanes(self.simd), term.lanes(self.simd));
        for v in 0..V {
            self.vectors[v] =
                self.simd.mul_add_e_f32s(self.vectors[v], factor.vectors[v], term.vectors[v]);
        }
        self
    }

    #[inline(always)]
    pub(crate) fn min(self, other: impl Operand<S, V>) -> Self {
        each!(min_f32s, self, other)
    }

    #[inline(always)]
    pub(crate) fn max(self, other: impl Operand<S, V>) -> Self {
        each!(max_f32s, self, other)
    }

    /// The nearest number from `low` to `high`.
    #[inline(always)]
    pub(crate) fn clamp(self, low: f32, high: f32) -> Self {
        self.max(low).min(high)
    }

    /// `1 / self`
    #[inline(always)]
    pub(crate) fn recip(self) -> Self {
        Self::splat(self.simd, 1.0) / self
    }

    /// `then` where `self` is greater than `other`, and elsewhere `otherwise`.
    #[inline(always)]
    pub(crate) fn if_greater(mut self, other: Self, then: Self, otherwise: Self) -> Self {
        for v in 0..V {
            let greater = self.simd.greater_than_f32s(self.vectors[v], other.vectors[v]);
            self.vectors[v] = self.simd.select_f32s(greater, then.vectors[v], otherwise.vectors[v]);
        }
        self
    }

    /// The exponential function, within 2 units in the last place. Arguments are clamped to ±87, so the
    /// result is always finite, positive and normal.
    #[cfg(any(feature = "train", test))]
    #[inline(always)]
    pub(crate) fn exp(self) -> Self {
        self.clamp(-87.0, 87.0).exp_within()
    }

    /// The exponential function of arguments within ±87.
    #[inline(always)]
    pub(crate) fn exp_within(self) -> Self {
        // Adding this and taking it away again rounds to an integer, which it leaves in the low bits.
        const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³
        let x = self;
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        // x − n·ln 2, with ln 2 in two parts so that no bit is lost.
        let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
        // A polynomial for eʳ on ±ln 2 / 2 (the coefficients of Cephes' expf).
        let mut p = Self::splat(self.simd, 1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p.mul_add(r, c);
        }
        let mut p = p.mul_add(r * r, r) + 1.0;
        // Times 2ⁿ: n added to the exponent.
        let simd = self.simd;
        for v in 0..V {
            let n = simd.transmute_u32s_f32s(shifted.vectors[v]);
            let n = simd.wrapping_dyn_shl_u32s(n, simd.splat_u32s(23));
            let bits = simd.add_u32s(simd.transmute_u32s_f32s(p.vectors[v]), n);
            p.vectors[v] = simd.transmute_f32s_u32s(bits);
        }
        p
    }

    /// The natural logarithm of positive normal numbers, within 2 units in the last place or `1e-7`.
    #[inline(always)]
    pub(crate) fn ln(self) -> Self {
        const ROOT_HALF: u32 = 0x3f35_04f3; // The bits of √½.
        const ONE: u32 = 0x3f80_0000;
        const POWER_23: u32 = 0x4b00_0000; // The bits of 2²³.
        let simd = self.simd;
        let (one_less_root, root) = (simd.splat_u32s(ONE - ROOT_HALF), simd.splat_u32s(ROOT_HALF));
        // x = m · 2ⁿ with m from √½ to √2.
        let (mut n, mut m) = (self, self);
        for v in 0..V {
            let x = simd.transmute_u32s_f32s(self.vectors[v]);
            let shifted = simd.add_u32s(x, one_less_root);
            let exponent = simd.wrapping_dyn_shr_u32s(shifted, simd.splat_u32s(23));
            // As the lowest bits of 2²³ + n + 127.
            n.vectors[v] =
                simd.transmute_f32s_u32s(simd.or_u32s(exponent, simd.splat_u32s(POWER_23)));
            let mantissa = simd.and_u32s(shifted, simd.splat_u32s(0x007f_ffff));
            m.vectors[v] = simd.transmute_f32s_u32s(simd.add_u32s(mantissa, root));
        }
        let n = n - (8_388_608.0 + 127.0);
        let f = m - 1.0;
        // A polynomial for ln(1 + f) (the coefficients of Cephes' logf).
        let mut p = Self::splat(simd, 7.037_683_6e-2);
        for c in [
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ] {
            p = p.mul_add(f, c);
        }
        let square = f * f;
        let mantissa = f + (p * f).mul_add(square, square * -0.5);
        n.mul_add(std::f32::consts::LN_2, mantissa)
    }
}

/// What [`Lanes`] compute with: others, or one number for all.
pub(crate) trait Operand<S: Simd, const V: usize> {
    fn lanes(self, simd: S) -> Lanes<S, V>;
}

impl<S: Simd, const V: usize> Operand<S, V> for Lanes<S, V> {
    #[inline(always)]
    fn lanes(self, _: S) -> Self {
        self
    }
}

impl<S: Simd, const V: usize> Operand<S, V> for f32 {
    #[inline(always)]
    fn lanes(self, simd: S) -> Lanes<S, V> {
        Lanes::splat(simd, self)
    }
}

macro_rules! operator {
    ($operator:ident, $function:ident, $vectors:ident) => {
        impl<S: Simd, O: Operand<S, V>, const V: usize> $operator<O> for Lanes<S, V> {
            type Output = Self;

            #[inline(always)]
            fn $function(self, other: O) -> Self {
                each!($vectors, self, other)
            }
        }
    };
}

operator!(Add, add, add_f32s);
operator!(Sub, sub, sub_f32s);
operator!(Mul, mul, mul_f32s);
operator!(Div, div, div_f32s);

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::WithSimd;

    #[test]
    fn exp_is_the_exponential_function() {
        struct Exp(f32);
        impl WithSimd for Exp {
            type Output = f32;
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                simd.reduce_max_f32s(Lanes::<S, 1>::splat(simd, self.0).exp().vectors[0])
            }
        }
        for step in -8700..8700 {
            let x = step as f32 / 100.0;
            let (found, expected) = (arch().dispatch(Exp(x)), f64::from(x).exp());
            assert!((f64::from(found) / expected - 1.0).abs() < 3e-7, "exp({x}) is not {found}");
        }
        assert!(arch().dispatch(Exp(1e9)).is_finite());
        assert!(arch().dispatch(Exp(-1e9)) > 0.0);
    }

    #[test]
    fn ln_is_the_natural_logarithm() {
        struct Ln(f32);
        impl WithSimd for Ln {
            type Output = f32;
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                simd.reduce_max_f32s(Lanes::<S, 1>::splat(simd, self.0).ln().vectors[0])
            }
        }
        for step in -8000..8000 {
            let x = (step as f32 / 100.0).exp();
            let (found, expected) = (f64::from(arch().dispatch(Ln(x))), f64::from(x).ln());
            let error = (found - expected).abs();
            assert!(error < 3e-7 * expected.abs().max(0.5), "ln({x}) is not {found}");
        }
    }
}
