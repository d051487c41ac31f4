//! Quality measures of enhanced pictures, all on 8-bit RGB.
//!
//! | measure | compared with | better is |
//! |---|---|---|
//! | [`psnr`], [`ssim`] | the ground truth | higher |
//! | [`lightness_order_error`], [`color_cast`] | the dark picture | lower |
//! | [`entropy`], [`measure_of_enhancement`] | nothing | higher, unless it is noise |
//! | [`mean_luminance`] | nothing | a matter of taste |
//! | [`clipped_share`] | nothing | lower |

mod contrast;
mod exposure;
mod likeness;
mod order;

pub use contrast::{entropy, measure_of_enhancement};
pub(crate) use exposure::CLIPPED;
#[cfg(feature = "train")]
pub(crate) use exposure::color_shift;
pub use exposure::{clipped_share, color_cast, mean_luminance};
pub use likeness::{psnr, ssim};
pub use order::lightness_order_error;

use crate::error::{Error, Result};
use image::RgbImage;

/// The weights of red, green and blue in the luminance `0.2126 R + 0.7152 G + 0.0722 B` (ITU-R
/// BT.709), in ten-thousandths: integers add up exactly.
const WEIGHTS: [u16; 3] = [2126, 7152, 722];

/// The sum of [`WEIGHTS`]: a level in the unit of [`luminance`].
const LEVEL: u32 = 10_000;

/// [`WEIGHTS`] as fractions.
pub(crate) const LUMINANCE: [f32; 3] = [
    WEIGHTS[0] as f32 / LEVEL as f32,
    WEIGHTS[1] as f32 / LEVEL as f32,
    WEIGHTS[2] as f32 / LEVEL as f32,
];

/// The luminance of the levels as they are coded, in ten-thousandths of a level.
fn luminance(pixel: [u8; 3]) -> u32 {
    pixel.into_iter().zip(WEIGHTS).map(|(level, weight)| u32::from(level) * u32::from(weight)).sum()
}

/// The luminance, rounded to one of 256 levels.
fn luminance_level(pixel: [u8; 3]) -> u8 {
    ((luminance(pixel) + LEVEL / 2) / LEVEL) as u8
}

/// Checks that a picture and another one, the argument `name`, are of the same size.
fn same_size(picture: &RgbImage, name: &'static str, other: &RgbImage) -> Result<()> {
    let ((width, height), (other_width, other_height)) = (picture.dimensions(), other.dimensions());
    if picture.dimensions() == other.dimensions() {
        return Ok(());
    }
    let reason = format!("is {other_width}×{other_height}, the picture {width}×{height}");
    Err(Error::argument(name, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photo::open_photo;

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
    fn the_weights_of_the_luminance_add_up_to_one() {
        assert_eq!(WEIGHTS.map(u32::from).iter().sum::<u32>(), LEVEL);
        assert_eq!(LUMINANCE, [0.2126, 0.7152, 0.0722]);
        assert_eq!(luminance([255; 3]), 255 * LEVEL);
    }

    #[test]
    fn pictures_of_different_sizes_are_not_compared() {
        let (picture, other) = (RgbImage::new(20, 30), RgbImage::new(30, 20));
        let message = |error: Error| error.to_string();
        for error in [psnr(&picture, &other), ssim(&picture, &other)].map(Result::unwrap_err) {
            assert_eq!(message(error), "argument `truth`: is 30×20, the picture 20×30");
        }
        for error in [lightness_order_error(&picture, &other), color_cast(&picture, &other)] {
            let expected = "argument `dark`: is 30×20, the picture 20×30";
            assert_eq!(message(error.unwrap_err()), expected);
        }
    }

    #[test]
    fn an_empty_picture_has_figures() {
        let empty = RgbImage::new(0, 4);
        assert_eq!(psnr(&empty, &empty).unwrap(), f64::INFINITY);
        assert!(ssim(&empty, &empty).is_err());
        let measures = [entropy, measure_of_enhancement, mean_luminance, clipped_share];
        assert_eq!(measures.map(|measure| measure(&empty)), [0.0; 4]);
        assert_eq!(lightness_order_error(&empty, &empty).unwrap(), 0.0);
        assert_eq!(color_cast(&empty, &empty).unwrap(), 0.0);
    }
}
