//! The luminance of a pixel.

/// The weights of red, green and blue in the luminance `0.2126 R + 0.7152 G + 0.0722 B` (ITU-R
/// BT.709), in ten-thousandths: integers add up exactly.
const WEIGHTS: [u16; 3] = [2126, 7152, 722];

/// The sum of [`WEIGHTS`]: a level in the unit of [`luminance`].
pub(super) const LEVEL: u32 = 10_000;

/// [`WEIGHTS`] as fractions.
pub(crate) const LUMINANCE: [f32; 3] = [
    WEIGHTS[0] as f32 / LEVEL as f32,
    WEIGHTS[1] as f32 / LEVEL as f32,
    WEIGHTS[2] as f32 / LEVEL as f32,
];

/// The luminance of the levels as they are coded, in ten-thousandths of a level.
pub(super) fn luminance(pixel: [u8; 3]) -> u32 {
    pixel.into_iter().zip(WEIGHTS).map(|(level, weight)| u32::from(level) * u32::from(weight)).sum()
}

/// The luminance, rounded to one of 256 levels.
pub(super) fn luminance_level(pixel: [u8; 3]) -> u8 {
    ((luminance(pixel) + LEVEL / 2) / LEVEL) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_the_luminance_add_up_to_one() {
        assert_eq!(WEIGHTS.map(u32::from).iter().sum::<u32>(), LEVEL);
        assert_eq!(LUMINANCE, [0.2126, 0.7152, 0.0722]);
        assert_eq!(luminance([255; 3]), 255 * LEVEL);
    }
}
