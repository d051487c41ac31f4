//! Similarity to the ground truth.

use super::luminance::{LEVEL, luminance};
use super::size::same_size;
use super::window::{gaussian, mean};
use crate::error::{Error, Result};
use image::RgbImage;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// The peak signal-to-noise ratio in decibels, `10 log10(255² / MSE)`, with the squared error's mean
/// over all pixels and the three channels. It is infinite for equal pictures; 20 or more is high for
/// low-light enhancement.
///
/// ```
/// use sci_burn::image::{Rgb, RgbImage};
/// use sci_burn::metrics::psnr;
///
/// let truth = RgbImage::from_pixel(4, 4, Rgb([100, 100, 100]));
/// let picture = RgbImage::from_pixel(4, 4, Rgb([110, 100, 100]));
/// assert!((psnr(&picture, &truth)? - 32.9).abs() < 0.01);
/// # Ok::<(), sci_burn::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Argument`] if the two pictures differ in size.
pub fn psnr(picture: &RgbImage, truth: &RgbImage) -> Result<f64> {
    same_size(picture, "truth", truth)?;
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let squares: u64 = picture.iter().zip(truth.iter()).map(square).sum();
    if squares == 0 {
        return Ok(f64::INFINITY);
    }
    let mean = squares as f64 / picture.len() as f64;
    Ok(10.0 * (PEAK * PEAK / mean).log10())
}

/// As [`psnr`], after the picture was multiplied with the ratio of the two pictures' mean levels: how alike
/// they are apart from their brightness, called *GT-mean* in the literature on low-light enhancement.
///
/// # Errors
///
/// [`Error::Argument`] if the two pictures differ in size.
pub fn psnr_gt_mean(picture: &RgbImage, truth: &RgbImage) -> Result<f64> {
    same_size(picture, "truth", truth)?;
    let sum = |picture: &RgbImage| picture.iter().map(|level| u64::from(*level)).sum::<u64>();
    let factor = sum(truth) as f64 / sum(picture).max(1) as f64;
    let square = |(a, b): (&u8, &u8)| ((f64::from(*a) * factor).min(PEAK) - f64::from(*b)).powi(2);
    let squares: f64 = picture.iter().zip(truth.iter()).map(square).sum();
    if squares == 0.0 {
        return Ok(f64::INFINITY);
    }
    let mean = squares / picture.len() as f64;
    Ok(10.0 * (PEAK * PEAK / mean).log10())
}

const PEAK: f64 = 255.0;

/// The side of the Gaussian window.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;

/// The paper's constants, which keep the fractions finite.
const C1: f64 = (0.01 * PEAK) * (0.01 * PEAK);
const C2: f64 = (0.03 * PEAK) * (0.03 * PEAK);

/// The structural similarity (SSIM) of the unrounded luminances `0.2126 R + 0.7152 G + 0.0722 B`, in
/// `[-1, 1]`: 1 for equal pictures.
///
/// Wang, Bovik, Sheikh and Simoncelli: *Image quality assessment: from error visibility to structural
/// similarity*, IEEE TIP 2004, with their Gaussian window of 11×11 pixels and σ = 1.5, and the mean
/// over all windows that lie within the picture. It equals scikit-image's `structural_similarity` with
/// `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255`.
///
/// # Errors
///
/// [`Error::Argument`] if the two pictures differ in size or are smaller than the window.
pub fn ssim(picture: &RgbImage, truth: &RgbImage) -> Result<f64> {
    same_size(picture, "truth", truth)?;
    let [width, height] = [picture.width() as usize, picture.height() as usize];
    if width.min(height) < WINDOW {
        let reason = format!("is {width}×{height}, must be at least {WINDOW}×{WINDOW}");
        return Err(Error::argument("picture", reason));
    }
    let [columns, rows] = [width, height].map(|side| side - WINDOW + 1);
    let gaussian: [f64; WINDOW] = gaussian(SIGMA);
    // The window's moments along one row, from one column to the next.
    let along_row = |y: usize| -> Vec<Moments> {
        let row = |picture| &pixels(picture)[y * width..][..width];
        let moments = row(picture).iter().zip(row(truth)).map(|(a, b)| moments(*a, *b));
        let moments: Vec<_> = moments.collect();
        moments.windows(WINDOW).map(|window| mean(&gaussian, window.iter())).collect()
    };
    // Each band computes what it needs, so that no picture of moments is ever in memory.
    let band = |top: usize| -> f64 {
        let bottom = (top + BAND).min(rows) + WINDOW - 1;
        let filtered: Vec<_> = (top..bottom).map(along_row).collect();
        let windows = filtered.windows(WINDOW).flat_map(|window| {
            (0..columns).map(|x| mean(&gaussian, window.iter().map(move |row| &row[x])))
        });
        windows.map(similarity).sum()
    };
    // Added up in order: the sum does not depend on the number of threads.
    let bands: Vec<f64> = (0..rows).into_par_iter().step_by(BAND).map(band).collect();
    Ok(bands.iter().sum::<f64>() / (rows * columns) as f64)
}

/// Rows that are computed together.
const BAND: usize = 64;

/// Of two luminances `a` and `b`: `a`, `b`, `a² + b²` and `a b`, or weighted means of these.
type Moments = [f64; 4];

fn moments(a: [u8; 3], b: [u8; 3]) -> Moments {
    let [a, b] = [a, b].map(|pixel| f64::from(luminance(pixel)) / f64::from(LEVEL));
    [a, b, a * a + b * b, a * b]
}

/// The paper's equation 13.
fn similarity([a, b, squares, product]: Moments) -> f64 {
    let (means, mean_squares) = (a * b, a * a + b * b);
    let (covariance, variances) = (product - means, squares - mean_squares);
    (2.0 * means + C1) * (2.0 * covariance + C2) / ((mean_squares + C1) * (variances + C2))
}

fn pixels(picture: &RgbImage) -> &[[u8; 3]] {
    picture.as_chunks().0
}

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::super::tests::{check, pairs};
    use super::*;

    #[test]
    fn psnr_is_that_of_scikit_image() {
        // peak_signal_noise_ratio(truth, picture, data_range=255)
        check(|a, b| psnr(a, b).unwrap(), [7.470819, 9.363440, 14.124131], 1e-6);
    }

    #[test]
    fn ssim_is_that_of_scikit_image() {
        // structural_similarity(luma(picture), luma(truth), gaussian_weights=True, sigma=1.5,
        //     use_sample_covariance=False, data_range=255)
        // where luma(p) = p.astype(float) @ [0.2126, 0.7152, 0.0722]
        check(|a, b| ssim(a, b).unwrap(), [0.25085573, 0.37479973, 0.44997770], 1e-7);
    }

    #[test]
    fn a_picture_is_like_itself() {
        let [[picture, _], ..] = pairs();
        assert_eq!(psnr(&picture, &picture).unwrap(), f64::INFINITY);
        assert!((ssim(&picture, &picture).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_smallest_picture_is_one_window() {
        let gray = |side, level| RgbImage::from_pixel(side, side, image::Rgb([level; 3]));
        // Flat pictures have means alone: (2 a b + C1) / (a² + b² + C1).
        let expected = (2.0 * 50.0 * 60.0 + C1) / (50.0 * 50.0 + 60.0 * 60.0 + C1);
        assert!((ssim(&gray(11, 50), &gray(11, 60)).unwrap() - expected).abs() < 1e-9);
        let message = ssim(&gray(10, 50), &gray(10, 60)).unwrap_err().to_string();
        assert_eq!(message, "argument `picture`: is 10×10, must be at least 11×11");
    }

    #[test]
    fn the_psnr_with_the_mean_of_the_truth_is_that_of_numpy() {
        check(|a, b| psnr_gt_mean(a, b).unwrap(), [37.908332, 34.631382, 35.413722], 1e-5);
    }
}
