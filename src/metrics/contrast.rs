//! Visible detail: entropy and local contrast.

use super::luminance::luminance_level;
use image::RgbImage;

/// The discrete entropy in bits (Shannon 1948), `-Σ p log2 p` over the histogram of the luminance
/// `0.2126 R + 0.7152 G + 0.0722 B` in 256 levels, in `[0, 8]`: 0 for a flat picture. Noise has
/// a high entropy too.
pub fn entropy(picture: &RgbImage) -> f64 {
    let mut histogram = [0u64; 256];
    for pixel in picture.pixels() {
        histogram[usize::from(luminance_level(pixel.0))] += 1;
    }
    let pixels = histogram.iter().sum::<u64>() as f64;
    let counts = histogram.into_iter().filter(|count| *count > 0);
    counts.map(|count| count as f64 / pixels).map(|share| share * (1.0 / share).log2()).sum()
}

/// The side of a block in pixels.
const BLOCK: u32 = 8;

/// The measure of enhancement (EME), a mean of local contrasts: `20 ln((max + 1) / (min + 1))` over
/// the luminance `0.2126 R + 0.7152 G + 0.0722 B`, in 256 levels, of a block, averaged over
/// ⌊width / 8⌋ × ⌊height / 8⌋ blocks of 8×8 pixels, in `[0, 111]`: 0 for a flat picture or one smaller than
/// a block. Incomplete blocks at the right and the bottom are left out. Noise in a dark picture
/// raises it.
///
/// Agaian, Panetta and Grigoryan: *A new measure of image enhancement*, IASTED 2000. The
/// added 1, of 255 levels, keeps a block with a black pixel finite; figures computed with another
/// constant or block size differ.
#[doc(alias = "EME")]
pub fn measure_of_enhancement(picture: &RgbImage) -> f64 {
    let [columns, rows] = [picture.width() / BLOCK, picture.height() / BLOCK];
    let contrast = |column: u32, row: u32| {
        let (mut least, mut greatest) = (u8::MAX, u8::MIN);
        for y in row * BLOCK..(row + 1) * BLOCK {
            for x in column * BLOCK..(column + 1) * BLOCK {
                let level = luminance_level(picture[(x, y)].0);
                (least, greatest) = (least.min(level), greatest.max(level));
            }
        }
        20.0 * ((f64::from(greatest) + 1.0) / (f64::from(least) + 1.0)).ln()
    };
    let blocks = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
    let sum: f64 = blocks.map(|(column, row)| contrast(column, row)).sum();
    sum / (f64::from(columns) * f64::from(rows)).max(1.0)
}

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn entropy_is_that_of_scikit_image() {
        // shannon_entropy(level, base=2)
        // where level = ((p.astype(int) @ [2126, 7152, 722] + 5000) // 10000).astype(np.uint8)
        check(|bright, _| entropy(bright), [7.42672139, 7.66039045, 6.67028336], 1e-7);
        check(|_, dark| entropy(dark), [5.61492739, 6.02091803, 5.32433267], 1e-7);
    }

    #[test]
    fn eme_is_that_of_the_formula_in_numpy() {
        // b = level[:h//8*8, :w//8*8].astype(float).reshape(h//8, 8, w//8, 8)
        // (20 * np.log((b.max((1, 3)) + 1) / (b.min((1, 3)) + 1))).mean()
        let eme = measure_of_enhancement;
        check(|bright, _| eme(bright), [30.77593004, 12.68889510, 9.97377760], 1e-7);
        check(|_, dark| eme(dark), [29.25697369, 19.58891353, 20.15780915], 1e-7);
    }

    #[test]
    fn two_levels_are_one_bit_and_one_contrast() {
        let board = RgbImage::from_fn(16, 9, |x, y| {
            image::Rgb([if (x + y) % 2 == 0 { 0 } else { 255 }; 3])
        });
        assert_eq!(entropy(&board), 1.0);
        assert!((measure_of_enhancement(&board) - 20.0 * 256f64.ln()).abs() < 1e-9);
        let flat = RgbImage::from_pixel(16, 9, image::Rgb([77; 3]));
        assert_eq!([entropy(&flat), measure_of_enhancement(&flat)], [0.0; 2]);
        assert_eq!(measure_of_enhancement(&RgbImage::new(7, 99)), 0.0);
    }
}
