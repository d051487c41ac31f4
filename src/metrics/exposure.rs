//! Brightness, and what brightening costs: clipping and color shifts.

use super::luminance::{LEVEL, luminance};
use super::size::same_size;
use crate::error::Result;
use image::RgbImage;

/// The mean luminance `0.2126 R + 0.7152 G + 0.0722 B` of the levels as they are coded, in `[0, 1]`.
/// A well exposed picture has about 0.4.
pub fn mean_luminance(picture: &RgbImage) -> f64 {
    let sum: u64 = picture.pixels().map(|pixel| u64::from(luminance(pixel.0))).sum();
    sum as f64 / (f64::from(LEVEL) * 255.0) / count(picture)
}

/// A channel at or above this value counts as clipped, of levels in `[0, 1]`.
pub(crate) const CLIPPING_THRESHOLD: f64 = 0.98;

/// The share of the pixels with a channel at or above 0.98 of the highest level, in `[0, 1]`: those
/// that may have lost detail.
pub fn clipped_share(picture: &RgbImage) -> f64 {
    let clipped = |level: &u8| f64::from(*level) / 255.0 >= CLIPPING_THRESHOLD;
    picture.pixels().filter(|pixel| pixel.0.iter().any(clipped)).count() as f64 / count(picture)
}

/// The color shift: the largest relative change, among the three channels, of a channel's share in
/// the mean of the picture, compared with the dark picture. 0 is no shift.
///
/// # Errors
///
/// [`Error::Argument`](crate::Error::Argument) if the two pictures differ in size.
pub fn color_cast(picture: &RgbImage, dark: &RgbImage) -> Result<f64> {
    same_size(picture, "dark", dark)?;
    let means = |picture: &RgbImage| {
        let mut sums = [0u64; 3];
        for pixel in picture.pixels() {
            sums.iter_mut().zip(pixel.0).for_each(|(sum, level)| *sum += u64::from(level));
        }
        sums.map(|sum| sum as f64 / 255.0 / count(picture))
    };
    Ok(color_shift(means(picture), means(dark)))
}

/// As [`color_cast`], from the means of the channels.
pub(crate) fn color_shift(picture: [f64; 3], dark: [f64; 3]) -> f64 {
    // A black picture has no colors.
    let share = |means: [f64; 3], channel: usize| {
        let sum: f64 = means.iter().sum();
        if sum > 0.0 { means[channel] / sum } else { 1.0 / 3.0 }
    };
    let shift = |channel| (share(picture, channel) / share(dark, channel).max(1e-6) - 1.0).abs();
    (0..3).map(shift).fold(0.0, f64::max)
}

/// The number of pixels, to divide by.
fn count(picture: &RgbImage) -> f64 {
    (f64::from(picture.width()) * f64::from(picture.height())).max(1.0)
}

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::super::tests::check;
    use super::*;
    use image::Rgb;

    #[test]
    fn luminance_is_that_of_numpy() {
        // (p @ [0.2126, 0.7152, 0.0722]).mean() / 255
        check(|bright, _| mean_luminance(bright), [0.50147879, 0.38740735, 0.23878179], 1e-8);
        check(|_, dark| mean_luminance(dark), [0.13799444, 0.10698751, 0.06949818], 1e-8);
    }

    #[test]
    fn the_clipped_share_is_that_of_numpy() {
        // (p.max(2) >= 250).mean(), since 0.98 of 255 is 249.9
        check(|bright, _| clipped_share(bright), [0.07118902, 0.00647917, 0.00311768], 1e-8);
        let pixels = [[249, 249, 249], [250, 0, 0], [0, 0, 255], [0, 0, 0]];
        let picture = RgbImage::from_fn(4, 1, |x, _| Rgb(pixels[x as usize]));
        assert_eq!(clipped_share(&picture), 0.5);
    }

    #[test]
    fn the_color_cast_is_that_of_numpy() {
        // s = lambda p: p.reshape(-1, 3).mean(0) / p.reshape(-1, 3).mean(0).sum()
        // np.abs(s(picture) / s(dark) - 1).max()
        let cast = |a: &RgbImage, b: &RgbImage| color_cast(a, b).unwrap();
        check(cast, [0.00989223, 0.18392909, 0.08755274], 1e-8);
    }

    #[test]
    fn only_a_change_of_color_is_a_cast() {
        let flat = |pixel| RgbImage::from_pixel(3, 2, Rgb(pixel));
        assert_eq!(color_cast(&flat([60, 80, 100]), &flat([30, 40, 50])).unwrap(), 0.0);
        // Red from a third to a half, the others from a third to a quarter.
        let cast = color_cast(&flat([100, 50, 50]), &flat([20, 20, 20])).unwrap();
        assert!((cast - 0.5).abs() < 1e-12);
        assert_eq!(color_cast(&flat([7, 7, 7]), &flat([0; 3])).unwrap(), 0.0);
    }
}
