use super::YcbcrLayout;
use super::ycbcr::{MATRIX, OFFSET};
use crate::error::{Error, Result};
use crate::ops::Weighting;
use crate::ops::functions::loss;
use burn::config::Config;
use burn::tensor::Tensor;

/// Configuration of a [`SmoothnessLoss`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SmoothnessLossConfig {
    /// The standard deviation, in YCbCr units, of the Gaussian that weighs a pair of pixels by their
    /// color difference. Positive. With the published 10 and values in `[0, 1]` every weight is above
    /// 0.98.
    #[config(default = 10.0)]
    pub sigma: f64,
    /// How the stage input is converted to YCbCr.
    #[config(default = "YcbcrLayout::Reference")]
    pub ycbcr: YcbcrLayout,
}

impl SmoothnessLossConfig {
    /// The loss with these settings.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where `sigma` is not positive and finite.
    pub fn init(&self) -> Result<SmoothnessLoss> {
        if !(self.sigma > 0.0 && self.sigma.is_finite()) {
            let reason = format!("is {}, must be positive and finite", self.sigma);
            return Err(Error::setting("sigma", reason));
        }
        Ok(SmoothnessLoss { sigma: self.sigma, ycbcr: self.ycbcr })
    }
}

/// The smoothness of the illumination: the spatially varying L1 norm `L_s` of the first paper's equation 7,
/// over the 24 neighbors in a 5×5 window. The less two pixels' colors differ, the more a difference of
/// their illuminations counts.
#[doc(alias = "SmoothLoss")]
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothnessLoss {
    sigma: f64,
    ycbcr: YcbcrLayout,
}

impl SmoothnessLoss {
    /// The smallest height and width, in pixels: a smaller image lacks some of the pairs.
    pub const MIN_SIZE: usize = 3;

    /// The loss of an illumination, given the stage input that it was estimated from. A NaN or an
    /// infinity in either makes the loss NaN or infinite.
    ///
    /// # Shapes
    /// - `input`, `illumination`: `[batch, 3, height, width]`
    /// - output: `[1]`
    ///
    /// # Panics
    /// If the two shapes differ, there are not three channels, or height or width is below
    /// [`Self::MIN_SIZE`].
    pub fn forward(&self, input: Tensor<4>, illumination: Tensor<4>) -> Tensor<1> {
        self.with_fidelity(input, illumination, 0.0).0
    }

    /// The loss plus a multiple of the fidelity, `[1]`; and fidelity and smoothness, `[2]`, which are not
    /// differentiable. Panics as [`forward`](Self::forward).
    pub(super) fn with_fidelity(
        &self,
        input: Tensor<4>,
        illumination: Tensor<4>,
        weight: f64,
    ) -> (Tensor<1>, Tensor<1>) {
        let [_, _, height, width] = input.dims();
        assert_eq!(input.dims(), illumination.dims(), "smoothness loss: the shapes differ");
        assert_eq!(input.dims()[1], 3, "smoothness loss: an image has three channels");
        assert!(
            height >= Self::MIN_SIZE && width >= Self::MIN_SIZE,
            "smoothness loss: the image is {width}×{height}, needs at least {min}×{min} pixels",
            min = Self::MIN_SIZE,
        );
        let weighting = Weighting {
            matrix: MATRIX,
            offset: OFFSET,
            per_pixel: self.ycbcr == YcbcrLayout::PerPixel,
            sigma: self.sigma,
            fidelity: weight as f32,
        };
        loss(input, illumination, weighting)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::loss::to_ycbcr;
    use burn::tensor::{Device, Distribution};

    fn random(shape: [usize; 4]) -> Tensor<4> {
        Tensor::random(shape, Distribution::Uniform(0.0, 1.0), &Device::flex())
    }

    /// The definition, neighbor by neighbor, in float64 on plain numbers.
    fn by_hand(input: &Tensor<4>, illumination: &Tensor<4>, config: &SmoothnessLossConfig) -> f64 {
        let [batch, _, height, width] = input.dims();
        let values = |tensor: Tensor<4>| tensor.try_into_vec_as::<f32>().unwrap();
        let color = values(to_ycbcr(input.clone(), config.ycbcr));
        let light = values(illumination.clone());
        let mut total = 0.0;
        for (down, right) in (-2..=2).flat_map(|y| (-2..=2).map(move |x| (y, x))) {
            if (down, right) == (0, 0) {
                continue;
            }
            let (mut sum, mut count) = (0.0, 0);
            for n in 0..batch {
                for y in 0..height as isize {
                    for x in 0..width as isize {
                        let (v, u) = (y + down, x + right);
                        if v < 0 || u < 0 || v >= height as isize || u >= width as isize {
                            continue;
                        }
                        let change = |values: &[f32], channel: usize| {
                            let at = |y: isize, x: isize| {
                                let row = (n * 3 + channel) * height + y as usize;
                                f64::from(values[row * width + x as usize])
                            };
                            at(y, x) - at(v, u)
                        };
                        let distance: f64 = (0..3).map(|c| change(&color, c).powi(2)).sum();
                        let weight = (-distance / (2.0 * config.sigma.powi(2))).exp();
                        sum += weight * (0..3).map(|c| change(&light, c).abs()).sum::<f64>();
                        count += 1;
                    }
                }
            }
            total += sum / f64::from(count);
        }
        total
    }

    #[test]
    fn agrees_with_the_definition() {
        for (shape, sigma) in [([1, 3, 3, 3], 10.0), ([2, 3, 5, 4], 0.1), ([1, 3, 4, 9], 0.05)] {
            for ycbcr in [YcbcrLayout::Reference, YcbcrLayout::PerPixel] {
                let config = SmoothnessLossConfig { sigma, ycbcr };
                let (input, illumination) = (random(shape), random(shape));
                let expected = by_hand(&input, &illumination, &config);
                let loss: f32 = config.init().unwrap().forward(input, illumination).into_scalar();
                let error = (f64::from(loss) - expected).abs() / expected;
                assert!(error < 1e-5, "{shape:?} {config:?}: {loss} is not {expected}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "the image is 9×2, needs at least 3×3 pixels")]
    fn a_picture_of_two_rows_panics() {
        let loss = SmoothnessLossConfig::new().init().unwrap();
        loss.forward(random([1, 3, 2, 9]), random([1, 3, 2, 9]));
    }

    #[test]
    fn a_sigma_of_zero_is_refused() {
        let refused = SmoothnessLossConfig::new().with_sigma(0.0).init().unwrap_err();
        assert!(refused.to_string().contains("`sigma`"));
    }
}
