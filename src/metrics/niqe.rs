//! Naturalness, without anything to compare with.

use super::window::{gaussian, mean};
use crate::error::{Error, Result};
use image::RgbImage;
use libm::tgamma;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::array;
use std::ops::Range;

/// The side of a block in pixels, half of it at the second scale.
const BLOCK: usize = 96;

/// The natural image quality evaluator (NIQE): how far the statistics of the picture's blocks are from
/// those of 125 sharp photographs. Good photographs have about 2 to 5; noise, blur, compression and large
/// areas without texture raise it.
///
/// Mittal, Soundararajan and Bovik: *Making a "completely blind" image quality analyzer*, IEEE SPL 2013,
/// with the model that the authors released and, as in their code, on the gray levels of MATLAB's
/// `rgb2gray`, `0.2989 R + 0.5870 G + 0.1140 B` in `[0, 255]` (ITU-R BT.601), rounded. Programs that take
/// the luma of YCbCr, in `[16, 235]`, find figures that differ by a few percent. Incomplete blocks of
/// 96×96 pixels at the right and the bottom are left out.
///
/// A block that is flat, such as a clipped sky, has no statistics and is left out. In flat areas the
/// normalized luminance is exactly 0 here, but rounding noise in the authors' code, so that figures of
/// pictures with clipped areas differ slightly, by up to 0.1 % for the sample photographs.
///
/// The model is under its authors' license, `assets/metrics/LICENSE-NIQE`, whose notice goes with binaries that
/// contain it, and which asks for an acknowledgement in publications.
///
/// # Errors
///
/// [`Error::Argument`] if the picture has fewer than two blocks that are not flat: a covariance takes two.
#[doc(alias = "NIQE")]
pub fn niqe(picture: &RgbImage) -> Result<f64> {
    let too_few = || {
        let (width, height) = picture.dimensions();
        let least = "must have at least two blocks of 96×96 pixels that are not flat";
        Error::argument("picture", format!("is {width}×{height}, {least}"))
    };
    let plane = gray(picture);
    if plane.levels.is_empty() {
        return Err(too_few());
    }
    let [fine, coarse] = [features(&plane, BLOCK), features(&half(&plane), BLOCK / 2)];
    let both = fine.into_iter().zip(coarse);
    let blocks = both.filter_map(|(fine, coarse)| Some([fine?, coarse?].concat()));
    let blocks: Vec<Vec<f64>> = blocks.collect();
    if blocks.len() < 2 {
        return Err(too_few());
    }
    let count = blocks.len() as f64;
    let mean = |index: usize| blocks.iter().map(|block| block[index]).sum::<f64>() / count;
    let means: [f64; FEATURES] = array::from_fn(mean);
    let covariance = |i: usize, j: usize| {
        let products = blocks.iter().map(|block| (block[i] - means[i]) * (block[j] - means[j]));
        products.sum::<f64>() / (count - 1.0)
    };

    let model = MODEL.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number));
    let model: Vec<f64> = model.collect();
    let (model_means, triangle) = model.split_at(FEATURES);
    let distances = array::from_fn(|index| means[index] - model_means[index]);
    let mut triangle = triangle.iter();
    let mut matrix = [[0.0; FEATURES]; FEATURES];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, (value, model)) in row[..=i].iter_mut().zip(&mut triangle).enumerate() {
            *value = (model + covariance(i, j)) / 2.0;
        }
    }
    Ok(squared_distance(matrix, distances).sqrt())
}

/// The features of a block at both scales.
const FEATURES: usize = 36;

/// The 36 means of the authors' model and the lower triangle of its covariance, row by row, as
/// `assets/metrics/make.py` writes them.
const MODEL: &[u8; 8 * (FEATURES + FEATURES * (FEATURES + 1) / 2)] =
    include_bytes!("../../assets/metrics/niqe.bin");

/// Mahalanobis's distance `dᵀ A⁻¹ d`, the square of the paper's equation 10, from the lower triangle of
/// `A`. The model's covariance has no eigenvalue below 7e-6, so that the mean of it and another one
/// always has an inverse, and Cholesky's decomposition serves for the paper's pseudo-inverse.
fn squared_distance(mut matrix: [[f64; FEATURES]; FEATURES], distances: [f64; FEATURES]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut solved = [0.0; FEATURES];
    for i in 0..FEATURES {
        for j in 0..i {
            let rest = matrix[i][j] - dot(&matrix[i][..j], &matrix[j][..j]);
            matrix[i][j] = rest / matrix[j][j];
        }
        matrix[i][i] = (matrix[i][i] - dot(&matrix[i][..i], &matrix[i][..i])).sqrt();
        solved[i] = (distances[i] - dot(&matrix[i][..i], &solved[..i])) / matrix[i][i];
    }
    dot(&solved, &solved)
}

/// A picture of one channel.
struct Plane<T> {
    width: usize,
    height: usize,
    levels: Vec<T>,
}

impl<T> Plane<T> {
    fn row(&self, y: usize) -> &[T] {
        &self.levels[y * self.width..][..self.width]
    }
}

/// The weights of red, green and blue in MATLAB's `rgb2gray` (ITU-R BT.601), in millionths.
const WEIGHTS: [u32; 3] = [298_936, 587_043, 114_021];

/// The gray levels of the whole blocks.
fn gray(picture: &RgbImage) -> Plane<u8> {
    let [width, height] =
        [picture.width(), picture.height()].map(|side| side as usize / BLOCK * BLOCK);
    let level = |pixel: &[u8; 3]| {
        let weighted = pixel.iter().zip(WEIGHTS).map(|(level, weight)| u32::from(*level) * weight);
        ((weighted.sum::<u32>() + 500_000) / 1_000_000) as u8
    };
    let pixels = picture.as_chunks().0;
    let row = |y: usize| pixels[y * picture.width() as usize..][..width].iter().map(level);
    Plane { width, height, levels: (0..height).flat_map(row).collect() }
}

/// The weights of MATLAB's bicubic `imresize` to one half, in 256ths, from the middle outwards. It is
/// antialiased: Keys's kernel is stretched over eight pixels.
const CUBIC: [i32; 4] = [111, 29, -9, -3];

/// The plane at half its size; its sides are even. The sums are exact, so that flat areas stay flat.
fn half(plane: &Plane<u8>) -> Plane<f64> {
    // The border is mirrored.
    let before = |at: usize, step: usize| if step > at { step - at - 1 } else { at - step };
    let after = |at: usize, step: usize, side: usize| match at + 1 + step {
        at if at < side => at,
        at => 2 * side - at - 1,
    };
    let row = |y: usize| {
        let mut sums = vec![0; plane.width];
        for (step, weight) in CUBIC.into_iter().enumerate() {
            let rows = [before(y, step), after(y, step, plane.height)].map(|y| plane.row(y));
            for ((sum, one), other) in sums.iter_mut().zip(rows[0]).zip(rows[1]) {
                *sum += weight * (i32::from(*one) + i32::from(*other));
            }
        }
        let level = move |x: usize| {
            let pairs = CUBIC.into_iter().enumerate().map(|(step, weight)| {
                weight * (sums[before(x, step)] + sums[after(x, step, plane.width)])
            });
            f64::from(pairs.sum::<i32>()) / f64::from(256 * 256)
        };
        (0..plane.width / 2).map(move |x| level(2 * x))
    };
    let levels = (0..plane.height / 2).flat_map(|y| row(2 * y)).collect();
    Plane { width: plane.width / 2, height: plane.height / 2, levels }
}

/// The features of each block of the plane, row by row; none for a flat one.
fn features<T: Copy + Into<f64> + Sync>(
    plane: &Plane<T>,
    side: usize,
) -> Vec<Option<[f64; FEATURES / 2]>> {
    let row = |row: usize| {
        let normalized = normalized(plane, row * side..(row + 1) * side);
        (0..plane.width / side).map(move |column| {
            let cut = |row: &Vec<f64>| row[column * side..][..side].to_vec();
            block_features(&normalized.iter().map(cut).collect::<Vec<_>>())
        })
    };
    // In order, so that the figure does not depend on the number of threads.
    (0..plane.height / side).into_par_iter().flat_map_iter(row).collect()
}

/// The side of the Gaussian window.
const WINDOW: usize = 7;
const SIGMA: f64 = 7.0 / 6.0;

/// The normalized luminance of some rows, equations 1 to 3 of the paper. The border pixels are repeated
/// outside.
fn normalized<T: Copy + Into<f64>>(plane: &Plane<T>, rows: Range<usize>) -> Vec<Vec<f64>> {
    let gaussian: [f64; WINDOW] = gaussian(SIGMA);
    // Of the window's pixels around one, in a plane that long.
    let within = |at: usize, side: usize| at.saturating_sub(WINDOW / 2).min(side - 1);
    let along_row = |y: usize| -> Vec<[f64; 2]> {
        let row = plane.row(within(y, plane.height));
        let moments = (0..plane.width + WINDOW - 1).map(|x| {
            let level = row[within(x, plane.width)].into();
            [level, level * level]
        });
        let moments: Vec<_> = moments.collect();
        moments.windows(WINDOW).map(|window| mean(&gaussian, window.iter())).collect()
    };
    let filtered: Vec<_> = (rows.start..rows.end + WINDOW - 1).map(along_row).collect();
    let normalize = |(y, window): (usize, &[Vec<[f64; 2]>])| {
        let levels = plane.row(y).iter().enumerate();
        let values = levels.map(|(x, level)| {
            let [mean, square] = mean(&gaussian, window.iter().map(|row| &row[x]));
            let deviation = (*level).into() - mean;
            // Rounding leaves 1e-13 in flat windows; one pixel that differs makes 1e-9 or more.
            if deviation.abs() < 1e-10 {
                return 0.0;
            }
            deviation / ((square - mean * mean).abs().sqrt() + 1.0)
        });
        values.collect()
    };
    rows.zip(filtered.windows(WINDOW)).map(normalize).collect()
}

/// The features of one scale: shape and mean width of the distribution of the normalized luminance, then
/// shape, mean and both widths of those of the products of neighbors: side by side, one above the other,
/// and on both diagonals. As in the authors' code, the last pixel's neighbor is the first one.
fn block_features(block: &[Vec<f64>]) -> Option<[f64; FEATURES / 2]> {
    let side = block.len();
    let [shape, left, right] = fit(block.iter().flatten().copied())?;
    let mut features = [shape, (left + right) / 2.0].to_vec();
    for [down, across] in [[0, 1], [1, 0], [1, 1], [1, side - 1]] {
        let products = (0..side).flat_map(|y| {
            let rows = [&block[y], &block[(y + down) % side]];
            (0..side).map(move |x| rows[0][x] * rows[1][(x + across) % side])
        });
        let [shape, left, right] = fit(products)?;
        let mean = (right - left) * tgamma(2.0 / shape) / tgamma(1.0 / shape);
        features.extend([shape, mean, left, right]);
    }
    features.try_into().ok()
}

/// The asymmetric generalized Gaussian distribution of values, by matching its moments: `α`, and `β` of
/// the left and of the right. None unless there are negative and positive values.
///
/// Lasmar, Stitou and Berthoumieu: *Multiscale skewed heavy tailed model for texture analysis*, ICIP 2009.
fn fit(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let (mut count, mut magnitudes) = (0_usize, 0.0);
    let mut sides = [(0_usize, 0.0); 2];
    for value in values {
        count += 1;
        magnitudes += value.abs();
        if value != 0.0 {
            let (count, squares) = &mut sides[usize::from(value > 0.0)];
            *count += 1;
            *squares += value * value;
        }
    }
    if sides.iter().any(|(count, _)| *count == 0) {
        return None;
    }
    let [left, right] = sides.map(|(count, squares)| (squares / count as f64).sqrt());
    let skew = left / right;
    let ratio = magnitudes * magnitudes / (count as f64 * (sides[0].1 + sides[1].1));
    let shape = shape(ratio * (skew.powi(3) + 1.0) * (skew + 1.0) / (skew.powi(2) + 1.0).powi(2));
    let scale = (tgamma(1.0 / shape) / tgamma(3.0 / shape)).sqrt();
    Some([shape, left * scale, right * scale])
}

/// The `α` whose `Γ(2/α)² / (Γ(1/α) Γ(3/α))`, which grows with it, is nearest, in the authors' steps of
/// 0.001 from 0.2 to 10.
fn shape(ratio: f64) -> f64 {
    let shape = |thousandths: u32| f64::from(thousandths) / 1000.0;
    let of = |thousandths: u32| {
        let [one, two, three] = [1.0, 2.0, 3.0].map(|factor| tgamma(factor / shape(thousandths)));
        two * two / (one * three)
    };
    let (mut low, mut high) = (200, 10_000);
    while high - low > 1 {
        let middle = (low + high) / 2;
        *(if of(middle) < ratio { &mut low } else { &mut high }) = middle;
    }
    shape(if ratio - of(low) <= of(high) - ratio { low } else { high })
}

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::super::tests::pairs;
    use super::*;
    use image::Rgb;
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

    #[test]
    fn niqe_is_that_of_basicsr() {
        // BasicSR 1.4.2, which gives what MATLAB gives: niqe(gray, **np.load("niqe_pris_params.npz"))
        // where gray = np.round(p @ [0.298936, 0.587043, 0.114021])
        let [_, [coffee, dark_coffee], [rocket, dark_rocket]] = pairs();
        // BasicSR halves in float32. The rocket has flat areas, where it measures the rounding of its
        // convolution.
        for (picture, expected, tolerance) in [
            (coffee, 4.058465, 1e-5),
            (dark_coffee, 6.144411, 1e-5),
            (rocket, 7.035919, 1e-3),
            (dark_rocket, 8.133401, 1e-5),
        ] {
            let found = niqe(&picture).unwrap();
            assert!((found - expected).abs() < tolerance, "{found}, expected {expected}");
        }
    }

    #[test]
    fn noise_raises_niqe() {
        let [_, [mut picture, _], _] = pairs();
        let mut last = niqe(&picture).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(0);
        for amplitude in [10, 20, 40] {
            for level in picture.iter_mut() {
                let noise = random.random_range(-amplitude..=amplitude);
                *level = level.saturating_add_signed(noise);
            }
            let noisy = niqe(&picture).unwrap();
            assert!(noisy > last + 0.5, "{noisy} after {last}");
            last = noisy;
        }
    }

    #[test]
    fn two_blocks_with_texture_are_enough() {
        let texture = |x: u32, y: u32| Rgb([(x * x + 7 * y * y) as u8 ^ (x * y / 3) as u8; 3]);
        let figure = |width, height, textured| {
            let picture = RgbImage::from_fn(width, height, |x, y| match x < textured {
                true => texture(x, y),
                false => Rgb([90, 80, 70]),
            });
            niqe(&picture).map_err(|error| error.to_string())
        };
        let least = "must have at least two blocks of 96×96 pixels that are not flat";
        for (width, height, textured) in
            [(0, 0, 0), (95, 400, 95), (400, 95, 400), (191, 191, 191), (192, 96, 0), (384, 96, 80)]
        {
            let expected = format!("argument `picture`: is {width}×{height}, {least}");
            assert_eq!(figure(width, height, textured), Err(expected));
        }
        assert!(figure(192, 96, 192).is_ok_and(f64::is_finite));
        // The flat blocks count for nothing.
        let [two, three] = [192, 288].map(|width| figure(width, 96, 180).unwrap());
        assert!((two - three).abs() < 1e-9, "{two}, {three}");
    }

    #[test]
    fn halving_is_cubic_with_a_mirrored_border() {
        // A pixel alone at the left border, where it is there a second time outside.
        let mut levels = vec![0; 12 * 8];
        levels[4 * 12] = 255;
        let halved = half(&Plane { width: 12, height: 8, levels });
        let [across, down] = [&[111 + 29, -9 - 3, 0, 0, 0, 0][..], &[-3, 29, 111, -9]];
        let products = down.iter().flat_map(|down| across.iter().map(move |across| across * down));
        let expected = products.map(|weight| f64::from(255 * weight) / 65536.0);
        assert_eq!(halved.levels, expected.collect::<Vec<_>>());
        let flat = half(&Plane { width: 10, height: 8, levels: vec![77; 80] });
        assert_eq!(flat.levels, [77.0; 20]);
    }
}
