//! Colors in CIELAB (CIE 1976, sRGB with the white point D65).

use super::size::same_size;
use crate::error::Result;
use image::RgbImage;

/// The mean chroma `C* = √(a*² + b*²)`: 0 for a gray picture, about 20 for an ordinary photograph, and
/// up to 134 for a pure color.
pub fn mean_chroma(picture: &RgbImage) -> f64 {
    let linear = linear_levels();
    let chroma = |pixel: [u8; 3]| {
        let [a, b] = opponents(xyz(pixel, &linear));
        a.hypot(b)
    };
    let sum: f64 = picture.pixels().map(|pixel| chroma(pixel.0)).sum();
    sum / picture.pixels().len().max(1) as f64
}

/// How far the colors are from those of the dark picture, brightness aside: the mean distance in `a*` and `b*`
/// after both pixels are brought to the lightness 50. A just visible difference is about 2. Pixels that are
/// nearly black in the dark picture, of levels below 20, and pixels that are clipped in the picture, with
/// a level of 250 or more, are left out.
///
/// # Errors
///
/// [`Error::Argument`](crate::Error::Argument) if the two pictures differ in size.
pub fn chromaticity_shift(picture: &RgbImage, dark: &RgbImage) -> Result<f64> {
    same_size(picture, "dark", dark)?;
    let linear = linear_levels();
    let at_one_lightness = |pixel: [u8; 3]| {
        let xyz = xyz(pixel, &linear);
        let luminance = xyz[1].max(1e-12);
        opponents(xyz.map(|value| value / luminance * MIDDLE))
    };
    let greatest = |pixel: [u8; 3]| pixel.into_iter().max().unwrap_or_default();
    let (mut sum, mut count) = (0.0, 0_usize);
    for (bright, dark) in picture.pixels().zip(dark.pixels()) {
        if greatest(dark.0) >= 20 && greatest(bright.0) < 250 {
            let [[a, b], [c, d]] = [bright.0, dark.0].map(at_one_lightness);
            sum += (a - c).hypot(b - d);
            count += 1;
        }
    }
    Ok(sum / count.max(1) as f64)
}

/// The luminance of the lightness 50.
const MIDDLE: f64 = (66.0 / 116.0) * (66.0 / 116.0) * (66.0 / 116.0);

/// The linear light of each sRGB level.
fn linear_levels() -> [f64; 256] {
    std::array::from_fn(|level| match level as f64 / 255.0 {
        value if value > 0.04045 => ((value + 0.055) / 1.055).powf(2.4),
        value => value / 12.92,
    })
}

/// The color in CIE XYZ, relative to white.
fn xyz(pixel: [u8; 3], linear: &[f64; 256]) -> [f64; 3] {
    let [r, g, b] = pixel.map(|level| linear[usize::from(level)]);
    [
        (0.412453 * r + 0.357580 * g + 0.180423 * b) / 0.95047,
        0.212671 * r + 0.715160 * g + 0.072169 * b,
        (0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.08883,
    ]
}

/// `a*` and `b*`.
fn opponents(xyz: [f64; 3]) -> [f64; 2] {
    let [x, y, z] = xyz.map(|value| match value {
        value if value > 0.008856 => value.cbrt(),
        value => 7.787 * value + 16.0 / 116.0,
    });
    [500.0 * (x - y), 200.0 * (y - z)]
}

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn chroma_and_its_shift_are_those_of_scikit_image() {
        check(|picture, _| mean_chroma(picture), [52.187578, 43.015155, 18.315850], 1e-4);
        let shift = |a: &RgbImage, b: &RgbImage| chromaticity_shift(a, b).unwrap();
        check(shift, [11.105147, 5.263427, 7.797657], 1e-4);
    }

    #[test]
    fn gray_has_no_chroma_and_a_picture_no_shift_from_itself() {
        let gray = RgbImage::from_pixel(9, 9, image::Rgb([90; 3]));
        assert!(mean_chroma(&gray) < 0.01);
        assert_eq!(chromaticity_shift(&gray, &gray).unwrap(), 0.0);
    }
}
