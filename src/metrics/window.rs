//! A Gaussian window, for means around a pixel.

/// The weights of a window of `N` pixels along one axis; they add up to 1.
pub(super) fn gaussian<const N: usize>(sigma: f64) -> [f64; N] {
    let weights: [f64; N] = std::array::from_fn(|index| {
        let distance = index as f64 - (N / 2) as f64;
        (-0.5 * (distance / sigma).powi(2)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// The weighted means of the moments in a window.
pub(super) fn mean<'a, const N: usize, const M: usize>(
    weights: &[f64; N],
    window: impl Iterator<Item = &'a [f64; M]>,
) -> [f64; M] {
    let mut sums = [0.0; M];
    for (weight, moments) in weights.iter().zip(window) {
        for (sum, moment) in sums.iter_mut().zip(moments) {
            *sum += weight * moment;
        }
    }
    sums
}
