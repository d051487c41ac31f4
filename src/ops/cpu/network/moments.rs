use super::super::simd::load;
use pulp::Simd;

/// The mean of some values and the sum of their squared differences from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Those of a row. `width` is at least 1, and the row is as long as whole vectors.
    #[inline(always)]
    pub(super) fn of_row<S: Simd>(simd: S, row: &[f32], width: usize, near: f32) -> Self {
        let zero = simd.splat_f32s(0.0);
        let center = simd.splat_f32s(near);
        let (mut sum, mut squares) = (zero, zero);
        let whole = width / S::F32_LANES * S::F32_LANES;
        for x in (0..whole).step_by(S::F32_LANES) {
            let [value] = load::<S, 1>(row, x);
            let difference = simd.sub_f32s(value, center);
            sum = simd.add_f32s(sum, difference);
            squares = simd.mul_add_e_f32s(difference, difference, squares);
        }
        let mut sums = [simd.reduce_sum_f32s(sum), simd.reduce_sum_f32s(squares)];
        for value in &row[whole..width] {
            let difference = value - near;
            sums = [sums[0] + difference, sums[1] + difference * difference];
        }
        let [sum, squares] = sums.map(f64::from);
        let count = width as f64;
        let offset = sum / count;
        Self { count, mean: f64::from(near) + offset, squares: squares - sum * offset }
    }

    /// Those of all values together (Chan et al., 1979).
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        let count = self.count + other.count;
        let (difference, share) = (other.mean - self.mean, other.count / count);
        Self {
            count,
            mean: self.mean + difference * share,
            squares: self.squares + other.squares + difference * difference * self.count * share,
        }
    }

    /// A value in the midst of them.
    pub(super) fn mean(self) -> f32 {
        self.mean as f32
    }

    /// The biased variance.
    pub(super) fn variance(self) -> f32 {
        // Rounding may make it negative; a NaN stays.
        if self.squares < 0.0 { 0.0 } else { (self.squares / self.count) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::simd::arch;
    use super::*;
    use pulp::WithSimd;

    struct OfRow<'a>(&'a [f32], usize, f32);
    impl WithSimd for OfRow<'_> {
        type Output = Moments;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Moments {
            Moments::of_row(simd, self.0, self.1, self.2)
        }
    }

    #[test]
    fn rows_together_have_the_mean_and_variance_of_all_values() {
        let value = |i: usize| 1000.0 + (i * 37 % 101) as f32 / 50.0;
        let width = 77;
        let rows: Vec<Vec<f32>> =
            (0..9).map(|y| (0..80).map(|x| value(y * 80 + x)).collect()).collect();
        let all: Vec<f64> =
            rows.iter().flat_map(|row| &row[..width]).map(|value| f64::from(*value)).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance =
            all.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / all.len() as f64;
        let moments = rows.iter().fold(Moments::default(), |moments, row| {
            let near = if moments.count > 0.0 { moments.mean() } else { row[3] };
            moments.and(arch().dispatch(OfRow(row, width, near)))
        });
        assert!((f64::from(moments.mean()) - mean).abs() < 1e-4);
        assert!((f64::from(moments.variance()) / variance - 1.0).abs() < 1e-5);
    }
}
