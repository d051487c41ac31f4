//! The few vector helpers that the kernels share. `V` vectors are handled together, so that the
//! processor always has independent work.

use pulp::{Arch, Simd};
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

/// The exponential function, within 2 units in the last place. Arguments are clamped to ±87, so the
/// result is always finite, positive and normal.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Adding this and taking it away again rounds to an integer, which it leaves in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³
    let splat = |value| simd.splat_f32s(value);
    let x = simd.min_f32s(simd.max_f32s(x, splat(-87.0)), splat(87.0));
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(shifted, splat(ROUND));
    // x − n·ln 2, with ln 2 in two parts so that no bit is lost.
    let r = simd.mul_add_e_f32s(n, splat(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, splat(2.121_944_4e-4), r);
    // A polynomial for eʳ on ±ln 2 / 2 (the coefficients of Cephes' expf).
    let mut p = splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, splat(c));
    }
    let p = simd.add_f32s(simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), r), splat(1.0));
    // Times 2ⁿ: n added to the exponent.
    let n = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), n))
}

/// The natural logarithm of positive normal numbers, within 2 units in the last place or `1e-7`.
#[inline(always)]
pub(crate) fn ln<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const ROOT_HALF: u32 = 0x3f35_04f3; // The bits of √½.
    const ONE: u32 = 0x3f80_0000;
    const POWER_23: u32 = 0x4b00_0000; // The bits of 2²³.
    let splat = |value| simd.splat_f32s(value);
    let bits = |value| simd.splat_u32s(value);
    // x = m · 2ⁿ with m from √½ to √2.
    let shifted = simd.add_u32s(simd.transmute_u32s_f32s(x), bits(ONE - ROOT_HALF));
    let exponent = simd.wrapping_dyn_shr_u32s(shifted, bits(23));
    // As the lowest bits of 2²³ + n + 127.
    let n = simd.transmute_f32s_u32s(simd.or_u32s(exponent, bits(POWER_23)));
    let n = simd.sub_f32s(n, splat(8_388_608.0 + 127.0));
    let m = simd.add_u32s(simd.and_u32s(shifted, bits(0x007f_ffff)), bits(ROOT_HALF));
    let f = simd.sub_f32s(simd.transmute_f32s_u32s(m), splat(1.0));
    // A polynomial for ln(1 + f) (the coefficients of Cephes' logf).
    let mut p = splat(7.037_683_6e-2);
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
        p = simd.mul_add_e_f32s(p, f, splat(c));
    }
    let square = simd.mul_f32s(f, f);
    let rest = simd.mul_add_e_f32s(simd.mul_f32s(p, f), square, simd.mul_f32s(square, splat(-0.5)));
    let mantissa = simd.add_f32s(f, rest);
    simd.mul_add_e_f32s(n, splat(std::f32::consts::LN_2), mantissa)
}

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
                simd.reduce_max_f32s(exp(simd, simd.splat_f32s(self.0)))
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
                simd.reduce_max_f32s(ln(simd, simd.splat_f32s(self.0)))
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
