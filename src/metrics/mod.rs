//! Quality measures of enhanced pictures, all on 8-bit RGB.
//!
//! | measure | compared with | better is |
//! |---|---|---|
//! | [`psnr`], [`psnr_gt_mean`], [`ssim`] | the ground truth | higher |
//! | [`lightness_order_error`], [`color_cast`], [`chromaticity_shift`] | the dark picture | lower |
//! | [`entropy`], [`measure_of_enhancement`] | nothing | higher, unless it is noise |
//! | [`niqe`] | the statistics of good photographs | lower |
//! | [`mean_luminance`], [`mean_chroma`] | nothing | a matter of taste |
//! | [`clipped_share`] | nothing | lower |

mod chroma;
mod contrast;
mod exposure;
mod likeness;
mod luminance;
mod niqe;
mod order;
mod size;
mod window;

pub use chroma::{chromaticity_shift, mean_chroma};
pub use contrast::{entropy, measure_of_enhancement};
pub(crate) use exposure::CLIPPING_THRESHOLD;
#[cfg(feature = "train")]
pub(crate) use exposure::color_shift;
pub use exposure::{clipped_share, color_cast, mean_luminance};
pub use likeness::{psnr, psnr_gt_mean, ssim};
pub(crate) use luminance::LUMINANCE;
pub use niqe::niqe;
pub use order::lightness_order_error;

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::*;
    use crate::error::{Error, Result};
    use crate::photo::open_photo;
    use image::RgbImage;

    /// Measured pictures and what they are compared with.
    ///
    /// The figures in the tests of this module come from NumPy 2.4 and scikit-image 0.26, the first
    /// ones for
    ///
    /// ```python
    /// y, x, c = np.mgrid[0:123, 0:160, 0:3]
    /// bright = ((7*x + 3*y + 50*c + x*y//5) % 256).astype(np.uint8)
    /// dark = (bright // 4 + (x*y + c) % 9).astype(np.uint8)
    /// ```
    ///
    /// and the others for the clean and the dark sample photograph of each name.
    pub(super) fn pairs() -> [[RgbImage; 2]; 3] {
        let bright = RgbImage::from_fn(160, 123, |x, y| {
            image::Rgb([0, 1, 2].map(|c| (7 * x + 3 * y + 50 * c + x * y / 5) as u8))
        });
        let dark = RgbImage::from_fn(160, 123, |x, y| {
            let grain = [0, 1, 2].map(|c| ((x * y + c) % 9) as u8);
            let level = bright[(x, y)].0;
            image::Rgb([0, 1, 2].map(|c| level[c] / 4 + grain[c]))
        });
        let sample = |name: &str, kind: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/samples");
            open_photo(format!("{folder}/{name}-{kind}.png")).unwrap().pixels.into_rgb8()
        };
        let samples = |name| [sample(name, "clean"), sample(name, "dark")];
        [[bright, dark], samples("coffee"), samples("rocket")]
    }

    /// Holds a measure against the figures for [`pairs`].
    pub(super) fn check(
        measure: impl Fn(&RgbImage, &RgbImage) -> f64,
        expected: [f64; 3],
        tolerance: f64,
    ) {
        for ([picture, other], expected) in pairs().iter().zip(expected) {
            let found = measure(picture, other);
            assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
        }
    }

    #[test]
    fn pictures_of_different_sizes_are_not_compared() {
        let (picture, other) = (RgbImage::new(20, 30), RgbImage::new(30, 20));
        let message = |error: Error| error.to_string();
        let with_truth = [psnr, psnr_gt_mean, ssim].map(|measure| measure(&picture, &other));
        for error in with_truth.map(Result::unwrap_err) {
            assert_eq!(message(error), "argument `truth`: is 30×20, the picture 20×30");
        }
        let with_dark = [lightness_order_error, color_cast, chromaticity_shift];
        for error in with_dark.map(|measure| measure(&picture, &other)) {
            let expected = "argument `dark`: is 30×20, the picture 20×30";
            assert_eq!(message(error.unwrap_err()), expected);
        }
    }

    #[test]
    fn an_empty_picture_has_figures() {
        let empty = RgbImage::new(0, 4);
        assert_eq!(psnr(&empty, &empty).unwrap(), f64::INFINITY);
        assert!(ssim(&empty, &empty).is_err());
        let measures =
            [entropy, measure_of_enhancement, mean_luminance, clipped_share, mean_chroma];
        assert_eq!(measures.map(|measure| measure(&empty)), [0.0; 5]);
        assert_eq!(psnr_gt_mean(&empty, &empty).unwrap(), f64::INFINITY);
        assert_eq!(chromaticity_shift(&empty, &empty).unwrap(), 0.0);
        assert_eq!(lightness_order_error(&empty, &empty).unwrap(), 0.0);
        assert_eq!(color_cast(&empty, &empty).unwrap(), 0.0);
    }
}
