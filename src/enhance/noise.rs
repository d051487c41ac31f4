//! How strong the noise of a picture is (after J. Immerkær, "Fast Noise Variance Estimation", 1996).

use super::tone::luminance;

/// Rows and columns of a block that the noise is measured in.
pub(super) const BLOCK: [usize; 2] = [8, 16];
/// The most rows and columns of blocks.
const BLOCKS: usize = 20;

/// The noise of the picture is that of the block at this place in the order of their noises, since most
/// blocks have a texture as well.
const QUANTILE: f32 = 0.1;
/// Among blocks of pure noise, the block at that place has 0.82 of the true noise. This makes it 0.92: the rest
/// allows for the texture that even the smoothest blocks have.
const CORRECTION: f32 = 1.12;

/// What rounding to 255 levels and the slopes of smooth surfaces look like: it is not noise.
const ROUNDING: f32 = 0.4 / 255.0;

/// Pixels below this luminance are black, and a block with more than this share of them is left out: what
/// is cut off there would be missing in its noise.
const BLACK: f32 = 1.5 / 255.0;
const MOST_BLACK: f32 = 0.3;

/// Where the blocks of a picture of `[height, width]` begin: rows and columns. None for a picture smaller
/// than a block.
pub(super) fn blocks([height, width]: [usize; 2]) -> Vec<[usize; 2]> {
    let starts = |length: usize, block: usize| {
        let count = (length / block).min(BLOCKS);
        // In the middle of equal parts of the picture.
        (0..count).map(move |index| ((2 * index + 1) * length / count - block) / 2)
    };
    let columns = || starts(width, BLOCK[1]);
    starts(height, BLOCK[0]).flat_map(|y| columns().map(move |x| [y, x])).collect()
}

/// The standard deviation of the noise in luminance, in `[0, 1]`, from the pixels of the blocks, row by row;
/// 0 if it is not more than what rounding to 255 levels makes.
pub(super) fn noise<'a>(blocks: impl IntoIterator<Item = &'a [[f32; 3]]>) -> f32 {
    let mut noises: Vec<f32> = blocks.into_iter().filter_map(block_noise).collect();
    if noises.is_empty() {
        return 0.0;
    }
    let at = (QUANTILE * (noises.len() - 1) as f32) as usize;
    let (_, noise, _) = noises.select_nth_unstable_by(at, f32::total_cmp);
    let noise = CORRECTION * *noise;
    (noise * noise - ROUNDING * ROUNDING).max(0.0).sqrt()
}

fn block_noise(pixels: &[[f32; 3]]) -> Option<f32> {
    let [rows, columns] = BLOCK;
    let luma: Vec<f32> = pixels.iter().copied().map(luminance).collect();
    let black = luma.iter().filter(|value| **value < BLACK).count() as f32;
    if black > MOST_BLACK * luma.len() as f32 || luma.iter().any(|value| !value.is_finite()) {
        return None;
    }
    // The difference of two Laplacians, which neither a slope nor a curvature changes. For independent noise
    // its standard deviation is six times that of the noise.
    let across = |at: usize| luma[at - 1] - 2.0 * luma[at] + luma[at + 1];
    let mut sum = 0.0;
    for y in 1..rows - 1 {
        for x in 1..columns - 1 {
            let at = y * columns + x;
            sum += (across(at - columns) - 2.0 * across(at) + across(at + columns)).abs();
        }
    }
    let mean = sum / ((rows - 2) * (columns - 2)) as f32;
    // From the mean absolute value of a Gaussian variable to its standard deviation.
    Some(mean / 6.0 * std::f32::consts::FRAC_PI_2.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(size: [usize; 2], pixel: impl Fn(usize, usize) -> [f32; 3]) -> f32 {
        let pixel = &pixel;
        let block = |[top, left]: [usize; 2]| -> Vec<[f32; 3]> {
            let rows = top..top + BLOCK[0];
            rows.flat_map(|y| (left..left + BLOCK[1]).map(move |x| pixel(y, x))).collect()
        };
        let blocks: Vec<_> = blocks(size).into_iter().map(block).collect();
        noise(blocks.iter().map(Vec::as_slice))
    }

    /// Nearly Gaussian noise with a standard deviation of 1: the sum of twelve uniform numbers.
    fn gaussian(y: usize, x: usize) -> f32 {
        let mut state = (y as u64 * 1_000_003 + x as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let uniform = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..12).map(uniform).sum::<f32>() - 6.0
    }

    fn rounded(value: f32) -> f32 {
        (value * 255.0).round() / 255.0
    }

    #[test]
    fn noise_is_measured_beside_a_texture_and_on_a_slope() {
        for sigma in [1.0, 2.0, 6.0] {
            let found = of([300, 400], |y, x| {
                let texture = if x < 200 && (x / 3 + y / 3) % 2 == 0 { 0.2 } else { 0.0 };
                let slope = 0.1 + 0.2 * y as f32 / 300.0;
                [rounded(slope + texture + sigma / 255.0 * gaussian(y, x)); 3]
            });
            assert!((0.8..1.15).contains(&(found * 255.0 / sigma)), "{sigma}: {}", found * 255.0);
        }
    }

    #[test]
    fn of_pure_noise_nearly_all_is_found() {
        let found = of([400, 600], |y, x| [0.3 + 3.0 / 255.0 * gaussian(y, x); 3]) * 255.0 / 3.0;
        assert!((0.86..0.98).contains(&found), "{found}");
    }

    #[test]
    fn what_has_no_noise_has_none() {
        let slope = |y: usize, x: usize| 0.02 + 0.1 * (y + x) as f32 / 500.0;
        assert_eq!(of([300, 400], |y, x| [rounded(slope(y, x)); 3]), 0.0);
        assert_eq!(of([300, 400], |y, x| [slope(y, x); 3]), 0.0);
        assert_eq!(of([64, 64], |_, _| [0.0; 3]), 0.0);
        assert_eq!(of([7, 100], |_, _| [0.5; 3]), 0.0);
        assert_eq!(of([64, 64], |_, _| [f32::NAN; 3]), 0.0);
    }

    #[test]
    fn blocks_are_spread_and_within_the_picture() {
        for size in [[8, 16], [9, 33], [1080, 1920], [20, 5000]] {
            let blocks = blocks(size);
            assert!(!blocks.is_empty() && blocks.len() <= BLOCKS * BLOCKS);
            for [y, x] in blocks {
                assert!(y + BLOCK[0] <= size[0] && x + BLOCK[1] <= size[1], "{size:?}: {y}, {x}");
            }
        }
        assert!(blocks([7, 500]).is_empty() && blocks([500, 15]).is_empty());
    }
}
